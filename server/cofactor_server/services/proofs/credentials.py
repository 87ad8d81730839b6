"""Seals authenticators' credentials at rest and opens them to verify proofs."""

import functools
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.proofs import Context, Facts, Kind, Names
from cofactor_server.domain.challenges.challenge import Challenge
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.values import replace
from cofactor_server.factors.registry import Registered, Registry
from cofactor_server.store.transactions.work import Work
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.short_codes import ShortCodes


@dataclass(frozen=True, slots=True)
class Answer:
    """The facts that an approval proved: they become acr and amr when the login redeems it."""

    facts: Facts
    show: str = field(default="", repr=False)


_encode_answer = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


class Credentials:
    """The factors that are switched on, and the sealing of their credentials and challenges."""

    def __init__(self, deployment: Deployment, factors: Registry, columns: Columns, short_codes: ShortCodes) -> None:
        self._issuer = deployment.issuer
        self._factors = factors
        self._columns = columns
        self._short_codes = short_codes
        self._served = {kind: factor for kind, factor in factors.items() if deployment.serves(kind)}
        self._on = self._served
        self.kinds: tuple[Kind, ...] = tuple(self._on)
        """Kinds of the factors that are switched on, in the order of the registry."""

    def switch_off(self, off: Collection[Kind]) -> None:
        """Disable the kinds that an operator has switched off; a kind that the settings do not serve stays off."""
        self._on = {kind: factor for kind, factor in self._served.items() if kind not in off}
        self.kinds = tuple(self._on)

    def factor(self, kind: Kind) -> Registered | None:
        """Return the factor of a kind that is switched on; None for any other kind."""
        return self._on.get(kind)

    def on_device(self, kind: Kind) -> bool:
        """Whether a device answers challenges of a kind, while their login polls."""
        factor = self.factor(kind)
        return factor is not None and factor.on_device

    def known(self, kind: Kind) -> Registered:
        """Return the factor of a known kind, switched on or not."""
        return self._factors[kind]

    @property
    def every_kind(self) -> Iterable[Kind]:
        """Every kind that this process knows, switched on or not."""
        return self._factors

    def is_known(self, kind: Kind) -> bool:
        """Whether this process knows the kind, switched on or not."""
        return kind in self._factors

    def seal(self, user_id: str, authenticator_id: str, credential: bytes) -> bytes:
        """Return a credential, sealed for storage."""
        return self._columns.seal("authenticators", "credential", user_id, authenticator_id, credential)

    def open(self, authenticator: Authenticator) -> bytes:
        """Return an authenticator's credential as its factor wrote it.

        Raises:
            SealBroken: The row was changed, moved, or sealed under a key that is gone.
        """
        a = authenticator
        return self._columns.open("authenticators", "credential", a.user_id, a.id, a.credential)

    def address(self, authenticator: Authenticator) -> str:
        """Return the address of this authenticator for notices, switched on or off; empty if it has none.

        Raises:
            SealBroken: The row was changed, moved, or sealed under a key that is gone.
            CredentialUnreadable: The credential is not in the form that its factor writes.
        """
        factor = self._factors.get(authenticator.kind)
        return factor.address(self.open(authenticator)) if factor is not None and factor.has_address else ""

    def seal_addresses(self, user_id: str, notice_id: str, addresses: bytes) -> bytes:
        """Return the addresses of a notice, sealed for storage."""
        return self._columns.seal("notices", "addresses", user_id, notice_id, addresses)

    def open_addresses(self, user_id: str, notice_id: str, sealed: bytes) -> bytes:
        """Return the addresses of a notice.

        Raises:
            SealBroken: The row was changed, moved, or sealed under a key that is gone.
        """
        return self._columns.open("notices", "addresses", user_id, notice_id, sealed)

    def seal_expected(self, user_id: str, challenge_id: str, expected: bytes) -> bytes:
        """Return a challenge's expected answer, sealed for storage."""
        return self._columns.seal("challenges", "expected", user_id, challenge_id, expected)

    def open_expected(self, challenge: Challenge) -> bytes:
        """Return a challenge's expected answer as its factor wrote it.

        Raises:
            SealBroken: The row was changed, moved, or sealed under a key that is gone.
        """
        return self._columns.open("challenges", "expected", challenge.user_id, challenge.id, challenge.expected)

    def bound(self, context: Context, challenge_id: str, authenticator: Authenticator, account: str = "") -> Context:
        """Return a context for one challenge of an authenticator; short codes and signatures are bound to both."""
        names = Names(self._issuer, challenge_id, authenticator.user_id, authenticator.id, account)
        code_mac = functools.partial(self._short_codes.mac, challenge_id, authenticator.id)
        return replace(context, code_mac=code_mac, names=names)

    def seal_answer(self, challenge: Challenge, answer: Answer) -> bytes:
        """Return the facts that an approval proved, sealed for storage."""
        encoded = _encode_answer(answer)
        return self._columns.seal("challenges", "answer", challenge.user_id, challenge.id, encoded)

    def open_answer(self, challenge: Challenge) -> Answer:
        """Return the facts that an approval proved.

        Raises:
            SealBroken: The row was changed, moved, or sealed under a key that is gone.
        """
        opened = self._columns.open("challenges", "answer", challenge.user_id, challenge.id, challenge.answer)
        return _decode_answer(opened)

    def siblings(self, factor: Registered, mine: Authenticator, all_of_user: list[Authenticator]) -> tuple[Any, ...]:
        """Return the decoded credentials of the user's other active authenticators of the same kind."""
        others = (a for a in all_of_user if a.kind == factor.kind and a.id != mine.id and a.state is State.ACTIVE)
        return tuple(factor.decode(self.open(other)) for other in others)


def linked(work: Work, authenticator: Authenticator) -> list[Authenticator]:
    """Return an authenticator and the one it is linked to. The caller holds the user's lock."""
    if not authenticator.link_id:
        return [authenticator]
    return [a for a in work.authenticators(authenticator.user_id) if a.link_id == authenticator.link_id]


def remove(work: Work, authenticator: Authenticator, now: int, by: str = "") -> None:
    """Remove an authenticator; a record stays that it was bound, and which login or token removed it."""
    work.save_authenticator(authenticator.removed(now, by))


def disabled(authenticator: Authenticator) -> Authenticator:
    """Return the authenticator, disabled after too many failures: unusable until it is enrolled again (S2)."""
    return replace(authenticator, state=State.DISABLED)
