"""Every error that a caller can receive, and the one table of how each edge presents it (W8)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

DOMAIN = "cofactor.v1"
"""`google.rpc.ErrorInfo.domain` of every error."""


@dataclass(frozen=True, slots=True)
class Row:
    """The presentation of one reason.

    `grpc` is the name of a `grpc.StatusCode`, `http` the status of the REST edge, `oauth` its `error` member. `text` is
    both the gRPC message and `error_description`; names in braces are filled from the error's metadata.
    """

    grpc: str
    http: int
    oauth: str
    text: str


class Quota(NamedTuple):
    """The state of a rate limit, as shown to the caller that it counts."""

    name: str
    """The budget's name, such as `failed-codes`; docs/limits.md lists all of them."""
    limit: int
    remaining: int
    resets_at: int
    """The time at which one more is regained, in seconds since the Unix epoch."""


class CofactorError(Exception):
    """A refusal that the caller receives. Each reason is a subclass; this class itself is never raised.

    Args:
        retry_after: Seconds after which a retry makes sense; None if waiting does not help.
        quota: The budget that counted this call, or that is exhausted.
        violations: Pairs of field name and what is wrong with it, for malformed requests.
        metadata: Fills the row's text, and goes into `google.rpc.ErrorInfo.metadata`. Never a secret.
    """

    reason: ClassVar[str] = ""

    def __init__(
        self,
        *,
        retry_after: float | None = None,
        quota: Quota | None = None,
        violations: tuple[tuple[str, str], ...] = (),
        **metadata: str,
    ) -> None:
        self.retry_after = retry_after
        self.quota = quota
        self.violations = violations
        self.metadata: Mapping[str, str] = metadata
        super().__init__(text(self.reason, metadata))


class InvalidRequest(CofactorError):
    """The request is malformed."""

    reason = "INVALID_REQUEST"


class MissingParameter(CofactorError):
    """A required field is absent or empty; `parameter` names it."""

    reason = "MISSING_PARAMETER"


class UnsupportedGrantType(CofactorError):
    """The grant is unknown or not set."""

    reason = "UNSUPPORTED_GRANT_TYPE"


class InvalidClient(CofactorError):
    """The client is unknown or failed to authenticate."""

    reason = "INVALID_CLIENT"


class UnauthorizedClient(CofactorError):
    """The client was not given `grant_type`."""

    reason = "UNAUTHORIZED_CLIENT"


class CallerNotAllowed(CofactorError):
    """The credentials are valid and do not allow this call."""

    reason = "CALLER_NOT_ALLOWED"


class InvalidCredentials(CofactorError):
    """Unknown user or wrong password."""

    reason = "INVALID_CREDENTIALS"


class UserBlocked(CofactorError):
    """The password is right and the user is blocked."""

    reason = "USER_BLOCKED"


class TooManyAttempts(CofactorError):
    """Too many failed logins for this name."""

    reason = "TOO_MANY_ATTEMPTS"


class TooManyRequests(CofactorError):
    """The server accepts no more calls for now; nothing was decided."""

    reason = "TOO_MANY_REQUESTS"


class RealmUnknown(CofactorError):
    """The realm is unknown, or not the client's."""

    reason = "REALM_UNKNOWN"


class AudienceNotAllowed(CofactorError):
    """The audience is not one of the client's."""

    reason = "AUDIENCE_NOT_ALLOWED"


class InvalidScope(CofactorError):
    """The scope contains a value that the grant does not allow."""

    reason = "INVALID_SCOPE"


class MfaTokenMalformed(CofactorError):
    """The mfa_token can't be opened."""

    reason = "MFA_TOKEN_MALFORMED"


class MfaTokenExpired(CofactorError):
    """The mfa_token has expired."""

    reason = "MFA_TOKEN_EXPIRED"


class MfaTokenStale(CofactorError):
    """The mfa_token was used, or the user changed since."""

    reason = "MFA_TOKEN_STALE"


class MfaTokenForeign(CofactorError):
    """The mfa_token belongs to another client."""

    reason = "MFA_TOKEN_FOREIGN"


class BearerInvalid(CofactorError):
    """The bearer token is not valid here."""

    reason = "BEARER_INVALID"


class BearerMissing(CofactorError):
    """A bearer token is required."""

    reason = "BEARER_MISSING"


class OperatorTokenExpired(CofactorError):
    """The operator's token has expired."""

    reason = "OPERATOR_TOKEN_EXPIRED"


class InsufficientScope(CofactorError):
    """The access token has none of `scopes`."""

    reason = "INSUFFICIENT_SCOPE"


class InsufficientAuthentication(CofactorError):
    """Changing authenticators needs a stronger authentication than the token shows."""

    reason = "INSUFFICIENT_AUTHENTICATION"


class AlreadyEnrolled(CofactorError):
    """An enrolled user adds authenticators only after a second factor."""

    reason = "ALREADY_ENROLLED"


class NotEnrolled(CofactorError):
    """The user has no authenticator that could answer."""

    reason = "NOT_ENROLLED"


class AssociationRequired(CofactorError):
    """A challenge was requested and the user is not enrolled; this login may enroll."""

    reason = "ASSOCIATION_REQUIRED"


class ChallengeTypeUnsupported(CofactorError):
    """No authenticator answers the requested types; `explanation` lists the requested and the existing ones."""

    reason = "CHALLENGE_TYPE_UNSUPPORTED"


class AuthenticatorTypeUnsupported(CofactorError):
    """The kind of authenticator is unknown."""

    reason = "AUTHENTICATOR_TYPE_UNSUPPORTED"


class FactorRetired(CofactorError):
    """The kind of authenticator was retired: `kind` names it, `alternative` the kind to enroll instead."""

    reason = "FACTOR_RETIRED"


class FactorDisabled(CofactorError):
    """The kind of authenticator is switched off."""

    reason = "FACTOR_DISABLED"


class AuthenticatorNotFound(CofactorError):
    """The user has no such authenticator."""

    reason = "AUTHENTICATOR_NOT_FOUND"


class AuthenticatorUndeletable(CofactorError):
    """A verified profile address can't be removed."""

    reason = "AUTHENTICATOR_UNDELETABLE"


class EnrollmentNotAllowed(CofactorError):
    """This user enrolls by ticket or by a vouched login only; the metadata is that of `EnrollmentByTicketOnly`."""

    reason = "ENROLLMENT_NOT_ALLOWED"


class EnrollmentByTicketOnly(CofactorError):
    """This user enrolls by ticket only; `whom` describes who can help, with `contact` if the operator set one."""

    reason = "ENROLLMENT_BY_TICKET_ONLY"


class EnrollmentNeedsLogin(CofactorError):
    """This login began with a refresh token, which can't enroll authenticators."""

    reason = "ENROLLMENT_NEEDS_LOGIN"


class LastAuthenticator(CofactorError):
    """It is the last authenticator that the user enrolled, and the last one must stay."""

    reason = "LAST_AUTHENTICATOR"


class TooManyAuthenticators(CofactorError):
    """The user has the maximum number of authenticators that answer with a code."""

    reason = "TOO_MANY_AUTHENTICATORS"


class AuthenticatorRegistered(CofactorError):
    """The security key, passkey or device is registered already, for this user or another."""

    reason = "AUTHENTICATOR_REGISTERED"


class InvalidOtp(CofactorError):
    """The one-time password is wrong or used; `hint` may be `check_clock` or `resynchronize`."""

    reason = "INVALID_OTP"


class InvalidBindingCode(CofactorError):
    """The binding code is wrong."""

    reason = "INVALID_BINDING_CODE"


class InvalidRecoveryCode(CofactorError):
    """The recovery code is wrong."""

    reason = "INVALID_RECOVERY_CODE"


class InvalidPublicKeyCredential(CofactorError):
    """The credential failed verification; `hint` may be `check_origin` or `user_verification_required`."""

    reason = "INVALID_PUBLIC_KEY_CREDENTIAL"


class RecoveryCodeAbsent(CofactorError):
    """The user has no recovery code."""

    reason = "RECOVERY_CODE_ABSENT"


class TooManyFailedCodes(CofactorError):
    """The budget for failed codes is exhausted; the code was not verified."""

    reason = "TOO_MANY_FAILED_CODES"


class OobCodeMalformed(CofactorError):
    """The oob_code can't be opened, or belongs to another login."""

    reason = "OOB_CODE_MALFORMED"


class OobCodeExpired(CofactorError):
    """The challenge has expired or was redeemed."""

    reason = "OOB_CODE_EXPIRED"


class BindingCodeRequired(CofactorError):
    """This challenge is answered with a binding code."""

    reason = "BINDING_CODE_REQUIRED"


class ChallengeDenied(CofactorError):
    """The user denied the challenge."""

    reason = "CHALLENGE_DENIED"


class SlowDown(CofactorError):
    """The client polled faster than the interval."""

    reason = "SLOW_DOWN"


class TooManyMessages(CofactorError):
    """The rate limit for messages is exhausted."""

    reason = "TOO_MANY_MESSAGES"


class PhoneNumberInvalid(CofactorError):
    """The phone number is not a valid E.164 number."""

    reason = "PHONE_NUMBER_INVALID"


class PairingNotFound(CofactorError):
    """No enrollment is pending for this pairing secret."""

    reason = "PAIRING_NOT_FOUND"


class DeviceInvalid(CofactorError):
    """The device is unknown or removed, or its statement is not signed by it, or was used before."""

    reason = "DEVICE_INVALID"


class TicketInvalid(CofactorError):
    """The enrollment ticket is unknown, used, expired, or older than its user's last change."""

    reason = "TICKET_INVALID"


class EnrollmentGone(CofactorError):
    """No enrollment of this ticket is pending for this answer."""

    reason = "ENROLLMENT_GONE"


class TransactionNotFound(CofactorError):
    """No prompt is pending for this transaction token."""

    reason = "TRANSACTION_NOT_FOUND"


class TransactionExpired(CofactorError):
    """The prompt has expired."""

    reason = "TRANSACTION_EXPIRED"


class UnmetAuthenticationRequirements(CofactorError):
    """The user can't reach the required authentication."""

    reason = "UNMET_AUTHENTICATION_REQUIREMENTS"


class AnotherKindRequired(CofactorError):
    """The login needs a factor of another kind."""

    reason = "ANOTHER_KIND_REQUIRED"


class RefreshTokenInvalid(CofactorError):
    """The refresh token is unknown, expired, revoked or used."""

    reason = "REFRESH_TOKEN_INVALID"


class RefreshTokenOrphaned(CofactorError):
    """The refresh token's user no longer exists."""

    reason = "REFRESH_TOKEN_ORPHANED"


class VouchRefused(CofactorError):
    """The client's statement about a first factor is not accepted."""

    reason = "VOUCH_REFUSED"


class LoginDenied(CofactorError):
    """The first factor was right, and the operator's decision hook denied the login."""

    reason = "LOGIN_DENIED"


class RequestIdReused(CofactorError):
    """The request_id was used for another request."""

    reason = "REQUEST_ID_REUSED"


class AccessTokenInvalid(CofactorError):
    """The access token is invalid for user info."""

    reason = "ACCESS_TOKEN_INVALID"


class NotFound(CofactorError):
    """The resource does not exist."""

    reason = "NOT_FOUND"


class MethodNotAllowed(CofactorError):
    """The HTTP method is not served here."""

    reason = "METHOD_NOT_ALLOWED"


class RequestTooLarge(CofactorError):
    """The body is larger than the server reads."""

    reason = "REQUEST_TOO_LARGE"


class DeliveryFailed(CofactorError):
    """The message was not sent, or its delivery is unknown; what needed it is withdrawn, and may be requested again."""

    reason = "DELIVERY_FAILED"


class DestinationRefused(CofactorError):
    """The delivery provider reports that this number, address or device can't receive messages."""

    reason = "DESTINATION_REFUSED"


class Unavailable(CofactorError):
    """A dependency of the server is unavailable."""

    reason = "UNAVAILABLE"


class Unimplemented(CofactorError):
    """The call is declared, and this version does not serve it."""

    reason = "UNIMPLEMENTED"


class Internal(CofactorError):
    """A fault in the server."""

    reason = "INTERNAL"


class DeadlineExceeded(CofactorError):
    """The deadline passed before anything was decided."""

    reason = "DEADLINE_EXCEEDED"


_UNENROLLED = "User is not enrolled. You can use /mfa/associate endpoint to enroll the first authenticator."

TABLE: Mapping[str, Row] = {
    # Requests
    "INVALID_REQUEST": Row("INVALID_ARGUMENT", 400, "invalid_request", "The request is malformed."),
    "MISSING_PARAMETER": Row("INVALID_ARGUMENT", 400, "invalid_request", "Missing required parameter: {parameter}"),
    "UNSUPPORTED_GRANT_TYPE": Row("INVALID_ARGUMENT", 400, "unsupported_grant_type", "The grant type is unknown."),
    "INVALID_SCOPE": Row("INVALID_ARGUMENT", 400, "invalid_scope", "The scope is not allowed for this grant."),
    "REALM_UNKNOWN": Row("INVALID_ARGUMENT", 400, "invalid_request", "The realm is unknown."),
    "AUDIENCE_NOT_ALLOWED": Row(
        "PERMISSION_DENIED", 403, "access_denied", "The audience is not allowed for the client."
    ),
    "REQUEST_ID_REUSED": Row(
        "INVALID_ARGUMENT", 400, "invalid_request", "The request_id was used for a different request."
    ),
    "REQUEST_TOO_LARGE": Row("RESOURCE_EXHAUSTED", 413, "invalid_request", "The request body is too large."),
    "NOT_FOUND": Row("NOT_FOUND", 404, "not_found", "There is nothing here."),
    "METHOD_NOT_ALLOWED": Row("UNIMPLEMENTED", 405, "invalid_request", "The method is not allowed here."),
    # Clients and first factors
    "INVALID_CLIENT": Row("UNAUTHENTICATED", 401, "invalid_client", "Client authentication failed."),
    "UNAUTHORIZED_CLIENT": Row(
        "PERMISSION_DENIED", 403, "unauthorized_client", "Grant type '{grant_type}' not allowed for the client."
    ),
    "CALLER_NOT_ALLOWED": Row("PERMISSION_DENIED", 403, "access_denied", "The caller may not do this."),
    "INVALID_CREDENTIALS": Row("UNAUTHENTICATED", 403, "invalid_grant", "Wrong email or password."),
    "USER_BLOCKED": Row("PERMISSION_DENIED", 401, "unauthorized", "user is blocked"),
    "TOO_MANY_ATTEMPTS": Row(
        "RESOURCE_EXHAUSTED",
        429,
        "too_many_attempts",
        "Your account has been blocked after multiple consecutive login attempts. Try again later.",
    ),
    "TOO_MANY_REQUESTS": Row("RESOURCE_EXHAUSTED", 429, "too_many_requests", "Rate limit exceeded."),
    "LOGIN_DENIED": Row("PERMISSION_DENIED", 403, "access_denied", "The login is denied."),
    "VOUCH_REFUSED": Row("PERMISSION_DENIED", 403, "access_denied", "The vouched login is not accepted: {explanation}"),
    # Tokens of a login in progress
    "MFA_REQUIRED": Row("FAILED_PRECONDITION", 403, "mfa_required", "Multifactor authentication required"),
    "MFA_TOKEN_MALFORMED": Row("UNAUTHENTICATED", 403, "invalid_grant", "Malformed mfa_token"),
    "MFA_TOKEN_EXPIRED": Row("UNAUTHENTICATED", 401, "expired_token", "mfa_token is expired"),
    "MFA_TOKEN_STALE": Row("UNAUTHENTICATED", 403, "expired_token", "mfa_token is invalid"),
    "MFA_TOKEN_FOREIGN": Row("PERMISSION_DENIED", 400, "invalid_request", "mfa_token not issued to this client"),
    "BEARER_INVALID": Row(
        "UNAUTHENTICATED", 401, "invalid_grant", "The mfa_token provided is invalid. Try getting a new token."
    ),
    "ACCESS_TOKEN_INVALID": Row(
        "UNAUTHENTICATED", 401, "invalid_token", "The access token is invalid, expired or revoked."
    ),
    "BEARER_MISSING": Row("UNAUTHENTICATED", 401, "access_denied", "Unauthorized"),
    "OPERATOR_TOKEN_EXPIRED": Row(
        "UNAUTHENTICATED", 401, "invalid_token", "Expired token received for JSON Web Token validation"
    ),
    "INSUFFICIENT_SCOPE": Row(
        "PERMISSION_DENIED", 403, "insufficient_scope", "Insufficient scope, expected any of: {scopes}"
    ),
    "INSUFFICIENT_AUTHENTICATION": Row(
        "PERMISSION_DENIED", 403, "access_denied", "A stronger authentication is needed to change authenticators."
    ),
    "UNMET_AUTHENTICATION_REQUIREMENTS": Row(
        "FAILED_PRECONDITION",
        403,
        "unmet_authentication_requirements",
        "The requested authentication cannot be reached.",
    ),
    "ANOTHER_KIND_REQUIRED": Row("FAILED_PRECONDITION", 403, "invalid_grant", "Another kind of factor is needed."),
    # Authenticators
    "ALREADY_ENROLLED": Row("FAILED_PRECONDITION", 403, "access_denied", "User is already enrolled."),
    "NOT_ENROLLED": Row("FAILED_PRECONDITION", 401, "unsupported_challenge_type", _UNENROLLED),
    "ASSOCIATION_REQUIRED": Row("FAILED_PRECONDITION", 401, "association_required", _UNENROLLED),
    "CHALLENGE_TYPE_UNSUPPORTED": Row("FAILED_PRECONDITION", 401, "unsupported_challenge_type", "{explanation}"),
    "AUTHENTICATOR_TYPE_UNSUPPORTED": Row(
        "INVALID_ARGUMENT", 400, "unsupported_authenticator_type", "The authenticator type is unknown."
    ),
    "FACTOR_RETIRED": Row(
        "INVALID_ARGUMENT",
        400,
        "unsupported_authenticator_type",
        "Authenticators of the kind {kind} are not served any more. Enroll {alternative} instead.",
    ),
    "FACTOR_DISABLED": Row(
        "FAILED_PRECONDITION", 400, "unsupported_challenge_type", "This kind of authenticator is not available here."
    ),
    "AUTHENTICATOR_NOT_FOUND": Row("NOT_FOUND", 404, "invalid_authenticator", "Authenticator not found"),
    "AUTHENTICATOR_UNDELETABLE": Row(
        "FAILED_PRECONDITION", 400, "invalid_request", "A verified profile address cannot be removed."
    ),
    "ENROLLMENT_NOT_ALLOWED": Row(
        "FAILED_PRECONDITION",
        403,
        "access_denied",
        "The first authenticator is enrolled in a login that a trusted application vouches for, or with a ticket. "
        "Ask {whom}.",
    ),
    "ENROLLMENT_BY_TICKET_ONLY": Row(
        "FAILED_PRECONDITION",
        403,
        "access_denied",
        "The first authenticator is enrolled with a ticket only. Ask {whom} for one.",
    ),
    "ENROLLMENT_NEEDS_LOGIN": Row(
        "FAILED_PRECONDITION",
        403,
        "access_denied",
        "A refresh token enrolls no authenticator. Log in again to enroll the first one.",
    ),
    "LAST_AUTHENTICATOR": Row(
        "FAILED_PRECONDITION",
        403,
        "access_denied",
        "The last authenticator is kept. Enroll another one first, then remove this one.",
    ),
    "TOO_MANY_AUTHENTICATORS": Row(
        "FAILED_PRECONDITION", 400, "invalid_request", "No more authenticators of this kind can be added."
    ),
    "AUTHENTICATOR_REGISTERED": Row(
        "ALREADY_EXISTS", 409, "invalid_request", "This security key, passkey or device is registered already."
    ),
    "PHONE_NUMBER_INVALID": Row("INVALID_ARGUMENT", 400, "invalid_request", "The phone number is invalid."),
    # Devices
    "PAIRING_NOT_FOUND": Row("NOT_FOUND", 404, "pairing_not_found", "No enrollment waits for this device."),
    "DEVICE_INVALID": Row("UNAUTHENTICATED", 401, "invalid_device", "The device is unknown or its signature is wrong."),
    "TRANSACTION_NOT_FOUND": Row("NOT_FOUND", 404, "transaction_not_found", "No prompt waits for this answer."),
    "TRANSACTION_EXPIRED": Row("FAILED_PRECONDITION", 403, "transaction_expired", "The prompt's time is over."),
    # Enrollment by ticket
    "TICKET_INVALID": Row("UNAUTHENTICATED", 403, "invalid_ticket", "The ticket is invalid, used or expired."),
    "ENROLLMENT_GONE": Row(
        "NOT_FOUND", 404, "enrollment_not_found", "No enrollment waits for this answer. Begin another."
    ),
    # Proofs
    "INVALID_OTP": Row("UNAUTHENTICATED", 403, "invalid_grant", "Invalid otp_code."),
    "INVALID_BINDING_CODE": Row("UNAUTHENTICATED", 403, "invalid_grant", "Invalid binding_code."),
    "INVALID_RECOVERY_CODE": Row("UNAUTHENTICATED", 403, "invalid_grant", "MFA Authorization rejected."),
    "INVALID_PUBLIC_KEY_CREDENTIAL": Row("UNAUTHENTICATED", 403, "invalid_grant", "Invalid credential."),
    "RECOVERY_CODE_ABSENT": Row(
        "FAILED_PRECONDITION", 403, "unsupported_challenge_type", "User does not have a recovery-code."
    ),
    "TOO_MANY_FAILED_CODES": Row(
        "RESOURCE_EXHAUSTED",
        400,
        "invalid_request",
        "Too many failed codes. Wait for some minutes before retrying.",
    ),
    "TOO_MANY_MESSAGES": Row(
        "RESOURCE_EXHAUSTED",
        400,
        "invalid_request",
        "Too many SMS sent by the user. Wait for some minutes before retrying.",
    ),
    # Messages
    "DELIVERY_FAILED": Row(
        "UNAVAILABLE",
        503,
        "temporarily_unavailable",
        "The message could not be sent. Try again, or use another authenticator.",
    ),
    "DESTINATION_REFUSED": Row(
        "FAILED_PRECONDITION", 400, "invalid_request", "Messages do not reach this number, address or device."
    ),
    # Challenges
    "OOB_CODE_MALFORMED": Row("INVALID_ARGUMENT", 403, "invalid_grant", "Malformed oob_code"),
    "OOB_CODE_EXPIRED": Row("FAILED_PRECONDITION", 403, "expired_token", "oob_code is expired"),
    "BINDING_CODE_REQUIRED": Row("INVALID_ARGUMENT", 400, "invalid_request", "binding_code is required"),
    "CHALLENGE_DENIED": Row("PERMISSION_DENIED", 400, "access_denied", "MFA Authorization rejected."),
    "AUTHORIZATION_PENDING": Row(
        "FAILED_PRECONDITION",
        400,
        "authorization_pending",
        "Authorization pending: please repeat the request in a few seconds.",
    ),
    "SLOW_DOWN": Row(
        "RESOURCE_EXHAUSTED",
        429,
        "slow_down",
        "You are polling faster than allowed. Try again in {seconds} seconds.",
    ),
    # Refresh tokens
    "REFRESH_TOKEN_INVALID": Row("UNAUTHENTICATED", 403, "invalid_grant", "Unknown or invalid refresh token."),
    "REFRESH_TOKEN_ORPHANED": Row(
        "UNAUTHENTICATED",
        403,
        "invalid_grant",
        "The refresh_token was generated for a user who doesn't exist anymore.",
    ),
    # The server itself
    "UNAVAILABLE": Row("UNAVAILABLE", 503, "temporarily_unavailable", "The service is temporarily unavailable."),
    "UNIMPLEMENTED": Row("UNIMPLEMENTED", 501, "unsupported", "This version does not serve this call."),
    "INTERNAL": Row("INTERNAL", 500, "server_error", "Internal error."),
    "DEADLINE_EXCEEDED": Row(
        "DEADLINE_EXCEEDED", 504, "temporarily_unavailable", "The deadline passed before anything was decided."
    ),
}


def text(reason: str, metadata: Mapping[str, str]) -> str:
    """Return the text that both edges show for `reason`."""
    return TABLE[reason].text.format_map(metadata)
