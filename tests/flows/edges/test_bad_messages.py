"""Messages that no client of good will sends: the contract's error for each, and never INTERNAL."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc.aio
import pytest
from cofactor.v1 import authenticators_pb2 as authenticators
from cofactor.v1 import challenges_pb2 as challenges
from cofactor.v1 import tokens_pb2 as tokens
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.flows.api import ClientCredentials, GrpcApi, Refused, call
from tests.support.flows.steps import enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import World

LONG = "x" * 5_000
NOW = Timestamp(seconds=1)
GRANTS: Mapping[str, Mapping[str, Any]] = {
    "password": {"username": "u", "password": "p"},
    "password_realm": {"username": "u", "password": "p", "realm": "r"},
    "refresh_token": {"refresh_token": "t"},
    "mfa_otp": {"mfa_token": "t", "otp": "1"},
    "mfa_oob": {"mfa_token": "t", "oob_code": "c"},
    "mfa_recovery_code": {"mfa_token": "t", "recovery_code": "c"},
    "mfa_webauthn": {"mfa_token": "t", "oob_code": "c", "credential_json": "{}"},
    "vouched": {"realm": "r", "subject": "s", "methods": ["pwd"], "authenticate_time": NOW},
}


@pytest.fixture
def engine() -> str:
    """One is enough: what is refused here reaches no database."""
    return "sqlite"


async def test_every_field_that_is_required_is_missed_by_name(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    said, expected = {}, {}

    for grant, fields in GRANTS.items():
        for name in fields:
            request = issuing(grant, {k: v for k, v in fields.items() if k != name})
            refused = await refusal_of(grpc_api.tokens.IssueToken(request, metadata=by(grpc_api, client)))
            said[grant, name] = (refused.reason, refused.text)
            expected[grant, name] = ("MISSING_PARAMETER", f"Missing required parameter: {name}")

    assert said == expected


def issuing(grant: str, fields: Mapping[str, Any]) -> tokens.IssueTokenRequest:
    given: Any = {grant: fields}
    return tokens.IssueTokenRequest(**given)


@pytest.mark.requirement("S148")
async def test_no_grant_at_all_is_an_unknown_one(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)

    refused = await refusal_of(grpc_api.tokens.IssueToken(tokens.IssueTokenRequest(), metadata=by(grpc_api, client)))

    assert refused.reason == "UNSUPPORTED_GRANT_TYPE"


async def test_every_field_has_a_limit(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    said = {}

    for grant, fields in GRANTS.items():
        for name in fields.keys() - {"methods", "authenticate_time", "credential_json"}:
            request = issuing(grant, {**fields, name: LONG})
            refused = await refusal_of(grpc_api.tokens.IssueToken(request, metadata=by(grpc_api, client)))
            said[grant, name] = refused.reason

    assert set(said.values()) == {"INVALID_REQUEST"}, said


_Rpc = Callable[[GrpcApi, Any], Any]
_MALFORMED: Mapping[str, tuple[_Rpc, str]] = {
    "nothing to enroll": (
        lambda api, m: api.authenticators.EnrollAuthenticator(authenticators.EnrollAuthenticatorRequest(), metadata=m),
        "MISSING_PARAMETER",
    ),
    "an algorithm that is none": (
        lambda api, m: api.authenticators.EnrollAuthenticator(
            authenticators.EnrollAuthenticatorRequest(totp=authenticators.TotpEnrollment(algorithm=9)),  # type: ignore[arg-type]
            metadata=m,
        ),
        "INVALID_REQUEST",
    ),
    "a plugin of a kind that is ours": (
        lambda api, m: api.authenticators.EnrollAuthenticator(
            authenticators.EnrollAuthenticatorRequest(plugin=authenticators.PluginEnrollment(kind="totp")), metadata=m
        ),
        "INVALID_REQUEST",
    ),
    "eleven recovery codes": (
        lambda api, m: api.authenticators.EnrollAuthenticator(
            authenticators.EnrollAuthenticatorRequest(recovery_code=authenticators.RecoveryCodeEnrollment(count=11)),
            metadata=m,
        ),
        "INVALID_REQUEST",
    ),
    "nothing to get": (
        lambda api, m: api.authenticators.GetAuthenticator(authenticators.GetAuthenticatorRequest(), metadata=m),
        "MISSING_PARAMETER",
    ),
    "nothing to update": (
        lambda api, m: api.authenticators.UpdateAuthenticator(authenticators.UpdateAuthenticatorRequest(), metadata=m),
        "MISSING_PARAMETER",
    ),
    "nothing to delete": (
        lambda api, m: api.authenticators.DeleteAuthenticator(authenticators.DeleteAuthenticatorRequest(), metadata=m),
        "MISSING_PARAMETER",
    ),
    "an access token to challenge with": (
        lambda api, m: api.challenges.CreateChallenge(challenges.CreateChallengeRequest(), metadata=m),
        "MFA_TOKEN_MALFORMED",
    ),
    "nothing to revoke": (
        lambda api, m: api.tokens.RevokeToken(tokens.RevokeTokenRequest(), metadata=m),
        "MISSING_PARAMETER",
    ),
    "nothing to introspect": (
        lambda api, m: api.tokens.IntrospectToken(tokens.IntrospectTokenRequest(), metadata=m),
        "MISSING_PARAMETER",
    ),
}


@pytest.mark.parametrize(("ask", "expected"), _MALFORMED.values(), ids=_MALFORMED.keys())
async def test_a_malformed_message_is_refused(grpc_api: GrpcApi, world: World, ask: _Rpc, expected: str) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    bearer = await mfa_access_token(grpc_api, world, client, user)

    refused = await refusal_of(ask(grpc_api, (*by(grpc_api, client), ("authorization", f"Bearer {bearer}"))))

    assert refused.reason == expected


async def test_a_challenge_of_a_type_that_is_none_is_refused(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    metadata = (*by(grpc_api, client), ("authorization", f"Bearer {login.mfa_token}"))

    for wrong in ({"challenge_types": [0]}, {"challenge_types": [99]}, {"kinds": [0]}, {"kinds": [9]}):
        request = challenges.CreateChallengeRequest(**wrong)  # type: ignore[arg-type]
        refused = await refusal_of(grpc_api.challenges.CreateChallenge(request, metadata=metadata))
        assert refused.reason == "INVALID_REQUEST", wrong


async def test_without_credentials_each_call_says_which_it_wants(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    listing, challenge = authenticators.ListAuthenticatorsRequest(), challenges.CreateChallengeRequest()

    refusals = {
        "issue": await refusal_of(grpc_api.tokens.IssueToken(tokens.IssueTokenRequest())),
        "list": await refusal_of(grpc_api.authenticators.ListAuthenticators(listing)),
        "challenge": await refusal_of(grpc_api.challenges.CreateChallenge(challenge)),
        "challenge by a client": await refusal_of(
            grpc_api.challenges.CreateChallenge(challenge, metadata=by(grpc_api, client))
        ),
    }

    assert {name: refused.reason for name, refused in refusals.items()} == {
        "issue": "INVALID_CLIENT",
        "list": "BEARER_MISSING",
        "challenge": "INVALID_CLIENT",
        "challenge by a client": "MISSING_PARAMETER",
    }


def by(api: GrpcApi, client: ClientCredentials) -> tuple[tuple[str, str], ...]:
    return api.by_client(client)


async def refusal_of(rpc: "grpc.aio.UnaryUnaryCall[Any, Any]") -> Refused:
    with pytest.raises(Refused) as caught:
        await call(rpc)
    return caught.value
