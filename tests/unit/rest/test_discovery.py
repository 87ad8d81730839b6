"""Authorization server metadata (RFC 8414), beside OpenID Connect discovery."""

import httpx2
import pytest

from tests.unit.rest.conftest import Connect

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"
OF_OPENID_ALONE = {
    "authorization_endpoint",  # no grant type uses it
    "userinfo_endpoint",
    "subject_types_supported",
    "claims_supported",
    "claim_types_supported",
    "acr_values_supported",
    "id_token_signing_alg_values_supported",
}


async def test_oauth_metadata_has_the_members_of_openid_discovery_that_apply(http: httpx2.AsyncClient) -> None:
    openid, oauth = (await http.get(OPENID)).json(), (await http.get(OAUTH)).json()

    assert openid.keys() - oauth.keys() == OF_OPENID_ALONE
    assert oauth.items() <= openid.items()
    assert {"issuer", "token_endpoint", "jwks_uri", "response_types_supported"} <= oauth.keys()


async def test_oauth_metadata_may_be_kept_by_caches(http: httpx2.AsyncClient) -> None:
    assert (await http.get(OAUTH)).headers["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize(
    ("issuer", "path"),
    [("https://mfa.example.com/", OAUTH), ("https://mfa.example.com/tenants/a/", f"{OAUTH}/tenants/a")],
)
async def test_the_path_of_an_issuer_follows_the_well_known_part(connect: Connect, issuer: str, path: str) -> None:
    answered = await connect(issuer=issuer).get(path)

    assert (answered.status_code, answered.json()["issuer"]) == (200, issuer)
