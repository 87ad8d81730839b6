"""Kinds of factor, as the wire of the MFA API names them (W3.8, W6 and W9)."""

from collections.abc import Iterable
from dataclasses import dataclass

from cofactor.v1 import authenticators_pb2 as pb


@dataclass(frozen=True, slots=True)
class Names:
    """What one kind is called: `authenticator_type`, `type`, and `oob_channel` where it has one."""

    authenticator_type: str
    type: str
    oob_channel: str = ""


NAMES = {
    pb.FACTOR_KIND_TOTP: Names("otp", "otp"),
    pb.FACTOR_KIND_HOTP: Names("otp", "otp"),
    pb.FACTOR_KIND_SMS: Names("oob", "phone", "sms"),
    pb.FACTOR_KIND_VOICE: Names("oob", "phone", "voice"),
    pb.FACTOR_KIND_EMAIL: Names("oob", "email", "email"),
    pb.FACTOR_KIND_PUSH: Names("oob", "push-notification", "auth0"),
    pb.FACTOR_KIND_WEBAUTHN: Names("webauthn", "webauthn"),
    pb.FACTOR_KIND_RECOVERY_CODE: Names("recovery-code", "recovery-code"),
}
CHANNELS = {names.oob_channel: kind for kind, names in NAMES.items() if names.oob_channel}

_NEVER_ENROLLED = frozenset({"email", "recovery-code"})


def named(kind: "pb.FactorKind.ValueType", plugin_kind: str = "") -> Names:
    """Return the names of a kind; a plugin's factor, and a kind newer than this edge, goes by its own."""
    plugin = plugin_kind or "plugin"
    return NAMES.get(kind) or Names(plugin, plugin)


def challengeable(kinds: "Iterable[pb.FactorKind.ValueType]") -> list[dict[str, str]]:
    """Return `mfa_requirements.challenge`."""
    return [{"type": name} for name in dict.fromkeys(named(kind).type for kind in kinds)]


def enrollable(kinds: "Iterable[pb.FactorKind.ValueType]") -> list[dict[str, str]]:
    """Return `mfa_requirements.enroll`, which never offers email or recovery codes."""
    return [entry for entry in challengeable(kinds) if entry["type"] not in _NEVER_ENROLLED]
