"""A token that counts: enrolled over gRPC, confirmed and used over both edges."""

import asyncio

import pytest
from cofactor_server.services.authenticators.imports import ImportRefused, Seed

from tests.support.flows.api import Api, GrpcApi, Refused, Tokens
from tests.support.flows.attacks import names
from tests.support.flows.steps import ALICE, a, enrolled, logged_in_to_mfa, mfa_access_token, reason, refusal, shop
from tests.support.world import World
from tests.unit.factors.devices import HardwareToken, hotp

SECRET = b"12345678901234567890"

with_tokens = pytest.mark.parametrize("given", [{"kinds": frozenset({"totp", "hotp", "recovery-code"})}], ids=["hotp"])
"""Switches on what these tests are about."""


async def holder(api: Api, grpc_api: GrpcApi, world: World) -> tuple[tuple[str, str | None], HardwareToken]:
    """Create a user who enrolls a token over gRPC, and confirms it over the edge that is tested."""
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    made = await grpc_api.enroll(login.mfa_token, "hotp")
    token = HardwareToken(made.barcode_uri)
    a(Tokens, await api.otp(client, login.mfa_token, token.press()))
    return client, token


@with_tokens
@pytest.mark.requirement("S52", "S87")
async def test_a_token_is_confirmed_and_logs_in_from_then_on(api: Api, grpc_api: GrpcApi, world: World) -> None:
    client, token = await holder(api, grpc_api, world)

    for wanted in (["otp"], []):
        login = await logged_in_to_mfa(api, client)
        assert (await api.challenge(client, login.mfa_token, types=wanted)).type == "otp"
        a(Tokens, await api.otp(client, login.mfa_token, token.press()))

    login = await logged_in_to_mfa(api, client)
    (row, _) = await api.list(login.mfa_token)
    assert (row.id.split("|")[0], row.type, row.name) == ("hotp", "otp", "")
    token.counter -= 1
    assert await reason(api.otp(client, login.mfa_token, token.press())) == "INVALID_OTP"


@with_tokens
@pytest.mark.requirement("S54", "S55")
async def test_a_token_that_went_ahead_is_found_again(api: Api, grpc_api: GrpcApi, world: World) -> None:
    client, token = await holder(api, grpc_api, world)
    token.counter += 40
    login = await logged_in_to_mfa(api, client)

    refused = await refusal(api.otp(client, login.mfa_token, token.press()))
    a(Tokens, await api.otp(client, login.mfa_token, f"{token.press()} {token.press()}"))

    assert (refused.reason, refused.text, refused.metadata) == (
        "INVALID_OTP",
        "Invalid otp_code.",
        {"hint": "resynchronize"},
    )
    login = await logged_in_to_mfa(api, client)
    a(Tokens, await api.otp(client, login.mfa_token, token.press()))


@with_tokens
@pytest.mark.requirement("S53", "S87")
async def test_one_code_at_four_logins_at_once_is_accepted_once(api: Api, grpc_api: GrpcApi, world: World) -> None:
    client, token = await holder(api, grpc_api, world)
    logins = [await logged_in_to_mfa(api, client) for _ in range(4)]
    code = token.press()

    tries = [api.otp(client, login.mfa_token, code) for login in logins]
    said = await asyncio.gather(*tries, return_exceptions=True)

    assert [isinstance(answer, Tokens) for answer in said].count(True) == 1
    assert [answer.reason for answer in said if isinstance(answer, Refused)] == ["INVALID_OTP"] * 3


@with_tokens
async def test_an_app_and_a_token_are_told_apart_by_their_codes(api: Api, grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    token = HardwareToken((await grpc_api.enroll(bearer, "hotp", digits=8)).barcode_uri)
    a(Tokens, await api.otp(client, bearer, token.press()))

    for code in (token.press(), world.otp(user.secret)):
        login = await logged_in_to_mfa(api, client)
        a(Tokens, await api.otp(client, login.mfa_token, code))
    assert user.subject == ALICE


@with_tokens
@pytest.mark.requirement("S56", "S57", "S181")
async def test_guesses_at_a_token_share_one_budget_over_all_logins(api: Api, grpc_api: GrpcApi, world: World) -> None:
    client, token = await holder(api, grpc_api, world)
    logins = [await logged_in_to_mfa(api, client) for _ in range(5)]
    near = {token.press() for _ in range(200)}
    wrong = next(code for code in (f"{number:06d}" for number in range(1000)) if code not in near)
    token.counter -= 200

    said = [await reason(api.otp(client, login.mfa_token, wrong)) for login in logins * 2]

    assert said == ["INVALID_OTP"] * 10
    assert await reason(api.otp(client, logins[0].mfa_token, token.press())) == "TOO_MANY_FAILED_CODES"


def seeds(*serials: str, user: str = ALICE) -> list[Seed]:
    """Return tokens of a delivery, all with the RFC's secret."""
    return [Seed(f"line {place}", serial, user, SECRET) for place, serial in enumerate(serials, 2)]


@with_tokens
@pytest.mark.requirement("S193")
async def test_an_imported_token_logs_in(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    abandoned = await api.enroll((await logged_in_to_mfa(api, client)).mfa_token)
    assert await world.app.operators.import_tokens("default", seeds("T-1", "T-2")) == 2

    login = await logged_in_to_mfa(api, client)
    found = await api.list(login.mfa_token)
    assert {(row.name, row.type, row.active) for row in found} == {("T-1", "otp", True), ("T-2", "otp", True)}
    assert await reason(api.otp(client, login.mfa_token, world.otp(abandoned.secret))) == "INVALID_OTP"
    a(Tokens, await api.otp(client, login.mfa_token, hotp(SECRET, 3)))
    assert (await names(world, "notices")).count("authenticator_added") == 2
    assert (await names(world, "events")).count("authenticator.added") == 2


@with_tokens
async def test_a_token_is_bound_to_nobody_else_until_it_is_removed(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user("bob@example.test")
    user = await enrolled(api, world, client)
    await world.app.operators.import_tokens("default", seeds("T-1"))
    with pytest.raises(ImportRefused) as caught:
        await world.app.operators.import_tokens("default", seeds("T-2", "T-1", user="bob@example.test"))
    assert caught.value.problems == ("line 3: serial: is bound already",)

    bearer = await mfa_access_token(api, world, client, user)
    token = next(row for row in await api.list(bearer) if row.id.startswith("hotp"))
    await api.remove(bearer, token.id)

    assert await world.app.operators.import_tokens("default", seeds("T-2", "T-1", user="bob@example.test")) == 2
