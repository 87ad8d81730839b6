"""Where a call comes from (ADR-11)."""

from pathlib import Path

import pytest
from cofactor.v1 import authenticators_pb2, tokens_pb2
from cofactor_server.origin import CURRENT_ORIGIN, Origin
from cofactor_server.rpc.source import counted

from tests.unit.rpc.worlds import EDGE, PUBLIC, SERVER, Edge, bearer, by, in_process, on_a_socket

GRANT = tokens_pb2.IssueTokenRequest(refresh_token=tokens_pb2.RefreshTokenGrant(refresh_token="rt"))
FORWARDED = (("cofactor-forwarded-for", "203.0.113.7"),)


async def source(edge: Edge, *metadata: tuple[str, str]) -> str:
    await edge.tokens.IssueToken(GRANT, metadata=metadata)
    return edge.world.caller.source


@pytest.mark.parametrize(
    ("address", "as_counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("203.0.113.7:80", ""),
        ("[::1]", ""),
        ("203.0.113.007", ""),
        ("203.0.113.7, 198.51.100.1", ""),
        ("localhost", ""),
        ("1" * 100, ""),
    ],
)
def test_an_address_is_counted_by_user_and_not_by_interface(address: str, as_counted: str) -> None:
    assert counted(address) == as_counted


@pytest.mark.parametrize(("address", "peer"), [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::/64")])
async def test_a_public_client_on_a_socket_comes_from_its_peer(address: str, peer: str) -> None:
    async with on_a_socket(address) as edge:
        assert await source(edge, *by(PUBLIC), *FORWARDED) == peer


async def test_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    async with on_a_socket(f"unix:{tmp_path}/s") as edge:
        assert await source(edge, *by(PUBLIC)) == ""


async def test_a_public_client_in_this_process_comes_from_the_origin_alone() -> None:
    async with in_process() as edge:
        assert await source(edge, *by(PUBLIC), *FORWARDED) == ""
        token = CURRENT_ORIGIN.set(Origin("2001:db8::7"))
        try:
            assert await source(edge, *by(PUBLIC), *FORWARDED) == "2001:db8::/64"
            assert await source(edge, *by(SERVER), *FORWARDED) == ""
            assert await source(edge, *by(EDGE), *FORWARDED) == "203.0.113.7"
        finally:
            CURRENT_ORIGIN.reset(token)


async def test_a_confidential_client_has_no_source_but_what_it_may_forward(edge: Edge) -> None:
    assert await source(edge, *by(SERVER)) == ""
    assert await source(edge, *by(SERVER), *FORWARDED) == ""
    assert await source(edge, *by(EDGE)) == ""
    assert await source(edge, *by(EDGE), *FORWARDED) == "203.0.113.7"
    assert await source(edge, *by(EDGE), ("cofactor-forwarded-for", "nonsense")) == ""
    assert await source(edge, *by(EDGE), *FORWARDED, ("cofactor-forwarded-for", "203.0.113.8")) == ""


async def test_a_call_by_bearer_alone_has_no_source(edge: Edge) -> None:
    listing = edge.authenticators.ListAuthenticators
    await listing(authenticators_pb2.ListAuthenticatorsRequest(), metadata=(*bearer("login-of-spa"), *FORWARDED))
    assert edge.world.caller.source == ""


async def test_a_proxy_is_believed_only_if_it_is_trusted() -> None:
    hops = ("x-forwarded-for", "198.51.100.66, 203.0.113.7, 127.0.0.2")
    async with on_a_socket() as edge:
        assert await source(edge, *by(PUBLIC), hops) == "127.0.0.1"
    async with on_a_socket(trusted_proxies=["127.0.0.0/8"]) as edge:
        assert await source(edge, *by(PUBLIC), hops) == "203.0.113.7"
        assert await source(edge, *by(PUBLIC)) == "127.0.0.1"
        assert await source(edge, *by(PUBLIC), hops, ("x-forwarded-for", "192.0.2.1")) == "192.0.2.1"


async def test_a_proxy_on_a_unix_socket_can_be_trusted(tmp_path: Path) -> None:
    async with on_a_socket(f"unix:{tmp_path}/s", trusted_proxies=["unix"]) as edge:
        assert await source(edge, *by(PUBLIC), ("x-forwarded-for", "203.0.113.7")) == "203.0.113.7"
        assert await source(edge, *by(PUBLIC)) == ""


def test_a_trusted_proxy_that_is_no_network_stops_the_start() -> None:
    from cofactor_server.rpc.source import Sources

    with pytest.raises(ValueError, match="does not appear to be"):
        Sources(["proxy.example"])
