//! A device that is prompted, and approves or denies.

use std::collections::HashMap;
use std::fmt;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::signing::{SigningKey, base64url, sha256};
use super::{Result, TestServer};
use crate::Client;
use crate::v1::answer_challenge_request::Proof;
use crate::v1::watch_device_response::Event;
use crate::v1::{
    AnswerChallengeRequest, ChallengeState, CreateDeviceNonceRequest, PairDeviceRequest, PromptForDevice, SignedAnswer,
    SignedStatement, WatchDeviceRequest,
};

/// A device that has scanned the code of an enrollment, with a key of its own.
pub struct PushDevice {
    client: Client,
    issuer: String,
    key: SigningKey,
    user: String,
    device: String,
}

impl PushDevice {
    /// Pairs a new device by `DevicePairing.barcode_uri`.
    ///
    /// # Errors
    ///
    /// It is no such URI, or the server refuses the device.
    pub async fn pair(server: &TestServer, barcode_uri: &str) -> Result<Self> {
        let (_, query) = barcode_uri.split_once('?').ok_or("not the URI of a pairing")?;
        let mut query: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut of = |name: &str| query.remove(name).ok_or("not the URI of a pairing");
        let (secret, issuer) = (of("enrollment_tx_id")?, of("base_url")?);
        let key = SigningKey::generate()?;
        let mut paired = Self { client: server.nobody()?, issuer, key, user: String::new(), device: String::new() };
        let (x, y) = paired.key.point();
        let statement = paired.statement(json!({
            "type": "cofactor.pair",
            "secret_sha256": base64url(&sha256(secret.as_bytes())),
            "key": {"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)},
            "name": "Test device",
        }))?;
        let request = PairDeviceRequest { pairing_secret: secret, statement: Some(statement) };
        let answer = paired.client.authenticators().pair_device(request).await?.into_inner();
        (paired.user, paired.device) = (answer.user_id, answer.device_id);
        Ok(paired)
    }

    /// The device's name: the id of its authenticator.
    pub fn id(&self) -> &str {
        &self.device
    }

    /// The prompt that waits, the newest of several; or the next one.
    ///
    /// # Errors
    ///
    /// The server is away, or has removed the device.
    pub async fn prompt(&self) -> Result<PromptForDevice> {
        let nonce = self.client.authenticators().create_device_nonce(CreateDeviceNonceRequest {}).await?.into_inner();
        let statement = self.statement(json!({
            "type": "cofactor.watch", "nonce": nonce.nonce, "user": self.user, "device": self.device,
        }))?;
        let request = WatchDeviceRequest { statement: Some(statement) };
        let mut stream = self.client.challenges().watch_device(request).await?.into_inner();
        let (mut waiting, mut newest) = (0, None);
        loop {
            match stream.message().await?.ok_or("the stream ended")?.event {
                Some(Event::Listening(listening)) => waiting = listening.waiting,
                Some(Event::Prompt(prompt)) => {
                    waiting = waiting.saturating_sub(1);
                    newest = Some(prompt);
                }
                _ => continue,
            }
            if let Some(prompt) = newest.take_if(|_| waiting == 0) {
                return Ok(prompt);
            }
        }
    }

    /// Approves the prompt that waits, with the number that the login page shows.
    ///
    /// # Errors
    ///
    /// The server is away, or refuses the answer.
    pub async fn approve(&self, server: &TestServer, number: &str) -> Result<ChallengeState> {
        self.answer(server, "approve", number).await
    }

    /// Denies the prompt that waits.
    ///
    /// # Errors
    ///
    /// As for [`approve`](Self::approve).
    pub async fn deny(&self, server: &TestServer) -> Result<ChallengeState> {
        self.answer(server, "deny", "").await
    }

    async fn answer(&self, server: &TestServer, decision: &str, number: &str) -> Result<ChallengeState> {
        let prompt = self.prompt().await?;
        let time = server.now().await?.duration_since(UNIX_EPOCH)?.as_secs();
        let SignedStatement { payload, signature } = self.statement(json!({
            "type": "cofactor.answer",
            "challenge": prompt.challenge_id,
            "user": self.user,
            "device": self.device,
            "decision": decision,
            "number": number,
            "shown_sha256": base64url(&sha256(&prompt.shown)),
            "time": time,
        }))?;
        let request = AnswerChallengeRequest {
            challenge_id: prompt.challenge_id,
            proof: Some(Proof::Signed(SignedAnswer { payload, signature })),
            ..Default::default()
        };
        Ok(self.client.challenges().answer_challenge(request).await?.into_inner().state())
    }

    fn statement(&self, mut said: Value) -> Result<SignedStatement> {
        said["version"] = 1.into();
        said["issuer"] = self.issuer.clone().into();
        let payload = serde_json::to_vec(&said)?;
        Ok(SignedStatement { signature: self.key.sign(&payload)?, payload })
    }
}

impl fmt::Debug for PushDevice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PushDevice").field("device", &self.device).finish_non_exhaustive()
    }
}
