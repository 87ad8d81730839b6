import httpx2
import pytest
from cofactor_server.origin import CURRENT_ORIGIN

from tests.unit.rest.conftest import Connect
from tests.unit.rest.fake_api import FakeApi

LIST = {"Authorization": "Bearer t"}
PROXY = ("10.0.0.5", 443)


async def _source(api: FakeApi, http: httpx2.AsyncClient, *forwarded: str) -> str | None:
    headers = [("Authorization", "Bearer t"), *(("X-Forwarded-For", value) for value in forwarded)]
    response = await http.get("/mfa/authenticators", headers=headers)
    assert response.status_code == 200
    return api.calls[-1].source


async def test_a_call_comes_from_the_peer(api: FakeApi, http: httpx2.AsyncClient) -> None:
    assert await _source(api, http) == "192.0.2.1"


async def test_a_strangers_x_forwarded_for_is_not_believed(api: FakeApi, connect: Connect) -> None:
    for trusted in ([], ["10.0.0.0/8"], ["192.0.2.2/32"]):
        http = connect(trusted_proxies=trusted)

        assert await _source(api, http, "203.0.113.7") == "192.0.2.1"


@pytest.mark.parametrize(
    ("forwarded", "source"),
    [
        ([], "10.0.0.5"),
        (["203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        (["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["::ffff:10.0.0.9"], "10.0.0.9"),
        (["fe80::1%eth0"], "fe80::1"),
        (["203.0.113.7, unknown"], "10.0.0.5"),
        (["203.0.113.7, "], "10.0.0.5"),
        (["203.0.113.7, unknown, 10.0.0.9"], "10.0.0.9"),
        (["<script>"], "10.0.0.5"),
        (["203.0.113.999"], "10.0.0.5"),
    ],
)
async def test_behind_a_trusted_proxy_a_call_comes_from_the_rightmost_untrusted_hop(
    api: FakeApi, connect: Connect, forwarded: list[str], source: str
) -> None:
    http = connect(client=PROXY, trusted_proxies=["10.0.0.0/8"])

    assert await _source(api, http, *forwarded) == source


async def test_a_trusted_proxy_may_be_an_ipv6_network(api: FakeApi, connect: Connect) -> None:
    http = connect(client=("2001:db8:1::5", 443), trusted_proxies=["2001:db8:1::/48"])

    assert await _source(api, http, "203.0.113.7") == "203.0.113.7"


async def test_an_ipv4_peer_of_a_dual_stack_socket_is_an_ipv4_address(api: FakeApi, connect: Connect) -> None:
    http = connect(client=("::ffff:10.0.0.5", 443), trusted_proxies=["10.0.0.0/8"])

    assert await _source(api, http) == "10.0.0.5"
    assert await _source(api, http, "203.0.113.7") == "203.0.113.7"


@pytest.mark.parametrize("client", [None, ("", 0)])
async def test_a_unix_socket_has_no_source_unless_its_proxy_is_trusted(
    api: FakeApi, connect: Connect, client: tuple[str, int] | None
) -> None:
    assert await _source(api, connect(client=client), "203.0.113.7") is None
    assert await _source(api, connect(client=client, trusted_proxies=["unix"]), "203.0.113.7") == "203.0.113.7"
    assert await _source(api, connect(client=client, trusted_proxies=["unix"])) is None


async def test_a_peer_without_an_address_has_no_source(api: FakeApi, connect: Connect) -> None:
    assert await _source(api, connect(client=("testclient", 1)), "203.0.113.7") is None


async def test_the_origin_ends_with_the_request(api: FakeApi, http: httpx2.AsyncClient) -> None:
    await _source(api, http)

    assert CURRENT_ORIGIN.get() is None


@pytest.mark.parametrize("proxies", [["10.0.0.5/8"], ["proxy.example.com"], [""]])
def test_a_trusted_proxy_that_is_no_network_stops_the_start(connect: Connect, proxies: list[str]) -> None:
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        connect(trusted_proxies=proxies)


def test_an_issuer_without_its_slash_stops_the_start(connect: Connect) -> None:
    with pytest.raises(ValueError, match="slash"):
        connect(issuer="https://mfa.example.com")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "[::1]"])
async def test_a_host_that_is_served_is_answered(connect: Connect, host: str) -> None:
    http = connect(allowed_hosts=["localhost", "127.0.0.1", "[::1]"])

    response = await http.get("/mfa/authenticators", headers={**LIST, "Host": host})

    assert response.status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io:8080", "[::2]"])
async def test_another_host_is_refused_before_anything_is_asked(api: FakeApi, connect: Connect, host: str) -> None:
    http = connect(allowed_hosts=["localhost", "127.0.0.1", "[::1]"])

    response = await http.get("/mfa/authenticators", headers={**LIST, "Host": host})

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert api.calls == []


@pytest.mark.requirement("S145")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/oauth/token"),
        ("POST", "/oauth/x"),
        ("POST", "/mfa/challenge"),
        ("POST", "/mfa/associate"),
        ("GET", "/mfa/authenticators"),
        ("DELETE", "/mfa/authenticators/a"),
        ("GET", "/mfa/x"),
    ],
)
async def test_refusals_are_not_kept_by_caches_either(http: httpx2.AsyncClient, method: str, path: str) -> None:
    response = await http.request(method, path)

    assert response.status_code >= 400
    assert (response.headers["cache-control"], response.headers["pragma"]) == ("no-store", "no-cache")
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_public_documents_may_be_kept_by_caches(http: httpx2.AsyncClient) -> None:
    for path in (".well-known/openid-configuration", ".well-known/jwks.json", ".well-known/keys.json", "openapi.json"):
        response = await http.get(f"/{path}")

        assert response.status_code == 200
        kept = None if path == "openapi.json" else "public, max-age=300"
        assert response.headers.get("cache-control") == kept
