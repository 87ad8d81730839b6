"""Security decisions 10 and 15: a token that this deployment did not make, to the letter, is none."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.seams import SystemEntropy
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey, RootKeyState

from tests.support.flows.api import Api, Tokens, grpc_edge
from tests.support.flows.attacks import add_mailed, challenged, names, open_world, outcome, reason
from tests.support.flows.steps import a, enrolled, logged_in, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import World

REFUSED = "REFRESH_TOKEN_INVALID"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def altered(token: str) -> list[str]:
    """Return a token cut and flipped in many places."""
    flipped = [
        token[:at] + ALPHABET[ALPHABET.index(token[at]) ^ 1] + token[at + 1 :]
        for at in range(0, len(token), 17)
        if token[at] in ALPHABET
    ]
    return [token[:-1], token[1:], token[: len(token) // 2], token + "A", token + "=", *flipped]


async def test_an_altered_mfa_token_is_malformed(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    code = world.otp(alice.secret)

    said = {await reason(api.otp(client, token, code)) for token in altered(login.mfa_token)}

    assert said == {"MFA_TOKEN_MALFORMED"}
    assert await outcome(api.otp(client, login.mfa_token, code)) == ""


async def test_an_altered_access_token_opens_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice)

    said = {await reason(api.list(token)) for token in altered(bearer)}

    assert said == {"BEARER_INVALID"}


async def test_an_altered_oob_code_is_malformed(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    sms = await add_mailed(api, world, client, alice)
    login = await logged_in_to_mfa(api, client)
    sent = await challenged(api, client, login.mfa_token, sms)
    code = world.outbox.sent[-1].code

    said = {await reason(api.oob(client, login.mfa_token, text, code)) for text in altered(sent.oob_code)}

    assert said == {"OOB_CODE_MALFORMED"}


@pytest.mark.requirement("S106")
async def test_no_token_serves_as_one_of_another_kind(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="openid offline_access")
    sms = await add_mailed(api, world, client, alice)
    login = await logged_in_to_mfa(api, client)
    sent = await challenged(api, client, login.mfa_token, sms)
    code = world.otp(alice.secret)
    t = alice.tokens

    for token in (sent.oob_code, t.access_token, t.id_token, t.refresh_token):
        assert await reason(api.otp(client, token, code)) == "MFA_TOKEN_MALFORMED"
        assert await reason(api.list(token)) == "BEARER_INVALID"
    for token in (login.mfa_token, t.access_token, t.refresh_token):
        assert await reason(api.oob(client, login.mfa_token, token, "000000")) == "OOB_CODE_MALFORMED"
    for token in (login.mfa_token, t.access_token, t.id_token, sent.oob_code):
        assert await reason(api.refresh(client, token)) == REFUSED
    for token in (login.mfa_token, sent.oob_code, t.id_token):
        assert await api.introspect(client, token) == {"active": False}


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.requirement("S103", "S104", "S151", "S154")
async def test_a_token_signed_by_nobody_or_with_a_public_key_opens_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice)
    header, payload, signature = bearer.split(".")
    members = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    (key,) = [key for key in await api.keys() if key["kid"] == members["kid"]]
    secret = base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))
    confused = _part({**members, "alg": "HS256"})
    mac = hmac.digest(secret, f"{confused}.{payload}".encode(), hashlib.sha256)
    forged = [
        f"{_part({**members, 'alg': 'none'})}.{payload}.",
        f"{confused}.{payload}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}",
        f"{_part({**members, 'jwk': key})}.{payload}.{signature}",
        f"{_part({**members, 'kid': 'other'})}.{payload}.{signature}",
        f"{_part({**members, 'typ': 'JWT'})}.{payload}.{signature}",
        f"{header}.{payload}.",
    ]

    assert {await reason(api.list(token)) for token in forged} == {"BEARER_INVALID"}


async def test_tokens_of_another_deployment_are_none_here(api: Api, world: World, tmp_path: Path) -> None:
    client = await shop(world)
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.sqlite3'}"
    other_issuer = {"clock": world.clock, "keyring": world.keyring, "issuer": "https://other.example.test/"}
    for given in ({"clock": world.clock}, other_issuer):
        async with open_world(f"{elsewhere}-{len(given)}", **given) as other, grpc_edge(other) as there:
            theirs = await shop(other)
            mallory = await enrolled(there, other, theirs, scope="offline_access")
            bearer = await mfa_access_token(there, other, theirs, mallory)
            login = await logged_in_to_mfa(there, theirs)

        assert await reason(api.otp(client, login.mfa_token, "000000")) == "MFA_TOKEN_MALFORMED"
        assert await reason(api.list(login.mfa_token)) == "BEARER_INVALID"
        assert await reason(api.list(bearer)) == "BEARER_INVALID"
        assert await reason(api.refresh(client, mallory.tokens.refresh_token)) == REFUSED
        assert await api.introspect(client, bearer) == {"active": False}


@pytest.mark.requirement("S158")
async def test_a_retired_root_key_opens_seeds_and_no_token(world: World) -> None:
    async with grpc_edge(world) as api:
        client = await shop(world)
        alice = await enrolled(api, world, client, scope="offline_access")
        before = await logged_in_to_mfa(api, client)
    entropy = SystemEntropy()
    (new,) = Keyring.generate(entropy)
    retired = [RootKey(key.id, key.secret, RootKeyState.RETIRED) for key in world.keyring._ring.keys.values()]
    keyring = Keyring([new, *retired], world.clock)

    async with open_world(world.database_url, clock=world.clock, keyring=keyring) as later, grpc_edge(later) as api:
        old = await reason(api.otp(client, before.mfa_token, world.otp(alice.secret)))
        logged = await logged_in(api, later, client, alice)
        rotated = a(Tokens, await api.refresh(client, alice.tokens.refresh_token)).refresh_token
        again = await outcome(api.refresh(client, rotated))

    assert old == "MFA_TOKEN_MALFORMED"
    assert logged.access_token
    assert again == ""


@pytest.mark.requirement("S110")
async def test_a_forged_generation_does_not_revoke_the_family_and_a_used_one_does(api: Api, world: World) -> None:
    client = await shop(world)
    first = (await enrolled(api, world, client, scope="offline_access")).tokens.refresh_token
    second = a(Tokens, await api.refresh(client, first)).refresh_token
    user, family, generation, mac = second.split(".")
    junk = "A" * len(mac)
    forgeries = [f"{user}.{family}.{number}.{junk}" for number in (0, 1, 2, 3, 9_999_999_999)]
    forgeries += [f"{user}.{family}.0{generation}.{mac}", f"{user}.{family}.1.{mac}", f"{user}.other.1.{mac}"]
    for forged in forgeries:
        assert await reason(api.refresh(client, forged)) == REFUSED
        await api.revoke(client, forged)
    third = a(Tokens, await api.refresh(client, second)).refresh_token

    assert await reason(api.refresh(client, first)) == REFUSED
    assert await reason(api.refresh(client, third)) == REFUSED
    assert (await names(world, "events")).count(EventName.REFRESH_REUSED) == 1


async def test_another_clients_refresh_token_neither_works_nor_is_harmed(api: Api, world: World) -> None:
    client, other = await shop(world), await shop(world, name="Other")
    token = (await enrolled(api, world, client, scope="offline_access")).tokens.refresh_token

    assert await reason(api.refresh(other, token)) == REFUSED
    await api.revoke(other, token)
    assert await outcome(api.refresh(client, token)) == ""


async def test_forged_refresh_tokens_take_none_of_their_users_places(api: Api, world: World) -> None:
    client, public = await shop(world), await shop(world, name="App", public=True)
    alice = await enrolled(api, world, client, scope="offline_access")
    user, family, *_ = alice.tokens.refresh_token.split(".")
    decided = world.app._group_commit
    seen = []
    real = decided.decide

    async def watched(decision: object, **given: object) -> object:
        seen.append(type(decision).__name__)
        return await real(decision, **given)  # type: ignore[arg-type]

    decided.decide = watched  # type: ignore[method-assign,assignment]
    for forged in (f"{user}.{family}.1.{'A' * 43}", f"{user}.made-up.1.{'A' * 43}"):
        assert await reason(api.refresh(public, forged)) == REFUSED
        await api.revoke(public, forged)

    assert seen == []


@pytest.mark.requirement("S203")
@pytest.mark.usefixtures("scopes")
async def test_a_refresh_widens_nothing(api: Api, world: World) -> None:
    client = await shop(world, audiences=("https://api.example.test/", "https://bank.example.test/"))
    token = (await enrolled(api, world, client, scope="read:cart offline_access")).tokens.refresh_token

    assert await reason(api.refresh(client, token, scope="read:cart write:cart")) == "INVALID_SCOPE"
    assert await reason(api.refresh(client, token, audience="https://bank.example.test/")) == "AUDIENCE_NOT_ALLOWED"
    narrowed = a(Tokens, await api.refresh(client, token, scope="read:cart"))
    assert narrowed.scope == "read:cart"


@pytest.mark.requirement("S134")
async def test_a_refresh_moves_neither_auth_time_nor_acr(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    before = await api.introspect(client, alice.tokens.access_token)
    world.clock.advance(1_000)

    after = await api.introspect(client, a(Tokens, await api.refresh(client, alice.tokens.refresh_token)).access_token)

    assert [after[name] for name in ("auth_time", "acr", "amr")] == [before[n] for n in ("auth_time", "acr", "amr")]
