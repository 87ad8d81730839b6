//! Generates the stubs from `protos/`, by the protoc that `PROTOC` names or that is on the PATH.
//!
//! `protos` is a link to the repository's folder; `cargo package` puts the files it leads to into the crate.

use std::path::PathBuf;
use std::{env, io};

const FILES: [&str; 8] = [
    "cofactor/v1/authenticators.proto",
    "cofactor/v1/challenges.proto",
    "cofactor/v1/errors.proto",
    "cofactor/v1/guardian.proto",
    "cofactor/v1/policies.proto",
    "cofactor/v1/tokens.proto",
    "cofactor/testing/v1/clock.proto",
    "cofactor/testing/v1/outbox.proto",
];

/// Messages with a secret of their own, which do not print it; `src/redacted.rs` says what they print instead.
const SECRET: [&str; 33] = [
    "AnswerChallengeRequest",
    "CreateChallengeResponse",
    "CreateDeviceNonceResponse",
    "DeleteDeviceAccountRequest",
    "DevicePairing",
    "DevicePrompt",
    "DeviceTotp",
    "EnrollAuthenticatorResponse",
    "EnrollDeviceAccountRequest",
    "EnrollDeviceAccountResponse",
    "GetRichConsentRequest",
    "IntrospectTokenRequest",
    "MfaOobGrant",
    "MfaOtpGrant",
    "MfaRecoveryCodeGrant",
    "MfaRequired",
    "MfaWebAuthnGrant",
    "OobEnrollment",
    "OtpSecret",
    "PairDeviceRequest",
    "PasswordGrant",
    "PasswordRealmGrant",
    "PushCredentials",
    "RefreshTokenGrant",
    "ResolveTransactionRequest",
    "RevokeTokenRequest",
    "SignedAnswer",
    "SignedStatement",
    "Tokens",
    "UpdateDeviceAccountRequest",
    "VouchedGrant",
    "WatchChallengeRequest",
    "WebAuthnCreation",
];

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .file_descriptor_set_path(out.join("cofactor.bin"))
        .skip_debug(SECRET.map(|name| format!(".cofactor.v1.{name}")))
        .compile_protos(&FILES.map(|file| format!("protos/{file}")), &["protos".to_owned()])
}
