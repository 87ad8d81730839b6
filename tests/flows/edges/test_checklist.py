"""The acceptance checklist of the HTTP wire, W16, item by item: bodies as SDKs send and read them.

Tests are named by their item. Beside them stand item 10, the literals (`test_catalogue.py`, and for a refused push
under both settings `tests/unit/rest/test_errors.py`), 13, management (`tests/unit/management/test_checklist.py`), 14,
Guardian's devices (`test_guardian.py`), and 16, the SDKs (`tests/wire`).
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import pytest

from tests.support.flows.api import AUTH0, ClientCredentials, RestApi
from tests.support.flows.phones import Shop, phone_shop
from tests.support.flows.steps import ALICE, MFA_SCOPE, Enrolled, enrolled, mfa_access_token, read, shop
from tests.support.world import API, PASSWORD, World

NUMBER = "+442071838750"
MAIL = "chucknor@example.com"
FORM = "application/x-www-form-urlencoded"
MINUTE = 60


@dataclass
class Wire:
    """The wire without an SDK around it."""

    api: RestApi
    world: World
    client: ClientCredentials

    @property
    def credentials(self) -> dict[str, Any]:
        client_id, secret = self.client
        return {"client_id": client_id, "client_secret": secret}

    async def post(self, path: str, body: Mapping[str, Any], bearer: str = "", form: bool = False) -> httpx2.Response:
        """Post a body as JSON or as a form."""
        headers = {"content-type": FORM if form else "application/json"}
        if bearer:
            headers["authorization"] = f"Bearer {bearer}"
        content = urlencode(body, doseq=True) if form else json.dumps(body)
        return await self.api.http.post(path, content=content, headers=headers)

    async def token(self, grant_type: str, form: bool = False, **members: Any) -> httpx2.Response:
        """Post to the token endpoint with the client's credentials."""
        return await self.post("/oauth/token", {"grant_type": grant_type, **self.credentials, **members}, form=form)

    async def password(self, **members: Any) -> httpx2.Response:
        """Log Alice in with her password."""
        return await self.token("password", username=ALICE, password=PASSWORD, **members)

    async def mfa_token(self, **members: Any) -> str:
        """Log Alice in up to the second factor."""
        said: dict[str, str] = (await self.password(**members)).json()
        return said["mfa_token"]

    async def challenge(self, mfa_token: str, **members: Any) -> Any:
        """Ask for a challenge, and return its body."""
        response = await self.post("/mfa/challenge", {"mfa_token": mfa_token, **self.credentials, **members})
        assert response.status_code == 200, response.text
        return response.json()

    async def associate(self, bearer: str, form: bool = False, **members: Any) -> Any:
        """Begin an enrollment, and return its body."""
        response = await self.post("/mfa/associate", members, bearer=bearer, form=form)
        assert response.status_code == 200, response.text
        return response.json()

    async def rows(self, bearer: str) -> Any:
        """List authenticators."""
        headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
        return (await self.api.http.get("/mfa/authenticators", headers=headers)).json()

    async def delete(self, bearer: str, authenticator_id: str) -> httpx2.Response:
        """Delete an authenticator whose id is percent-encoded in the path, as SDKs do."""
        url = f"/mfa/authenticators/{quote(authenticator_id, safe='')}"
        return await self.api.http.delete(url, headers={"authorization": f"Bearer {bearer}"})

    def code(self) -> str:
        """Return the code that was sent last."""
        return self.world.outbox.sent[-1].code

    async def app(self, **members: Any) -> Enrolled:
        """Have Alice enroll an authenticator app."""
        return await enrolled(self.api, self.world, self.client, create=False, **members)

    async def manager(self) -> str:
        """Return an access token with which Alice, who has an app now, manages authenticators."""
        return await mfa_access_token(self.api, self.world, self.client, await self.app())


def literals(response: httpx2.Response) -> tuple[int, str, str]:
    said = response.json()
    return response.status_code, said["error"], said["error_description"]


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": frozenset({"totp", "sms", "voice", "email", "push", "recovery-code"})}


@pytest.fixture
def engine() -> str:
    """One is enough: what is asked here is how the wire looks."""
    return "sqlite"


@pytest.fixture
async def wire(rest_api: RestApi, world: World) -> Wire:
    await world.user()
    return Wire(rest_api, world, await shop(world))


@pytest.fixture
async def phones(world: World) -> AsyncIterator[Shop]:
    async with phone_shop(world) as opened:
        yield opened


# --- 1: bodies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
@pytest.mark.parametrize("absent", [None, ""], ids=["null", "empty"])
async def test_1_the_token_endpoint_takes_json_and_forms_where_null_and_empty_are_absent(
    wire: Wire, form: bool, absent: str | None
) -> None:
    optional = dict.fromkeys(("scope", "audience", "realm"), "" if form else absent)
    grant = {"username": ALICE, "password": PASSWORD, **optional}

    assert literals(await wire.token("password", form=form, **grant))[1] == "mfa_required"


@pytest.mark.parametrize("realm", ["default", "nowhere"])
async def test_1_a_realm_beside_the_plain_password_grant_is_honored(wire: Wire, realm: str) -> None:
    response = await wire.password(realm=realm)

    assert response.json()["error"] == ("mfa_required" if realm == "default" else "invalid_request")


# --- 2: mfa_required ----------------------------------------------------------------------------------------------


async def test_2_a_refresh_that_needs_a_factor_answers_like_a_password(wire: Wire) -> None:
    user = await wire.app(scope="openid offline_access")
    audience = wire.world.app.configuration.deployment.mfa_audience

    response = await wire.token("refresh_token", refresh_token=user.tokens.refresh_token, audience=audience)

    assert literals(response) == (403, "mfa_required", "Multifactor authentication required")
    assert set(response.json()) == {"error", "error_description", "mfa_token", "mfa_requirements"}
    assert {"type": "otp"} in response.json()["mfa_requirements"]["challenge"]
    assert "www-authenticate" not in response.headers


async def test_2_an_mfa_token_is_its_clients_own(wire: Wire) -> None:
    await wire.app()
    other = Wire(wire.api, wire.world, await shop(wire.world, name="Other"))

    response = await other.token(f"{AUTH0}mfa-otp", mfa_token=await wire.mfa_token(), otp="123456")

    assert literals(response) == (400, "invalid_request", "mfa_token not issued to this client")


# --- 3: tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S145")
async def test_3_tokens_are_json_that_no_cache_keeps_with_scope_and_audience_of_the_login(wire: Wire) -> None:
    user = await wire.app()
    mfa_token = await wire.mfa_token(scope="openid offline_access", audience=API)

    response = await wire.token(f"{AUTH0}mfa-otp", mfa_token=mfa_token, otp=wire.world.otp(user.secret))

    said = response.json()
    header, claims = await read(wire.api, said["access_token"])
    id_header, id_claims = await read(wire.api, said["id_token"])
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["pragma"] == "no-cache"
    assert (said["token_type"], said["expires_in"]) == ("Bearer", 86_400)
    assert (said["scope"], API in claims["aud"]) == ("openid offline_access", True)
    assert (header["alg"], id_header["alg"], id_claims["aud"]) == ("RS256", "RS256", wire.client[0])
    assert said["refresh_token"]


# --- 4: challenges ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "types", [{}, {"challenge_type": ""}, {"challenge_type": "oob otp"}, {"challenge_type": "otp"}]
)
async def test_4_a_challenge_of_an_app_says_otp_and_nothing_else(wire: Wire, types: dict[str, str]) -> None:
    await wire.app()

    assert await wire.challenge(await wire.mfa_token(), **types) == {"challenge_type": "otp"}


@pytest.mark.parametrize("channel", ["sms", "voice", "email"])
async def test_4_a_code_that_is_sent_is_to_be_prompted_for(wire: Wire, channel: str) -> None:
    manager = await wire.manager()
    place: dict[str, Any] = {"email": MAIL} if channel == "email" else {"phone_number": NUMBER}
    begun = await wire.associate(manager, authenticator_types=["oob"], oob_channels=[channel], **place)
    await wire.token(f"{AUTH0}mfa-oob", mfa_token=manager, oob_code=begun["oob_code"], binding_code=wire.code())

    said = await wire.challenge(await wire.mfa_token(), challenge_type="oob", oob_channel=channel)

    assert said.pop("oob_code")
    assert said == {"challenge_type": "oob", "binding_method": "prompt"}
    assert wire.world.outbox.sent[-1].channel == channel


async def test_4_a_push_has_no_binding_method(wire: Wire, phones: Shop) -> None:
    await phones.added(wire.api, wire.client, await wire.app())

    said = await wire.challenge(await wire.mfa_token(), challenge_type="oob")

    assert said["challenge_type"] == "oob"
    assert said["oob_code"]
    assert "binding_method" not in said


# --- 5: associate -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "channels",
    [
        {"oob_channels": ["sms"]},
        {"oob_channels": "sms"},
        {"oob_channels": "sms voice"},
        {"oob_channels": "sms,voice"},
        {"oob_channel": "sms"},
    ],
    ids=str,
)
@pytest.mark.parametrize("types", ["authenticator_types", "authentication_types"])
async def test_5_channels_come_in_many_spellings(wire: Wire, channels: dict[str, Any], types: str) -> None:
    wanted: dict[str, Any] = {types: ["oob"], "phone_number": NUMBER, **channels}

    said = await wire.associate(await wire.mfa_token(), **wanted)

    assert set(said) == {"authenticator_type", "binding_method", "recovery_codes", "oob_channel", "oob_code"}
    assert (said["authenticator_type"], said["binding_method"], said["oob_channel"]) == ("oob", "prompt", "sms")


@pytest.mark.parametrize("repeated", [{"oob_channels": ["sms", "voice"]}, {"oob_channels[]": ["sms"]}], ids=str)
async def test_5_a_form_may_repeat_channels(wire: Wire, repeated: dict[str, Any]) -> None:
    said = await wire.associate(
        await wire.mfa_token(), form=True, authenticator_types="oob", phone_number=NUMBER, **repeated
    )

    assert said["oob_channel"] == "sms"


async def test_5_an_app_is_shown_once_with_the_first_recovery_code(wire: Wire) -> None:
    said = await wire.associate(await wire.mfa_token(), authenticator_types=["otp"])

    assert set(said) == {"authenticator_type", "secret", "barcode_uri", "recovery_codes"}
    assert (said["authenticator_type"], len(said["secret"])) == ("otp", 32)
    assert said["barcode_uri"] == (
        f"otpauth://totp/Example:{quote(ALICE, safe='')}?secret={said['secret']}"
        "&issuer=Example&algorithm=SHA1&digits=6&period=30"
    )
    (code,) = said["recovery_codes"]
    assert len(code) == 24
    assert code.isascii()
    assert code == code.upper()


async def test_5_recovery_codes_come_the_first_time_only(wire: Wire) -> None:
    said = await wire.associate(await wire.manager(), authenticator_types=["otp"])

    assert set(said) == {"authenticator_type", "secret", "barcode_uri"}


async def test_5_a_push_is_enrolled_by_scanning(wire: Wire) -> None:
    said = await wire.associate(await wire.mfa_token(), authenticator_types=["oob"], oob_channels=["auth0"])

    assert set(said) == {"authenticator_type", "barcode_uri", "recovery_codes", "oob_channel", "oob_code"}
    assert (said["authenticator_type"], said["oob_channel"]) == ("oob", "auth0")
    assert "secret=" not in said["barcode_uri"]


# --- 6: who may enroll --------------------------------------------------------------------------------------------


async def test_6_an_mfa_token_enrolls_the_first_and_an_access_token_the_others(wire: Wire) -> None:
    manager = await wire.manager()

    refused = await wire.post("/mfa/associate", {"authenticator_types": ["otp"]}, bearer=await wire.mfa_token())
    added = await wire.post("/mfa/associate", {"authenticator_types": ["otp"]}, bearer=manager)

    assert literals(refused) == (403, "access_denied", "User is already enrolled.")
    assert added.status_code == 200


# --- 7: confirming ------------------------------------------------------------------------------------------------


async def test_7_an_app_is_confirmed_by_the_otp_grant(wire: Wire) -> None:
    mfa_token = await wire.mfa_token()
    said = await wire.associate(mfa_token, authenticator_types=["otp"])

    response = await wire.token(f"{AUTH0}mfa-otp", mfa_token=mfa_token, otp=wire.world.otp(said["secret"]))

    assert response.status_code == 200


async def test_7_a_telephone_is_confirmed_by_the_oob_grant_and_the_code(wire: Wire) -> None:
    mfa_token = await wire.mfa_token()
    said = await wire.associate(mfa_token, authenticator_types=["oob"], oob_channels=["sms"], phone_number=NUMBER)

    response = await wire.token(
        f"{AUTH0}mfa-oob", mfa_token=mfa_token, oob_code=said["oob_code"], binding_code=wire.code()
    )

    assert response.status_code == 200


@pytest.mark.requirement("S135")
async def test_7_a_push_is_confirmed_by_polling_until_the_device_has_enrolled(wire: Wire, phones: Shop) -> None:
    mfa_token = await wire.mfa_token()
    begun = await wire.api.enroll(mfa_token, "push")
    poll: dict[str, Any] = {"mfa_token": mfa_token, "oob_code": begun.oob_code}

    pending = await wire.token(f"{AUTH0}mfa-oob", **poll)
    await phones.phone(begun).pair()
    wire.world.clock.advance(5)
    done = await wire.token(f"{AUTH0}mfa-oob", **poll)

    assert literals(pending)[:2] == (400, "authorization_pending")
    assert done.status_code == 200


# --- 8: the list --------------------------------------------------------------------------------------------------


async def test_8_what_is_not_confirmed_is_listed_as_inactive_with_its_type(wire: Wire) -> None:
    mfa_token = await wire.mfa_token()
    await wire.associate(mfa_token, authenticator_types=["otp"])

    rows = await wire.rows(mfa_token)

    assert {(row["authenticator_type"], row["type"], row["active"]) for row in rows} == {
        ("otp", "otp", False),
        ("recovery-code", "recovery-code", False),
    }
    assert all(row["id"].split("|")[1].startswith("dev_") and len(row["id"].split("|")[1]) == 20 for row in rows)


async def test_8_one_telephone_is_two_rows_of_one_suffix_and_masked(wire: Wire) -> None:
    mfa_token = await wire.mfa_token()
    said = await wire.associate(mfa_token, authenticator_types=["oob"], oob_channels=["sms"], phone_number=NUMBER)
    await wire.token(f"{AUTH0}mfa-oob", mfa_token=mfa_token, oob_code=said["oob_code"], binding_code=wire.code())

    rows = [row for row in await wire.rows(await wire.mfa_token()) if row["type"] == "phone"]

    assert {row["id"].split("|")[0] for row in rows} == {"sms", "voice"}
    assert len({row["id"].split("|")[1] for row in rows}) == 1
    assert {(row["oob_channel"], row["name"], row["active"]) for row in rows} == {
        ("sms", "XXXXXXXXX8750", True),
        ("voice", "XXXXXXXXX8750", True),
    }
    assert not any("oob_channels" in row for row in rows)


async def test_8_a_push_is_two_rows_of_different_suffixes(wire: Wire, phones: Shop) -> None:
    mfa_token = await wire.mfa_token()
    begun = await wire.api.enroll(mfa_token, "push")
    await phones.phone(begun).pair()

    rows = [row for row in await wire.rows(mfa_token) if row["active"] and row["type"] != "recovery-code"]

    assert {row["id"].split("|")[0] for row in rows} == {"push", "totp"}
    assert len({row["id"].split("|")[1] for row in rows}) == 2


async def test_8_an_address_is_masked(wire: Wire) -> None:
    mfa_token = await wire.mfa_token()
    await wire.associate(mfa_token, authenticator_types=["oob"], oob_channels=["email"], email=MAIL)

    (row,) = [row for row in await wire.rows(mfa_token) if row["type"] == "email"]

    assert row["name"] == "chuc****@exam*******"


# --- 9: deleting --------------------------------------------------------------------------------------------------


async def test_9_a_deletion_is_an_empty_204_and_takes_the_twin_along(wire: Wire) -> None:
    manager = await wire.manager()
    said = await wire.associate(manager, authenticator_types=["oob"], oob_channels=["sms"], phone_number=NUMBER)
    await wire.token(f"{AUTH0}mfa-oob", mfa_token=manager, oob_code=said["oob_code"], binding_code=wire.code())
    before = [row for row in await wire.rows(manager) if row["type"] == "phone"]

    response = await wire.delete(manager, before[0]["id"])

    assert (response.status_code, response.content) == (204, b"")
    assert len(before) == 2
    assert [row for row in await wire.rows(manager) if row["type"] == "phone"] == []


async def test_9_an_mfa_token_deletes_nothing(wire: Wire) -> None:
    await wire.app()
    mfa_token = await wire.mfa_token()
    (row,) = [row for row in await wire.rows(mfa_token) if row["type"] == "otp"]

    assert literals(await wire.delete(mfa_token, row["id"])) == (
        401,
        "invalid_grant",
        "The mfa_token provided is invalid. Try getting a new token.",
    )


async def test_9_a_verified_profile_address_is_not_deleted(wire: Wire) -> None:
    await wire.world.app.operators.set_email("default", ALICE, MAIL, verified=True)
    manager = await wire.manager()
    (row,) = [row for row in await wire.rows(manager) if row["type"] == "email"]

    response = await wire.delete(manager, row["id"])

    assert literals(response)[:2] == (400, "invalid_request")
    assert row["active"]


async def test_9_an_id_of_nothing_is_a_404(wire: Wire) -> None:
    response = await wire.delete(await wire.manager(), "totp|dev_0000000000000000")

    assert literals(response) == (404, "invalid_authenticator", "Authenticator not found")


# --- 11: recovery codes -------------------------------------------------------------------------------------------


@pytest.mark.requirement("S29")
async def test_11_each_recovery_code_brings_the_next_and_works_once(wire: Wire) -> None:
    code = (await wire.app()).recovery_code
    grant = f"{AUTH0}mfa-recovery-code"

    first = await wire.token(grant, mfa_token=await wire.mfa_token(), recovery_code=code)
    again = await wire.token(grant, mfa_token=await wire.mfa_token(), recovery_code=code)
    second = await wire.token(
        grant, mfa_token=await wire.mfa_token(), recovery_code=first.json()["recovery_code"].lower()
    )

    codes = {code, first.json()["recovery_code"], second.json()["recovery_code"]}
    assert len(codes) == 3
    assert {len(each) for each in codes} == {24}
    assert literals(again) == (403, "invalid_grant", "MFA Authorization rejected.")


# --- 12: too often ------------------------------------------------------------------------------------------------


async def test_12_the_eleventh_wrong_code_is_not_looked_at(wire: Wire) -> None:
    user = await wire.app()
    mfa_token = await wire.mfa_token()
    answers = [
        await wire.token(f"{AUTH0}mfa-otp", mfa_token=mfa_token, otp=wire.world.otp(user.secret, steps=-30))
        for _ in range(11)
    ]

    assert {literals(answer)[2] for answer in answers[:10]} == {"Invalid otp_code."}
    assert literals(answers[10]) == (
        400,
        "invalid_request",
        "Too many failed codes. Wait for some minutes before retrying.",
    )
    assert answers[10].headers["retry-after"] == "360"


@pytest.mark.requirement("S136")
async def test_12_who_polls_too_fast_is_told_in_whole_seconds_by_lower_case_headers(wire: Wire) -> None:
    mfa_token = await wire.mfa_token()
    begun = await wire.api.enroll(mfa_token, "push")
    poll: dict[str, Any] = {"mfa_token": mfa_token, "oob_code": begun.oob_code}
    await wire.token(f"{AUTH0}mfa-oob", **poll)

    response = await wire.token(f"{AUTH0}mfa-oob", **poll)

    assert literals(response)[:2] == (429, "slow_down")
    assert int(response.headers["retry-after"]) > 0
    assert all(name == name.lower() for name, _ in response.headers.raw)


# --- 15: what is used, expired or somebody else's -----------------------------------------------------------------


@pytest.mark.requirement("S9", "S19")
async def test_15_a_code_that_was_sent_is_taken_once(wire: Wire) -> None:
    mfa_token = await wire.mfa_token()
    said = await wire.associate(mfa_token, authenticator_types=["oob"], oob_channels=["sms"], phone_number=NUMBER)
    code = wire.code()
    await wire.token(f"{AUTH0}mfa-oob", mfa_token=mfa_token, oob_code=said["oob_code"], binding_code=code)
    mfa_token = await wire.mfa_token()
    challenge = await wire.challenge(mfa_token)

    replays = [
        await wire.token(f"{AUTH0}mfa-oob", mfa_token=mfa_token, oob_code=said["oob_code"], binding_code=code),
        await wire.token(f"{AUTH0}mfa-oob", mfa_token=mfa_token, oob_code=challenge["oob_code"], binding_code=code),
    ]

    assert [literals(answer)[2] for answer in replays] == ["Malformed oob_code", "Invalid binding_code."]


async def test_15_a_spent_mfa_token_opens_nothing(wire: Wire) -> None:
    user = await wire.app()

    challenged = await wire.post("/mfa/challenge", {"mfa_token": user.mfa_token, **wire.credentials})
    verified = await wire.token(f"{AUTH0}mfa-otp", mfa_token=user.mfa_token, otp=wire.world.otp(user.secret))

    assert literals(challenged) == literals(verified) == (403, "expired_token", "mfa_token is invalid")


async def test_15_an_oob_code_of_another_login_is_none(wire: Wire) -> None:
    mfa_token = await wire.mfa_token()
    said = await wire.associate(mfa_token, authenticator_types=["oob"], oob_channels=["sms"], phone_number=NUMBER)

    response = await wire.token(
        f"{AUTH0}mfa-oob", mfa_token=await wire.mfa_token(), oob_code=said["oob_code"], binding_code=wire.code()
    )

    assert literals(response) == (403, "invalid_grant", "Malformed oob_code")


async def test_15_an_expired_access_token_manages_nothing(wire: Wire) -> None:
    manager = await wire.manager()
    wire.world.clock.advance(10 * MINUTE + 1)

    response = await wire.delete(manager, "totp|dev_0000000000000000")

    assert literals(response)[:2] == (401, "invalid_grant")


async def test_15_an_access_token_for_an_api_manages_nothing(wire: Wire) -> None:
    await wire.world.api(*MFA_SCOPE.split())
    user = await wire.app(scope=f"openid {MFA_SCOPE}")

    response = await wire.post("/mfa/associate", {"authenticator_types": ["otp"]}, bearer=user.tokens.access_token)

    assert literals(response)[:2] == (401, "invalid_grant")
