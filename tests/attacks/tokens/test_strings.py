"""Security decision 19: what a database would choke on is refused at the edge, and neighbours notice nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cofactor_server.domain.parties.clients import Capability, GrantType

from tests.support.flows.api import Api, GrpcApi, Tokens, rest_edge
from tests.support.flows.attacks import outcome, reason
from tests.support.flows.steps import ALICE, Enrolled, a, enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import PASSWORD, USER_GRANTS, World

CLEAR = {
    "INVALID_REQUEST",
    "INVALID_CLIENT",
    "INVALID_CREDENTIALS",
    "INVALID_OTP",
    "INVALID_RECOVERY_CODE",
    "MFA_TOKEN_MALFORMED",
    "OOB_CODE_MALFORMED",
    "REFRESH_TOKEN_INVALID",
    "AUTHENTICATOR_NOT_FOUND",
    "AUDIENCE_NOT_ALLOWED",
    "AUTHENTICATOR_TYPE_UNSUPPORTED",
    "FACTOR_DISABLED",
    "BEARER_INVALID",
    "UNSUPPORTED_GRANT_TYPE",
    "CHALLENGE_TYPE_UNSUPPORTED",
    "PHONE_NUMBER_INVALID",
}
BAD = {
    "nul": "a\0b",
    "control": "a\x01b",
    "override": "a\u202eb",
    "separator": "a\u2028b",
    "long": "a" * 5_000,
    "astral": "\U0001f600" * 400,
}


def fields(api: Api, client: tuple[str, str | None], mfa_token: str, bearer: str, bad: str) -> dict[str, Any]:
    """Return every call with one bad string."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "username": lambda: api.password(client, bad, PASSWORD),
        "password": lambda: api.password(client, ALICE, bad),
        "scope": lambda: api.password(client, ALICE, PASSWORD, scope=bad),
        "audience": lambda: api.password(client, ALICE, PASSWORD, audience=bad),
        "otp": lambda: api.otp(client, mfa_token, bad),
        "otp's mfa_token": lambda: api.otp(client, bad, "000000"),
        "oob_code": lambda: api.oob(client, mfa_token, bad, "000000"),
        "binding_code": lambda: api.oob(client, mfa_token, "AAAA", bad),
        "recovery_code": lambda: api.recovery(client, mfa_token, bad),
        "refresh_token": lambda: api.refresh(client, bad),
        "refresh's scope": lambda: api.refresh(client, "a.b.1.c", scope=bad),
        "refresh's audience": lambda: api.refresh(client, "a.b.1.c", audience=bad),
        "challenge's authenticator": lambda: api.challenge(client, mfa_token, authenticator_id=bad),
        "name of what is enrolled": lambda: api.enroll(bearer, name=bad),
        "destination": lambda: api.enroll(bearer, "sms", destination=bad),
        "new name": lambda: api.rename(bearer, "totp|dev_0000000000000000", bad),
        "introspected token": lambda: api.introspect(client, bad),
        "revoked token": lambda: api.revoke(client, bad),
    }
    return calls


async def crowd(api: Api, world: World, client: tuple[str, str | None], count: int) -> list[Enrolled]:
    """Return enrolled users."""
    return [await enrolled(api, world, client, f"user{number}@example.test") for number in range(count)]


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_no_string_breaks_the_server_or_its_neighbours(bad: str, api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    neighbours = await crowd(api, world, client, 3)
    bearer = await mfa_access_token(api, world, client, alice)
    login = await logged_in_to_mfa(api, client)
    logins = [await logged_in_to_mfa(api, client, user.subject) for user in neighbours]
    calls = fields(api, client, login.mfa_token, bearer, bad)
    given = list(calls.values())

    said = await asyncio.gather(
        *(outcome(call()) for call in given),
        *(
            outcome(api.otp(client, each.mfa_token, world.otp(user.secret)))
            for each, user in zip(logins, neighbours, strict=True)
        ),
    )

    refused = dict(zip(calls, said, strict=False))
    # What is no token of ours is not worth an error to those who ask about it; RFC 7009 and RFC 7662 say so.
    about = {refused.pop("introspected token"), refused.pop("revoked token")}
    assert set(refused.values()) <= CLEAR | {"TOO_MANY_REQUESTS"}, refused
    assert about <= {"", "INVALID_REQUEST"}
    assert said[len(given) :] == ["", "", ""]


@pytest.mark.parametrize("bad", [BAD["nul"], BAD["long"], BAD["override"]], ids=["nul", "long", "override"])
async def test_no_string_of_a_vouch_or_a_request_id_breaks_anything(bad: str, grpc_api: GrpcApi, world: World) -> None:
    client = await shop(
        world,
        grant_types=USER_GRANTS | {GrantType.VOUCHED},
        capabilities=frozenset({Capability.VOUCH, Capability.PROVISION}),
        realms=("default",),
    )
    await world.user()
    at = world.clock.now() / 1e6
    given: list[tuple[str, str, list[str], str]] = [
        (bad, ALICE, ["pwd"], ""),
        ("default", bad, ["pwd"], ""),
        ("default", ALICE, [bad], ""),
        ("default", ALICE, ["pwd"], bad),
    ]
    for realm, subject, methods, label in given:
        said = await reason(grpc_api.vouched(client, realm, subject, methods, at, label=label))
        assert said == "INVALID_REQUEST"
    assert await reason(grpc_api.password(client, ALICE, PASSWORD, request_id=bad)) == "INVALID_REQUEST"
    assert await reason(grpc_api.password(client, ALICE, PASSWORD, realm=bad)) == "INVALID_REQUEST"
    assert await reason(grpc_api.enroll("a.b.c", bad)) == "BEARER_INVALID"


RAW = (
    b'{"grant_type":"password","client_id":"%s","client_secret":"%s","username":"\\ud800","password":"x"}',
    b'{"grant_type":"password","client_id":"%s","client_secret":"%s","username":"a\\u0000b","password":"x"}',
    b'{"grant_type":"password","client_id":"%s","client_secret":"%s","username":"\xed\xa0\x80","password":"x"}',
    b'{"grant_type":"password","client_id":"%s","client_secret":"%s","username":"a","password":"\xff\xfe"}',
)


@pytest.mark.parametrize("raw", RAW, ids=["escaped surrogate", "escaped nul", "encoded surrogate", "no utf-8"])
async def test_lone_surrogates_are_refused_over_rest(raw: bytes, world: World) -> None:
    client_id, secret = await shop(world)
    body = raw % (client_id.encode(), (secret or "").encode())
    async with rest_edge(world) as api:
        response = await api.http.post("/oauth/token", content=body, headers={"content-type": "application/json"})

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["%00", "totp%7Cdev_%00", "%ED%A0%80", "%FF", "a" * 3_000, "..%2F..%2Fetc"])
async def test_no_path_breaks_the_rest_edge(path: str, world: World) -> None:
    client = await shop(world)
    async with rest_edge(world) as api:
        alice = await enrolled(api, world, client)
        bearer = await mfa_access_token(api, world, client, alice)
        for method in ("DELETE", "PATCH"):
            response = await api.http.request(
                method, f"/mfa/authenticators/{path}", json={"name": "x"}, headers={"authorization": f"Bearer {bearer}"}
            )
            assert 400 <= response.status_code < 500


# Security decision 25

TWICE = (
    '{"grant_type":"password","grant_type":"refresh_token"}',
    '{"grant_type":"password","username":"a","username":"b"}',
    '{"grant_type":"password","x":{"a":1,"a":2}}',
)


@pytest.mark.requirement("S146")
@pytest.mark.parametrize("body", TWICE)
async def test_a_json_member_given_twice_is_refused(body: str, world: World) -> None:
    async with rest_edge(world) as api:
        for path in ("/oauth/token", "/mfa/challenge", "/oauth/revoke", "/oauth/introspect"):
            response = await api.http.post(path, content=body, headers={"content-type": "application/json"})
            assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.requirement("S146")
async def test_a_form_parameter_given_twice_is_refused_however_right(world: World) -> None:
    client = await shop(world)
    async with rest_edge(world) as api:
        alice = await enrolled(api, world, client)
        login = await logged_in_to_mfa(api, client)
        client_id, secret = client
        members = [
            ("grant_type", "http://auth0.com/oauth/grant-type/mfa-otp"),
            ("client_id", client_id),
            ("client_secret", secret or ""),
            ("mfa_token", login.mfa_token),
            ("otp", world.otp(alice.secret)),
        ]
        for twice in members:
            form = "&".join(f"{name}={value}" for name, value in [*members, twice])
            said = await api.http.post(
                "/oauth/token", content=form, headers={"content-type": "application/x-www-form-urlencoded"}
            )
            assert (said.status_code, said.json()["error"]) == (400, "invalid_request")
        assert a(Tokens, await api.otp(client, login.mfa_token, world.otp(alice.secret))).access_token
