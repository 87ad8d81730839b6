import pytest
from cofactor_server.domain.parties.users import MfaPolicy

from tests.support.flows.api import Api, MfaRequired, Tokens
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    PERIOD,
    a,
    enrolled,
    logged_in,
    logged_in_to_mfa,
    mfa_access_token,
    read,
    reason,
    refusal,
    second_app,
    shop,
)
from tests.support.world import ISSUER, PASSWORD, World

MFA = f"{ISSUER}mfa/"


async def minted(api: Api, world: World) -> tuple[tuple[str, str | None], str]:
    """Return a client, and the access token for the MFA audience of a user who is not enrolled."""
    client = await shop(world)
    await world.user()
    tokens = await api.password(client, ALICE, PASSWORD, scope=MFA_SCOPE, audience=MFA)
    return client, a(Tokens, tokens).access_token


@pytest.mark.parametrize("audience", [MFA, MFA.removesuffix("/")])
async def test_who_is_not_enrolled_gets_a_token_for_the_mfa_audience_at_once(
    api: Api, world: World, audience: str
) -> None:
    client = await shop(world)
    await world.user()

    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope=MFA_SCOPE, audience=audience))

    header, claims = await read(api, tokens.access_token)
    assert (header["alg"], claims["aud"], claims["scope"]) == ("ES256", [MFA], MFA_SCOPE)
    assert (tokens.expires_in, claims["exp"] - claims["iat"]) == (600, 600)


@pytest.mark.parametrize("audience", [MFA, MFA.removesuffix("/")])
@pytest.mark.parametrize("policy", [MfaPolicy.NEVER, MfaPolicy.ALWAYS])
async def test_who_is_enrolled_shows_a_factor_first_whatever_the_policy(
    api: Api, world: World, audience: str, policy: MfaPolicy
) -> None:
    client, strict = await shop(world, mfa_policy=policy), await shop(world)
    user = await enrolled(api, world, strict)

    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, scope=MFA_SCOPE, audience=audience))
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))

    header, claims = await read(api, tokens.access_token)
    assert (header["alg"], claims["aud"], tokens.expires_in) == ("ES256", [MFA], 600)


async def test_openid_adds_the_userinfo_endpoint_and_an_id_token(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()

    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="openid enroll", audience=MFA))

    _, claims = await read(api, tokens.access_token)
    assert claims["aud"] == [MFA, f"{ISSUER}userinfo"]
    assert tokens.id_token


async def test_no_other_scope_is_granted_and_nothing_is_refreshed(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()

    tokens = a(
        Tokens, await api.password(client, ALICE, PASSWORD, scope="read:cart enroll offline_access", audience=MFA)
    )

    assert (tokens.scope, tokens.refresh_token) == ("enroll", "")


async def test_an_access_token_confirms_what_it_enrolled(api: Api, world: World) -> None:
    client, bearer = await minted(api, world)
    app = await api.enroll(bearer)

    tokens = a(Tokens, await api.otp(client, bearer, world.otp(app.secret)))

    _, claims = await read(api, tokens.access_token)
    assert (claims["aud"], claims["scope"], claims["acr"]) == ([MFA], MFA_SCOPE, "urn:cofactor:acr:mfa")
    assert claims["amr"] == ["pwd", "otp", "mfa"]


async def test_an_enrolled_user_adds_an_app_with_an_access_token(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)

    second = await second_app(api, world, client, bearer)

    rows = await api.list(bearer)
    assert [(row.type, row.active) for row in rows] == [("otp", True), ("otp", True), ("recovery-code", True)]
    assert second.recovery_codes == ()


async def test_confirming_another_app_says_each_method_once(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    app = await api.enroll(bearer)

    tokens = a(Tokens, await api.otp(client, bearer, world.otp(app.secret)))

    assert (await read(api, tokens.access_token))[1]["amr"] == ["pwd", "otp", "mfa"]


async def test_an_access_token_does_not_answer_for_an_app_that_is_active(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)

    assert await reason(api.otp(client, bearer, world.otp(user.secret))) == "MFA_TOKEN_MALFORMED"


async def test_an_access_token_is_no_mfa_token_for_challenges(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)

    refused = await refusal(api.challenge(client, bearer))

    assert (refused.reason, refused.text) == ("MFA_TOKEN_MALFORMED", "Malformed mfa_token")


async def test_an_access_token_is_no_mfa_token_for_recovery_codes(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)

    assert await reason(api.recovery(client, bearer, user.recovery_code)) == "MFA_TOKEN_MALFORMED"


async def test_an_access_token_for_an_api_confirms_nothing(api: Api, world: World) -> None:
    await world.api(*MFA_SCOPE.split())
    client = await shop(world)
    user = await enrolled(api, world, client, scope="enroll")

    call = api.otp(client, user.tokens.access_token, world.otp(user.secret))

    assert await reason(call) == "MFA_TOKEN_MALFORMED"


async def test_a_token_without_a_second_factor_is_worth_nothing_once_its_user_is_enrolled(
    api: Api, world: World
) -> None:
    client, bearer = await minted(api, world)
    user = await enrolled(api, world, client, create=False)
    row = (await api.list(await mfa_access_token(api, world, client, user)))[0]

    refusals = [
        await reason(api.list(bearer)),
        await reason(api.enroll(bearer)),
        await reason(api.rename(bearer, row.id, "Mine")),
        await reason(api.remove(bearer, row.id)),
    ]

    assert refusals == ["BEARER_INVALID"] * 4


async def test_a_token_without_a_second_factor_ends_with_what_it_enrolled(api: Api, world: World) -> None:
    client, bearer = await minted(api, world)
    app = await api.enroll(bearer)
    a(Tokens, await api.otp(client, bearer, world.otp(app.secret)))

    refused = await refusal(api.list(bearer))

    assert (refused.reason, refused.text) == (
        "BEARER_INVALID",
        "The mfa_token provided is invalid. Try getting a new token.",
    )


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("enroll", {"enroll", "rename"}),
        ("read:authenticators", {"list"}),
        ("remove:authenticators", {"remove"}),
        ("", set()),
    ],
)
async def test_each_scope_allows_its_own(api: Api, world: World, scope: str, allowed: set[str]) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    row = (await api.list(await mfa_access_token(api, world, client, user)))[0]
    bearer = await mfa_access_token(api, world, client, user, scope=scope)
    calls = {
        "enroll": (api.enroll(bearer), "enroll"),
        "rename": (api.rename(bearer, row.id, "Mine"), "enroll"),
        "list": (api.list(bearer), "read:authenticators"),
        "remove": (api.remove(bearer, row.id), "remove:authenticators"),
    }

    for name, (call, wanted) in calls.items():
        if name in allowed:
            await call
        else:
            refused = await refusal(call)
            assert refused.reason == "INSUFFICIENT_SCOPE", name
            assert refused.text == f"Insufficient scope, expected any of: {wanted}"


@pytest.mark.requirement("S105", "S155")
async def test_an_access_token_lives_ten_minutes(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)

    world.clock.advance(599 - PERIOD)
    await api.list(bearer)
    world.clock.advance(1)

    assert await reason(api.list(bearer)) == "BEARER_INVALID"


@pytest.mark.requirement("S106", "S107")
async def test_a_token_for_another_audience_manages_nothing(api: Api, world: World) -> None:
    await world.api(*MFA_SCOPE.split())
    client = await shop(world)
    user = await enrolled(api, world, client)
    tokens = await logged_in(api, world, client, user, scope=f"openid {MFA_SCOPE}")

    refusals = [
        await reason(api.list(tokens.access_token)),
        await reason(api.enroll(tokens.access_token)),
        await reason(api.list(tokens.id_token)),
    ]

    assert refusals == ["BEARER_INVALID"] * 3


async def test_an_mfa_token_enrolls_the_first_authenticator_only(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    refused = await refusal(api.enroll(login.mfa_token))

    assert (refused.reason, refused.text) == ("ALREADY_ENROLLED", "User is already enrolled.")


@pytest.mark.requirement("S101", "S118", "S192")
async def test_an_mfa_token_lists_and_neither_renames_nor_removes(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    row = (await api.list(login.mfa_token))[0]

    assert await reason(api.rename(login.mfa_token, row.id, "Mine")) == "BEARER_INVALID"
    assert await reason(api.remove(login.mfa_token, row.id)) == "BEARER_INVALID"


@pytest.mark.requirement("S32", "S85")
async def test_after_a_recovery_code_the_lost_app_can_be_replaced(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=MFA)
    bearer = a(Tokens, await api.recovery(client, login.mfa_token, user.recovery_code)).access_token
    lost = (await api.list(bearer))[0]

    app = await second_app(api, world, client, bearer)
    await api.remove(bearer, lost.id)

    login = await logged_in_to_mfa(api, client)
    assert await reason(api.otp(client, login.mfa_token, world.otp(user.secret))) == "INVALID_OTP"
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(app.secret)))


async def test_another_client_cannot_stand_beside_a_bearer_token(api: Api, world: World) -> None:
    client, other = await shop(world), await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    await world.user("bob@example.test")
    login = await logged_in_to_mfa(api, client, "bob@example.test")

    assert await reason(api.enroll(bearer, client=other)) == "BEARER_INVALID"
    assert await reason(api.enroll(login.mfa_token, client=other)) == "MFA_TOKEN_FOREIGN"
    assert await reason(api.enroll(bearer, client=(client[0], "wrong"))) == "INVALID_CLIENT"
    await api.enroll(bearer, client=client)
