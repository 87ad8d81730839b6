"""Two server processes over one PostgreSQL: what one decides, the other knows."""

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import grpc.aio
import pytest
import pytest_asyncio
from cofactor.v1 import tokens_pb2
from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.foundation.events import EventName, NoticeName
from cofactor_server.domain.logins.grants import MfaOtpGrant, MfaRecoveryCodeGrant, RefreshTokenGrant
from cofactor_server.domain.parties.users import User
from cofactor_server.store import tables as t
from cofactor_server.store.repositories import queries
from cofactor_server.vault.root_keys import RootKey
from sqlalchemy import func, select

from tests.concurrency.nodes import A_DAY_AND_MORE, SUCCESS, Node, Person, Town, node, outcomes, reason, town_on
from tests.support import postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSALS = {"MFA_TOKEN_STALE", "INVALID_OTP", "TOO_MANY_FAILED_CODES", "TOO_MANY_REQUESTS"}


@dataclass
class Pair:
    """A town with two nodes."""

    town: Town
    one: Node
    two: Node

    @property
    def both(self) -> tuple[Node, Node]:
        return self.one, self.two

    async def authenticators(self, user: User) -> list[Authenticator]:
        account = await self.town.world.app.database.read(lambda c: queries.account(c, user.id))
        assert account is not None
        return list(account.authenticators)

    async def count(self, table: str, user: User, name: str) -> int:
        rows = t.metadata.tables[table]
        query = select(func.count()).where(rows.c.user_id == user.id, rows.c.name == name)
        return int(await self.town.world.app.database.read(lambda c: c.execute(query).scalar_one()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    postgres_url: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory, root_keys: Sequence[RootKey]
) -> AsyncIterator[Pair]:
    """Two processes for all tests of this module, each of which makes people of its own."""
    folder, name = tmp_path_factory.mktemp("town"), f"town_{uuid.uuid4().hex}"
    url = await postgres.create_database(postgres_url, name, postgres_template)
    try:
        async with (
            town_on(url, folder, root_keys) as town,
            node(town, url, folder) as one,
            node(town, url, folder) as two,
        ):
            yield Pair(town, one, two)
    finally:
        await postgres.drop_database(postgres_url, name)


def _wrong(person: Person, town: Town) -> str:
    return str((int(town.code(person)) + 1) % 10**6).zfill(6)


@pytest.mark.requirement("S19", "S70", "S87")
@pytest.mark.timeout(120)
async def test_one_code_at_two_nodes_succeeds_once_in_a_thousand_rounds(pair: Pair) -> None:
    town, person = pair.town, await pair.town.person()
    total: Counter[str] = Counter()
    for number in range(1_000):
        town.world.clock.advance(A_DAY_AND_MORE)
        code = town.code(person)
        first = town.login(person)[0]
        second = first if number % 2 else town.login(person)[0]
        grants = MfaOtpGrant(first, code), MfaOtpGrant(second, code)
        counted = await outcomes(n.outcome(g) for n, g in zip(pair.both, grants, strict=True))
        assert counted[SUCCESS] == 1, (number, counted)
        total += counted
    assert set(total) == {SUCCESS, "MFA_TOKEN_STALE", "INVALID_OTP"}


@pytest.mark.requirement("S70")
@pytest.mark.timeout(120)
async def test_one_code_sent_fifty_times_to_two_nodes_succeeds_once(pair: Pair) -> None:
    town, person = pair.town, await pair.town.person()
    total: Counter[str] = Counter()
    for number in range(200):
        town.world.clock.advance(A_DAY_AND_MORE)
        code = town.code(person)
        tokens = [town.login(person)[0] for _ in range(1 if number % 2 == 0 else 50)] * 50
        nodes = itertools.islice(itertools.cycle(pair.both), 50)
        calls = [n.outcome(MfaOtpGrant(token, code)) for n, token in zip(nodes, tokens[:50], strict=True)]
        counted = await outcomes(calls)
        assert counted[SUCCESS] == 1, (number, counted)
        total += counted
    assert set(total) <= {SUCCESS} | REFUSALS


@pytest.mark.requirement("S87")
async def test_a_code_and_a_recovery_code_for_one_login_at_two_nodes_succeed_once(pair: Pair) -> None:
    town = pair.town
    for number in range(20):
        person = await town.person()
        token, _ = town.login(person)
        otp, recovery = MfaOtpGrant(token, town.code(person, 1)), MfaRecoveryCodeGrant(token, person.recovery_code)
        nodes = pair.both if number % 2 else pair.both[::-1]
        counted = await outcomes([nodes[0].outcome(otp), nodes[1].outcome(recovery)])
        assert counted == {SUCCESS: 1, "MFA_TOKEN_STALE": 1}, number


@pytest.mark.requirement("S1", "S57")
async def test_two_first_failures_at_two_nodes_count_two(pair: Pair) -> None:
    town = pair.town
    for number in range(20):
        person = await town.person()
        wrong = _wrong(person, town)
        calls = [n.outcome(MfaOtpGrant(town.login(person)[0], wrong)) for n in pair.both]
        assert await outcomes(calls) == {"INVALID_OTP": 2}
        (failures,) = [a.guard.failures for a in await pair.authenticators(person.user) if a.kind == "totp"]
        assert failures == 2, number


@pytest.mark.requirement("S27", "S87", "S184")
async def test_one_recovery_code_at_two_nodes_succeeds_once(pair: Pair) -> None:
    town = pair.town
    for number in range(20):
        person = await town.person()
        calls = [n.outcome(MfaRecoveryCodeGrant(town.login(person)[0], person.recovery_code)) for n in pair.both]
        assert await outcomes(calls) == {SUCCESS: 1, "INVALID_RECOVERY_CODE": 1}, number


@pytest.mark.requirement("S57", "S181")
async def test_many_logins_at_two_nodes_share_one_budget_and_the_owner_is_told(pair: Pair) -> None:
    town, person = pair.town, await pair.town.person()
    wrong, total = _wrong(person, town), Counter[str]()
    for _ in range(8):  # in waves, as a node takes four at once of one user
        total += await outcomes(
            n.outcome(MfaOtpGrant(town.login(person)[0], wrong)) for n in pair.both for _ in range(4)
        )
    assert total["INVALID_OTP"] == 10
    assert set(total) <= REFUSALS
    right = MfaOtpGrant(town.login(person)[0], town.code(person, 1))
    assert [await n.outcome(right) for n in pair.both] == ["TOO_MANY_FAILED_CODES"] * 2
    assert await pair.count("events", person.user, EventName.PROOF_REFUSED) == 10
    assert await pair.count("notices", person.user, NoticeName.SUSPICIOUS_FAILURES) == 1


@pytest.mark.requirement("S57", "S181", "S186")
async def test_fifty_guesses_at_once_at_each_of_two_nodes_are_ten_and_leave_the_owner_the_recovery_code(
    pair: Pair,
) -> None:
    town, person = pair.town, await pair.town.person()
    wrong, total = _wrong(person, town), Counter[str]()

    async def guess(node: Node) -> str:
        """Ask until it is decided: a node takes four at once of one user, and the guesser persists."""
        token, said = town.login(person)[0], ""
        while said in ("", "TOO_MANY_REQUESTS"):
            said = await node.outcome(MfaOtpGrant(token, wrong))
        return said

    total += await outcomes(guess(n) for n in pair.both for _ in range(50))
    assert total == {"INVALID_OTP": 10, "TOO_MANY_FAILED_CODES": 90}
    code = MfaRecoveryCodeGrant(town.login(person)[0], person.recovery_code)
    assert await pair.two.outcome(code) == SUCCESS


@pytest.mark.requirement("S110")
async def test_one_refresh_token_at_two_nodes_has_one_successor_and_ends_its_family(pair: Pair) -> None:
    town, person = pair.town, await pair.town.person()
    for number in range(10):
        town.world.clock.advance(60)
        grant = tokens_pb2.MfaOtpGrant(mfa_token=town.login(person, "offline_access")[0], otp=town.code(person))
        issued = await pair.one.issue(tokens_pb2.IssueTokenRequest(mfa_otp=grant))
        request = tokens_pb2.IssueTokenRequest(
            refresh_token=tokens_pb2.RefreshTokenGrant(refresh_token=issued.tokens.refresh_token)
        )
        answers = await asyncio.gather(*(n.issue(request) for n in pair.both), return_exceptions=True)
        successors = [a.tokens.refresh_token for a in answers if not isinstance(a, BaseException)]
        refused = [reason(a) for a in answers if isinstance(a, grpc.aio.AioRpcError)]
        assert (len(successors), refused) == (1, ["REFRESH_TOKEN_INVALID"]), number
        # The second use told both nodes that the token was stolen: its successor is no good either.
        later = [await n.outcome(RefreshTokenGrant(successors[0])) for n in pair.both]
        assert later == ["REFRESH_TOKEN_INVALID"] * 2
    assert await pair.count("events", person.user, EventName.REFRESH_REUSED) >= 10


@pytest.mark.requirement("S38")
async def test_a_reset_takes_effect_at_every_node_at_once(pair: Pair) -> None:
    town, person = pair.town, await pair.town.person()
    tokens = [town.login(person)[0] for _ in pair.both]
    await town.world.app.operators.reset_mfa("default", person.user.subject)
    code = town.code(person, 1)
    reasons = [await n.outcome(MfaOtpGrant(token, code)) for n, token in zip(pair.both, tokens, strict=True)]
    assert reasons == ["MFA_TOKEN_STALE"] * 2
