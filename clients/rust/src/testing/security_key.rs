//! A security key together with the browser in front of it, from WebAuthn Level 3 and CTAP 2.1.

use std::fmt;

use serde_json::{Value, json};

use super::Result;
use super::signing::{SigningKey, base64url, from_base64url, sha256};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;
const ES256: i64 = -7;

/// A key that verifies its user, counts its signatures and attests nothing.
pub struct SecurityKey {
    origin: String,
    made: Vec<Made>,
}

struct Made {
    id: Vec<u8>,
    key: SigningKey,
    user_handle: Vec<u8>,
    count: u32,
}

impl SecurityKey {
    /// A new key, used on pages of an origin such as `http://localhost:3000`, which the server's demo takes.
    pub fn new(origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), made: Vec::new() }
    }

    /// Does what the browser does with `public_key_json`: makes a credential, or signs with one that was made. Returns
    /// what goes into `MfaWebAuthnGrant.credential_json`.
    ///
    /// # Errors
    ///
    /// The options are none, ask for what this key is not, exclude it, or allow none of its credentials.
    pub fn answer(&mut self, public_key_json: &str) -> Result<String> {
        let options: Value = serde_json::from_str(public_key_json)?;
        let credential = if options.get("rp").is_some() { self.create(&options)? } else { self.get(&options)? };
        Ok(credential.to_string())
    }

    fn create(&mut self, options: &Value) -> Result<Value> {
        if !listed(options, "pubKeyCredParams").any(|entry| entry["alg"] == ES256) {
            return Err("the server takes no ES256".into());
        }
        if self.made_for(options, "excludeCredentials").is_some() {
            return Err("the key is registered already".into());
        }
        let made = Made {
            id: (0..32).map(|_| fastrand::u8(..)).collect(),
            key: SigningKey::generate()?,
            user_handle: from_base64url(text(&options["user"]["id"])?)?,
            count: 0,
        };
        let client = self.client_of("webauthn.create", options)?;
        let mut authenticator = authenticator_of(text(&options["rp"]["id"])?, ATTESTED, made.count);
        authenticator.extend([0; 16]); // a model that does not say which it is
        authenticator.extend(u16::try_from(made.id.len())?.to_be_bytes());
        authenticator.extend(&made.id);
        authenticator.extend(cose(&made.key));
        let response = json!({
            "clientDataJSON": base64url(&client),
            "attestationObject": base64url(&attestation(&authenticator)),
            "transports": ["usb"],
        });
        let credential = credential_of(&made, response);
        self.made.push(made);
        Ok(credential)
    }

    fn get(&mut self, options: &Value) -> Result<Value> {
        let index = self.made_for(options, "allowCredentials").ok_or("the key has none of these credentials")?;
        let client = self.client_of("webauthn.get", options)?;
        let made = &mut self.made[index];
        made.count += 1;
        let authenticator = authenticator_of(text(&options["rpId"])?, 0, made.count);
        let signature = made.key.sign(&[&*authenticator, &sha256(&client)].concat())?;
        let response = json!({
            "clientDataJSON": base64url(&client),
            "authenticatorData": base64url(&authenticator),
            "signature": base64url(&signature),
            "userHandle": base64url(&made.user_handle),
        });
        Ok(credential_of(made, response))
    }

    /// Finds a credential of this key in a list of the options.
    fn made_for(&self, options: &Value, name: &str) -> Option<usize> {
        let ids: Vec<_> =
            listed(options, name).filter_map(|entry| from_base64url(entry["id"].as_str()?).ok()).collect();
        self.made.iter().position(|made| ids.contains(&made.id))
    }

    fn client_of(&self, ceremony: &str, options: &Value) -> Result<Vec<u8>> {
        let challenge = text(&options["challenge"])?;
        let said = json!({"type": ceremony, "challenge": challenge, "origin": self.origin, "crossOrigin": false});
        Ok(serde_json::to_vec(&said)?)
    }
}

impl fmt::Debug for SecurityKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SecurityKey").field("origin", &self.origin).finish_non_exhaustive()
    }
}

fn listed<'a>(options: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    options[name].as_array().into_iter().flatten()
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| "a member of the options is missing".into())
}

fn authenticator_of(rp_id: &str, more: u8, count: u32) -> Vec<u8> {
    let mut octets = sha256(rp_id.as_bytes());
    octets.push(USER_PRESENT | USER_VERIFIED | more);
    octets.extend(count.to_be_bytes());
    octets
}

fn credential_of(made: &Made, response: Value) -> Value {
    json!({
        "id": base64url(&made.id),
        "rawId": base64url(&made.id),
        "type": "public-key",
        "authenticatorAttachment": "cross-platform",
        "clientExtensionResults": {},
        "response": response,
    })
}

/// The public key in COSE's form, RFC 9053 section 7.1.1: `{1: 2, 3: -7, -1: 1, -2: x, -3: y}`.
fn cose(key: &SigningKey) -> Vec<u8> {
    let (x, y) = key.point();
    let mut octets = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
    octets.extend(x);
    octets.extend([0x22, 0x58, 0x20]);
    octets.extend(y);
    octets
}

/// An attestation object that attests nothing: `{"fmt": "none", "attStmt": {}, "authData": …}` in CBOR, RFC 8949.
fn attestation(authenticator: &[u8]) -> Vec<u8> {
    let mut octets = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
    octets.push(authenticator.len() as u8); // 164
    octets.extend(authenticator);
    octets
}
