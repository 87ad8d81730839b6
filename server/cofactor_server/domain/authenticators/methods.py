"""What a user has enrolled, as operators see it: the ways to one telephone are one method (W9)."""

from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.kinds import EMAIL, PHONE_KINDS, SMS, TOTP, VOICE, WEBAUTHN
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.foundation.values import Secret, Value

PHONE = "phone"
EMAIL_VERIFICATION = "email-verification"
MOST_AT_ONCE = 10
"""How many methods one call sets."""


class Way(Value, frozen=True):
    """One way to reach a telephone."""

    kind: Kind
    id: str


class Method(Value, frozen=True):
    """One method."""

    id: str
    type: str
    confirmed: bool
    disabled: bool
    name: str
    created_at: int
    kind: Kind
    """Of a telephone that of its first way."""
    ways: tuple[Way, ...] = ()
    preferred: Kind = ""
    """Of two ways the one that is offered first; empty where the user's habit decides."""
    link_id: str = ""
    confirmed_at: int | None = None
    last_used_at: int | None = None
    masked_address: str = ""
    address: Secret[str] = ""
    """Told to whoever has just set it."""


class NewMethod(Value, frozen=True):
    """A method to be added; its operator answers for its being the user's."""

    type: str
    """`totp`, `phone` or `email`."""
    name: str = ""
    secret: Secret[bytes] = b""
    """Of `totp`."""
    address: Secret[str] = ""
    """Of `phone` and `email`, as its factor keeps it."""
    preferred: Kind = ""

    def same_as(self, other: "NewMethod") -> bool:
        """Whether one user has no use for both."""
        return (self.type, self.secret, self.address) == (other.type, other.secret, other.address)


class Details(Value, frozen=True):
    """What only a factor can read of an authenticator's credential."""

    masked_address: str = ""
    is_platform: bool = False
    """Whether it is built into the device that the user works on."""


def suffix_of(authenticator_id: str) -> str:
    """Return the end of an id, which the ways to reach one telephone share: `dev_` and what follows."""
    return authenticator_id.partition("|")[2]


def named(authenticators: list[Authenticator], method_id: str) -> list[Authenticator]:
    """Return the authenticators of a method, by its id or by that of one of its ways; none where there is none."""
    kind, _, suffix = method_id.partition("|")
    if kind == PHONE or kind in PHONE_KINDS:
        ways = [a for a in authenticators if a.kind in PHONE_KINDS and suffix_of(a.id) == suffix]
        return ways if kind == PHONE or any(a.id == method_id for a in ways) else []
    return [a for a in authenticators if a.id == method_id]


def method_of(together: list[Authenticator], details: Details) -> Method:
    """Return the method that authenticators of one id, or of one telephone, are."""
    first = together[0]
    is_phone = first.kind in PHONE_KINDS
    used = [a.last_used_at for a in together if a.last_used_at is not None]
    ordered = sorted(together, key=lambda a: (SMS, VOICE).index(a.kind)) if is_phone else together
    return Method(
        id=f"{PHONE}|{suffix_of(first.id)}" if is_phone else first.id,
        type=_type(first, details),
        confirmed=first.state is not State.PENDING,
        disabled=first.state is State.DISABLED,
        name=first.name,
        created_at=first.created_at,
        kind=first.kind,
        ways=tuple(Way(a.kind, a.id) for a in ordered) if is_phone else (),
        preferred=_preferred(together),
        link_id="" if is_phone else first.link_id,
        confirmed_at=first.confirmed_at,
        last_used_at=max(used, default=None),
        masked_address=details.masked_address,
    )


def _type(authenticator: Authenticator, details: Details) -> str:
    if authenticator.kind in PHONE_KINDS:
        return PHONE
    if authenticator.kind == EMAIL and authenticator.implicit:
        return EMAIL_VERIFICATION
    if authenticator.kind == WEBAUTHN:
        return "webauthn-platform" if details.is_platform else "webauthn-roaming"
    return authenticator.kind


def _preferred(together: list[Authenticator]) -> Kind:
    """Return which of two ways is offered first: it counts as confirmed a moment after the other."""
    instants = {a.kind: a.confirmed_at or 0 for a in together}
    if len(set(instants.values())) < 2:
        return ""
    return max(instants, key=lambda kind: instants[kind])


TYPES = (TOTP, PHONE, EMAIL)
"""What can be added by an operator."""
