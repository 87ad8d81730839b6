"""cofactor.admin.v1: names and methods, from and to the wire."""

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Sequence

from cofactor.admin.v1 import enrollments_pb2, factors_pb2, methods_pb2

from cofactor_server.domain.authenticators import kinds as factor_kinds
from cofactor_server.domain.authenticators.authenticator import NAME_LENGTH
from cofactor_server.domain.authenticators.kinds import EMAIL, PHONE_KINDS, TOTP
from cofactor_server.domain.authenticators.methods import MOST_AT_ONCE, PHONE, Method, NewMethod
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.authenticators.switches import Switch
from cofactor_server.domain.authenticators.tickets import NewTicket
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.errors import AuthenticatorNotFound, MissingParameter
from cofactor_server.rpc.convert.fields import ID_LENGTH, NAME, VISIBLE, Fields, timestamp

SECRET_LENGTH = 128
ADDRESS_LENGTH = 320
LANGUAGE_LENGTH = 35
MOST_LANGUAGES = 8

FACTORS = {
    factors_pb2.FACTOR_NAME_PHONE: Switch.PHONE,
    factors_pb2.FACTOR_NAME_PUSH: Switch.PUSH,
    factors_pb2.FACTOR_NAME_OTP: Switch.OTP,
    factors_pb2.FACTOR_NAME_EMAIL: Switch.EMAIL,
    factors_pb2.FACTOR_NAME_WEBAUTHN: Switch.WEBAUTHN,
    factors_pb2.FACTOR_NAME_RECOVERY_CODE: Switch.RECOVERY_CODE,
    factors_pb2.FACTOR_NAME_DUO: Switch.DUO,
}
_TYPES = {factors_pb2.MESSAGE_TYPE_SMS: Switch.SMS, factors_pb2.MESSAGE_TYPE_VOICE: Switch.VOICE}
_POLICIES = {
    factors_pb2.POLICY_ALL_APPLICATIONS: MfaPolicy.ALWAYS,
    factors_pb2.POLICY_CONFIDENCE_SCORE: MfaPolicy.WHEN_ENROLLED,
}
_TICKET_FACTORS = {
    enrollments_pb2.TICKET_FACTOR_UNSPECIFIED: "",
    enrollments_pb2.TICKET_FACTOR_PUSH: factor_kinds.PUSH,
    enrollments_pb2.TICKET_FACTOR_PHONE: PHONE,
    enrollments_pb2.TICKET_FACTOR_EMAIL: EMAIL,
    enrollments_pb2.TICKET_FACTOR_OTP: TOTP,
    enrollments_pb2.TICKET_FACTOR_WEBAUTHN: factor_kinds.WEBAUTHN,
}
_SUFFIX = re.compile(r"dev_[0-9A-Za-z]{1,64}").fullmatch
_CHANGEABLE = ("name", "preferred")


def switch(name: int) -> Switch:
    """Return the switch of a factor's name."""
    fields = Fields()
    found = FACTORS.get(name)  # type: ignore[call-overload]
    if found is None:
        fields.refuse("name", "names no factor")
    fields.done()
    return Switch(found)


def ways(values: Iterable[int]) -> list[Switch]:
    """Return message types."""
    fields, found = Fields(), []
    for value in dict.fromkeys(values):
        if value in _TYPES:
            found.append(_TYPES[value])  # type: ignore[index]
        else:
            fields.refuse("types", "holds what is no message type")
    fields.done()
    return found


def ways_to_wire(found: Sequence[Switch]) -> "list[factors_pb2.MessageType.ValueType]":
    """Return message types as the wire has them."""
    return [wire for wire, way in _TYPES.items() if way in found]


def policies(values: Iterable[int]) -> frozenset[MfaPolicy]:
    """Return what is to be asked of everybody; nothing on the wire is `never`."""
    fields, found = Fields(), set()
    for value in values:
        if value in _POLICIES:
            found.add(_POLICIES[value])  # type: ignore[index]
        else:
            fields.refuse("policies", "holds what is no policy")
    fields.done()
    return frozenset(found or {MfaPolicy.NEVER})


def policies_to_wire(found: Collection[MfaPolicy]) -> "list[factors_pb2.Policy.ValueType]":
    """Return policies as the wire has them."""
    return [wire for wire, policy in _POLICIES.items() if policy in found]


def id_of(value: str, name: str) -> str:
    """Return a required id of a user or a method."""
    fields = Fields()
    found = fields.required(name, value, ID_LENGTH, VISIBLE)
    fields.done()
    return found


def suffix(value: str) -> str:
    """Return the id of an enrollment, without its kind.

    Raises:
        MissingParameter: There is none.
        AuthenticatorNotFound: Nothing has such an id.
    """
    if not value:
        raise MissingParameter(parameter="id")
    if not _SUFFIX(value):
        raise AuthenticatorNotFound
    return value


def new_ticket(request: enrollments_pb2.CreateEnrollmentTicketRequest) -> tuple[NewTicket, Kind]:
    """Return what ticket is wanted, and what for."""
    fields = Fields()
    user_id = fields.required("user_id", request.user_id, ID_LENGTH, VISIBLE)
    email = fields.text("email", request.email, ADDRESS_LENGTH, NAME)
    if len(request.languages) > MOST_LANGUAGES:
        fields.refuse("languages", f"holds more than {MOST_LANGUAGES}")
    languages = tuple(fields.text("languages", tag, LANGUAGE_LENGTH, VISIBLE) for tag in request.languages)
    if request.factor not in _TICKET_FACTORS:
        fields.refuse("factor", "names no factor")
    fields.done()
    new = NewTicket(
        user_id=user_id,
        several=request.allow_multiple,
        send_mail=request.send_mail,
        email=email,
        languages=languages,
    )
    return new, _TICKET_FACTORS[request.factor]


def new_methods(values: Sequence[methods_pb2.NewAuthenticationMethod]) -> list[NewMethod]:
    """Return methods to be added.

    Raises:
        MissingParameter: One says nothing of what it is.
        InvalidRequest: Fields are beyond their limits, or there are too many.
    """
    fields = Fields()
    if len(values) > MOST_AT_ONCE:
        fields.refuse("methods", f"are more than {MOST_AT_ONCE}")
    fields.done()
    found = [_new_method(fields, value) for value in values]
    fields.done()
    return found


def changed(request: methods_pb2.UpdateAuthenticationMethodRequest) -> tuple[str, str | None, Kind | None]:
    """Return the id of a method, and what it gets; None for what stays.

    Raises:
        MissingParameter: Nothing is named.
        InvalidRequest: The mask names something else, or fields are beyond their limits.
    """
    fields, paths = Fields(), list(request.update_mask.paths)
    if not paths:
        raise MissingParameter(parameter="update_mask")
    if any(path not in _CHANGEABLE for path in paths):
        fields.refuse("update_mask", f"may name {' and '.join(_CHANGEABLE)}")
    method_id = fields.required("method.id", request.method.id, ID_LENGTH, VISIBLE)
    name = fields.text("method.name", request.method.name, NAME_LENGTH, NAME)
    preferred = _way(fields, request.method.preferred) if "preferred" in paths else None
    if preferred == "":
        fields.refuse("method.preferred", "is sms or voice")
    fields.done()
    return method_id, name if "name" in paths else None, preferred


def method(value: Method, *, unmasked: bool = False) -> methods_pb2.AuthenticationMethod:
    """Return a method as the wire has it."""
    return methods_pb2.AuthenticationMethod(
        id=value.id,
        type=value.type,
        confirmed=value.confirmed,
        disabled=value.disabled,
        name=value.name,
        ways=[methods_pb2.MethodWay(type=way.kind, id=way.id) for way in value.ways],
        preferred=value.preferred,
        link_id=value.link_id,
        masked_address=value.masked_address,
        create_time=timestamp(value.created_at),
        confirm_time=None if value.confirmed_at is None else timestamp(value.confirmed_at),
        last_use_time=None if value.last_used_at is None else timestamp(value.last_used_at),
        address=value.address if unmasked else "",
    )


def _new_method(fields: Fields, value: methods_pb2.NewAuthenticationMethod) -> NewMethod:
    name = fields.text("name", value.name, NAME_LENGTH, NAME)
    match value.WhichOneof("method"):
        case "totp":
            secret = fields.required("totp.secret", value.totp.secret, SECRET_LENGTH, VISIBLE)
            return NewMethod(TOTP, name, secret=_octets(fields, secret))
        case "phone":
            number = fields.required("phone.number", value.phone.number, ADDRESS_LENGTH, VISIBLE)
            return NewMethod(PHONE, name, address=number, preferred=_way(fields, value.phone.preferred))
        case "email":
            address = fields.required("email.address", value.email.address, ADDRESS_LENGTH, NAME)
            return NewMethod(EMAIL, name, address=address)
    raise MissingParameter(parameter="method")


def _octets(fields: Fields, secret: str) -> bytes:
    try:
        return base64.b32decode(secret + "=" * (-len(secret) % 8))
    except binascii.Error:
        fields.refuse("totp.secret", "is not base32 in capital letters, without padding")
        return b""


def _way(fields: Fields, value: str) -> Kind:
    if value and value not in PHONE_KINDS:
        fields.refuse("preferred", "is sms or voice")
    return value
