"""Rate limits for password attempts, per login name and per source, shared by all replicas and edges (ADR-22)."""

import asyncio
import dataclasses
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.budgets import Charge
from cofactor_server.domain.foundation.encoding import framed
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.explanations import BudgetStanding
from cofactor_server.errors import Quota, TooManyAttempts
from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import budgets
from cofactor_server.vault.keyring import Keyring

_PURPOSE = "login name"

log = structlog.get_logger("cofactor")


@dataclass(frozen=True, slots=True)
class Try:
    """A counted attempt, and what remains of the name's budget."""

    charges: Sequence[Charge]
    quota: Quota
    uncounted: Quota
    """What remains once the attempt is given back."""
    refusal: TooManyAttempts | None = None
    """The refusal of a wrong password where a stranger's password is not verified: it says the same."""
    until: float | None = None
    """Event loop time of that refusal, and of a stranger's."""


class Throttle:
    """Counts login attempts for a name, existing or not, before any password is hashed.

    An attempt is counted when it begins, so a hundred concurrent attempts count as a hundred. An attempt with the right
    password is given back.

    Strangers do not keep the owner out (ADR-9). A remembered browser has a budget of its own, and draws on none of its
    source. A source where the user completed MFA lately draws on the budgets of strangers while they last, so that
    they disclose to no one who is known there. Once one of them is empty, the password is still verified, within one
    more budget of the name. Then only the right password makes a difference: a wrong one gets the stranger's refusal,
    at the same time (ADR-22).
    """

    def __init__(self, deployment: Deployment, records: Records, keyring: Keyring, clock: Clock) -> None:
        self._logins = deployment.logins
        self._pause = deployment.refusal_pause / SECOND
        self._source_logins = deployment.source_logins
        self._records = records
        self._keyring = keyring
        self._clock = clock

    async def take(self, realm: str, name: str, source: str, *, known: bool, remembered: bool) -> "Try":
        """Count an attempt.

        Args:
            realm: The realm of the name.
            name: The login name as presented.
            source: The end user's address; empty for none, which no budget counts.
            known: Whether the user of that name completed MFA from that source lately.
            remembered: Whether the attempt comes from a browser that is remembered for that user.

        Returns:
            The counted attempt.

        Raises:
            TooManyAttempts: The budget of the name or of the source is empty; nothing was counted.
            Unavailable: The database is unavailable.
        """
        until = asyncio.get_running_loop().time() + self._pause
        if remembered:
            taken = await self._take(realm, [self._of_name(realm, name, "remembered")])
        else:
            taken = await self._take(realm, [self._of_name(realm, name, "strangers"), *self._of_source(source)])
        if isinstance(taken, Try):
            return taken
        if remembered or not source:  # nobody is known there, so that nothing has to look alike
            raise taken
        if known:
            own = await self._take(realm, [self._of_name(realm, name, "known")])
            if isinstance(own, Try):
                return dataclasses.replace(own, refusal=taken, until=until)
        await reached(until)
        raise taken

    async def _take(self, realm: str, charges: Sequence[Charge]) -> "Try | TooManyAttempts":
        now = self._clock.now()
        taken = await self._records.change(budgets.take, charges, now)
        match taken:
            case budgets.Empty(charge, full_at):
                log.warning("logins throttled", realm=realm, budget=charge.name)
                wait, quota = charge.bucket.wait(full_at, now), charge.bucket.quota(charge.name, full_at, now)
                return TooManyAttempts(retry_after=wait / SECOND, quota=quota)
        of_name = charges[0]
        bucket, full_at = of_name.bucket, taken.full_at[0]
        before = bucket.quota(of_name.name, bucket.refunded(full_at), now)
        return Try(charges, bucket.quota(of_name.name, full_at, now), before)

    async def standing(self, realm: str, name: str, source: str, *, known: bool) -> tuple[BudgetStanding, ...]:
        """Return the state of the budgets of a name and a source without counting; the arguments are those of `take`.

        Raises:
            Unavailable: The database is unavailable.
        """
        strangers, owners, browsers = (
            self._of_name(realm, name, whose) for whose in ("strangers", "known", "remembered")
        )
        charges = [
            (replace(strangers, name="login-attempts-of-strangers"), not known),
            (replace(owners, name="login-attempts-of-known-sources"), known),
            (replace(browsers, name="login-attempts-of-remembered-browsers"), False),
            *((charge, not known) for charge in self._of_source(source)),
        ]
        now = self._clock.now()
        taken = await self._records.read(budgets.standing, [charge for charge, _ in charges])
        standings = [
            BudgetStanding(charge.bucket.quota(charge.name, full_at, now), charge.bucket.wait(full_at, now), applies)
            for (charge, applies), full_at in zip(charges, taken.full_at, strict=True)
        ]
        of_strangers, of_known, of_browsers, *of_source = standings
        if not any(one.wait for one in (of_strangers, *of_source)):
            of_known = replace(of_known, wait=0)  # it is not asked while the others last
        return (of_strangers, of_known, of_browsers, *of_source)

    def _of_name(self, realm: str, name: str, whose: str) -> Charge:
        _, mac = self._keyring.mac(_PURPOSE, framed(realm, normalized(name)))
        return Charge(f"login:{whose}:{mac.hex()}", "login-attempts", self._logins)

    def _of_source(self, source: str) -> Sequence[Charge]:
        if not source:
            return ()
        return [Charge(f"login-source:{source}", "login-attempts-of-source", self._source_logins)]

    async def give_back(self, counted: "Try") -> None:
        """Give back an attempt that was not a failure: the password was right, or was never verified.

        Raises:
            Unavailable: The database is unavailable.
        """
        await self._records.change(budgets.give_back, counted.charges)


async def reached(instant: float) -> None:
    """Wait until an event loop time."""
    await asyncio.sleep(instant - asyncio.get_running_loop().time())


def normalized(name: str) -> str:
    """Return the normal form that look-alike names share, so that another spelling gains no extra attempts."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()
