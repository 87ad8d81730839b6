//! Why a call failed: one type for what the server refuses and for what never reached it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::v1::ErrorReason;

/// `google.rpc.ErrorInfo.domain` of the server's refusals.
const DOMAIN: &str = "cofactor.v1";

/// A call that failed. Every [`tonic::Status`] of the generated stubs becomes one by `?`.
#[derive(Debug)]
pub struct Error(Box<Facts>);

#[derive(Debug)]
struct Facts {
    code: Code,
    reason: String,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<Violation>,
    retry_delay: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path, such as `vouched.subject`.
    pub field: String,
    /// What is wrong with it, in English.
    pub description: String,
}

impl Error {
    /// Returns an error of this side, which no server was asked about.
    pub(crate) fn here(code: Code, message: impl Into<String>) -> Self {
        Status::new(code, message).into()
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The gRPC code: `Unavailable` where the connection failed, `DeadlineExceeded` where time was over.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The name of an [`ErrorReason`] without its prefix, such as `INVALID_OTP`; a newer server may send one that this
    /// crate does not know. Empty where the server gave none.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The reason, where this crate knows it.
    pub fn known_reason(&self) -> Option<ErrorReason> {
        ErrorReason::from_str_name(&format!("ERROR_REASON_{}", self.0.reason))
    }

    /// Whether the server gave this reason.
    pub fn is(&self, reason: ErrorReason) -> bool {
        self.known_reason() == Some(reason)
    }

    /// A sentence in English, for logs and developers.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What else the server says of the reason, such as `hint`; never a secret.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// The fields that are wrong.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// After how long trying again makes sense, where waiting helps.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_delay
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let (reason, metadata) = details
            .error_info()
            .filter(|info| info.domain == DOMAIN)
            .map(|info| (info.reason.clone(), info.metadata.clone()))
            .unwrap_or_default();
        let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
        Self(Box::new(Facts {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
            metadata,
            violations: violations
                .iter()
                .map(|found| Violation { field: found.field.clone(), description: found.description.clone() })
                .collect(),
            retry_delay: details.retry_info().and_then(|info| info.retry_delay),
            source: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { code, reason, message, .. } = &*self.0;
        if reason.is_empty() { write!(out, "{code:?}: {message}") } else { write!(out, "{reason}: {message}") }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn refusal(reason: &str, domain: &str) -> Error {
        let mut details =
            ErrorDetails::with_error_info(reason, domain, HashMap::from([("hint".into(), "again".into())]));
        details.set_retry_info(Some(Duration::from_millis(1_500)));
        details.add_bad_request_violation("mfa_otp.otp", "six digits");
        Status::with_error_details(Code::InvalidArgument, "The code is wrong.", details).into()
    }

    #[test]
    fn what_the_server_says_is_found_again() {
        let error = refusal("INVALID_OTP", DOMAIN);

        assert_eq!((error.code(), error.reason()), (Code::InvalidArgument, "INVALID_OTP"));
        assert!(error.is(ErrorReason::InvalidOtp));
        assert_eq!(error.retry_delay(), Some(Duration::from_millis(1_500)));
        let wrong = Violation { field: "mfa_otp.otp".into(), description: "six digits".into() };
        assert_eq!(error.violations(), [wrong]);
        assert_eq!(error.metadata()["hint"], "again");
        assert_eq!(error.to_string(), "INVALID_OTP: The code is wrong.");
    }

    #[test]
    fn a_reason_of_a_newer_server_survives_as_text() {
        let error = refusal("MOON_IN_THE_WRONG_PHASE", DOMAIN);

        assert_eq!((error.reason(), error.known_reason()), ("MOON_IN_THE_WRONG_PHASE", None));
    }

    #[test]
    fn a_reason_of_somebody_elses_is_none_of_ours() {
        assert_eq!(refusal("INVALID_OTP", "proxy.example.com").reason(), "");
    }
}
