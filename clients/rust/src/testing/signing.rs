//! Keys on P-256, as devices and security keys hold them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::Result;

/// A key pair; signatures are ECDSA with SHA-256, in DER.
pub(super) struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl SigningKey {
    pub fn generate() -> Result<Self> {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(|_| "no chance")?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, made.as_ref(), &random);
        Ok(Self { pair: pair.map_err(|_| "a key that was just made is refused")?, random })
    }

    /// The public point's coordinates, 32 octets each.
    pub fn point(&self) -> (&[u8], &[u8]) {
        self.pair.public_key().as_ref()[1..].split_at(32) // the first octet says that both follow
    }

    pub fn sign(&self, octets: &[u8]) -> Result<Vec<u8>> {
        Ok(self.pair.sign(&self.random, octets).map_err(|_| "no chance")?.as_ref().to_vec())
    }
}

pub(super) fn base64url(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

pub(super) fn from_base64url(text: &str) -> Result<Vec<u8>> {
    Ok(URL_SAFE_NO_PAD.decode(text)?)
}

pub(super) fn sha256(octets: &[u8]) -> Vec<u8> {
    digest(&SHA256, octets).as_ref().to_vec()
}
