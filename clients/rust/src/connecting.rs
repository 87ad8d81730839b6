//! Where a server is, how it is trusted, and who calls.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::transport::Transport;
use crate::{Client, Error};

/// How long a unary call may take unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Everything a connection needs. TLS with the system's roots unless told otherwise.
#[must_use = "nothing happens before connect()"]
pub struct Connector {
    target: String,
    security: Security,
    client_id: String,
    client_secret: String,
    deadline: Duration,
}

enum Security {
    Tls { ca: Option<Certificate>, identity: Option<Identity>, domain: Option<String> },
    Plaintext { anywhere: bool },
}

impl Connector {
    /// Begins with the server's address, such as `mfa.example.com:443` or, for plaintext, `unix:/run/cofactor.sock`.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            security: Security::Tls { ca: None, identity: None, domain: None },
            client_id: String::new(),
            client_secret: String::new(),
            deadline: DEADLINE,
        }
    }

    /// Says who calls. The secret is empty for a public client, and for one known by its certificate.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        (self.client_id, self.client_secret) = (id.into(), secret.into());
        self
    }

    /// Trusts these certificates, in PEM, instead of the system's roots.
    pub fn ca(mut self, pem: impl AsRef<[u8]>) -> Self {
        let (_, identity, domain) = self.security.tls();
        self.security = Security::Tls { ca: Some(Certificate::from_pem(pem)), identity, domain };
        self
    }

    /// Shows a certificate to the server (mTLS); both in PEM.
    pub fn identity(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let (ca, _, domain) = self.security.tls();
        self.security = Security::Tls { ca, identity: Some(Identity::from_pem(certificate, key)), domain };
        self
    }

    /// Expects this name in the server's certificate instead of the target's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        let (ca, identity, _) = self.security.tls();
        self.security = Security::Tls { ca, identity, domain: Some(name.into()) };
        self
    }

    /// Goes without TLS, to this machine only: any other target is refused before a byte is sent.
    pub fn plaintext(mut self) -> Self {
        self.security = Security::Plaintext { anywhere: false };
        self
    }

    /// Goes without TLS wherever the target is: secrets and tokens can be read on the way, unless a proxy beside this
    /// process encrypts them.
    pub fn allow_plaintext(mut self) -> Self {
        self.security = Security::Plaintext { anywhere: true };
        self
    }

    /// Gives unary calls another deadline than 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Returns a client, which connects when it is first used and whenever the connection was lost.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: a target, certificate, key, id or secret that cannot be used, or plaintext to another machine.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn connect(self) -> Result<Client, Error> {
        let mut headers = HeaderMap::new();
        for (name, text) in [("cofactor-client-id", &self.client_id), ("cofactor-client-secret", &self.client_secret)] {
            if !text.is_empty() {
                headers.insert(name, header(text)?);
            }
        }
        let channel = self.endpoint()?.connect_timeout(CONNECT_TIME).tcp_nodelay(true).connect_lazy();
        Ok(Client::new(Transport::new(channel, headers, self.deadline)))
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let target = self.target.strip_prefix("dns:///").unwrap_or(&self.target);
        let socket = target.starts_with("unix:");
        let authority = target.parse::<Authority>().ok().filter(|it| !socket && !it.as_str().contains('@'));
        match &self.security {
            Security::Plaintext { .. } if socket => Endpoint::from_shared(target.to_owned()).map_err(refused),
            Security::Plaintext { anywhere } => {
                let authority = authority.ok_or_else(|| wrong("the target is no address"))?;
                if !anywhere && !loopback(authority.host()) {
                    let text = format!("{} is not this machine: use TLS, or say allow_plaintext()", authority.host());
                    return Err(wrong(&text));
                }
                Endpoint::from_shared(format!("http://{authority}")).map_err(refused)
            }
            Security::Tls { ca, identity, domain } => {
                let authority = authority.ok_or_else(|| wrong("the target is no address for TLS"))?;
                let tls = ClientTlsConfig::new();
                let tls = match ca {
                    Some(ca) => tls.ca_certificate(ca.clone()),
                    None => tls.with_native_roots(),
                };
                let tls = identity.iter().fold(tls, |tls, identity| tls.identity(identity.clone()));
                let tls = domain.iter().fold(tls, |tls, domain| tls.domain_name(domain));
                let endpoint = Endpoint::from_shared(format!("https://{authority}")).map_err(refused)?;
                endpoint.tls_config(tls).map_err(refused)
            }
        }
    }
}

impl Security {
    /// Takes what was said of TLS so far; nothing after plaintext was asked for.
    fn tls(&mut self) -> (Option<Certificate>, Option<Identity>, Option<String>) {
        match self {
            Self::Tls { ca, identity, domain } => (ca.take(), identity.take(), domain.take()),
            Self::Plaintext { .. } => (None, None, None),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, client_id, .. } = self;
        out.debug_struct("Connector").field("target", target).field("client_id", client_id).finish_non_exhaustive()
    }
}

fn loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns a header's value that is kept out of what is printed.
pub(crate) fn header(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| wrong("credentials and tokens are printable ASCII"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn wrong(text: &str) -> Error {
    Error::here(Code::InvalidArgument, text)
}

fn refused(error: tonic::transport::Error) -> Error {
    wrong("the target, a certificate or the key cannot be used").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_goes_to_this_machine_only() {
        for target in ["127.0.0.1:50051", "127.9.9.9:1", "[::1]:50051", "localhost:50051", "unix:/run/cofactor.sock"] {
            assert!(Connector::new(target).plaintext().endpoint().is_ok(), "{target}");
        }
        for target in ["mfa.example.com:50051", "10.0.0.1:50051", "localhost.example.com:1", "0.0.0.0:1", "[::]:1"] {
            let error = Connector::new(target).plaintext().endpoint().unwrap_err();
            assert!(error.message().contains("is not this machine"), "{target}: {error}");
            assert!(Connector::new(target).allow_plaintext().endpoint().is_ok(), "{target}");
        }
    }

    #[test]
    fn a_target_that_is_no_address_is_refused() {
        for target in ["", "localhost@mfa.example.com:1", "a b", "http://127.0.0.1:1/", "127.0.0.1:1/path"] {
            assert!(Connector::new(target).plaintext().endpoint().is_err(), "{target}");
            assert!(Connector::new(target).endpoint().is_err(), "{target}");
        }
        assert!(Connector::new("unix:/run/cofactor.sock").endpoint().is_err());
    }

    #[tokio::test]
    async fn secrets_do_not_print() {
        let connector = Connector::new("mfa.example.com:443").client("shop", "5ecret").identity("5ecret", "5ecret");
        assert_eq!(format!("{connector:?}"), r#"Connector { target: "mfa.example.com:443", client_id: "shop", .. }"#);
        let client = Connector::new("localhost:1").plaintext().client("shop", "5ecret").connect().unwrap();
        let printed = format!("{client:?} {:?}", client.bearer("5ecret").unwrap().tokens());
        assert!(!printed.contains("5ecret"), "{printed}");
        let error = Connector::new("localhost:1").plaintext().client("shop", "5ecret\n").connect().unwrap_err();
        assert!(!format!("{error:?}").contains("5ecret"));
    }
}
