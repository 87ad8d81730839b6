"""Messages come in the language that the request asks for."""

from typing import Any

import pytest

from tests.support.flows.api import RestApi, Tokens
from tests.support.flows.steps import a, logged_in_to_mfa, shop
from tests.support.world import World

NUMBER = "+442071838750"


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": frozenset({"sms"})}


async def test_a_code_is_sent_in_the_language_of_whoever_asks(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    rest_api.http.headers["accept-language"] = "nl, de-AT;q=0.9, en;q=0.1"
    login = await logged_in_to_mfa(rest_api, client)
    begun = await rest_api.enroll(login.mfa_token, "sms", destination=NUMBER)
    a(Tokens, await rest_api.oob(client, login.mfa_token, begun.oob_code, world.outbox.sent[-1].code))
    rest_api.http.headers["accept-language"] = "fr"
    login = await logged_in_to_mfa(rest_api, client)
    await rest_api.challenge(client, login.mfa_token)
    assert [message.languages for message in world.outbox.sent] == [("nl", "de-AT", "en"), ("fr",)]


@pytest.mark.parametrize("languages", ["", "*", "x" * 300, "de;q=junk"])
async def test_languages_that_cannot_be_read_are_none(rest_api: RestApi, world: World, languages: str) -> None:
    await world.user()
    rest_api.http.headers["accept-language"] = languages
    login = await logged_in_to_mfa(rest_api, await shop(world))
    await rest_api.enroll(login.mfa_token, "sms", destination=NUMBER)
    assert world.outbox.sent[-1].languages == ()
