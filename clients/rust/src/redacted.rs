//! How messages with a secret print: without it, since logs keep what is printed.
//!
//! `build.rs` has their derived `Debug` left out, so one that is missing on either side does not compile.

use std::fmt;

use crate::v1;

macro_rules! redacted {
    ($($message:ident { $($shown:ident),* })*) => {
        $(impl fmt::Debug for v1::$message {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.debug_struct(stringify!($message))
                    $(.field(stringify!($shown), &self.$shown))*
                    .finish_non_exhaustive()
            }
        })*

        #[cfg(test)]
        const NAMES: &[&str] = &[$(stringify!($message)),*];
        #[cfg(test)]
        const SHOWN: &[(&str, &str)] = &[$($((stringify!($message), stringify!($shown)),)*)*];
    };
}

redacted! {
    AnswerChallengeRequest { challenge_id }
    CreateChallengeResponse { challenge_type, authenticator_id, prompt, expire_time }
    CreateDeviceNonceResponse { expire_time }
    DeleteDeviceAccountRequest { id }
    DevicePairing {}
    DevicePrompt { poll_interval }
    DeviceTotp { algorithm, digits, period_seconds }
    EnrollAuthenticatorResponse { authenticator, enrollment }
    EnrollDeviceAccountRequest { identifier, name, push_credentials, public_key }
    EnrollDeviceAccountResponse { id, url, issuer_label, user_id }
    GetRichConsentRequest { id }
    IntrospectTokenRequest {}
    MfaOobGrant {}
    MfaOtpGrant { authenticator_id }
    MfaRecoveryCodeGrant {}
    MfaRequired { expire_time, requirement }
    MfaWebAuthnGrant {}
    OobEnrollment { risk_notice }
    OtpSecret {}
    PairDeviceRequest {}
    PasswordGrant { username, target }
    PasswordRealmGrant { username, realm, target }
    PushCredentials { service }
    RefreshTokenGrant { target }
    ResolveTransactionRequest {}
    RevokeTokenRequest {}
    SignedAnswer {}
    SignedStatement {}
    Tokens { token_type, expires_in, scope, remember_expire_time }
    UpdateDeviceAccountRequest { account, update_mask }
    VouchedGrant { realm, subject, methods, authenticate_time, label, target }
    WatchChallengeRequest {}
    WebAuthnCreation {}
}

macro_rules! choices {
    ($($module:ident::$choice:ident { $($variant:ident),* })*) => {
        $(impl fmt::Debug for v1::$module::$choice {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(chosen) => out.debug_tuple(stringify!($variant)).field(chosen).finish(),)*
                }
            }
        })*
    };
}

// A message without a derived `Debug` leaves its choices without one, too. What these hold redacts itself.
choices! {
    create_challenge_response::Prompt { Code, Device, Webauthn }
    enroll_authenticator_response::Enrollment { OtpSecret, Oob, Pairing, Webauthn }
    mfa_required::Requirement { Challenge, Enroll }
}

impl fmt::Debug for v1::answer_challenge_request::Proof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Code(_) => "Code(..)",
            Self::Signed(_) => "Signed(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    /// What a field with a secret is called, in whole or at its end.
    const SECRETS: [&str; 18] = [
        "token",
        "tokens",
        "secret",
        "password",
        "otp",
        "oob_code",
        "binding_code",
        "recovery_code",
        "recovery_codes",
        "code",
        "payload",
        "signature",
        "nonce",
        "barcode_uri",
        "ticket",
        "credential_json",
        "challenge_response",
        "number",
    ];
    /// Fields of such a name that hold none: messages that redact themselves, choices between them, telephone numbers,
    /// and the count of tokens that ended with an authenticator.
    const NONE: [&str; 6] = [
        "IssueTokenRequest",
        "IssueTokenResponse",
        "SmsEnrollment",
        "VoiceEnrollment",
        "CreateChallengeResponse",
        "DeleteAuthenticatorResponse",
    ];

    #[test]
    fn no_message_with_a_secret_prints_it() {
        let pool = DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
        let mut found = 0;
        for message in pool.all_messages().filter(|message| message.package_name() == "cofactor.v1") {
            for field in message.fields().filter(|field| field.kind().as_message().is_none()) {
                let secret =
                    SECRETS.iter().any(|name| field.name() == *name || field.name().ends_with(&format!("_{name}")));
                if secret && !NONE.contains(&message.name()) {
                    found += 1;
                    assert!(NAMES.contains(&message.name()), "{} prints its {}", message.name(), field.name());
                    assert!(
                        !SHOWN.contains(&(message.name(), field.name())),
                        "{} shows its {}",
                        message.name(),
                        field.name()
                    );
                }
            }
        }
        assert!(found > 30, "{found}");
    }

    #[test]
    fn tokens_print_what_they_are_for_and_no_secret() {
        let tokens = v1::Tokens { access_token: "eyJ".into(), scope: "openid".into(), ..Default::default() };
        let printed = format!(
            "{:?}",
            v1::IssueTokenResponse { outcome: Some(v1::issue_token_response::Outcome::Tokens(tokens)) }
        );
        assert!(printed.contains("openid") && !printed.contains("eyJ"), "{printed}");
    }
}
