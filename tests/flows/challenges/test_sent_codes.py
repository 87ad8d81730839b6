"""Codes by text message, call and mail, from the first login on: W4 to W9."""

import asyncio

import pytest
from cofactor.v1 import authenticators_pb2 as pb
from google.protobuf import json_format

from tests.support.flows.api import Api, Challenge, ClientCredentials, GrpcApi, Refused, RestApi, Row, Tokens
from tests.support.flows.attacks import change
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    reason,
    refusal,
    shop,
)
from tests.support.world import World

NUMBER = "+442071838750"
ADDRESS = "alice@mail.example.com"
TO = {"sms": NUMBER, "voice": NUMBER, "email": ADDRESS}
HOUR = 3600
ALL = frozenset({"totp", "sms", "voice", "email", "recovery-code"})

every_kind = pytest.mark.parametrize("kind", TO)


def on(*kinds: str) -> pytest.MarkDecorator:
    """Switch on these kinds alone."""
    return pytest.mark.parametrize("given", [{"kinds": frozenset(kinds)}], ids=["+".join(kinds)])


everything = pytest.mark.parametrize("given", [{"kinds": ALL}], ids=["all"])


def code(world: World) -> str:
    """Return the code that was sent last."""
    return world.outbox.sent[-1].code


def wrong(world: World) -> str:
    """Return a code that was not sent last."""
    return f"{(int(code(world)) + 1) % 10**6:06d}"


async def first(
    api: Api, world: World, client: ClientCredentials, kind: str, *, to: str = "", create: bool = True
) -> Tokens:
    """Create a user who enrolls a kind at the first login, and confirms it."""
    if create:
        await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, kind, destination=to or TO[kind])
    world.clock.advance(1)
    return a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code, code(world)))


async def rows(api: Api, client: ClientCredentials, *, active: bool = True) -> list[Row]:
    """Return the user's authenticators, without recovery codes."""
    login = await logged_in_to_mfa(api, client)
    found = await api.list(login.mfa_token)
    return [row for row in found if row.active is active and row.type != "recovery-code"]


async def bearer_by(api: Api, world: World, client: ClientCredentials, authenticator_id: str) -> str:
    """Return an access token that manages authenticators, of a login with a code that was sent."""
    audience = world.app.configuration.deployment.mfa_audience
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=audience)
    sent = await api.challenge(client, login.mfa_token, authenticator_id=authenticator_id)
    return a(Tokens, await api.oob(client, login.mfa_token, sent.oob_code, code(world))).access_token


async def add(api: Api, world: World, client: ClientCredentials, bearer: str, kind: str, to: str = "") -> None:
    """Add an authenticator with an access token."""
    begun = await api.enroll(bearer, kind, destination=to or TO[kind])
    world.clock.advance(1)
    a(Tokens, await api.oob(client, bearer, begun.oob_code, code(world)))


@everything
@every_kind
async def test_a_user_enrolls_at_login_and_logs_in_with_codes_from_then_on(api: Api, world: World, kind: str) -> None:
    client = await shop(world)
    await first(api, world, client, kind)
    (row,) = [row for row in await rows(api, client) if row.id.startswith(kind)]

    for wanted in ({"authenticator_id": row.id}, {"types": ["oob"]}, {}):
        login = await logged_in_to_mfa(api, client)
        challenge = await api.challenge(client, login.mfa_token, **wanted)
        message = world.outbox.sent[-1]
        assert (message.channel, message.to, message.purpose) == (kind, TO[kind], "login")
        assert (challenge.type, challenge.prompts) == ("oob", True)
        a(Tokens, await api.oob(client, login.mfa_token, challenge.oob_code, message.code))


@everything
async def test_the_first_code_says_that_it_enrolls(api: Api, world: World) -> None:
    await first(api, world, await shop(world), "sms")

    assert [message.purpose for message in world.outbox.sent] == ["enroll"]


@everything
@every_kind
async def test_a_wrong_code_a_missing_one_and_garbage_are_told_apart(api: Api, world: World, kind: str) -> None:
    client = await shop(world)
    await first(api, world, client, kind)
    login = await logged_in_to_mfa(api, client)
    sent = await api.challenge(client, login.mfa_token)

    said = [
        await refusal(api.oob(client, login.mfa_token, sent.oob_code, wrong(world))),
        await refusal(api.oob(client, login.mfa_token, sent.oob_code)),
        await refusal(api.oob(client, login.mfa_token, "garbage", code(world))),
    ]

    assert [(r.reason, r.text) for r in said] == [
        ("INVALID_BINDING_CODE", "Invalid binding_code."),
        ("BINDING_CODE_REQUIRED", "binding_code is required"),
        ("OOB_CODE_MALFORMED", "Malformed oob_code"),
    ]


@everything
@every_kind
@pytest.mark.requirement("S9", "S87")
async def test_one_code_presented_ten_times_at_once_is_accepted_once(api: Api, world: World, kind: str) -> None:
    client = await shop(world)
    await first(api, world, client, kind)
    login = await logged_in_to_mfa(api, client)
    sent = await api.challenge(client, login.mfa_token)

    tries = [api.oob(client, login.mfa_token, sent.oob_code, code(world)) for _ in range(10)]
    said = await asyncio.gather(*tries, return_exceptions=True)

    assert [isinstance(answer, Tokens) for answer in said].count(True) == 1
    assert {answer.reason for answer in said if isinstance(answer, Refused)} <= {"MFA_TOKEN_STALE", "TOO_MANY_REQUESTS"}


@everything
@pytest.mark.requirement("S16")
@pytest.mark.parametrize(("kind", "told"), [("sms", True), ("voice", True), ("email", False)])
async def test_who_enrolls_a_telephone_is_told_of_its_risks(
    grpc_api: GrpcApi, world: World, kind: str, told: bool
) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(grpc_api, client)
    field = {"email": ADDRESS} if kind == "email" else {"phone_number": NUMBER}
    request = json_format.ParseDict({kind: field}, pb.EnrollAuthenticatorRequest())

    made = await grpc_api.authenticators.EnrollAuthenticator(
        request, metadata=(("authorization", f"Bearer {login.mfa_token}"),)
    )

    assert bool(made.oob.risk_notice) == told


# --- one telephone, two ways ---------------------------------------------------------------------------------------


@everything
@pytest.mark.parametrize("kind", ["sms", "voice"])
async def test_one_telephone_is_two_authenticators_where_both_ways_are_on(api: Api, world: World, kind: str) -> None:
    client = await shop(world)
    await first(api, world, client, kind)

    found = await rows(api, client)

    assert {row.id.split("|")[0] for row in found} == {"sms", "voice"}
    assert len({row.id.split("|")[1] for row in found}) == 1
    assert {(row.name, row.type) for row in found} == {("XXXXXXXXX8750", "phone")}
    assert found[0].id.startswith(kind), "the way that was chosen is offered first"


@pytest.mark.parametrize("kind", ["sms", "voice"])
@pytest.mark.parametrize(
    "given", [{"kinds": frozenset({"sms"})}, {"kinds": frozenset({"voice"})}], ids=["sms", "voice"]
)
async def test_one_telephone_is_one_authenticator_where_one_way_is_on(
    api: Api, world: World, kind: str, given: dict[str, frozenset[str]]
) -> None:
    client = await shop(world)
    if kind not in given["kinds"]:
        await world.user()
        login = await logged_in_to_mfa(api, client)
        assert await reason(api.enroll(login.mfa_token, kind, destination=NUMBER)) == "FACTOR_DISABLED"
        return
    await first(api, world, client, kind)

    assert [row.id.split("|")[0] for row in await rows(api, client)] == [kind]


@everything
@pytest.mark.parametrize("removed", ["sms", "voice"])
async def test_removing_either_way_removes_the_telephone(api: Api, world: World, removed: str) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    await add(api, world, client, bearer, "sms")
    phone = next(row for row in await rows(api, client) if row.id.startswith(removed))

    await api.remove(bearer, phone.id)

    assert [row.type for row in await rows(api, client)] == ["otp"]


@everything
@pytest.mark.requirement("S1", "S57")
async def test_both_ways_have_one_guess_budget(api: Api, world: World) -> None:
    client = await shop(world)
    await first(api, world, client, "sms")
    login = await logged_in_to_mfa(api, client)
    for row in await rows(api, client):
        sent = await api.challenge(client, login.mfa_token, authenticator_id=row.id)
        for _ in range(5):
            assert await reason(api.oob(client, login.mfa_token, sent.oob_code, wrong(world))) == "INVALID_BINDING_CODE"

    for row in await rows(api, client):
        sent = await api.challenge(client, login.mfa_token, authenticator_id=row.id)
        assert await reason(api.oob(client, login.mfa_token, sent.oob_code, code(world))) == "TOO_MANY_FAILED_CODES"


@everything
@pytest.mark.requirement("S95", "S123")
async def test_a_code_of_one_way_does_not_answer_the_other(api: Api, world: World) -> None:
    client = await shop(world)
    await first(api, world, client, "sms")
    sms, voice = [row.id for row in await rows(api, client)]
    login = await logged_in_to_mfa(api, client)
    by_text = await api.challenge(client, login.mfa_token, authenticator_id=sms)
    spoken = await api.challenge(client, login.mfa_token, authenticator_id=voice)

    assert await reason(api.oob(client, login.mfa_token, by_text.oob_code, code(world))) == "INVALID_BINDING_CODE"
    a(Tokens, await api.oob(client, login.mfa_token, spoken.oob_code, code(world)))


@everything
async def test_five_telephones_are_five_authenticators_and_not_ten(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    for number in range(4):
        await add(api, world, client, bearer, "sms", f"+44207183875{number}")

    assert await reason(api.enroll(bearer, "sms", destination="+442071838759")) == "TOO_MANY_AUTHENTICATORS"
    assert len(await rows(api, client)) == 9


# --- what cannot be enrolled, and what is not finished ------------------------------------------------------------


@everything
@pytest.mark.parametrize("kind", ["sms", "voice"])
@pytest.mark.parametrize("number", ["442071838750", "+15550100", "+1800FLOWERS", "+449098790000"])
async def test_a_number_that_reaches_nobody_is_refused(api: Api, world: World, kind: str, number: str) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    refused = await refusal(api.enroll(login.mfa_token, kind, destination=number))

    assert (refused.reason, refused.text) == ("PHONE_NUMBER_INVALID", "The phone number is invalid.")
    assert not world.outbox.sent


@everything
async def test_an_address_that_is_none_is_refused(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.enroll(login.mfa_token, "email", destination="alice@nowhere")) == "INVALID_REQUEST"
    assert not world.outbox.sent


@everything
@every_kind
@pytest.mark.requirement("S194")
async def test_an_unfinished_enrollment_is_not_usable_and_not_in_the_way(api: Api, world: World, kind: str) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    abandoned = await api.enroll(login.mfa_token, kind, destination=TO[kind])
    late = code(world)

    again = await logged_in_to_mfa(api, client)
    assert again.wants == "enroll"
    assert await reason(api.challenge(client, again.mfa_token)) == "ASSOCIATION_REQUIRED"
    assert await reason(api.oob(client, again.mfa_token, abandoned.oob_code, late)) == "OOB_CODE_MALFORMED"
    user = await enrolled(api, world, client, create=False)
    assert await reason(api.oob(client, login.mfa_token, abandoned.oob_code, late)) == "OOB_CODE_MALFORMED"
    assert [row.type for row in await api.list(await mfa_access_token(api, world, client, user))] == [
        "otp",
        "recovery-code",
    ]


# --- a profile's address ------------------------------------------------------------------------------------------


@everything
async def test_a_verified_profile_address_is_listed_without_enrolling(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    login = await logged_in_to_mfa(api, client)

    (row,) = await api.list(login.mfa_token)

    assert (row.type, row.active, row.name) == ("email", True, "alic*@mail************")
    assert row.id.startswith("email|dev_")
    assert login.wants == "enroll", "it is no enrollment"
    assert "email" not in login.types
    assert await reason(api.challenge(client, login.mfa_token)) == "ASSOCIATION_REQUIRED"


@everything
async def test_a_profile_address_that_is_not_verified_is_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS)
    login = await logged_in_to_mfa(api, client)

    assert list(await api.list(login.mfa_token)) == []
    assert await reason(api.enroll(login.mfa_token, "email")) == "INVALID_REQUEST"


@on("totp")
async def test_a_profile_address_is_no_authenticator_where_mail_is_off(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    user = await enrolled(api, world, client, create=False)
    login = await logged_in_to_mfa(api, client)

    assert [row.type for row in await api.list(login.mfa_token)] == ["otp"]
    assert login.types == ("otp",)
    assert await reason(api.challenge(client, login.mfa_token, types=["oob"])) == "CHALLENGE_TYPE_UNSUPPORTED"
    assert user.secret


@everything
async def test_a_profile_address_helps_who_is_enrolled_and_is_offered_last(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    world.clock.advance(1)
    await enrolled(api, world, client, create=False)
    login = await logged_in_to_mfa(api, client)

    assert login.types == ("otp", "email", "recovery-code")
    assert (await api.challenge(client, login.mfa_token)).type == "otp"
    mailed = await api.challenge(client, login.mfa_token, types=["oob"])
    assert world.outbox.sent[-1].to == ADDRESS
    tokens = a(Tokens, await api.oob(client, login.mfa_token, mailed.oob_code, code(world)))
    claims = await api.introspect(client, tokens.access_token)
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:mfa-low", ["pwd"])


@everything
async def test_a_profile_address_is_not_removed_and_an_enrolled_one_is(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    user = await enrolled(api, world, client, create=False)
    bearer = await mfa_access_token(api, world, client, user)
    (profile,) = [row for row in await api.list(bearer) if row.type == "email"]
    await add(api, world, client, bearer, "email", "other@example.com")
    (other,) = [row for row in await api.list(bearer) if row.type == "email" and row.id != profile.id]

    refused = await refusal(api.remove(bearer, profile.id))
    await api.remove(bearer, other.id)

    assert (refused.reason, refused.text) == (
        "AUTHENTICATOR_UNDELETABLE",
        "A verified profile address cannot be removed.",
    )
    assert [row.type for row in await rows(api, client)] == ["otp", "email"]


@everything
async def test_a_profile_address_outlives_the_last_authenticator_and_a_reset(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    user = await enrolled(api, world, client, create=False)
    bearer = await mfa_access_token(api, world, client, user)
    await api.remove(bearer, (await api.list(bearer))[0].id)
    assert [row.type for row in await rows(api, client)] == ["email"]

    assert await world.app.operators.reset_mfa("default", ALICE) == 0

    assert [row.type for row in await rows(api, client)] == ["email"]


@everything
@pytest.mark.requirement("S1", "S2")
async def test_a_profile_address_that_failures_disabled_is_no_enrollment_and_comes_back_with_a_reset(
    api: Api, world: World
) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    await change(world, "authenticators", {"state": "disabled", "failures": 100}, kind="email")

    assert (await logged_in_to_mfa(api, client)).wants == "enroll"
    await enrolled(api, world, client, create=False)
    login = await logged_in_to_mfa(api, client)
    assert await reason(api.challenge(client, login.mfa_token, types=["oob"])) == "CHALLENGE_TYPE_UNSUPPORTED"

    await world.app.operators.reset_mfa("default", ALICE)

    (row,) = await rows(api, client)
    assert row.type == "email"


@everything
async def test_who_enrolls_mail_and_names_no_address_enrolls_the_profile_s(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    login = await logged_in_to_mfa(api, client)

    begun = await api.enroll(login.mfa_token, "email")
    a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code, code(world)))

    assert world.outbox.sent[-1].to == ADDRESS
    assert (await logged_in_to_mfa(api, client)).wants == "challenge"


@everything
async def test_a_changed_profile_address_takes_the_old_one_s_place(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    (before,) = await rows(api, client)

    await world.app.operators.set_email("default", ALICE, "new@example.com", verified=True)
    (after,) = await rows(api, client)
    await world.app.operators.set_email("default", ALICE, "new@example.com", verified=False)

    assert (before.id != after.id, after.name) == (True, "***@exam*******")
    assert await rows(api, client) == []


# --- budgets ------------------------------------------------------------------------------------------------------


async def spent(api: Api, client: ClientCredentials, authenticator_id: str, times: int) -> None:
    """Have codes sent until the budget is empty."""
    login = await logged_in_to_mfa(api, client)
    for _ in range(times):
        await api.challenge(client, login.mfa_token, authenticator_id=authenticator_id)


@everything
@pytest.mark.requirement("S96", "S202")
async def test_a_user_is_sent_ten_text_messages_and_calls_and_then_one_an_hour(api: Api, world: World) -> None:
    client = await shop(world)
    await first(api, world, client, "sms")  # the first of ten
    sms, voice = [row.id for row in await rows(api, client)]
    await spent(api, client, sms, 5)
    await spent(api, client, voice, 4)
    login = await logged_in_to_mfa(api, client)
    sent = len(world.outbox.sent)

    refused = await refusal(api.challenge(client, login.mfa_token, authenticator_id=sms))

    assert (refused.reason, refused.text) == (
        "TOO_MANY_MESSAGES",
        "Too many SMS sent by the user. Wait for some minutes before retrying.",
    )
    assert refused.retry_after is not None
    assert 0 < refused.retry_after <= HOUR
    assert len(world.outbox.sent) == sent
    world.clock.advance(HOUR)
    login = await logged_in_to_mfa(api, client)
    await api.challenge(client, login.mfa_token, authenticator_id=sms)
    assert await reason(api.challenge(client, login.mfa_token, authenticator_id=voice)) == "TOO_MANY_MESSAGES"


@everything
async def test_who_had_too_many_text_messages_enrolls_no_telephone_and_still_gets_mail(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    await first(api, world, client, "sms", create=False)
    sms, _, mail = [row.id for row in await rows(api, client)]
    bearer = await bearer_by(api, world, client, sms)
    await spent(api, client, sms, 8)

    assert await reason(api.enroll(bearer, "sms", destination=NUMBER)) == "TOO_MANY_MESSAGES"
    login = await logged_in_to_mfa(api, client)
    await api.challenge(client, login.mfa_token, authenticator_id=mail)
    assert world.outbox.sent[-1].channel == "email"


@everything
async def test_a_user_is_sent_twenty_mails_and_then_one_a_minute(api: Api, world: World) -> None:
    client = await shop(world)
    await first(api, world, client, "email")
    (mail,) = [row.id for row in await rows(api, client)]
    await spent(api, client, mail, 19)
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.challenge(client, login.mfa_token)) == "TOO_MANY_MESSAGES"
    world.clock.advance(60)
    await api.challenge(client, login.mfa_token)


@everything
@every_kind
@pytest.mark.requirement("S7", "S115", "S201")
async def test_a_code_sent_again_replaces_the_last_and_brings_no_new_guesses(api: Api, world: World, kind: str) -> None:
    client = await shop(world)
    await first(api, world, client, kind)
    login = await logged_in_to_mfa(api, client)
    sent: Challenge = await api.challenge(client, login.mfa_token)
    for _ in range(5):
        assert await reason(api.oob(client, login.mfa_token, sent.oob_code, wrong(world))) == "INVALID_BINDING_CODE"
    old = sent

    sent = await api.challenge(client, login.mfa_token)

    assert await reason(api.oob(client, login.mfa_token, old.oob_code, code(world))) == "OOB_CODE_EXPIRED"
    for _ in range(5):
        assert await reason(api.oob(client, login.mfa_token, sent.oob_code, wrong(world))) == "INVALID_BINDING_CODE"
    refused = await refusal(api.oob(client, login.mfa_token, sent.oob_code, code(world)))
    assert (refused.reason, refused.text) == (
        "TOO_MANY_FAILED_CODES",
        "Too many failed codes. Wait for some minutes before retrying.",
    )


# --- what cannot be reached ---------------------------------------------------------------------------------------


@everything
@pytest.mark.requirement("S117")
async def test_who_cannot_be_reached_one_way_logs_in_another(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    await first(api, world, client, "sms", create=False)
    world.outbox.down = {"sms"}
    login = await logged_in_to_mfa(api, client)
    sms, voice, mail = [row.id for row in await rows(api, client)]

    assert await reason(api.challenge(client, login.mfa_token)) == "DELIVERY_FAILED"
    for other in (voice, mail):
        sent = await api.challenge(client, login.mfa_token, authenticator_id=other)
        a(Tokens, await api.oob(client, login.mfa_token, sent.oob_code, code(world)))
        login = await logged_in_to_mfa(api, client)
    assert await reason(api.challenge(client, login.mfa_token, authenticator_id=sms)) == "DELIVERY_FAILED"


# --- the wire -----------------------------------------------------------------------------------------------------


@everything
@pytest.mark.parametrize("channel", TO)
async def test_the_wire_is_the_recorded_one(rest_api: RestApi, world: World, channel: str) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(rest_api, client)
    headers = {"authorization": f"Bearer {login.mfa_token}"}
    to = {"email": ADDRESS} if channel == "email" else {"phone_number": NUMBER}
    body = {"authenticator_types": ["oob"], "oob_channels": [channel], **to}

    begun = (await rest_api.http.post("/mfa/associate", json=body, headers=headers)).json()
    pending = (await rest_api.http.get("/mfa/authenticators", headers=headers)).json()[0]
    a(Tokens, await rest_api.oob(client, login.mfa_token, begun["oob_code"], code(world)))
    login = await logged_in_to_mfa(rest_api, client)
    members = {"client_id": client[0], "client_secret": client[1], "mfa_token": login.mfa_token}
    sent = (await rest_api.http.post("/mfa/challenge", json={**members, "challenge_type": "oob"})).json()

    assert list(begun) == ["authenticator_type", "binding_method", "recovery_codes", "oob_channel", "oob_code"]
    assert (begun["authenticator_type"], begun["binding_method"], begun["oob_channel"]) == ("oob", "prompt", channel)
    assert list(pending) == ["id", "authenticator_type", "active", "oob_channel", "name", "type"]
    assert (pending["active"], pending["type"]) == (False, "email" if channel == "email" else "phone")
    assert list(sent) == ["challenge_type", "oob_code", "binding_method"]
    assert (sent["challenge_type"], sent["binding_method"]) == ("oob", "prompt")


@everything
@pytest.mark.parametrize("channel", TO)
async def test_a_channel_narrows_what_is_challenged(rest_api: RestApi, world: World, channel: str) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    await first(rest_api, world, client, "sms", create=False)
    login = await logged_in_to_mfa(rest_api, client)
    members = {"client_id": client[0], "client_secret": client[1], "mfa_token": login.mfa_token}

    await rest_api.http.post("/mfa/challenge", json={**members, "challenge_type": "oob", "oob_channel": channel})

    assert world.outbox.sent[-1].channel == channel


# --- the strict profile -------------------------------------------------------------------------------------------


@pytest.mark.requirement("S80", "S94")
@pytest.mark.parametrize("given", [{"kinds": ALL, "strict": True}], ids=["strict"])
@every_kind
async def test_the_strict_profile_sends_no_codes(api: Api, world: World, kind: str) -> None:
    client = await shop(world)
    await world.user(email=ADDRESS, email_verified=True)
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.enroll(login.mfa_token, kind, destination=TO[kind])) == "FACTOR_DISABLED"
    assert (login.types, list(await api.list(login.mfa_token))) == (("otp",), [])
