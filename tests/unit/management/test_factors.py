"""Factors and policies: in the shapes of W10.1, and followed by whoever logs in."""

from collections.abc import Sequence
from typing import Any

import pytest
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey

from tests.support.flows.api import MfaRequired, Tokens, rest_edge
from tests.support.flows.steps import ALICE, a, logged_in_to_mfa, refusal
from tests.support.world import PASSWORD, World, world_on
from tests.unit.management.desk import NUMBER, Desk

ORDER = [
    "sms",
    "push-notification",
    "otp",
    "email",
    "duo",
    "webauthn-roaming",
    "webauthn-platform",
    "recovery-code",
]
FACTORS, TYPES, POLICIES = "/guardian/factors", "/guardian/factors/phone/message-types", "/guardian/policies"


async def offered(desk: Desk) -> set[str]:
    """Return what Alice, who has nothing, may enroll."""
    return set((await logged_in_to_mfa(desk.api, await desk.shop())).types)


async def test_factors_are_listed_in_the_order_that_was_recorded(desk: Desk) -> None:
    found = await desk.said("GET", FACTORS)
    assert [factor["name"] for factor in found] == ORDER
    assert {factor["name"]: factor["enabled"] for factor in found} == {name: name != "duo" for name in ORDER}
    assert {factor["trial_expired"] for factor in found} == {False}
    assert await desk.said("GET", f"{FACTORS}?include_settings=true") == found


async def test_a_factor_that_is_switched_off_is_neither_offered_nor_enrolled(desk: Desk) -> None:
    await desk.user()
    assert "otp" in await offered(desk)
    assert await desk.said("PUT", f"{FACTORS}/otp", {"enabled": False}) == {"enabled": False}
    assert "otp" not in await offered(desk)
    token = (await logged_in_to_mfa(desk.api, await desk.shop())).mfa_token
    assert (await refusal(desk.api.enroll(token))).reason == "FACTOR_DISABLED"
    assert {f["name"]: f["enabled"] for f in await desk.said("GET", FACTORS)}["otp"] is False
    assert await desk.said("PUT", f"{FACTORS}/otp", {"enabled": True}) == {"enabled": True}
    assert "otp" in await offered(desk)


@pytest.mark.requirement("S2")
async def test_users_stay_enrolled_whose_factor_is_switched_off(desk: Desk) -> None:
    client = await desk.shop()
    await desk.with_app(client)
    await desk.said("PUT", f"{FACTORS}/otp", {"enabled": False})
    login = await logged_in_to_mfa(desk.api, client)
    assert (login.wants, "otp" in login.types) == ("challenge", False)
    assert (await refusal(desk.api.enroll(login.mfa_token, "email", destination="thief@example.com"))).reason == (
        "ALREADY_ENROLLED"
    )


async def test_a_code_of_a_factor_that_is_switched_off_is_not_taken(desk: Desk) -> None:
    client = await desk.shop()
    _, alice = await desk.with_app(client)
    login = await logged_in_to_mfa(desk.api, client)
    await desk.said("PUT", f"{FACTORS}/otp", {"enabled": False})
    tried = await refusal(desk.api.otp(client, login.mfa_token, desk.world.otp(alice.secret)))
    assert tried.reason == "CHALLENGE_TYPE_UNSUPPORTED"
    await desk.said("PUT", f"{FACTORS}/otp", {"enabled": True})
    a(Tokens, await desk.api.otp(client, login.mfa_token, desk.world.otp(alice.secret)))


async def test_another_replica_follows_within_five_seconds(desk: Desk, root_keys: Sequence[RootKey]) -> None:
    await desk.user()
    client = await desk.shop()
    world = desk.world
    kinds = world.app.configuration.deployment.kinds
    keyring = Keyring(root_keys, world.clock)
    async with (
        world_on(world.database_url, clock=world.clock, keyring=keyring, kinds=kinds) as replica,
        rest_edge(replica) as there,
    ):
        assert "otp" in (await logged_in_to_mfa(there, client)).types
        await desk.said("PUT", f"{FACTORS}/otp", {"enabled": False})
        world.clock.advance(5)
        assert "otp" not in (await logged_in_to_mfa(there, client)).types


async def test_what_the_settings_do_not_serve_cannot_be_switched_on(desk: Desk) -> None:
    assert await desk.refused("PUT", f"{FACTORS}/duo", {"enabled": True}) == (400, "invalid_body")
    assert await desk.said("PUT", f"{FACTORS}/duo", {"enabled": False}) == {"enabled": False}


@pytest.mark.parametrize("given", [{"kinds": frozenset({"totp"})}])
async def test_the_settings_bound_what_is_switched_on(desk: Desk) -> None:
    response = await desk.send("PUT", f"{FACTORS}/email", {"enabled": True})
    assert (response.status_code, response.json()["errorCode"]) == (400, "invalid_body")
    assert "the settings do not serve it" in response.json()["message"]
    assert await desk.refused("GET", TYPES) == (404, "")
    assert await desk.refused("PUT", TYPES, {"message_types": ["sms"]}) == (404, "")


@pytest.mark.requirement("S16")
async def test_telephones_never_stay_alone(desk: Desk) -> None:
    for name in ("push-notification", "webauthn-roaming"):
        await desk.said("PUT", f"{FACTORS}/{name}", {"enabled": False})
    assert await desk.refused("PUT", f"{FACTORS}/otp", {"enabled": False}) == (400, "invalid_body")
    await desk.said("PUT", f"{FACTORS}/sms", {"enabled": False})
    await desk.said("PUT", f"{FACTORS}/otp", {"enabled": False})
    assert await desk.refused("PUT", f"{FACTORS}/sms", {"enabled": True}) == (400, "invalid_body")


async def test_a_bad_name_is_refused(desk: Desk) -> None:
    for name in ("passkey", "OTP", "otp%7C", "x" * 200, "%00"):
        assert await desk.refused("PUT", f"{FACTORS}/{name}", {"enabled": True}) == (400, "invalid_uri")


async def test_a_bad_switch_is_refused(desk: Desk) -> None:
    bodies: list[Any] = [
        {},
        {"enabled": None},
        {"enabled": 1},
        {"enabled": True, "trial_expired": False},
        [],
        "true",
        True,
    ]
    for body in bodies:
        assert await desk.refused("PUT", f"{FACTORS}/otp", body) == (400, "invalid_body"), body
    assert await desk.refused("PUT", f"{FACTORS}/otp?x=1", {"enabled": True}) == (400, "invalid_query_string")


@pytest.mark.parametrize("types", [["sms"], ["voice"], ["sms", "voice"]])
async def test_message_types_say_how_a_telephone_is_reached(desk: Desk, types: list[str]) -> None:
    assert await desk.said("GET", TYPES) == {"message_types": ["sms", "voice"]}
    assert await desk.said("PUT", TYPES, {"message_types": types}) == {"message_types": types}
    assert await desk.said("GET", TYPES) == {"message_types": types}
    user = await desk.user()
    number = {"type": "phone", "phone_number": NUMBER}
    made = await desk.said("POST", f"/users/{user.id}/authentication-methods", number, 201)
    assert [way["type"] for way in made["authentication_methods"]] == types
    rows = await desk.api.list((await logged_in_to_mfa(desk.api, await desk.shop())).mfa_token)
    assert [row.id.partition("|")[0] for row in rows] == types


async def test_the_phone_factor_switches_both_ways_of_reaching_one(desk: Desk) -> None:
    await desk.user()
    await desk.said("PUT", TYPES, {"message_types": ["voice"]})
    assert "phone" in await offered(desk)
    await desk.said("PUT", f"{FACTORS}/sms", {"enabled": False})
    assert "phone" not in await offered(desk)
    assert await desk.said("GET", TYPES) == {"message_types": ["voice"]}


async def test_bad_message_types_are_refused(desk: Desk) -> None:
    for wanted in ([], ["fax"], ["sms", 1], None, [["sms"]]):
        assert await desk.refused("PUT", TYPES, {"message_types": wanted}) == (400, "invalid_body"), wanted


@pytest.mark.parametrize(
    ("policies", "asked_without", "asked_with"),
    [
        ([], False, False),
        (["all-applications"], True, True),
        (["confidence-score"], False, True),
        (["all-applications", "confidence-score"], True, True),
    ],
)
async def test_policies_say_of_whom_a_factor_is_asked(
    desk: Desk, policies: list[str], asked_without: bool, asked_with: bool
) -> None:
    client = await desk.shop()
    await desk.with_app(client)
    await desk.world.user("bob@example.test")
    assert await desk.said("PUT", POLICIES, policies) == policies
    assert await desk.said("GET", POLICIES) == policies
    for subject, asked in (("bob@example.test", asked_without), (ALICE, asked_with)):
        outcome = await desk.api.password(client, subject, PASSWORD)
        assert isinstance(outcome, MfaRequired) is asked, subject


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mfa_policy": MfaPolicy.ALWAYS}, ["all-applications"]),
        ({"mfa_policy": MfaPolicy.WHEN_ENROLLED}, ["confidence-score"]),
        ({"mfa_policy": MfaPolicy.NEVER}, []),
    ],
)
async def test_the_settings_speak_until_an_operator_does(desk: Desk, said: list[str]) -> None:
    assert await desk.said("GET", POLICIES) == said


async def test_rules_of_the_command_line_stay(desk: Desk) -> None:
    from cofactor_server.services.policy.rules import NewRule

    client = await desk.shop()
    await desk.user()
    await desk.world.app.policies.add(NewRule(MfaPolicy.ALWAYS, client_id=client[0]))
    await desk.said("PUT", POLICIES, [])
    assert isinstance(await desk.api.password(client, ALICE, PASSWORD), MfaRequired)
    assert isinstance(await desk.api.password(await desk.shop(), ALICE, PASSWORD), Tokens)


async def test_bad_policies_are_refused(desk: Desk) -> None:
    bodies: list[Any] = [{"policies": []}, ["always"], [1], "all-applications", None, [["x"]]]
    for body in bodies:
        assert await desk.refused("PUT", POLICIES, body) == (400, "invalid_body"), body


async def test_a_form_will_do(desk: Desk) -> None:
    off = await desk.send("PUT", f"{FACTORS}/email", data={"enabled": "false"})
    assert (off.status_code, off.json()) == (200, {"enabled": False})
    voice = await desk.send("PUT", TYPES, data={"message_types": "voice"})
    assert voice.json() == {"message_types": ["voice"]}


async def test_it_is_nothing_of_the_address_that_applications_call(desk: Desk, world: World) -> None:
    for path in (FACTORS, POLICIES, "/users/usr_1/authentication-methods", ""):
        for method in ("GET", "PUT", "POST", "DELETE", "PATCH"):
            headers = {"authorization": f"Bearer {desk.token()}"}
            response = await desk.api.http.request(method, f"/api/v2{path}", headers=headers)
            assert response.status_code == 404, (method, path)
