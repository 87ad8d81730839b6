"""Security decision 9: guesses are few, however they are spread; and what is spent by strangers is not the owner's."""

import httpx2
import pytest
from cofactor_server.domain.foundation.events import NoticeName
from cofactor_server.domain.parties.clients import Capability

from tests.support.flows.api import Api, GrpcApi, Refused, RestApi, Tokens, grpc_edge, rest_edge
from tests.support.flows.attacks import (
    DAY,
    HOUR,
    MALLORY,
    add_mailed,
    challenged,
    change,
    fail,
    names,
    open_world,
    outcome,
    reason,
    refusal,
    rows,
    wrong,
)
from tests.support.flows.steps import (
    a,
    enrolled,
    logged_in,
    logged_in_to_mfa,
    mfa_access_token,
    second_app,
    shop,
)
from tests.support.world import ISSUER, World

OURS, THEIRS = "203.0.113.7", "198.51.100.9"
TOO_MANY = "TOO_MANY_FAILED_CODES"
SIX_MINUTES = 360
FORWARDING = {"capabilities": frozenset({Capability.FORWARD_SOURCE})}


@pytest.mark.requirement("S11", "S202")
async def test_the_eleventh_wrong_code_is_not_looked_at(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    assert await fail(api, world, client, alice, 10) == ["INVALID_OTP"] * 10
    login = await logged_in_to_mfa(api, client)

    eleventh = await refusal(api.otp(client, login.mfa_token, wrong(world, alice.secret)))

    assert eleventh.reason == TOO_MANY
    assert eleventh.retry_after == pytest.approx(SIX_MINUTES, abs=1)


async def test_a_right_code_is_not_revealed_while_the_budget_is_empty(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await fail(api, world, client, alice, 10)
    login = await logged_in_to_mfa(api, client)

    right = await refusal(api.otp(client, login.mfa_token, world.otp(alice.secret)))
    false = await refusal(api.otp(client, login.mfa_token, wrong(world, alice.secret)))

    assert _shown(right) == _shown(false)
    world.clock.advance(SIX_MINUTES)
    login = await logged_in_to_mfa(api, client)
    assert await outcome(api.otp(client, login.mfa_token, world.otp(alice.secret))) == ""


def _shown(refused: Refused) -> tuple[object, ...]:
    return (refused.reason, refused.text, refused.retry_after, refused.metadata, refused.http_status)


@pytest.mark.requirement("S6", "S200")
async def test_one_more_guess_comes_back_every_six_minutes(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await fail(api, world, client, alice, 10)
    world.clock.advance(SIX_MINUTES)

    assert await fail(api, world, client, alice, 2) == ["INVALID_OTP", TOO_MANY]


@pytest.mark.requirement("S57", "S77", "S181")
async def test_logins_clients_edges_and_replicas_share_one_budget(world: World) -> None:
    shared = {"clock": world.clock, "keyring": world.keyring}
    async with (
        open_world(world.database_url, **shared) as replica,
        grpc_edge(world) as grpc,
        rest_edge(world) as rest,
        rest_edge(replica) as elsewhere,
    ):
        clients = [await shop(world), await shop(world, name="Other"), await shop(world, name="App", public=True)]
        alice = await enrolled(grpc, world, clients[0])
        said = []
        edges: list[Api] = [grpc, rest, elsewhere]
        for number in range(12):
            edge, client = edges[number % 3], clients[number // 3 % 3]
            said += await fail(edge, world, client, alice, 1)

    assert said == ["INVALID_OTP"] * 10 + [TOO_MANY] * 2


@pytest.mark.requirement("S186", "S195")
async def test_strangers_do_not_empty_the_owners_budget(api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    api.source = OURS
    alice = await enrolled(api, world, client)
    api.source = THEIRS
    assert (await fail(api, world, client, alice, 11))[-1] == TOO_MANY

    api.source = OURS

    assert (await logged_in(api, world, client, alice)).access_token


@pytest.mark.requirement("S186")
async def test_a_source_is_known_to_whom_it_served_alone(api: Api, world: World) -> None:
    """Mallory completes MFA for herself, all day long: to Alice hers stays a stranger's address."""
    client = await shop(world, **FORWARDING)
    api.source = OURS
    alice = await enrolled(api, world, client)
    api.source = THEIRS
    await enrolled(api, world, client, MALLORY)
    assert (await fail(api, world, client, alice, 11))[-1] == TOO_MANY

    api.source = "203.0.113.200"
    assert await fail(api, world, client, alice, 1) == [TOO_MANY]
    api.source = OURS
    assert await fail(api, world, client, alice, 1) == ["INVALID_OTP"]


@pytest.mark.requirement("S186")
async def test_the_password_alone_makes_no_source_known(api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    api.source = OURS
    alice = await enrolled(api, world, client)
    api.source = THEIRS
    for _ in range(3):
        await logged_in_to_mfa(api, client)

    assert [row.source for row in await rows(world, "sources")] == [OURS]
    assert (await fail(api, world, client, alice, 11))[-1] == TOO_MANY


@pytest.mark.requirement("S186")
@pytest.mark.parametrize(("days", "said"), [(29, "INVALID_OTP"), (31, TOO_MANY)])
async def test_a_source_is_known_for_thirty_days(days: int, said: str, api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    api.source = OURS
    alice = await enrolled(api, world, client)
    world.clock.advance(days * DAY)
    api.source = THEIRS
    assert (await fail(api, world, client, alice, 11))[-1] == TOO_MANY

    api.source = OURS
    assert await fail(api, world, client, alice, 1) == [said]


async def test_a_botnet_has_the_budget_of_one_stranger(world: World) -> None:
    async with grpc_edge(world) as api:
        client = await shop(world, public=True)
        alice = await enrolled(api, world, client)
    said = []
    for number in range(12):
        transport = httpx2.ASGITransport(world.app.http(), client=(f"198.51.{number}.9", 40_000))
        async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
            said += await fail(RestApi(http), world, client, alice, 1)

    assert said == ["INVALID_OTP"] * 10 + [TOO_MANY] * 2


@pytest.mark.requirement("S121")
async def test_what_a_client_says_of_its_users_address_is_believed_only_where_it_may(api: Api, world: World) -> None:
    client = await shop(world)
    api.source = OURS
    alice = await enrolled(api, world, client)

    await logged_in(api, world, client, alice)

    assert await rows(world, "sources") == []


@pytest.mark.requirement("S6", "S185")
async def test_strangers_have_thirty_guesses_a_day_however_patient(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    said = []
    for _ in range(4):
        said += await fail(api, world, client, alice, 10)
        world.clock.advance(HOUR)

    assert said.count("INVALID_OTP") == 30
    assert await fail(api, world, client, alice, 1) == [TOO_MANY]


async def test_only_the_source_that_guesses_at_many_users_is_slowed(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world, **FORWARDING)
    users = [await enrolled(grpc_api, world, client, f"user{number}@example.test") for number in range(11)]
    grpc_api.source = THEIRS
    for user in users[:10]:
        assert await fail(grpc_api, world, client, user, 10) == ["INVALID_OTP"] * 10

    assert await fail(grpc_api, world, client, users[10], 1) == [TOO_MANY]
    grpc_api.source = OURS
    assert (await logged_in(grpc_api, world, client, users[10])).access_token


@pytest.mark.requirement("S27")
async def test_recovery_codes_have_a_budget_of_their_own(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    said = [await reason(api.recovery(client, login.mfa_token, "A" * 24)) for _ in range(11)]

    assert said == ["INVALID_RECOVERY_CODE"] * 10 + [TOO_MANY]
    assert await reason(api.recovery(client, login.mfa_token, alice.recovery_code)) == TOO_MANY
    assert await outcome(api.otp(client, login.mfa_token, world.otp(alice.secret))) == ""


async def test_an_exhausted_app_leaves_the_recovery_codes_budget(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await fail(api, world, client, alice, 10)
    login = await logged_in_to_mfa(api, client)

    assert await outcome(api.recovery(client, login.mfa_token, alice.recovery_code)) == ""


async def test_recovery_codes_are_slowed_and_never_disabled(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await change(world, "authenticators", {"failures": 98}, kind="recovery-code")
    login = await logged_in_to_mfa(api, client)
    for _ in range(4):
        assert await reason(api.recovery(client, login.mfa_token, "A" * 24)) == "INVALID_RECOVERY_CODE"

    assert await outcome(api.recovery(client, login.mfa_token, alice.recovery_code)) == ""


@pytest.mark.requirement("S200")
async def test_a_success_refills_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await fail(api, world, client, alice, 9)
    await logged_in(api, world, client, alice)

    assert await fail(api, world, client, alice, 2) == ["INVALID_OTP", TOO_MANY]


@pytest.mark.requirement("S4")
async def test_a_success_ends_the_row_of_its_own_failures_alone(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    await reason(api.recovery(client, login.mfa_token, "A" * 24))
    await fail(api, world, client, alice, 2)

    await logged_in(api, world, client, alice)

    failures = {row.kind: row.failures for row in await rows(world, "authenticators")}
    assert failures == {"totp": 0, "recovery-code": 1}


@pytest.mark.requirement("S79", "S181")
async def test_the_owner_is_told_at_the_fifth_failure_in_a_row(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await fail(api, world, client, alice, 4)
    before = await names(world, "notices")
    await fail(api, world, client, alice, 2)

    assert NoticeName.SUSPICIOUS_FAILURES not in before
    assert (await names(world, "notices")).count(NoticeName.SUSPICIOUS_FAILURES) == 1


async def test_a_pair_has_one_budget(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    bearer = await mfa_access_token(grpc_api, world, client, alice)
    twin = await second_app(grpc_api, world, client, bearer)
    await change(world, "authenticators", {"link_id": "pair"}, kind="totp")
    (one, *_) = [row.id for row in await grpc_api.list(bearer) if row.type == "otp" and row.id != twin.id]
    login = await logged_in_to_mfa(grpc_api, client)
    code = wrong(world, alice.secret, twin.secret)

    said = [
        await reason(grpc_api.otp(client, login.mfa_token, code, authenticator_id=(one, twin.id)[number % 2]))
        for number in range(11)
    ]

    assert said == ["INVALID_OTP"] * 10 + [TOO_MANY]
    assert {row.failures for row in await rows(world, "authenticators", kind="totp")} == {10}


async def test_a_code_without_a_name_counts_once_on_each_app(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    bearer = await mfa_access_token(grpc_api, world, client, alice)
    other = await second_app(grpc_api, world, client, bearer)
    login = await logged_in_to_mfa(grpc_api, client)

    said = [await reason(grpc_api.otp(client, login.mfa_token, wrong(world, alice.secret, other.secret)))] * 3

    assert said == ["INVALID_OTP"] * 3
    assert [row.failures for row in await rows(world, "authenticators", kind="totp")] == [1, 1]


@pytest.mark.requirement("S9")
async def test_an_empty_budget_of_one_app_does_not_reveal_its_right_code(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice)
    await fail(api, world, client, alice, 10)
    other = await second_app(api, world, client, bearer)
    login = await logged_in_to_mfa(api, client)

    said = await reason(api.otp(client, login.mfa_token, world.otp(alice.secret)))

    assert said == "INVALID_OTP"
    assert await outcome(api.otp(client, login.mfa_token, world.otp(other.secret))) == ""


@pytest.mark.requirement("S7", "S96", "S201")
async def test_sending_again_gives_no_new_budget(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    sms = await add_mailed(api, world, client, alice)
    said = []
    login = await logged_in_to_mfa(api, client)
    for _ in range(4):  # three guesses at each: fewer messages than a user may be sent in an hour
        sent = await challenged(api, client, login.mfa_token, sms)
        guess = "000000" if world.outbox.sent[-1].code != "000000" else "000001"
        said += [await reason(api.oob(client, login.mfa_token, sent.oob_code, guess)) for _ in range(3)]

    sent = await challenged(api, client, login.mfa_token, sms)
    assert said == ["INVALID_BINDING_CODE"] * 10 + [TOO_MANY] * 2
    assert await reason(api.oob(client, login.mfa_token, sent.oob_code, world.outbox.sent[-1].code)) == TOO_MANY


async def test_no_more_than_five_active_apps_widen_the_target(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice)
    begun = [await api.enroll(bearer) for _ in range(5)]
    for app in begun[:4]:
        a(Tokens, await api.otp(client, bearer, world.otp(app.secret)))

    assert await reason(api.otp(client, bearer, world.otp(begun[4].secret))) == "TOO_MANY_AUTHENTICATORS"
    assert await reason(api.enroll(bearer)) == "TOO_MANY_AUTHENTICATORS"
