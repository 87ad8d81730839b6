"""Wrong codes against real authenticators: who pays, and who is told."""

from dataclasses import dataclass

import pytest
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.logins.grants import MfaOtpGrant, MfaRecoveryCodeGrant, MfaRequired, PasswordGrant, Tokens
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.requests import EnrollmentRequest
from cofactor_server.errors import CofactorError
from cofactor_server.store import tables as t
from cofactor_server.store.repositories import queries
from sqlalchemy import select

from tests.support.world import PASSWORD, World

WRONG = "000000"
OWN, STRANGE = "192.0.2.1", "198.51.100.7"


@dataclass
class Owner:
    """A user with one authenticator app or two, and a client."""

    world: World
    client: Client
    secrets: dict[str, str]
    recovery_code: str

    async def begin(self) -> str:
        grant = PasswordGrant("alice@example.test", PASSWORD)
        outcome = await self.world.app.services.tokens.issue(Caller(client=self.client), grant, "")
        assert isinstance(outcome, MfaRequired)
        return outcome.mfa_token

    async def otp(self, code: str, authenticator_id: str = "", *, source: str = "") -> str:
        return await self.issue(MfaOtpGrant(await self.begin(), code, authenticator_id), source)

    async def issue(self, grant: MfaOtpGrant | MfaRecoveryCodeGrant, source: str = "") -> str:
        try:
            outcome = await self.world.app.services.tokens.issue(Caller(client=self.client, source=source), grant, "")
        except CofactorError as error:
            return error.reason
        assert isinstance(outcome, Tokens)
        return "SUCCESS"

    def code(self, authenticator_id: str) -> str:
        return self.world.otp(self.secrets[authenticator_id])

    async def authenticators(self) -> dict[str, Authenticator]:
        user = await self.world.app.database.read(lambda c: queries.user_named(c, "default", "alice@example.test"))
        assert user is not None
        account = await self.world.app.database.read(lambda c: queries.account(c, user.id))
        assert account is not None
        return {a.id: a for a in account.authenticators}

    async def notices(self) -> list[str]:
        found = await self.world.app.database.read(lambda c: c.execute(select(t.notices.c.name)).scalars().all())
        return sorted(found)


@pytest.fixture
async def owner(world: World) -> Owner:
    client, _ = await world.client()
    await world.user()
    owner = Owner(world, client, {}, "")
    services = world.app.services
    token = await owner.begin()
    login = services.tokens._logins.open(token)  # type: ignore[attr-defined]
    enrolled = await services.authenticators.enroll(Caller(client=client, login=login), EnrollmentRequest("totp"))
    owner.secrets[enrolled.authenticator.id] = enrolled.show["secret"]
    owner.recovery_code = enrolled.recovery_codes[0]
    assert await owner.issue(MfaOtpGrant(token, owner.code(enrolled.authenticator.id)), OWN) == "SUCCESS"
    world.clock.advance(60)
    return owner


def of_kind(found: dict[str, Authenticator], kind: str) -> Authenticator:
    return next(a for a in found.values() if a.kind == kind)


@pytest.mark.requirement("S11")
async def test_the_eleventh_wrong_code_is_refused_unlooked_at(owner: Owner) -> None:
    (app,) = owner.secrets
    assert [await owner.otp(WRONG) for _ in range(11)] == ["INVALID_OTP"] * 10 + ["TOO_MANY_FAILED_CODES"]
    assert await owner.otp(owner.code(app)) == "TOO_MANY_FAILED_CODES"
    assert (await owner.authenticators())[app].guard.failures == 10
    owner.world.clock.advance(6 * 60)
    assert await owner.otp(owner.code(app)) == "SUCCESS"


async def test_a_success_does_not_refill_the_budget(owner: Owner) -> None:
    (app,) = owner.secrets
    for _ in range(9):
        await owner.otp(WRONG)
    assert await owner.otp(owner.code(app)) == "SUCCESS"
    assert [await owner.otp(WRONG) for _ in range(2)] == ["INVALID_OTP", "TOO_MANY_FAILED_CODES"]


@pytest.mark.requirement("S4")
async def test_a_success_clears_its_own_failures_and_no_others(owner: Owner) -> None:
    (app,) = owner.secrets
    assert await owner.issue(MfaRecoveryCodeGrant(await owner.begin(), "A" * 24)) == "INVALID_RECOVERY_CODE"
    await owner.otp(WRONG)
    assert await owner.otp(owner.code(app)) == "SUCCESS"
    found = await owner.authenticators()
    assert found[app].guard.failures == 0
    assert of_kind(found, "recovery-code").guard.failures == 1


@pytest.mark.requirement("S186")
async def test_a_stranger_locks_the_owner_out_neither_here_nor_elsewhere(owner: Owner) -> None:
    (app,) = owner.secrets
    for _ in range(12):
        await owner.otp(WRONG, source=STRANGE)
    assert await owner.otp(owner.code(app), source=STRANGE) == "TOO_MANY_FAILED_CODES"
    assert await owner.otp(owner.code(app), source=OWN) == "SUCCESS"
    recovery = MfaRecoveryCodeGrant(await owner.begin(), owner.recovery_code)
    assert await owner.issue(recovery, STRANGE) == "SUCCESS"


@pytest.mark.requirement("S1", "S2", "S185")
async def test_a_hundred_failures_in_a_row_disable_for_good_and_leave_the_user_enrolled(owner: Owner) -> None:
    (app,) = owner.secrets
    reasons = []
    for _ in range(100):
        owner.world.clock.advance(3_600)
        reasons.append(await owner.otp(WRONG))
    assert reasons == ["INVALID_OTP"] * 100
    assert (await owner.authenticators())[app].state is State.DISABLED
    owner.world.clock.advance(365 * 86_400)
    assert await owner.otp(owner.code(app)) not in ("SUCCESS", "NOT_ENROLLED")
    assert await owner.notices() == ["authenticator_added", "authenticator_disabled", "suspicious_failures"]
    assert await owner.issue(MfaRecoveryCodeGrant(await owner.begin(), owner.recovery_code)) == "SUCCESS"


@pytest.mark.requirement("S27")
async def test_recovery_codes_are_slowed_and_never_disabled(owner: Owner) -> None:
    for _ in range(101):
        owner.world.clock.advance(3_600)
        grant = MfaRecoveryCodeGrant(await owner.begin(), "A" * 24)
        assert await owner.issue(grant) == "INVALID_RECOVERY_CODE"
    owner.world.clock.advance(3_600)
    assert of_kind(await owner.authenticators(), "recovery-code").state is State.ACTIVE
    assert await owner.issue(MfaRecoveryCodeGrant(await owner.begin(), owner.recovery_code)) == "SUCCESS"


@pytest.mark.requirement("S20")
async def test_a_code_used_twice_is_recorded_as_a_replay(owner: Owner) -> None:
    (app,) = owner.secrets
    assert [await owner.otp(owner.code(app)) for _ in range(2)] == ["SUCCESS", "INVALID_OTP"]
    names = await owner.world.app.database.read(lambda c: c.execute(select(t.events.c.name)).scalars().all())
    assert sorted(names).count("proof.replayed") == 1
