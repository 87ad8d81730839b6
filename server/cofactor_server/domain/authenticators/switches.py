"""What an operator switches off while a deployment runs; its settings say what can be switched on at all."""

from collections.abc import Collection, Mapping
from enum import StrEnum

from cofactor_server.domain.authenticators.kinds import (
    EMAIL,
    HOTP,
    PHONE_KINDS,
    PUSH,
    RECOVERY_CODE,
    RESTRICTED,
    SMS,
    TOTP,
    VOICE,
    WEBAUTHN,
)
from cofactor_server.domain.authenticators.proofs import Kind


class Switch(StrEnum):
    """Something with a switch: factors as the wire has them, and the two ways to reach a telephone."""

    PHONE = "phone"
    PUSH = "push"
    OTP = "otp"
    EMAIL = "email"
    WEBAUTHN = "webauthn"
    RECOVERY_CODE = "recovery-code"
    DUO = "duo"
    """A kind of the past, which no settings serve."""
    SMS = "sms"
    VOICE = "voice"


KINDS: Mapping[Switch, frozenset[Kind]] = {
    Switch.PHONE: PHONE_KINDS,
    Switch.PUSH: frozenset({PUSH}),
    Switch.OTP: frozenset({TOTP, HOTP}),
    Switch.EMAIL: frozenset({EMAIL}),
    Switch.WEBAUTHN: frozenset({WEBAUTHN}),
    Switch.RECOVERY_CODE: frozenset({RECOVERY_CODE}),
    Switch.DUO: frozenset({"duo"}),
    Switch.SMS: frozenset({SMS}),
    Switch.VOICE: frozenset({VOICE}),
}
"""What each switch is for. A kind is off when any of its switches is."""
MESSAGE_TYPES = (Switch.SMS, Switch.VOICE)


def kinds_off(off: Collection[Switch]) -> frozenset[Kind]:
    """Return the kinds that are switched off."""
    return frozenset().union(*(KINDS[switch] for switch in off))


def leaves_only_telephones(kinds: Collection[Kind]) -> bool:
    """Whether there are text messages or calls among the kinds, and nothing that is stronger."""
    return bool(PHONE_KINDS & set(kinds)) and not set(kinds) - RESTRICTED - {RECOVERY_CODE}
