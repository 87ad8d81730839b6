//! A server to test against: one of the test's own, or one that runs already.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fmt, fs, thread};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Result;
use super::v1::clock_service_client::ClockServiceClient;
use super::v1::outbox_service_client::OutboxServiceClient;
use super::v1::{AdvanceTimeRequest, GetTimeRequest, ListMessagesRequest, Message};
use crate::v1::VouchedGrant;
use crate::{Client, Connector};

/// Names a `demo.json` of a server that runs.
const DEMO: &str = "COFACTOR_DEMO";
/// The command, perhaps with arguments, that starts a server.
const COMMAND: &str = "COFACTOR_COMMAND";
const START_TIME: Duration = Duration::from_secs(60);
const STOP_TIME: Duration = Duration::from_secs(20);

/// What a server in test mode says of itself.
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct Demo {
    /// The URL of the HTTP edge.
    pub http: String,
    /// Host and port of the gRPC edge, in plaintext.
    pub grpc: String,
    /// The issuer of its tokens.
    pub issuer: String,
    /// A client with every grant, which may vouch, provision and enroll.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// A user's name.
    pub username: String,
    /// Her password.
    pub password: String,
    /// The realm that users belong to.
    pub realm: String,
    /// What access tokens are for unless asked otherwise.
    pub audience: String,
    /// What only test mode has.
    pub test: TestMode,
}

/// What only test mode has.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct TestMode {
    /// Host and port of a listener with TLS, which demands a client certificate.
    pub grpc_tls: String,
    /// Who signed its certificate, in PEM.
    pub ca_file: PathBuf,
    /// A client certificate, in PEM.
    pub certificate_file: PathBuf,
    /// Its key, in PEM.
    pub key_file: PathBuf,
    /// The client that it stands for; this one has no secret.
    pub tls_client_id: String,
}

impl fmt::Debug for Demo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Demo").field("http", &self.http).field("grpc", &self.grpc).finish_non_exhaustive()
    }
}

/// A server in test mode. One that was started is stopped when this is dropped.
#[derive(Debug)]
pub struct TestServer {
    demo: Demo,
    client: Client,
    process: Option<Process>,
}

impl TestServer {
    /// Joins the server that `COFACTOR_DEMO` names, or starts one.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join) and [`start`](Self::start).
    pub async fn open() -> Result<Self> {
        match env::var_os(DEMO).filter(|file| !file.is_empty()) {
            Some(file) => Self::join(file),
            None => Self::start().await,
        }
    }

    /// Joins a server that runs already: its clock is everybody's.
    ///
    /// # Errors
    ///
    /// The file is not there, or is no `demo.json` of a server in test mode.
    pub fn join(demo_file: impl AsRef<Path>) -> Result<Self> {
        Self::of(serde_json::from_slice(&fs::read(demo_file)?)?, None)
    }

    /// Starts a server in a folder of its own, by `COFACTOR_COMMAND` (default: `cofactor`).
    ///
    /// # Errors
    ///
    /// The command is not there, or does not answer within a minute; what it says goes to stderr.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cofactor-").tempdir()?;
        let (demo, process) = Process::start(folder, "0", "0").await?;
        Self::of(demo, Some(process))
    }

    /// Stops the server and starts it again with the same folder and ports.
    ///
    /// # Errors
    ///
    /// The server is not the test's own, or does not stop or start.
    pub async fn restart(&mut self) -> Result<()> {
        let folder = self.process.take().ok_or("this server is not ours to stop")?.stop().await?;
        let [http, grpc] = [&self.demo.http, &self.demo.grpc].map(|address| port_of(address).to_owned());
        let (demo, process) = Process::start(folder, &http, &grpc).await?;
        *self = Self::of(demo, Some(process))?;
        Ok(())
    }

    /// Stops the server, if it is the test's own.
    ///
    /// # Errors
    ///
    /// The server does not stop within 20 s, and is killed.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            process.stop().await?;
        }
        Ok(())
    }

    fn of(demo: Demo, process: Option<Process>) -> Result<Self> {
        let client = Connector::new(&demo.grpc).plaintext().client(&demo.client_id, &demo.client_secret).connect()?;
        Ok(Self { demo, client, process })
    }

    /// What the server says of itself.
    pub fn demo(&self) -> &Demo {
        &self.demo
    }

    /// The demo's client, over plaintext.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client without credentials, such as a device is.
    pub(super) fn nobody(&self) -> Result<Client> {
        Ok(Connector::new(&self.demo.grpc).plaintext().connect()?)
    }

    /// The way to the listener that demands a certificate, with one that stands for a client.
    ///
    /// # Errors
    ///
    /// A file is not there.
    pub fn tls(&self) -> Result<Connector> {
        let TestMode { grpc_tls, ca_file, certificate_file, key_file, tls_client_id } = &self.demo.test;
        let connector = Connector::new(grpc_tls).ca(fs::read(ca_file)?).client(tls_client_id, "");
        Ok(connector.identity(fs::read(certificate_file)?, fs::read(key_file)?))
    }

    /// The server's time.
    ///
    /// # Errors
    ///
    /// The server is away.
    pub async fn now(&self) -> Result<SystemTime> {
        let mut clock = ClockServiceClient::new(self.client.transport());
        let time = clock.get_time(GetTimeRequest {}).await?.into_inner().time;
        Ok(time.ok_or("no time was told")?.try_into()?)
    }

    /// Moves the server's clock forward.
    ///
    /// # Errors
    ///
    /// The server is away, or the step is nothing or more than ten years.
    pub async fn advance(&self, by: Duration) -> Result<()> {
        let mut clock = ClockServiceClient::new(self.client.transport());
        clock.advance_time(AdvanceTimeRequest { by: Some(by.try_into()?) }).await?;
        Ok(())
    }

    /// What would have been sent to an address, newest last; to anybody, where it is empty.
    ///
    /// # Errors
    ///
    /// The server is away.
    pub async fn messages(&self, to: &str) -> Result<Vec<Message>> {
        let mut outbox = OutboxServiceClient::new(self.client.transport());
        Ok(outbox.list_messages(ListMessagesRequest { to: to.to_owned() }).await?.into_inner().messages)
    }

    /// Vouches for a user just now; one the server does not know is made.
    ///
    /// # Errors
    ///
    /// The server is away.
    pub async fn vouch(&self, subject: &str) -> Result<VouchedGrant> {
        Ok(VouchedGrant {
            realm: self.demo.realm.clone(),
            subject: subject.to_owned(),
            methods: vec!["pwd".to_owned()],
            authenticate_time: Some(self.now().await?.into()),
            ..Default::default()
        })
    }
}

/// A server that runs.
#[derive(Debug)]
struct Process {
    child: Child,
    folder: Option<TempDir>,
    _stdout: ChildStdout, // closed, it would be a broken pipe
}

impl Process {
    async fn start(folder: TempDir, http_port: &str, grpc_port: &str) -> Result<(Demo, Self)> {
        let words = env::var(COMMAND).unwrap_or_default();
        let mut words = words.split_whitespace();
        let mut child = Command::new(words.next().unwrap_or("cofactor"))
            .args(words)
            .args(["demo", "--test", "--http-port", http_port, "--grpc-port", grpc_port, "--state-dir"])
            .arg(folder.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let reading = spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| (line, stdout.into_inner()))
        });
        let read = timeout(START_TIME, reading).await;
        let Ok(Ok(Ok((line, stdout)))) = read else {
            child.kill()?;
            child.wait()?;
            return Err("the server did not start in time".into());
        };
        let process = Self { child, folder: Some(folder), _stdout: stdout };
        let demo = serde_json::from_str(&line).map_err(|_| "the server did not start; its stderr says why")?;
        Ok((demo, process))
    }

    /// Asks it to stop, waits, and returns its folder.
    async fn stop(mut self) -> Result<TempDir> {
        let folder = self.folder.take().ok_or("stopped already")?;
        let in_time = spawn_blocking(move || self.ended()).await?;
        if in_time { Ok(folder) } else { Err("the server did not stop in time, and was killed".into()) }
    }

    /// Ends it, and tells whether that took no force.
    fn ended(&mut self) -> bool {
        terminate(&mut self.child);
        let until = Instant::now() + STOP_TIME;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().and_then(|()| self.child.wait()).is_err()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.ended();
        }
    }
}

#[cfg(unix)]
fn terminate(child: &mut Child) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    if let Ok(id) = i32::try_from(child.id()) {
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM); // fails where it ended by itself
    }
}

#[cfg(not(unix))]
fn terminate(child: &mut Child) {
    let _ = child.kill();
}

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').map_or("0", |(_, port)| port)
}
