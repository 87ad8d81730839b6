//! A login by a service that checks passwords itself: an authenticator app is enrolled and shown, then a device approves.

use cofactor::testing::{AuthenticatorApp, PushDevice, Result, TestServer};
use cofactor::v1::create_challenge_response::Prompt;
use cofactor::v1::enroll_authenticator_request::Authenticator;
use cofactor::v1::enroll_authenticator_response::Enrollment;
use cofactor::v1::{CreateChallengeRequest, EnrollAuthenticatorRequest, FactorKind, MfaOtpGrant, TotpEnrollment};
use cofactor::{Client, Outcome};

async fn enroll(client: &Client, token: &str, what: Authenticator) -> Result<Enrollment> {
    let request = EnrollAuthenticatorRequest { authenticator: Some(what), ..Default::default() };
    let begun = client.bearer(token)?.authenticators().enroll_authenticator(request).await?.into_inner();
    Ok(begun.enrollment.ok_or("nothing to show")?)
}

#[tokio::main]
async fn main() -> Result<()> {
    // In production: Connector::new("mfa.example.com:443").client("shop", secret).connect()?
    let server = TestServer::open().await?;
    let client = server.client();
    let [jane, joe] = ["jane", "joe"].map(|name| format!("{name}-{}", uuid::Uuid::new_v4()));

    // Jane's password was right, and she has no second factor yet: she scans a code and types what her app shows.
    let Outcome::MfaRequired(login) = client.issue(server.vouch(&jane).await?).await? else { return Ok(()) };
    let shown = enroll(&client, &login.mfa_token, Authenticator::Totp(TotpEnrollment::default())).await?;
    let Enrollment::OtpSecret(secret) = shown else { return Err("no secret".into()) };
    let mut app = AuthenticatorApp::scan(&secret.barcode_uri)?;
    let otp = app.code(&server).await?;
    let confirmed = client.issue(MfaOtpGrant { mfa_token: login.mfa_token, otp, ..Default::default() }).await?;
    println!("enrolled an app: {confirmed:?}");

    // The next login is completed by a code.
    let Outcome::MfaRequired(login) = client.issue(server.vouch(&jane).await?).await? else { return Ok(()) };
    let otp = app.code(&server).await?;
    let tokens = client.issue(MfaOtpGrant { mfa_token: login.mfa_token, otp, ..Default::default() }).await?.tokens();
    println!("logged in by a code: {tokens:?}");

    // Joe has a device instead. His approval is heard of at once, by watching the challenge.
    let Outcome::MfaRequired(login) = client.issue(server.vouch(&joe).await?).await? else { return Ok(()) };
    let shown = enroll(&client, &login.mfa_token, Authenticator::Push(Default::default())).await?;
    let Enrollment::Pairing(pairing) = shown else { return Err("no pairing".into()) };
    let device = PushDevice::pair(&server, &pairing.barcode_uri).await?;
    client.await_tokens(&login.mfa_token, &pairing.oob_code, None).await?;
    let Outcome::MfaRequired(login) = client.issue(server.vouch(&joe).await?).await? else { return Ok(()) };
    let asked = CreateChallengeRequest { kinds: vec![FactorKind::Push.into()], ..Default::default() };
    let challenge = client.bearer(&login.mfa_token)?.challenges().create_challenge(asked).await?.into_inner();
    let Some(Prompt::Device(prompt)) = challenge.prompt else { return Err("no device".into()) };
    println!("type {} on the device", prompt.number);
    device.approve(&server, &prompt.number).await?;
    let tokens = client.await_tokens(&login.mfa_token, &challenge.oob_code, None).await?.tokens();
    println!("logged in by a device: {tokens:?}");
    Ok(())
}
