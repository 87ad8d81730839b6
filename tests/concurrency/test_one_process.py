"""Many calls at once in one process: one code, one success."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from cofactor_server.domain.logins.grants import MfaOtpGrant, MfaRecoveryCodeGrant
from cofactor_server.domain.requests import EnrollmentRequest
from cofactor_server.errors import CofactorError
from cofactor_server.store.transactions.group_commit import Limits
from cofactor_server.vault.root_keys import RootKey

from tests.concurrency.nodes import A_DAY_AND_MORE, SUCCESS, Person, Town, here, outcomes, town_on
from tests.support.flows.attacks import rows

ROUNDS = 200
CALLS = 50


@pytest.fixture
async def town(prepared_url: str, tmp_path: Path, root_keys: Sequence[RootKey]) -> AsyncIterator[Town]:
    """A deployment in which one user may have fifty calls in flight, so that all of them are decided."""
    async with town_on(prepared_url, tmp_path, root_keys, Limits(per_user=CALLS)) as opened:
        yield opened


@pytest.mark.requirement("S19", "S87")
@pytest.mark.timeout(120)
async def test_one_code_sent_fifty_times_succeeds_once(town: Town) -> None:
    person = await town.person()
    total: Counter[str] = Counter()
    for number in range(ROUNDS):
        town.world.clock.advance(A_DAY_AND_MORE)
        code = town.code(person)
        # In even rounds within one login, in odd ones each within its own.
        tokens = [town.login(person)[0] for _ in range(1 if number % 2 == 0 else CALLS)] * CALLS
        counted = await outcomes(here(town, MfaOtpGrant(token, code)) for token in tokens[:CALLS])
        assert counted[SUCCESS] == 1, (number, counted)
        total += counted
    assert set(total) == {SUCCESS, "MFA_TOKEN_STALE", "INVALID_OTP", "TOO_MANY_FAILED_CODES"}


@pytest.mark.requirement("S27", "S29")
async def test_one_recovery_code_sent_fifty_times_succeeds_once(town: Town) -> None:
    person = await town.person()
    tokens = [town.login(person)[0] for _ in range(CALLS)]
    counted = await outcomes(here(town, MfaRecoveryCodeGrant(token, person.recovery_code)) for token in tokens)
    assert counted == {SUCCESS: 1, "INVALID_RECOVERY_CODE": 10, "TOO_MANY_FAILED_CODES": 39}


@pytest.mark.requirement("S57")
async def test_fifty_logins_share_one_budget(town: Town) -> None:
    person = await town.person()
    wrong = str((int(town.code(person)) + 1) % 10**6).zfill(6)
    tokens = [town.login(person)[0] for _ in range(CALLS)]
    counted = await outcomes(here(town, MfaOtpGrant(token, wrong)) for token in tokens)
    assert counted == {"INVALID_OTP": 10, "TOO_MANY_FAILED_CODES": 40}
    right = MfaOtpGrant(town.login(person)[0], town.code(person, steps=1))
    assert await here(town, right) == "TOO_MANY_FAILED_CODES"


@pytest.mark.requirement("S182")
async def test_one_code_in_two_logins_succeeds_in_the_first(town: Town) -> None:
    person = await town.person()
    code = town.code(person, steps=1)
    first, second = town.login(person)[0], town.login(person)[0]
    assert await here(town, MfaOtpGrant(first, code)) == SUCCESS
    assert await here(town, MfaOtpGrant(second, code)) == "INVALID_OTP"


@pytest.mark.requirement("S187")
async def test_twenty_who_enroll_and_confirm_at_once_for_one_user_make_one_enrollment(town: Town) -> None:
    user = await town.world.user("newcomer")
    person = Person(user, "", "")

    async def enrolling() -> str:
        token, login = town.login(person)
        try:
            begun = await town.world.app.services.authenticators.enroll(town.caller(login), EnrollmentRequest("totp"))
        except CofactorError as error:
            return error.reason
        return await here(town, MfaOtpGrant(token, town.world.otp(begun.show["secret"])))

    counted = await outcomes(enrolling() for _ in range(20))

    assert counted[SUCCESS] == 1, counted
    active = await rows(town.world, "authenticators", user_id=user.id, state="active", kind="totp")
    assert len(active) == 1
    assert await rows(town.world, "authenticators", user_id=user.id, state="pending") == []


async def test_many_users_at_once_are_all_served(town: Town) -> None:
    people = await asyncio.gather(*(town.person() for _ in range(10)))
    counted = await outcomes(here(town, MfaOtpGrant(town.login(p)[0], town.code(p, steps=1))) for p in people * 2)
    assert counted == {SUCCESS: 10, "INVALID_OTP": 10}
