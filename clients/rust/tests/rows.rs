//! What every client proves against one live server; the names of these tests are alike in all languages.
//!
//! The clock is shared: run them with `--test-threads=1`. `COFACTOR_ROWS` names a file that gets a line for each that holds.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};
use std::{env, fs};

use cofactor::testing::{AuthenticatorApp, Phone, PushDevice, Result, SecurityKey, TestServer};
use cofactor::v1::create_challenge_response::Prompt;
use cofactor::v1::enroll_authenticator_request::Authenticator;
use cofactor::v1::enroll_authenticator_response::Enrollment;
use cofactor::v1::mfa_required::Requirement;
use cofactor::v1::{
    ChallengeState, CreateChallengeRequest, CreateChallengeResponse, EnrollAuthenticatorRequest, ErrorReason,
    FactorKind, GetJsonWebKeySetRequest, IntrospectTokenRequest, ListAuthenticatorsRequest, MfaOobGrant, MfaOtpGrant,
    MfaRecoveryCodeGrant, MfaRequired, MfaWebAuthnGrant, PushEnrollment, SmsEnrollment, TotpEnrollment,
    WebAuthnEnrollment,
};
use cofactor::{Client, Connector, Outcome};
use tonic::{Code, Request};
use uuid::Uuid;

const ORIGIN: &str = "http://localhost:3000";

fn holds(row: &str) {
    if let Some(file) = env::var_os("COFACTOR_ROWS").filter(|file| !file.is_empty()) {
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, r#"{{"row": "{row}"}}"#).unwrap();
    }
}

fn somebody() -> String {
    Uuid::new_v4().to_string()
}

async fn login(server: &TestServer, client: &Client, subject: &str) -> Result<MfaRequired> {
    let outcome = client.issue(server.vouch(subject).await?).await?;
    Ok(outcome.mfa_required().expect("the demo asks everybody for a factor"))
}

async fn enroll(client: &Client, mfa_token: &str, what: Authenticator) -> Result<(Enrollment, Vec<String>)> {
    let request = EnrollAuthenticatorRequest { authenticator: Some(what), ..Default::default() };
    let begun = client.bearer(mfa_token)?.authenticators().enroll_authenticator(request).await?.into_inner();
    Ok((begun.enrollment.expect("something to show"), begun.recovery_codes))
}

/// Enrolls an authenticator app, confirms it, and returns it with the recovery codes.
async fn with_app(server: &TestServer, client: &Client, subject: &str) -> Result<(AuthenticatorApp, Vec<String>)> {
    let MfaRequired { mfa_token, .. } = login(server, client, subject).await?;
    let (shown, recovery_codes) = enroll(client, &mfa_token, Authenticator::Totp(TotpEnrollment::default())).await?;
    let Enrollment::OtpSecret(secret) = shown else { panic!("{shown:?}") };
    let mut app = AuthenticatorApp::scan(&secret.barcode_uri)?;
    let otp = app.code(server).await?;
    let outcome = client.issue(MfaOtpGrant { mfa_token, otp, ..Default::default() }).await?;
    assert!(!outcome.tokens().expect("the code confirms").access_token.is_empty());
    Ok((app, recovery_codes))
}

/// Pairs a device, and returns it.
async fn with_device(server: &TestServer, client: &Client, subject: &str) -> Result<PushDevice> {
    let MfaRequired { mfa_token, .. } = login(server, client, subject).await?;
    let (shown, _) = enroll(client, &mfa_token, Authenticator::Push(PushEnrollment {})).await?;
    let Enrollment::Pairing(pairing) = shown else { panic!("{shown:?}") };
    let device = PushDevice::pair(server, &pairing.barcode_uri).await?;
    let outcome = client.await_tokens(&mfa_token, &pairing.oob_code, None).await?;
    assert!(outcome.tokens().is_some());
    Ok(device)
}

async fn challenge(client: &Client, mfa_token: &str, kind: FactorKind) -> Result<CreateChallengeResponse> {
    let request = CreateChallengeRequest { kinds: vec![kind.into()], ..Default::default() };
    Ok(client.bearer(mfa_token)?.challenges().create_challenge(request).await?.into_inner())
}

fn number_of(challenge: &CreateChallengeResponse) -> &str {
    match &challenge.prompt {
        Some(Prompt::Device(prompt)) => &prompt.number,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn enroll_otp() -> Result<()> {
    let server = TestServer::open().await?;
    let client = server.client();
    let subject = somebody();
    let first = login(&server, &client, &subject).await?;
    assert!(matches!(first.requirement, Some(Requirement::Enroll(_))), "{first:?}");

    let (_, recovery_codes) = with_app(&server, &client, &subject).await?;

    assert_eq!(recovery_codes.len(), 1);
    let again = login(&server, &client, &subject).await?;
    let Some(Requirement::Challenge(required)) = &again.requirement else { panic!("{again:?}") };
    assert_eq!(required.kinds().collect::<Vec<_>>(), [FactorKind::Totp, FactorKind::RecoveryCode]);
    let mut authenticators = client.bearer(&again.mfa_token)?.authenticators();
    let listed = authenticators.list_authenticators(ListAuthenticatorsRequest {}).await?.into_inner();
    assert_eq!(listed.authenticators[0].kind(), FactorKind::Totp);
    holds("enroll_otp");
    Ok(())
}

#[tokio::test]
async fn verify() -> Result<()> {
    let server = TestServer::open().await?;
    let client = server.client();
    let subject = somebody();
    let (mut app, _) = with_app(&server, &client, &subject).await?;
    let MfaRequired { mfa_token, .. } = login(&server, &client, &subject).await?;
    let otp = app.code(&server).await?;

    let outcome = client.issue(MfaOtpGrant { mfa_token: mfa_token.clone(), otp: otp.clone(), ..Default::default() });
    let tokens = outcome.await?.tokens().expect("the code is right");
    let stale = client.issue(MfaOtpGrant { mfa_token, otp, ..Default::default() }).await.unwrap_err();

    let asked = IntrospectTokenRequest { token: tokens.access_token };
    let said = client.tokens().introspect_token(asked).await?.into_inner();
    assert_eq!(
        (said.active, &*said.acr, &*said.aud),
        (true, "urn:cofactor:acr:mfa", &[server.demo().audience.clone()][..])
    );
    assert_eq!(said.amr, ["pwd", "otp", "mfa"]);
    assert!(stale.is(ErrorReason::MfaTokenStale), "{stale}");

    let phone = Phone::new();
    let MfaRequired { mfa_token, .. } = login(&server, &client, &somebody()).await?;
    let sms = SmsEnrollment { phone_number: phone.number().to_owned() };
    let (shown, _) = enroll(&client, &mfa_token, Authenticator::Sms(sms)).await?;
    let Enrollment::Oob(sent) = shown else { panic!("{shown:?}") };
    let code = phone.code(&server).await?;
    assert!(client.await_tokens(&mfa_token, &sent.oob_code, Some(&code)).await?.tokens().is_some());
    holds("verify");
    Ok(())
}

#[tokio::test]
async fn recovery() -> Result<()> {
    let server = TestServer::open().await?;
    let client = server.client();
    let subject = somebody();
    let (_, mut codes) = with_app(&server, &client, &subject).await?;
    let code = codes.remove(0);
    let MfaRequired { mfa_token, .. } = login(&server, &client, &subject).await?;

    let outcome = client.issue(MfaRecoveryCodeGrant { mfa_token, recovery_code: code.clone() }).await?;
    let replacement = outcome.tokens().expect("the code is right").recovery_code;

    assert!(!replacement.is_empty() && replacement != code);
    let MfaRequired { mfa_token, .. } = login(&server, &client, &subject).await?;
    let used = MfaRecoveryCodeGrant { mfa_token: mfa_token.clone(), recovery_code: code };
    let error = client.issue(used).await.unwrap_err();
    assert!(error.is(ErrorReason::InvalidRecoveryCode), "{error}");
    let next = client.issue(MfaRecoveryCodeGrant { mfa_token, recovery_code: replacement }).await?;
    assert!(next.tokens().is_some());
    holds("recovery");
    Ok(())
}

#[tokio::test]
async fn push_watch() -> Result<()> {
    let server = TestServer::open().await?;
    let client = server.client();
    let subject = somebody();
    let device = with_device(&server, &client, &subject).await?;
    let MfaRequired { mfa_token, .. } = login(&server, &client, &subject).await?;
    let prompted = challenge(&client, &mfa_token, FactorKind::Push).await?;
    let mut watch = client.watch(&mfa_token, &prompted.oob_code)?;
    assert_eq!(watch.message().await?.expect("it waits").state(), ChallengeState::Pending);

    assert_eq!(device.approve(&server, number_of(&prompted)).await?, ChallengeState::Approved);

    assert_eq!(watch.message().await?.expect("it is answered").state(), ChallengeState::Approved);
    assert!(watch.message().await?.is_none());
    let grant = MfaOobGrant { mfa_token, oob_code: prompted.oob_code, binding_code: String::new() };
    assert!(client.issue(grant).await?.tokens().is_some());

    let MfaRequired { mfa_token, .. } = login(&server, &client, &subject).await?;
    let prompted = challenge(&client, &mfa_token, FactorKind::Push).await?;
    let waiting = client.await_tokens(&mfa_token, &prompted.oob_code, None);
    let (outcome, denied) = tokio::try_join!(async { Ok(waiting.await) }, device.deny(&server))?;
    assert_eq!(denied, ChallengeState::Denied);
    assert!(outcome.unwrap_err().is(ErrorReason::ChallengeDenied));
    holds("push_watch");
    Ok(())
}

#[tokio::test]
async fn webauthn() -> Result<()> {
    let server = TestServer::open().await?;
    let client = server.client();
    let subject = somebody();
    let mut key = SecurityKey::new(ORIGIN);
    let MfaRequired { mfa_token, .. } = login(&server, &client, &subject).await?;
    let what = Authenticator::Webauthn(WebAuthnEnrollment::default());
    let (shown, _) = enroll(&client, &mfa_token, what).await?;
    let Enrollment::Webauthn(creation) = shown else { panic!("{shown:?}") };
    let credential_json = key.answer(&creation.public_key_json)?;
    let grant = MfaWebAuthnGrant { mfa_token, oob_code: creation.oob_code, credential_json };
    assert!(client.issue(grant).await?.tokens().is_some());

    let MfaRequired { mfa_token, .. } = login(&server, &client, &subject).await?;
    let asked = challenge(&client, &mfa_token, FactorKind::Webauthn).await?;
    let Some(Prompt::Webauthn(prompt)) = &asked.prompt else { panic!("{asked:?}") };
    assert!(SecurityKey::new(ORIGIN).answer(&prompt.public_key_json).is_err());
    let credential_json = key.answer(&prompt.public_key_json)?;
    let grant = MfaWebAuthnGrant { mfa_token, oob_code: asked.oob_code, credential_json };
    let tokens = client.issue(grant).await?.tokens().expect("the key signed");

    let asked = IntrospectTokenRequest { token: tokens.access_token };
    let said = client.tokens().introspect_token(asked).await?.into_inner();
    assert_eq!(said.acr, "urn:cofactor:acr:phrh");
    holds("webauthn");
    Ok(())
}

#[tokio::test]
async fn retry_delay() -> Result<()> {
    let server = TestServer::open().await?;
    let client = server.client();
    let subject = somebody();
    let (app, _) = with_app(&server, &client, &subject).await?;
    let MfaRequired { mfa_token, .. } = login(&server, &client, &subject).await?;
    let right = app.code_at(server.now().await?);
    let wrong = if right == "000000" { "000001" } else { "000000" };

    let mut error = None;
    for _ in 0..30 {
        let grant = MfaOtpGrant { mfa_token: mfa_token.clone(), otp: wrong.to_owned(), ..Default::default() };
        let refused = client.issue(grant).await.unwrap_err();
        if refused.code() == Code::ResourceExhausted {
            error = Some(refused);
            break;
        }
        assert!(refused.is(ErrorReason::InvalidOtp), "{refused}");
    }

    let error = error.expect("guesses run out");
    assert!(error.is(ErrorReason::TooManyFailedCodes), "{error}");
    assert!(error.retry_delay().is_some_and(|delay| delay > Duration::from_secs(1)), "{error:?}");
    holds("retry_delay");
    Ok(())
}

#[tokio::test]
async fn deadline() -> Result<()> {
    let server = TestServer::open().await?;
    let client = server.client();
    client.tokens().get_json_web_key_set(GetJsonWebKeySetRequest {}).await?;
    let mut request = Request::new(MfaOtpGrant { mfa_token: "x".into(), otp: "1".into(), ..Default::default() }.into());
    request.set_timeout(Duration::from_micros(50));

    let began = Instant::now();
    let error = client.issue(request).await.unwrap_err();

    assert_eq!((error.code(), error.retry_delay()), (Code::DeadlineExceeded, None), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(2));
    holds("deadline");
    Ok(())
}

#[tokio::test]
async fn mtls() -> Result<()> {
    let server = TestServer::open().await?;
    let client = server.tls()?.connect()?;
    let required = login(&server, &client, &somebody()).await?;
    assert!(!required.mfa_token.is_empty());

    let test = &server.demo().test;
    let ca = fs::read(&test.ca_file)?;
    let without = Connector::new(&test.grpc_tls).ca(ca).client(&test.tls_client_id, "").connect()?;
    let error = without.issue(server.vouch(&somebody()).await?).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    let elsewhere = Connector::new(&server.demo().grpc).plaintext().client(&test.tls_client_id, "").connect()?;
    let error = elsewhere.issue(server.vouch(&somebody()).await?).await.unwrap_err();
    assert!(error.is(ErrorReason::InvalidClient), "{error:?}");
    let strangers = Connector::new(&test.grpc_tls).client(&test.tls_client_id, "");
    let strangers = strangers.identity(fs::read(&test.certificate_file)?, fs::read(&test.key_file)?).connect()?;
    let error = strangers.issue(server.vouch(&somebody()).await?).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    holds("mtls");
    Ok(())
}

#[tokio::test]
async fn reconnect() -> Result<()> {
    let mut server = TestServer::start().await?;
    let client = server.client();
    let subject = somebody();
    let device = with_device(&server, &client, &subject).await?;
    let MfaRequired { mfa_token, .. } = login(&server, &client, &subject).await?;
    let prompted = challenge(&client, &mfa_token, FactorKind::Push).await?;
    let mut watch = client.watch(&mfa_token, &prompted.oob_code)?;
    assert_eq!(watch.message().await?.expect("it waits").state(), ChallengeState::Pending);

    let (state, answered) = tokio::try_join!(async { Ok(watch.message().await?) }, async {
        server.restart().await?;
        device.approve(&server, number_of(&prompted)).await
    })?;

    assert_eq!(answered, ChallengeState::Approved);
    assert_eq!(state.expect("it is answered").state(), ChallengeState::Approved);
    assert!(watch.message().await?.is_none());
    let outcome = client.await_tokens(&mfa_token, &prompted.oob_code, None).await?;
    assert!(matches!(outcome, Outcome::Tokens(_)), "{outcome:?}");
    server.stop().await?;
    holds("reconnect");
    Ok(())
}
