"""TokenService: grants in, outcomes out."""

from collections.abc import Callable, Iterable, Mapping
from typing import assert_never

from cofactor.v1 import tokens_pb2 as pb

from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.grants import (
    AnswerPending,
    Grant,
    MfaOobGrant,
    MfaOtpGrant,
    MfaRecoveryCodeGrant,
    MfaRequired,
    MfaWebAuthnGrant,
    Outcome,
    PasswordGrant,
    RefreshTokenGrant,
    Target,
    Tokens,
    VouchedGrant,
)
from cofactor_server.domain.parties.users import EnrollmentWay
from cofactor_server.domain.requests import Introspection, UserInfo
from cofactor_server.errors import MissingParameter, UnsupportedGrantType
from cofactor_server.rpc.convert import kinds
from cofactor_server.rpc.convert.fields import (
    CODE_LENGTH,
    ID_LENGTH,
    NAME,
    SCOPE,
    SECRET,
    TOKEN_LENGTH,
    VISIBLE,
    WORD,
    Fields,
    duration,
    instant,
    timestamp,
)
from cofactor_server.rpc.convert.public_keys import public_key_credential
from cofactor_server.seams import SECOND

USERNAME_LENGTH = 256
PASSWORD_OCTETS = 1_024
REALM_LENGTH = 64
SCOPE_LENGTH = 1_024
AUDIENCE_LENGTH = 512
SUBJECT_LENGTH = 256
ORIGIN_LENGTH = 256
LABEL_LENGTH = 256
METHODS = 8
METHOD_LENGTH = 16
RECOVERY_CODE_LENGTH = 64
REQUEST_ID_LENGTHS = range(16, 65)
ACR_VALUES = 8
ACR_LENGTH = 256
MAX_AGE = 10 * 366 * 86_400  # seconds

ENROLLMENT_WAYS = {
    EnrollmentWay.AT_LOGIN: pb.ENROLLMENT_WAY_AT_LOGIN,
    EnrollmentWay.TICKET: pb.ENROLLMENT_WAY_TICKET,
    EnrollmentWay.VOUCHED_LOGIN: pb.ENROLLMENT_WAY_VOUCHED_LOGIN,
    EnrollmentWay.NEW_LOGIN: pb.ENROLLMENT_WAY_NEW_LOGIN,
}
_JSON_WEB_KEY = tuple(field.name for field in pb.JsonWebKey.DESCRIPTOR.fields)


def issue(request: pb.IssueTokenRequest) -> tuple[Grant, str]:
    """Return the grant and the request_id.

    Raises:
        UnsupportedGrantType: No grant is set, or one that this version does not know.
        MissingParameter: A required field is empty.
        InvalidRequest: Fields are beyond their limits.
    """
    name = request.WhichOneof("grant")
    if name is None:
        raise UnsupportedGrantType
    fields = Fields()
    grant = _GRANTS[name](request, fields)
    request_id = fields.text("request_id", request.request_id, REQUEST_ID_LENGTHS[-1], VISIBLE)
    if request_id and len(request_id) < REQUEST_ID_LENGTHS[0]:
        fields.refuse("request_id", f"is shorter than {REQUEST_ID_LENGTHS[0]} characters")
    if request.remember_browser:
        if isinstance(grant, MfaOtpGrant | MfaOobGrant | MfaWebAuthnGrant):
            grant = replace(grant, remember=True)
        else:
            fields.refuse("remember_browser", "goes with a second factor, which a recovery code is not")
    fields.done()
    return grant, request_id


def token(request: pb.RevokeTokenRequest | pb.IntrospectTokenRequest) -> str:
    """Return the token that is to be revoked or asked about."""
    fields = Fields()
    value = fields.required("token", request.token, TOKEN_LENGTH, VISIBLE)
    fields.done()
    return value


def origin(request: pb.CheckOriginRequest) -> tuple[str, str]:
    """Return an origin, and the client that is asked about."""
    fields = Fields()
    value = fields.required("origin", request.origin, ORIGIN_LENGTH, VISIBLE)
    client_id = fields.text("client_id", request.client_id, ID_LENGTH, VISIBLE)
    fields.done()
    return value, client_id


def _password(request: pb.IssueTokenRequest, fields: Fields) -> Grant:
    grant = request.password
    username = fields.required("username", grant.username, USERNAME_LENGTH, NAME)
    password, target = _secret(fields, grant.password), token_target(grant.target, fields)
    return PasswordGrant(username, password, target=target, remember_token=_remember_token(grant, fields))


def _password_realm(request: pb.IssueTokenRequest, fields: Fields) -> Grant:
    grant = request.password_realm
    username = fields.required("username", grant.username, USERNAME_LENGTH, NAME)
    password = _secret(fields, grant.password)
    realm = fields.required("realm", grant.realm, REALM_LENGTH, NAME)
    target, remember_token = token_target(grant.target, fields), _remember_token(grant, fields)
    return PasswordGrant(username, password, realm, target, by_realm=True, remember_token=remember_token)


def _refresh_token(request: pb.IssueTokenRequest, fields: Fields) -> Grant:
    grant = request.refresh_token
    refresh_token = fields.required("refresh_token", grant.refresh_token, TOKEN_LENGTH, VISIBLE)
    return RefreshTokenGrant(refresh_token, token_target(grant.target, fields))


def _mfa_otp(request: pb.IssueTokenRequest, fields: Fields) -> Grant:
    grant = request.mfa_otp
    return MfaOtpGrant(
        fields.required("mfa_token", grant.mfa_token, TOKEN_LENGTH, VISIBLE),
        fields.required("otp", grant.otp, CODE_LENGTH, NAME),
        fields.text("authenticator_id", grant.authenticator_id, ID_LENGTH, VISIBLE),
    )


def _mfa_oob(request: pb.IssueTokenRequest, fields: Fields) -> Grant:
    grant = request.mfa_oob
    return MfaOobGrant(
        fields.required("mfa_token", grant.mfa_token, TOKEN_LENGTH, VISIBLE),
        fields.required("oob_code", grant.oob_code, TOKEN_LENGTH, VISIBLE),
        fields.text("binding_code", grant.binding_code, CODE_LENGTH, NAME),
    )


def _mfa_recovery_code(request: pb.IssueTokenRequest, fields: Fields) -> Grant:
    grant = request.mfa_recovery_code
    return MfaRecoveryCodeGrant(
        fields.required("mfa_token", grant.mfa_token, TOKEN_LENGTH, VISIBLE),
        fields.required("recovery_code", grant.recovery_code, RECOVERY_CODE_LENGTH, NAME),
    )


def _mfa_webauthn(request: pb.IssueTokenRequest, fields: Fields) -> Grant:
    grant = request.mfa_webauthn
    mfa_token = fields.required("mfa_token", grant.mfa_token, TOKEN_LENGTH, VISIBLE)
    oob_code = fields.required("oob_code", grant.oob_code, TOKEN_LENGTH, VISIBLE)
    credential = public_key_credential(fields, grant.credential_json)
    return MfaWebAuthnGrant(mfa_token, oob_code, credential.id, credential.document)


def _vouched(request: pb.IssueTokenRequest, fields: Fields) -> Grant:
    grant = request.vouched
    realm = fields.required("realm", grant.realm, REALM_LENGTH, NAME)
    subject = fields.required("subject", grant.subject, SUBJECT_LENGTH, NAME)
    if not grant.methods:
        raise MissingParameter(parameter="methods")
    if len(grant.methods) > METHODS:
        fields.refuse("methods", f"has more than {METHODS} values")
    methods = tuple(fields.required("methods", method, METHOD_LENGTH, WORD) for method in grant.methods[:METHODS])
    if not grant.HasField("authenticate_time"):
        raise MissingParameter(parameter="authenticate_time")
    time = instant(fields, "authenticate_time", grant.authenticate_time)
    label = fields.text("label", grant.label, LABEL_LENGTH, NAME)
    target, remember_token = token_target(grant.target, fields), _remember_token(grant, fields)
    return VouchedGrant(realm, subject, methods, time, label, target, remember_token)


def _remember_token(grant: pb.PasswordGrant | pb.PasswordRealmGrant | pb.VouchedGrant, fields: Fields) -> str:
    return fields.text("remember_token", grant.remember_token, TOKEN_LENGTH, VISIBLE)


_GRANTS: Mapping[str, Callable[[pb.IssueTokenRequest, Fields], Grant]] = {
    "password": _password,
    "password_realm": _password_realm,
    "refresh_token": _refresh_token,
    "mfa_otp": _mfa_otp,
    "mfa_oob": _mfa_oob,
    "mfa_recovery_code": _mfa_recovery_code,
    "mfa_webauthn": _mfa_webauthn,
    "vouched": _vouched,
}


def token_target(target: pb.TokenTarget, fields: Fields) -> Target:
    """Return what tokens are to be for; note what is wrong with it."""
    scope = fields.text("scope", target.scope, SCOPE_LENGTH, SCOPE)
    audience = fields.text("audience", target.audience, AUDIENCE_LENGTH, VISIBLE)
    if not target.acr_values and not target.HasField("max_age"):
        return Target(scope, audience)
    if len(target.acr_values) > ACR_VALUES:
        fields.refuse("acr_values", f"has more than {ACR_VALUES} values")
    values = tuple(fields.text("acr_values", acr, ACR_LENGTH, VISIBLE) for acr in target.acr_values[:ACR_VALUES])
    return Target(scope, audience, tuple(filter(None, values)), _max_age(target, fields))


def _max_age(target: pb.TokenTarget, fields: Fields) -> int | None:
    if not target.HasField("max_age"):
        return None
    if target.max_age.nanos or not 0 <= target.max_age.seconds <= MAX_AGE:
        fields.refuse("max_age", f"is not a number of whole seconds from 0 to {MAX_AGE}")
        return None
    return target.max_age.seconds * SECOND


def _secret(fields: Fields, value: str) -> str:
    password = fields.required("password", value, PASSWORD_OCTETS, SECRET)
    if len(password) <= PASSWORD_OCTETS < len(password.encode()):
        fields.refuse("password", f"is longer than {PASSWORD_OCTETS} octets")
    return password


def outcome(value: Outcome) -> pb.IssueTokenResponse:
    """Return what became of the grant."""
    match value:
        case Tokens():
            answer = pb.IssueTokenResponse()
            tokens = answer.tokens  # filled where it is: a message that is made first is copied
            tokens.access_token = value.access_token
            tokens.token_type = "Bearer"
            tokens.expires_in.seconds = value.expires_in
            tokens.scope = value.scope
            tokens.id_token = value.id_token
            tokens.refresh_token = value.refresh_token
            tokens.recovery_code = value.recovery_code
            if value.remember_token:
                tokens.remember_token = value.remember_token
                tokens.remember_expire_time.CopyFrom(timestamp(value.remember_expires_at))
            return answer
        case MfaRequired():
            required = pb.MfaRequired(
                mfa_token=value.mfa_token,
                expire_time=timestamp(value.expires_at),
                recovery_code=value.recovery_code,
            )
            if value.enroll:
                required.enroll.CopyFrom(
                    pb.EnrollRequirement(
                        kinds=kinds.all_to_wire(value.kinds), way=ENROLLMENT_WAYS[value.way], contact=value.contact
                    )
                )
            else:
                required.challenge.CopyFrom(pb.ChallengeRequirement(kinds=kinds.all_to_wire(value.kinds)))
            return pb.IssueTokenResponse(mfa_required=required)
        case AnswerPending():
            return pb.IssueTokenResponse(answer_pending=pb.AnswerPending(poll_interval=duration(value.poll_interval)))
    assert_never(value)


def key_set(keys: Iterable[Mapping[str, str]]) -> pb.GetJsonWebKeySetResponse:
    """Return public keys, their known members only."""
    return pb.GetJsonWebKeySetResponse(
        keys=[pb.JsonWebKey(**{name: key[name] for name in _JSON_WEB_KEY if name in key}) for key in keys]
    )


def introspection(value: Introspection) -> pb.IntrospectTokenResponse:
    """Return what a token says; an inactive one says nothing."""
    if not value.active:
        return pb.IntrospectTokenResponse()
    return pb.IntrospectTokenResponse(
        active=True,
        iss=value.iss,
        sub=value.sub,
        aud=value.aud,
        client_id=value.client_id,
        scope=value.scope,
        jti=value.jti,
        token_type=value.token_type,
        iat=value.iat,
        exp=value.exp,
        auth_time=value.auth_time,
        acr=value.acr,
        amr=value.amr,
    )


def user_info(value: UserInfo) -> pb.GetUserInfoResponse:
    """Return who a user is."""
    return pb.GetUserInfoResponse(
        sub=value.sub,
        name=value.name,
        preferred_username=value.preferred_username,
        email=value.email,
        email_verified=value.email_verified if value.email else None,
    )
