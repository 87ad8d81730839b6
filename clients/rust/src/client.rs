//! A client: the generated stubs, and the three things that are more than one call.

use std::fmt;
use std::time::Duration;

use tokio::time::sleep;
use tonic::{Code, Request};
use uuid::Uuid;

use crate::connecting::header;
use crate::transport::Transport;
use crate::v1::authenticator_service_client::AuthenticatorServiceClient;
use crate::v1::challenge_service_client::ChallengeServiceClient;
use crate::v1::issue_token_request::Grant;
use crate::v1::issue_token_response;
use crate::v1::token_service_client::TokenServiceClient;
use crate::v1::{
    AnswerPending, ErrorReason, IssueTokenRequest, MfaOobGrant, MfaOtpGrant, MfaRecoveryCodeGrant, MfaRequired,
    MfaWebAuthnGrant, PasswordGrant, PasswordRealmGrant, RefreshTokenGrant, Tokens, VouchedGrant,
};
use crate::{Error, Watch};

/// How long to wait between polls where the server has not said; RFC 8628 section 3.2.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How much longer to wait where polls come too fast and the server has not said; RFC 8628 section 3.5.
const SLOWER: Duration = Duration::from_secs(5);
/// The longest wait between polls; a challenge lives for five minutes.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// What became of a grant.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The login is complete.
    Tokens(Tokens),
    /// What was shown is accepted, and another factor is needed.
    MfaRequired(MfaRequired),
    /// The challenge is not answered yet; ask again after `poll_interval`.
    Pending(AnswerPending),
}

impl Outcome {
    /// The tokens, where the login is complete.
    pub fn tokens(self) -> Option<Tokens> {
        if let Self::Tokens(tokens) = self { Some(tokens) } else { None }
    }

    /// What is needed yet, where another factor is.
    pub fn mfa_required(self) -> Option<MfaRequired> {
        if let Self::MfaRequired(required) = self { Some(required) } else { None }
    }
}

/// A connection on behalf of one client. Clones share it, and are cheap.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
}

impl Client {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport }
    }

    /// Returns the same client with `authorization: Bearer <token>`: an mfa_token, or an access token.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: the token holds what no token does.
    pub fn bearer(&self, token: &str) -> Result<Self, Error> {
        let value = header(&format!("Bearer {token}"))?;
        Ok(Self::new(self.transport.with("authorization", value)))
    }

    /// What the generated stubs call through, for services that have no method here.
    pub fn transport(&self) -> Transport {
        self.transport.clone()
    }

    /// Grants, keys, revocation, introspection.
    pub fn tokens(&self) -> TokenServiceClient<Transport> {
        TokenServiceClient::new(self.transport())
    }

    /// Challenges; of a [`bearer`](Self::bearer).
    pub fn challenges(&self) -> ChallengeServiceClient<Transport> {
        ChallengeServiceClient::new(self.transport())
    }

    /// A user's authenticators; of a [`bearer`](Self::bearer).
    pub fn authenticators(&self) -> AuthenticatorServiceClient<Transport> {
        AuthenticatorServiceClient::new(self.transport())
    }

    /// Exchanges a grant. Takes the grant itself, or a whole [`IssueTokenRequest`], or that in a [`tonic::Request`] with
    /// a timeout of its own. An empty `request_id` is filled for grants that use something up, so that a repeat after a
    /// lost reply gets the same outcome.
    ///
    /// # Errors
    ///
    /// What the server refuses, such as `INVALID_OTP`; `Unavailable` after four attempts; `DeadlineExceeded`.
    pub async fn issue(&self, request: impl Into<Asked>) -> Result<Outcome, Error> {
        let Asked(mut request) = request.into();
        let message = request.get_mut();
        if message.request_id.is_empty() && uses_something_up(message) {
            message.request_id = Uuid::new_v4().to_string();
        }
        match self.tokens().issue_token(request).await?.into_inner().outcome {
            Some(issue_token_response::Outcome::Tokens(tokens)) => Ok(Outcome::Tokens(tokens)),
            Some(issue_token_response::Outcome::MfaRequired(required)) => Ok(Outcome::MfaRequired(required)),
            Some(issue_token_response::Outcome::AnswerPending(pending)) => Ok(Outcome::Pending(pending)),
            None => Err(Error::here(
                Code::Internal,
                "an outcome that this client does not know; is it older than the server?",
            )),
        }
    }

    /// Watches a challenge until it is approved or final.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: the token holds what no token does.
    pub fn watch(&self, mfa_token: &str, oob_code: impl Into<String>) -> Result<Watch, Error> {
        Ok(Watch::new(self.bearer(mfa_token)?, oob_code.into()))
    }

    /// Waits until a challenge is answered, and redeems it once: by watching, or by polling at the server's interval
    /// where it can't be watched. A code that the user typed needs no waiting: it is redeemed at once.
    ///
    /// Returns tokens, or what is needed yet where policy wants another factor.
    ///
    /// # Errors
    ///
    /// `CHALLENGE_DENIED`, `OOB_CODE_EXPIRED`, or whatever else ends the login.
    pub async fn await_tokens(
        &self,
        mfa_token: &str,
        oob_code: &str,
        binding_code: Option<&str>,
    ) -> Result<Outcome, Error> {
        if binding_code.is_none() {
            match self.watch(mfa_token, oob_code)?.ended().await {
                Err(error) if !polling_helps(&error) => return Err(error),
                _ => {} // the server says what the state comes to: tokens, or why not
            }
        }
        let grant = MfaOobGrant {
            mfa_token: mfa_token.to_owned(),
            oob_code: oob_code.to_owned(),
            binding_code: binding_code.unwrap_or_default().to_owned(),
        };
        self.poll(grant.into()).await
    }

    async fn poll(&self, mut request: IssueTokenRequest) -> Result<Outcome, Error> {
        request.request_id = Uuid::new_v4().to_string();
        let mut interval = POLL_INTERVAL;
        loop {
            match self.issue(request.clone()).await {
                Ok(Outcome::Pending(pending)) => {
                    let told = pending.poll_interval.and_then(|told| Duration::try_from(told).ok());
                    interval = told.unwrap_or(interval).max(Duration::from_secs(1));
                }
                Err(error) if error.is(ErrorReason::SlowDown) => {
                    interval = error.retry_delay().unwrap_or(interval + SLOWER);
                }
                // RFC 8628 section 3.5 asks for this where a connection times out.
                Err(error) if matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded) => {
                    interval = (interval * 2).min(LONGEST_INTERVAL);
                }
                other => return other,
            }
            sleep(interval).await;
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A grant that is asked for: see [`Client::issue`].
pub struct Asked(Request<IssueTokenRequest>);

impl From<Request<IssueTokenRequest>> for Asked {
    fn from(request: Request<IssueTokenRequest>) -> Self {
        Self(request)
    }
}

impl From<IssueTokenRequest> for Asked {
    fn from(message: IssueTokenRequest) -> Self {
        Self(Request::new(message))
    }
}

macro_rules! grants {
    ($($grant:ident($message:ident))*) => {
        $(
            impl From<$message> for IssueTokenRequest {
                fn from(grant: $message) -> Self {
                    Self { grant: Some(Grant::$grant(grant)), ..Default::default() }
                }
            }

            impl From<$message> for Asked {
                fn from(grant: $message) -> Self {
                    IssueTokenRequest::from(grant).into()
                }
            }
        )*
    };
}

grants! {
    Password(PasswordGrant)
    PasswordRealm(PasswordRealmGrant)
    RefreshToken(RefreshTokenGrant)
    MfaOtp(MfaOtpGrant)
    MfaOob(MfaOobGrant)
    MfaRecoveryCode(MfaRecoveryCodeGrant)
    MfaWebauthn(MfaWebAuthnGrant)
    Vouched(VouchedGrant)
}

fn uses_something_up(request: &IssueTokenRequest) -> bool {
    match request.grant {
        Some(Grant::Password(_) | Grant::PasswordRealm(_) | Grant::Vouched(_)) | None => false,
        Some(_) => true,
    }
}

/// Whether a watch failed so that polling may do: none is served here, too many watch already, or the token is an access
/// token for the MFA audience, which redeems what it enrolled and watches nothing.
fn polling_helps(error: &Error) -> bool {
    matches!(error.code(), Code::Unimplemented | Code::ResourceExhausted) || error.is(ErrorReason::MfaTokenMalformed)
}
