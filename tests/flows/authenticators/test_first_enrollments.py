"""A user who is not enrolled, and whom this login does not enroll: every call says the same, and whom to ask."""

from collections.abc import Awaitable
from typing import Any

import pytest
from cofactor.v1 import policies_pb2, tokens_pb2
from cofactor_server.domain.parties.clients import Capability
from cofactor_server.domain.parties.users import Enrollment, MfaPolicy

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, MfaRequired, RestApi, Tokens, call
from tests.support.flows.steps import ALICE, MFA_SCOPE, a, enrolled, logged_in_to_mfa, reason, refusal, shop
from tests.support.world import ISSUER, PASSWORD, World

CONTACT = "https://help.example.com/mfa"
ASKED = f"The first authenticator is enrolled with a ticket only. Ask {CONTACT} for one."
VOUCHED = (
    "The first authenticator is enrolled in a login that a trusted application vouches for, or with a ticket. "
    f"Ask {CONTACT}."
)
NEW_LOGIN = "A refresh token enrolls no authenticator. Log in again to enroll the first one."


@pytest.fixture
def given() -> dict[str, Any]:
    return {"support_contact": CONTACT}


def calls(api: Api, client: ClientCredentials, login: MfaRequired) -> list[Awaitable[object]]:
    """Return every call that needs an authenticator, or makes the first one."""
    return [
        api.challenge(client, login.mfa_token),
        api.challenge(client, login.mfa_token, types=["otp"]),
        api.enroll(login.mfa_token),
        api.otp(client, login.mfa_token, "123456"),
        *([api.enroll(login.mfa_token, "recovery-code")] if isinstance(api, GrpcApi) else []),
    ]


async def said(api: Api, client: ClientCredentials, login: MfaRequired) -> tuple[str, str, dict[str, str]]:
    """Return how all of these calls are refused, which is in one way."""
    refused = [await refusal(call) for call in calls(api, client, login)]
    told = {(r.reason, r.text, r.http_status, tuple(sorted(r.metadata.items()))) for r in refused}
    assert len(told) == 1, told
    metadata = {name: value for name, value in refused[0].metadata.items() if name != "whom"}
    return refused[0].reason, refused[0].text, metadata


async def test_after_a_reset_every_answer_says_that_a_ticket_enrolls_and_whom_to_ask(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    await world.app.operators.reset_mfa("default", ALICE)

    login = await logged_in_to_mfa(api, client)

    assert (login.wants, login.types, login.way, login.contact) == ("enroll", (), "ticket", CONTACT)
    told = {"enrollment_way": "ticket", "contact": CONTACT}
    assert await said(api, client, login) == ("ENROLLMENT_BY_TICKET_ONLY", ASKED, told)


@pytest.mark.parametrize("given", [{}])
async def test_without_a_contact_it_is_an_administrator(api: Api, world: World) -> None:
    client = await shop(world, enrollment=Enrollment.TICKET)
    await world.user()

    login = await logged_in_to_mfa(api, client)

    assert (login.way, login.contact) == ("ticket", "")
    _, text, told = await said(api, client, login)
    assert text == ASKED.replace(CONTACT, "an administrator")
    assert told == {"enrollment_way": "ticket"}


@pytest.mark.parametrize(
    ("enrollment", "way", "why", "text"),
    [
        (Enrollment.TICKET, "ticket", "ENROLLMENT_BY_TICKET_ONLY", ASKED),
        (Enrollment.VOUCHED, "vouched_login", "ENROLLMENT_NOT_ALLOWED", VOUCHED),
    ],
)
async def test_a_client_whose_users_enroll_otherwise_says_how(
    enrollment: Enrollment, way: str, why: str, text: str, api: Api, world: World
) -> None:
    client = await shop(world, enrollment=enrollment)
    await world.user()

    login = await logged_in_to_mfa(api, client)

    assert (login.types, login.way, login.contact) == ((), way, CONTACT)
    assert await said(api, client, login) == (why, text, {"enrollment_way": way, "contact": CONTACT})


async def test_a_refresh_token_says_to_log_in(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(mfa_policy=MfaPolicy.NEVER)
    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))

    asked = await api.refresh(client, tokens.refresh_token, audience=f"{ISSUER}mfa/", scope=MFA_SCOPE)

    login = a(MfaRequired, asked)
    assert (login.types, login.way, login.contact) == ((), "new_login", "")
    assert await said(api, client, login) == ("ENROLLMENT_NEEDS_LOGIN", NEW_LOGIN, {"enrollment_way": "new_login"})


async def test_a_login_that_enrolls_says_nothing_of_other_ways(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()

    login = await logged_in_to_mfa(api, client)

    assert (login.types, login.way, login.contact) == (("otp",), "", "")
    assert await reason(api.challenge(client, login.mfa_token)) == "ASSOCIATION_REQUIRED"
    assert await reason(api.otp(client, login.mfa_token, "123456")) == "NOT_ENROLLED"


async def test_the_wire_has_the_members_beside_what_sdks_parse(rest_api: RestApi, world: World) -> None:
    client_id, secret = await shop(world, enrollment=Enrollment.TICKET)
    await world.user()
    grant = {"grant_type": "password", "username": ALICE, "password": PASSWORD}

    response = await rest_api.http.post("/oauth/token", json={**grant, "client_id": client_id, "client_secret": secret})

    body = response.json()
    assert response.status_code == 403
    assert body.pop("mfa_token")
    assert body == {
        "error": "mfa_required",
        "error_description": "Multifactor authentication required",
        "mfa_requirements": {"enroll": []},
        "enrollment_way": "ticket",
        "contact": CONTACT,
    }


@pytest.mark.parametrize(
    ("enrollment", "way"),
    [
        (Enrollment.AT_LOGIN, tokens_pb2.ENROLLMENT_WAY_AT_LOGIN),
        (Enrollment.TICKET, tokens_pb2.ENROLLMENT_WAY_TICKET),
        (Enrollment.VOUCHED, tokens_pb2.ENROLLMENT_WAY_VOUCHED_LOGIN),
    ],
)
async def test_support_is_told_how_a_user_would_enroll(
    enrollment: Enrollment, way: int, grpc_api: GrpcApi, world: World
) -> None:
    client = await shop(world, enrollment=enrollment, capabilities=frozenset({Capability.USERS_MANAGE}))
    await world.user()

    request = policies_pb2.ExplainDecisionRequest(subject=ALICE)
    found = await call(grpc_api.policies.ExplainDecision(request, metadata=grpc_api.by_client(client)))

    assert found.outcome == policies_pb2.DECISION_OUTCOME_ENROLLMENT_REQUIRED
    assert found.enrollment_way == way
