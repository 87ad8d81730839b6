import pytest
from cofactor_server.domain.parties.clients import GrantType

from tests.support.flows.api import AUTH0, Api, MfaRequired, RestApi
from tests.support.flows.steps import ALICE, a, enrolled, logged_in_to_mfa, read, reason, refusal, shop
from tests.support.world import PASSWORD, USER_GRANTS, World


async def test_a_realm_has_users_of_its_own(api: Api, world: World) -> None:
    client = await shop(world, realms=("default", "staff"))
    await world.user(realm="staff")

    a(MfaRequired, await api.password(client, ALICE, PASSWORD, realm="staff"))

    assert await reason(api.password(client, ALICE, PASSWORD)) == "INVALID_CREDENTIALS"
    assert await reason(api.password(client, ALICE, PASSWORD, realm="default")) == "INVALID_CREDENTIALS"


async def test_one_name_in_two_realms_is_two_users(api: Api, world: World) -> None:
    client = await shop(world, realms=("default", "staff"))
    customer, employee = await world.user(), await world.user(realm="staff")
    first = await enrolled(api, world, client, create=False)

    other = a(MfaRequired, await api.password(client, ALICE, PASSWORD, realm="staff"))

    assert (await read(api, first.tokens.access_token))[1]["sub"] == customer.id != employee.id
    assert other.wants == "enroll"


async def test_without_a_realm_the_default_one_is_meant(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()

    a(MfaRequired, await api.password(client, ALICE, PASSWORD, realm="default"))
    await logged_in_to_mfa(api, client)


@pytest.mark.parametrize(
    ("realms", "realm"),
    [((), "staff"), (("default",), "staff"), (("default",), "nowhere"), (("staff",), ""), (("staff",), "default")],
)
async def test_a_realm_that_is_not_the_clients_is_unknown(
    api: Api, world: World, realms: tuple[str, ...], realm: str
) -> None:
    client = await shop(world, realms=realms)
    await world.user()
    await world.user(realm="staff")

    refused = await refusal(api.password(client, ALICE, PASSWORD, realm=realm))

    assert (refused.reason, refused.text) == ("REALM_UNKNOWN", "The realm is unknown.")


async def test_the_two_password_grants_are_enabled_one_by_one(api: Api, world: World) -> None:
    plain = await shop(world, grant_types=USER_GRANTS - {GrantType.PASSWORD_REALM})
    by_realm = await shop(world, grant_types=USER_GRANTS - {GrantType.PASSWORD})
    await world.user()

    a(MfaRequired, await api.password(plain, ALICE, PASSWORD))
    a(MfaRequired, await api.password(by_realm, ALICE, PASSWORD, realm="default"))

    assert await reason(api.password(plain, ALICE, PASSWORD, realm="default")) == "UNAUTHORIZED_CLIENT"
    assert await reason(api.password(by_realm, ALICE, PASSWORD)) == "UNAUTHORIZED_CLIENT"


async def test_a_realm_beside_the_plain_grant_is_honoured(rest_api: RestApi, world: World) -> None:
    client = await shop(world, realms=("default", "staff"))
    await world.user(realm="staff")
    members = {"username": ALICE, "password": PASSWORD}

    a(MfaRequired, await rest_api.issue(client, "password", **members, realm="staff"))

    refused = await reason(rest_api.issue(client, f"{AUTH0}password-realm", **members))
    assert refused == "MISSING_PARAMETER"
