"""Kinds of factor, on the wire an enum."""

from collections.abc import Iterable

from cofactor.v1 import authenticators_pb2 as pb

from cofactor_server.domain.authenticators import kinds as factor_kinds
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.rpc.convert.fields import Fields

_TO_WIRE: dict[Kind, pb.FactorKind.ValueType] = {
    factor_kinds.TOTP: pb.FACTOR_KIND_TOTP,
    factor_kinds.HOTP: pb.FACTOR_KIND_HOTP,
    factor_kinds.SMS: pb.FACTOR_KIND_SMS,
    factor_kinds.VOICE: pb.FACTOR_KIND_VOICE,
    factor_kinds.EMAIL: pb.FACTOR_KIND_EMAIL,
    factor_kinds.PUSH: pb.FACTOR_KIND_PUSH,
    factor_kinds.WEBAUTHN: pb.FACTOR_KIND_WEBAUTHN,
    factor_kinds.RECOVERY_CODE: pb.FACTOR_KIND_RECOVERY_CODE,
}
_FROM_WIRE: dict[int, Kind] = {wire: kind for kind, wire in _TO_WIRE.items()}


def is_core(kind: Kind) -> bool:
    """Tell whether the wire has a name for this kind."""
    return kind in _TO_WIRE


def to_wire(kind: Kind) -> pb.FactorKind.ValueType:
    """Return the enum's value; every plugin's factor has the same."""
    return _TO_WIRE.get(kind, pb.FACTOR_KIND_PLUGIN)


def all_to_wire(kinds: Iterable[Kind]) -> list[pb.FactorKind.ValueType]:
    """Return the enum's values in their order, each once."""
    return list(dict.fromkeys(map(to_wire, kinds)))


def from_wire(fields: Fields, name: str, values: Iterable[int]) -> tuple[Kind, ...]:
    """Return kinds in their order, each once; refuse what names none."""
    kinds = []
    for value in dict.fromkeys(values):
        kind = _FROM_WIRE.get(value)
        if kind is None:
            fields.refuse(name, f"holds {value}, which names no kind that can be asked for")
        else:
            kinds.append(kind)
    return tuple(kinds)
