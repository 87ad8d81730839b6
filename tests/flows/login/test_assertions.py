"""Clients that sign instead of showing a secret: private_key_jwt, over both edges."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cofactor.v1 import tokens_pb2
from cofactor_server.domain.parties.clients import Client
from cofactor_server.errors import InvalidRequest
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, RSAKey

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, Refused, RestApi
from tests.support.flows.grpc_api import call
from tests.support.flows.steps import ALICE, shop
from tests.support.world import ISSUER, PASSWORD, World

RSA = RSAKey.generate_key(2048, {"kid": "r1"})
EC = ECKey.generate_key("P-256", {"kid": "e1"})
OTHER = RSAKey.generate_key(2048, {"kid": "r1"})
KEYS = json.dumps(KeySet([RSA, EC]).as_dict(private=False))
SECOND = 1_000_000

_Login = Callable[[str], Awaitable[str]]
"""Logs in with an assertion, and returns the reason of the refusal, or what came of it."""


@pytest.fixture
async def signer(world: World) -> Client:
    await world.user()
    client, secret = await world.client(jwks=KEYS)
    assert secret == ""
    return client


@pytest.fixture
def login(api: Api) -> _Login:
    async def log_in(assertion: str) -> str:
        try:
            return type(await issued(api, assertion)).__name__
        except Refused as refused:
            return refused.reason

    return log_in


async def issued(api: Api, assertion: str) -> object:
    """Use the password grant with an assertion, which names its client."""
    if isinstance(api, RestApi):
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        members = {"client_assertion": assertion, "client_assertion_type": kind}
        return await api.issue(("", None), "password", username=ALICE, password=PASSWORD, **members)
    assert isinstance(api, GrpcApi)
    request = tokens_pb2.IssueTokenRequest(password=tokens_pb2.PasswordGrant(username=ALICE, password=PASSWORD))
    answer = await call(api.tokens.IssueToken(request, metadata=(("cofactor-client-assertion", assertion),)))
    return getattr(answer, answer.WhichOneof("outcome"))


def made(world: World, client: Client, key: Any = RSA, algorithm: str = "RS256", **claims: Any) -> str:
    now = world.clock.now() // SECOND
    said = {"iss": client.id, "sub": client.id, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": "once", **claims}
    said = {name: value for name, value in said.items() if value is not None}
    header = {"alg": algorithm, "kid": key.kid}
    return jws.serialize_compact(header, json.dumps(said).encode(), key, algorithms=[algorithm])


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (RSA, "RS384"), (RSA, "PS256"), (EC, "ES256")])
@pytest.mark.parametrize("audience", [ISSUER, f"{ISSUER}oauth/token"])
async def test_a_client_proves_who_it_is_by_signing(
    login: _Login, world: World, signer: Client, key: Any, algorithm: str, audience: str
) -> None:
    assert await login(made(world, signer, key, algorithm, aud=audience)) == "MfaRequired"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [ISSUER]},
        {"aud": [ISSUER, "https://other.example.test/"]},
        {"aud": ISSUER[:-1]},
        {"aud": "https://other.example.test/"},
        {"aud": None},
        {"iss": "cli_other"},
        {"sub": "cli_other"},
        {"sub": None},
        {"sub": "cli_\0"},
        {"sub": "\ud800"},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "\ud800"},
        {"jti": "x" * 513},
        {"exp": None},
        {"exp": 0},
        {"exp": "4000000000"},
        {"exp": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"iat": 1},
        {"nbf": 4_000_000_000},
        {"iat": True},
    ],
    ids=str,
)
async def test_an_assertion_that_is_not_for_us_now_and_of_its_client_is_refused(
    login: _Login, world: World, signer: Client, claims: dict[str, Any]
) -> None:
    assert await login(made(world, signer, **claims)) == "INVALID_CLIENT"


async def test_an_assertion_is_good_once(login: _Login, world: World, signer: Client) -> None:
    assertion = made(world, signer)
    assert [await login(assertion), await login(assertion)] == ["MfaRequired", "INVALID_CLIENT"]
    assert await login(made(world, signer, jti="another")) == "MfaRequired"


async def test_one_assertion_presented_many_times_at_once_is_taken_once(
    login: _Login, world: World, signer: Client
) -> None:
    assertion = made(world, signer)
    outcomes = await asyncio.gather(*(login(assertion) for _ in range(8)))
    assert sorted(outcomes) == ["INVALID_CLIENT"] * 7 + ["MfaRequired"]


async def test_a_spent_assertion_stays_spent_until_nobody_could_take_it(
    login: _Login, world: World, signer: Client
) -> None:
    assertion = made(world, signer)
    await login(assertion)
    world.clock.advance(59)
    await world.app.upkeep.prune()
    assert await login(assertion) == "INVALID_CLIENT"


async def test_an_assertion_of_one_client_is_none_of_another(login: _Login, world: World, signer: Client) -> None:
    other, _ = await world.client(jwks=json.dumps(KeySet([OTHER]).as_dict(private=False)))
    assert await login(made(world, signer, OTHER)) == "INVALID_CLIENT"
    assert await login(made(world, other, OTHER, jti="its own")) == "MfaRequired"
    assert await login(made(world, other, OTHER, jti="once")) == "MfaRequired"
    assert await login(made(world, signer, jti="once")) == "MfaRequired"


async def test_a_client_that_signs_does_nothing_else_and_others_do_not_sign(
    api: Api, login: _Login, world: World, signer: Client
) -> None:
    confidential, public = await shop(world), await shop(world, public=True)

    async def by(client: ClientCredentials) -> str:
        with pytest.raises(Refused) as refused:
            await api.password(client, ALICE, PASSWORD)
        return refused.value.reason

    assert [await by((signer.id, None)), await by((signer.id, "a secret"))] == ["INVALID_CLIENT"] * 2
    for client_id in (confidential[0], public[0], "cli_unknown"):
        assert await login(made(world, Client(client_id, "", 0))) == "INVALID_CLIENT"


async def test_a_client_that_signs_walks_the_whole_way_over_rest(
    rest_api: RestApi, world: World, signer: Client
) -> None:
    """Each call takes an assertion of its own; beside a user's token it is verified, too."""
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    number = iter(range(100))

    def by() -> dict[str, str]:
        assertion = made(world, signer, jti=f"call {next(number)}")
        return {"client_id": signer.id, "client_assertion": assertion, "client_assertion_type": kind}

    login = {**by(), "grant_type": "password", "username": ALICE, "password": PASSWORD}
    mfa_token = (await rest_api.http.post("/oauth/token", data=login)).json()["mfa_token"]
    bearer = {"authorization": f"Bearer {mfa_token}"}
    enroll = {"authenticator_types": ["otp"]}
    enrolled_by = await rest_api.http.post("/mfa/associate", json={**by(), **enroll}, headers=bearer)
    secret = enrolled_by.json()["secret"]
    forged = {**by(), "client_assertion": made(world, signer, OTHER), **enroll}
    by_another = await rest_api.http.post("/mfa/associate", json=forged, headers=bearer)
    asked = {**by(), "mfa_token": mfa_token, "grant_type": "http://auth0.com/oauth/grant-type/mfa-otp"}
    tokens = (await rest_api.http.post("/oauth/token", json={**asked, "otp": world.otp(secret)})).json()
    told = await rest_api.http.post("/oauth/introspect", json={**by(), "token": tokens["access_token"]})

    assert (by_another.status_code, by_another.json()["error"]) == (401, "invalid_client")
    assert told.json()["client_id"] == signer.id


@pytest.mark.parametrize("kind", ["", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"])
async def test_an_assertion_of_another_type_is_refused(
    rest_api: RestApi, world: World, signer: Client, kind: str
) -> None:
    members = {"client_assertion": made(world, signer), "client_assertion_type": kind}
    with pytest.raises(Refused) as refused:
        await rest_api.issue((signer.id, None), "password", username=ALICE, password=PASSWORD, **members)
    assert refused.value.reason == "INVALID_CLIENT"


@pytest.mark.parametrize("contradiction", [{"public": True}, {"tls_san": "dns:a.example.test"}, {"jwks": "{}"}])
async def test_keys_that_contradict_the_rest_are_not_registered(world: World, contradiction: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await world.client(**{"jwks": KEYS, **contradiction})
    assert [field for field, _ in refused.value.violations] == ["jwks"]
