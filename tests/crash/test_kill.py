"""A server that is killed in the middle of its work: what it answered stands (ADR-45)."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import pytest
from cofactor.v1 import authenticators_pb2, tokens_pb2
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
from cofactor_server.domain.logins.grants import MfaOtpGrant, MfaRecoveryCodeGrant
from cofactor_server.domain.parties.clients import Capability, Client, GrantType
from cofactor_server.seams import SECOND
from cofactor_server.vault.root_keys import RootKey

from tests.concurrency.nodes import A_DAY_AND_MORE, SUCCESS, Node, Town, node, town_on
from tests.support.world import USER_GRANTS, totp

pytestmark = pytest.mark.timeout(120)

LOADERS = 8
EXAMINED = 50
"""How many people are looked at afterwards: the last before the kill, and others drawn with a fixed seed."""


@dataclass
class Person:
    """What somebody was ANSWERED; what was asked and not answered may have happened or not."""

    subject: str
    secret: str = ""
    recovery_code: str = ""
    confirmed: bool = False
    spent_tokens: list[str] = field(default_factory=list)
    spent_codes: list[str] = field(default_factory=list)
    spent_recovery_codes: list[str] = field(default_factory=list)


@dataclass
class Loader:
    """Enrolls people and logs them in, one after the other, until the server is gone."""

    town: Town
    node: Node
    number: int
    people: list[Person] = field(default_factory=list)

    async def run(self) -> None:
        try:
            while True:
                person = Person(f"person-{self.number}-{len(self.people)}")
                self.people.append(person)
                await self._live(person)
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise

    async def _live(self, person: Person) -> None:
        now = self.town.world.clock.now() // SECOND
        token = await vouch(self.town, self.node, person.subject)
        request = authenticators_pb2.EnrollAuthenticatorRequest(totp=authenticators_pb2.TotpEnrollment())
        stub = AuthenticatorServiceStub(self.node.channel)
        enrolled = await stub.EnrollAuthenticator(request, metadata=(("authorization", f"Bearer {token}"),), timeout=20)
        person.secret = enrolled.otp_secret.secret
        recovery_code = enrolled.recovery_codes[0]
        await self._redeem(person, token, totp(person.secret, now))
        person.confirmed, person.recovery_code = True, recovery_code

        token = await vouch(self.town, self.node, person.subject)
        await self._redeem(person, token, totp(person.secret, now + 30))

        token = await vouch(self.town, self.node, person.subject)
        used, person.recovery_code = person.recovery_code, ""  # unknown until the answer
        grant = tokens_pb2.MfaRecoveryCodeGrant(mfa_token=token, recovery_code=used)
        answer = await self.node.issue(tokens_pb2.IssueTokenRequest(mfa_recovery_code=grant))
        person.recovery_code = answer.tokens.recovery_code
        person.spent_tokens.append(token)
        person.spent_recovery_codes.append(used)

    async def _redeem(self, person: Person, token: str, code: str) -> None:
        grant = tokens_pb2.MfaOtpGrant(mfa_token=token, otp=code)
        answer = await self.node.issue(tokens_pb2.IssueTokenRequest(mfa_otp=grant))
        assert answer.WhichOneof("outcome") == "tokens"
        person.spent_tokens.append(token)
        person.spent_codes.append(code)


async def begin(town: Town, at: Node, subject: str) -> tokens_pb2.MfaRequired:
    """Begin a login whose first factor the client states."""
    grant = tokens_pb2.VouchedGrant(realm="default", subject=subject, methods=["pwd"])
    grant.authenticate_time.FromMicroseconds(town.world.clock.now())
    answer = await at.issue(tokens_pb2.IssueTokenRequest(vouched=grant))
    return answer.mfa_required


async def vouch(town: Town, at: Node, subject: str) -> str:
    """Return the mfa_token of a login whose first factor the client states."""
    return (await begin(town, at, subject)).mfa_token


@asynccontextmanager
async def vouching_town(url: str, folder: Path, keys: Sequence[RootKey]) -> AsyncIterator[Town]:
    """Open a town for a client that may vouch, and close this process's part of it: the nodes are the servers."""
    async with town_on(url, folder, keys) as town:
        client, secret = await _voucher(town)
        yield Town(town.world, client, secret)


async def _voucher(town: Town) -> tuple[Client, str]:
    return await town.world.client(
        grant_types=USER_GRANTS | {GrantType.VOUCHED},
        capabilities=frozenset({Capability.VOUCH, Capability.PROVISION, Capability.ENROLL}),
        realms=("default",),
    )


async def killed_under_load(town: Town, url: str, folder: Path, met: int) -> list[Person]:
    """Load a server, kill it when it has met so many people, and return them, the last ones last."""
    async with node(town, url, folder) as doomed:
        loaders = [Loader(town, doomed, number) for number in range(LOADERS)]
        tasks = [asyncio.ensure_future(loader.run()) for loader in loaders]
        async with asyncio.timeout(40):
            while sum(len(loader.people) for loader in loaders) < met:  # noqa: ASYNC110 - the loaders tell nobody
                await asyncio.sleep(0.003)
        doomed.process.send_signal(signal.SIGKILL)
        await asyncio.gather(*tasks)
    assert doomed.process.returncode == -signal.SIGKILL
    return sorted((p for loader in loaders for p in loader.people), key=lambda p: int(p.subject.split("-")[2]))


async def broken_promises(town: Town, at: Node, person: Person) -> list[str]:
    """Return what was answered before the kill and does not hold after it."""
    broken: list[str] = []

    async def expect(name: str, grant: MfaOtpGrant | MfaRecoveryCodeGrant, *expected: str) -> None:
        if (reason := await at.outcome(grant)) not in expected:
            broken.append(f"{person.subject}: {name}: {reason}")

    right = totp(person.secret, town.world.clock.now() // SECOND + 30) if person.secret else "000000"
    for token in person.spent_tokens:
        await expect("a spent mfa_token", MfaOtpGrant(token, right), "MFA_TOKEN_STALE")
    for code in person.spent_codes:
        token = await vouch(town, at, person.subject)
        await expect("a spent code", MfaOtpGrant(token, code), "INVALID_OTP")
    for code in person.spent_recovery_codes:
        token = await vouch(town, at, person.subject)
        await expect("a used recovery code", MfaRecoveryCodeGrant(token, code), "INVALID_RECOVERY_CODE")
    if person.recovery_code:
        token = await vouch(town, at, person.subject)
        await expect("the recovery code", MfaRecoveryCodeGrant(token, person.recovery_code), SUCCESS)
    return broken


async def locked_out(town: Town, at: Node, person: Person) -> list[str]:
    """Return whether a confirmed authenticator no longer logs in, a day later."""
    token = await vouch(town, at, person.subject)
    code = totp(person.secret, town.world.clock.now() // SECOND)
    reason = await at.outcome(MfaOtpGrant(token, code))
    return [] if reason == SUCCESS else [f"{person.subject}: the authenticator: {reason}"]


@pytest.mark.requirement("S19", "S27", "S29", "S87")
async def test_what_was_answered_before_a_kill_stands_after_it(
    prepared_url: str, tmp_path: Path, root_keys: Sequence[RootKey]
) -> None:
    async with vouching_town(prepared_url, tmp_path, root_keys) as town:
        people = await killed_under_load(town, prepared_url, tmp_path, 100)
        last, earlier = people[-3 * LOADERS :], people[: -3 * LOADERS]
        chosen = [*last, *random.Random(0).sample(earlier, min(len(earlier), EXAMINED - len(last)))]
        confirmed = [person for person in chosen if person.confirmed]
        assert len(confirmed) > LOADERS
        async with node(town, prepared_url, tmp_path) as restarted:
            broken = await asyncio.gather(*(broken_promises(town, restarted, person) for person in chosen))
            town.world.clock.advance(A_DAY_AND_MORE)
            broken += await asyncio.gather(*(locked_out(town, restarted, person) for person in confirmed))
        assert [line for lines in broken for line in lines] == []


@pytest.mark.requirement("S194")
async def test_an_enrollment_without_an_answer_blocks_nobody(
    prepared_url: str, tmp_path: Path, root_keys: Sequence[RootKey]
) -> None:
    """Whoever was asked about and not answered can go on, one way or the other."""
    async with vouching_town(prepared_url, tmp_path, root_keys) as town:
        people = await killed_under_load(town, prepared_url, tmp_path, 40)
        unanswered = [person for person in people if not person.confirmed]
        async with node(town, prepared_url, tmp_path) as restarted:
            for person in unanswered:
                # This time it is asked for as if for the first time, or the authenticator it holds is good: then its
                # confirmation was committed and the answer lost.
                if (await begin(town, restarted, person.subject)).HasField("enroll"):
                    await Loader(town, restarted, 99)._live(Person(person.subject))
                else:
                    town.world.clock.advance(60)
                    assert await locked_out(town, restarted, person) == []
