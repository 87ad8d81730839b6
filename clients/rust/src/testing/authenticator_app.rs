//! An authenticator app: codes computed from a shared secret and the time, RFC 6238.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::hmac;

use super::{Result, TestServer};

/// An app that has scanned the code of an enrollment.
pub struct AuthenticatorApp {
    key: hmac::Key,
    digits: u32,
    period: u64,
    used: Option<u64>,
}

impl AuthenticatorApp {
    /// Scans `OtpSecret.barcode_uri`.
    ///
    /// # Errors
    ///
    /// It is no `otpauth://totp/` URI that an app could use.
    pub fn scan(barcode_uri: &str) -> Result<Self> {
        let query = barcode_uri.strip_prefix("otpauth://totp/").and_then(|rest| rest.split_once('?'));
        let (_, query) = query.ok_or("not the URI of an authenticator app")?;
        let (mut secret, mut algorithm, mut digits, mut period) = (Vec::new(), "SHA1".to_owned(), 6, 30);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "secret" => secret = base32(&value).ok_or("the secret is not in base32")?,
                "algorithm" => algorithm = value.to_uppercase(),
                "digits" => digits = value.parse()?,
                "period" => period = value.parse()?,
                _ => {}
            }
        }
        let algorithm = match &*algorithm {
            "SHA1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            "SHA256" => hmac::HMAC_SHA256,
            "SHA512" => hmac::HMAC_SHA512,
            _ => return Err("an algorithm that no app knows".into()),
        };
        if secret.is_empty() || !(6..=8).contains(&digits) || period == 0 {
            return Err("a secret, six to eight digits and a period are needed".into());
        }
        Ok(Self { key: hmac::Key::new(algorithm, &secret), digits, period, used: None })
    }

    /// The code that is shown at a time.
    pub fn code_at(&self, time: SystemTime) -> String {
        self.code_of(self.step_at(time))
    }

    /// A code that was not shown before, at the server's time: where the last one was of this step, the server's clock
    /// is moved on to the next.
    ///
    /// # Errors
    ///
    /// The server is away.
    pub async fn code(&mut self, server: &TestServer) -> Result<String> {
        let mut now = server.now().await?;
        if let Some(next) = self.used.map(|used| used + 1).filter(|next| self.step_at(now) < *next) {
            let start = UNIX_EPOCH + Duration::from_secs(next * self.period);
            server.advance(start.duration_since(now)?).await?;
            now = server.now().await?;
        }
        self.used = Some(self.step_at(now));
        Ok(self.code_at(now))
    }

    fn step_at(&self, time: SystemTime) -> u64 {
        time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / self.period
    }

    fn code_of(&self, step: u64) -> String {
        let mac = hmac::sign(&self.key, &step.to_be_bytes());
        let mac = mac.as_ref();
        let offset = usize::from(mac[mac.len() - 1] & 15);
        let cut = mac[offset..offset + 4].iter().fold(0, |number, octet| number << 8 | u32::from(*octet));
        let code = (cut & 0x7fff_ffff) % 10_u32.pow(self.digits);
        format!("{code:0width$}", width = self.digits as usize)
    }
}

impl fmt::Debug for AuthenticatorApp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AuthenticatorApp").field("used", &self.used).finish_non_exhaustive()
    }
}

/// Decodes RFC 4648 section 6, without padding.
fn base32(text: &str) -> Option<Vec<u8>> {
    let (mut octets, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            letter @ b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        held = held << 5 | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            octets.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B; its keys are the digits 1 to 0, as often as the hash is long.
    #[test]
    fn codes_are_those_of_the_standard() {
        let twenty = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let thirty_two = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA";
        for (algorithm, secret, time, code) in [
            ("SHA1", twenty, 59, "94287082"),
            ("SHA1", twenty, 20_000_000_000, "65353130"),
            ("SHA256", thirty_two, 59, "46119246"),
            ("SHA256", thirty_two, 1_111_111_109, "68084774"),
        ] {
            let uri = format!("otpauth://totp/a:b?secret={secret}&algorithm={algorithm}&digits=8&issuer=a");
            let app = AuthenticatorApp::scan(&uri).unwrap();
            assert_eq!(app.code_at(UNIX_EPOCH + Duration::from_secs(time)), code);
        }
    }

    #[test]
    fn what_is_no_app_s_code_is_not_scanned() {
        for uri in ["", "https://x/?secret=GEZA", "otpauth://totp/a?secret=1", "otpauth://totp/a", "otpauth://totp/a?"]
        {
            assert!(AuthenticatorApp::scan(uri).is_err(), "{uri}");
        }
        assert!(AuthenticatorApp::scan("otpauth://totp/a?secret=GEZA&period=0").is_err());
    }
}
