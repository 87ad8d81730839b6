//! How many calls a second this client makes of a server: TARGET SECONDS CALLERS OUT.

use std::time::{Duration, Instant};
use std::{env, fs};

use cofactor::v1::MfaOtpGrant;
use cofactor::{Client, Connector};

async fn call(client: &Client) {
    let grant = MfaOtpGrant { mfa_token: "constant".into(), otp: "123456".into(), ..Default::default() };
    let _ = client.issue(grant).await; // any answer counts
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, seconds, callers, out] = &arguments[..] else { return Err("TARGET SECONDS CALLERS OUT".into()) };
    let client = Connector::new(target).plaintext().client("bench", "").connect()?;
    call(&client).await;
    let first_call_ms = began.elapsed().as_secs_f64() * 1_000.0;

    let began = Instant::now();
    let until = began + Duration::from_secs_f64(seconds.parse()?);
    let callers = (0..callers.parse::<u32>()?).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut calls = 0_u64;
            while Instant::now() < until {
                call(&client).await;
                calls += 1;
            }
            calls
        })
    });
    let mut calls = 0;
    for caller in callers.collect::<Vec<_>>() {
        calls += caller.await?;
    }
    let took = began.elapsed().as_secs_f64();

    let program = env::current_exe()?;
    let library = program.with_file_name("../libcofactor.rlib");
    let kilobytes = |file| fs::metadata(file).map(|found| found.len() / 1_024);
    fs::write(
        out,
        format!(
            "{{\"language\": \"rust\", \"calls\": {calls}, \"seconds\": {took:.3}, \"per_second\": {:.0}, \
             \"first_call_ms\": {first_call_ms:.1}, \"size_kb\": {}, \"with_dependencies_kb\": {}}}\n",
            calls as f64 / took,
            kilobytes(library)?,
            kilobytes(program)?,
        ),
    )?;
    Ok(())
}
