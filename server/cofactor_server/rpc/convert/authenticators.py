"""AuthenticatorService: what is to be enrolled, renamed or removed, and authenticators as the wire shows them."""

from collections.abc import Callable, Iterable, Mapping

from cofactor.v1 import authenticators_pb2 as pb

from cofactor_server.domain.authenticators import kinds as factor_kinds
from cofactor_server.domain.authenticators.authenticator import NAME_LENGTH, Authenticator, State
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.requests import Enrolled, EnrollmentRequest
from cofactor_server.errors import MissingParameter
from cofactor_server.rpc.convert import kinds
from cofactor_server.rpc.convert.fields import ID_LENGTH, NAME, VISIBLE, WORD, Fields, timestamp

PHONE_LENGTH = 32
EMAIL_LENGTH = 254  # RFC 5321 section 4.5.3.1.3, without the angle brackets
DESTINATION_LENGTH = 1_024
KIND_LENGTH = 64
RECOVERY_CODES = 10
PERIODS = range(15, 121)
TOTP_DIGITS = (6, 8)
HOTP_DIGITS = (6, 7, 8)
_RISK_NOTICE = (
    "Codes sent to a telephone can be read by whoever takes over its number or intercepts the message. "
    "An authenticator app or a security key is safer."
)

_ALGORITHMS: dict[int, str] = {
    pb.OTP_ALGORITHM_SHA1: "SHA1",
    pb.OTP_ALGORITHM_SHA256: "SHA256",
    pb.OTP_ALGORITHM_SHA512: "SHA512",
}
_STATES: dict[State, pb.AuthenticatorState.ValueType] = {  # a removed one is never shown
    State.PENDING: pb.AUTHENTICATOR_STATE_PENDING,
    State.ACTIVE: pb.AUTHENTICATOR_STATE_ACTIVE,
    State.DISABLED: pb.AUTHENTICATOR_STATE_DISABLED,
}


def enrollment_request(request: pb.EnrollAuthenticatorRequest) -> EnrollmentRequest:
    """Return what is to be enrolled.

    Raises:
        MissingParameter: Nothing is named, or a required field is empty.
        InvalidRequest: Fields are beyond their limits.
    """
    which = request.WhichOneof("authenticator")
    if which is None:
        raise MissingParameter(parameter="authenticator")
    fields = Fields()
    name = fields.text("name", request.name, NAME_LENGTH, NAME)
    kind, destination, options = _ENROLLMENTS[which](request, fields)
    fields.done()
    return EnrollmentRequest(kind, name, destination, options)


_Wanted = tuple[str, str, Mapping[str, str]]


def _totp(request: pb.EnrollAuthenticatorRequest, fields: Fields) -> _Wanted:
    options = _otp_options(request.totp, TOTP_DIGITS, fields)
    if period := request.totp.period_seconds:
        if period not in PERIODS:
            fields.refuse("period_seconds", f"is not between {PERIODS[0]} and {PERIODS[-1]}")
        options["period"] = str(period)
    return factor_kinds.TOTP, "", options


def _hotp(request: pb.EnrollAuthenticatorRequest, fields: Fields) -> _Wanted:
    return factor_kinds.HOTP, "", _otp_options(request.hotp, HOTP_DIGITS, fields)


def _otp_options(
    wanted: pb.TotpEnrollment | pb.HotpEnrollment, digits: tuple[int, ...], fields: Fields
) -> dict[str, str]:
    options = {}
    if wanted.algorithm:
        if wanted.algorithm not in _ALGORITHMS:
            fields.refuse("algorithm", f"is {wanted.algorithm}, which names no algorithm")
        options["algorithm"] = _ALGORITHMS.get(wanted.algorithm, "")
    if wanted.digits:
        if wanted.digits not in digits:
            fields.refuse("digits", f"is none of {', '.join(map(str, digits))}")
        options["digits"] = str(wanted.digits)
    return options


def _sms(request: pb.EnrollAuthenticatorRequest, fields: Fields) -> _Wanted:
    number = fields.required("phone_number", request.sms.phone_number, PHONE_LENGTH, VISIBLE)
    return factor_kinds.SMS, number, {}


def _voice(request: pb.EnrollAuthenticatorRequest, fields: Fields) -> _Wanted:
    number = fields.required("phone_number", request.voice.phone_number, PHONE_LENGTH, VISIBLE)
    return factor_kinds.VOICE, number, {}


def _email(request: pb.EnrollAuthenticatorRequest, fields: Fields) -> _Wanted:
    return factor_kinds.EMAIL, fields.text("email", request.email.email, EMAIL_LENGTH, NAME), {}


def _push(request: pb.EnrollAuthenticatorRequest, fields: Fields) -> _Wanted:  # noqa: ARG001 - nothing to say
    return factor_kinds.PUSH, "", {}


def _webauthn(request: pb.EnrollAuthenticatorRequest, fields: Fields) -> _Wanted:  # noqa: ARG001 - nothing to refuse
    return factor_kinds.WEBAUTHN, "", {"resident_key": "true"} if request.webauthn.resident_key else {}


def _recovery_code(request: pb.EnrollAuthenticatorRequest, fields: Fields) -> _Wanted:
    count = request.recovery_code.count
    if count > RECOVERY_CODES:
        fields.refuse("count", f"is more than {RECOVERY_CODES}")
    return factor_kinds.RECOVERY_CODE, "", {"count": str(count)} if count else {}


def _plugin(request: pb.EnrollAuthenticatorRequest, fields: Fields) -> _Wanted:
    kind = fields.required("kind", request.plugin.kind, KIND_LENGTH, WORD)
    if kinds.is_core(kind):
        fields.refuse("kind", "names no plugin's factor")
    return kind, fields.text("destination", request.plugin.destination, DESTINATION_LENGTH, NAME), {}


_ENROLLMENTS: Mapping[str, Callable[[pb.EnrollAuthenticatorRequest, Fields], _Wanted]] = {
    "totp": _totp,
    "hotp": _hotp,
    "sms": _sms,
    "voice": _voice,
    "email": _email,
    "push": _push,
    "webauthn": _webauthn,
    "recovery_code": _recovery_code,
    "plugin": _plugin,
}


def named(request: pb.GetAuthenticatorRequest | pb.DeleteAuthenticatorRequest) -> str:
    """Return the id of the authenticator that is meant."""
    fields = Fields()
    authenticator_id = fields.required("id", request.id, ID_LENGTH, VISIBLE)
    fields.done()
    return authenticator_id


def renaming(request: pb.UpdateAuthenticatorRequest) -> tuple[str, str]:
    """Return the authenticator's id and its new name, which may be empty.

    Raises:
        MissingParameter: No id or no mask.
        InvalidRequest: The mask names what can't be changed, or fields are beyond their limits.
    """
    fields = Fields()
    authenticator_id = fields.required("id", request.authenticator.id, ID_LENGTH, VISIBLE)
    if not request.update_mask.paths:
        raise MissingParameter(parameter="update_mask")
    if any(path != "name" for path in request.update_mask.paths):
        fields.refuse("update_mask", "may hold `name` only")
    name = fields.text("name", request.authenticator.name, NAME_LENGTH, NAME)
    fields.done()
    return authenticator_id, name


def authenticator(value: Authenticator, linked_id: str = "") -> pb.Authenticator:
    """Return one authenticator; of its credential nothing."""
    core = kinds.is_core(value.kind)
    return pb.Authenticator(
        id=value.id,
        kind=kinds.to_wire(value.kind),
        plugin_kind="" if core else value.kind,
        state=_STATES[value.state],
        name=value.name,
        create_time=timestamp(value.created_at),
        confirm_time=None if value.confirmed_at is None else timestamp(value.confirmed_at),
        last_use_time=None if value.last_used_at is None else timestamp(value.last_used_at),
        linked_id=linked_id,
    )


def listed(values: Iterable[Authenticator]) -> pb.ListAuthenticatorsResponse:
    """Return authenticators in their order, each naming the other one of its pair."""
    rows = list(values)
    pairs = {value.link_id: {other.id for other in rows if other.link_id == value.link_id} for value in rows}
    return pb.ListAuthenticatorsResponse(
        authenticators=[
            authenticator(value, next(iter(pairs[value.link_id] - {value.id}), "") if value.link_id else "")
            for value in rows
        ]
    )


def enrolled(value: Enrolled) -> pb.EnrollAuthenticatorResponse:
    """Return what the user must see once; which form it has is told by what the factor shows."""
    response = pb.EnrollAuthenticatorResponse(
        authenticator=authenticator(value.authenticator), recovery_codes=value.recovery_codes
    )
    match value.show:
        case {"secret": secret, "barcode_uri": uri}:
            response.otp_secret.CopyFrom(pb.OtpSecret(secret=secret, barcode_uri=uri))
        case {"public_key_json": public_key}:
            response.webauthn.CopyFrom(pb.WebAuthnCreation(public_key_json=public_key, oob_code=value.oob_code))
        case {"barcode_uri": uri}:
            response.pairing.CopyFrom(pb.DevicePairing(barcode_uri=uri, oob_code=value.oob_code))
        case _ if value.oob_code:
            notice = risk_notice(value.authenticator.kind)
            response.oob.CopyFrom(pb.OobEnrollment(oob_code=value.oob_code, risk_notice=notice))
    return response


def risk_notice(kind: Kind) -> str:
    """Return what a user is told before relying on a restricted authenticator (SP 800-63B-4 section 3.2.9)."""
    return _RISK_NOTICE if kind in factor_kinds.PHONE_KINDS else ""
