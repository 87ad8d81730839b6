"""The hook's client against a real server: certificates, plaintext, and more calls than there are places."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from cofactor_server.domain.logins.demands import Wanted
from cofactor_server.domain.logins.grants import Target
from cofactor_server.domain.logins.hooks import AsRuled, Failure, NoAnswer, Question
from cofactor_server.domain.logins.login import FirstFactor, Login
from cofactor_server.domain.logins.policies import Ruling
from cofactor_server.domain.parties.clients import GrantType
from cofactor_server.domain.parties.users import MfaPolicy, User
from cofactor_server.hooks.deciding import AT_ONCE, LOOK_SECONDS, HookClient
from cofactor_server.hooks.target import SECONDS, HookTarget, HookUnusable, check_address
from prometheus_client import CollectorRegistry

from tests.support.flows.hooks import hook_server
from tests.unit.cli.certificates import certificate

LOGIN = Login("l", "usr_1", 1, "cli_1", "openid", "", ("pwd",), FirstFactor.PASSWORD, 0, 0, 10)
QUESTION = Question(
    issuer="https://mfa.example.com/",
    login=LOGIN,
    user=User("usr_1", "default", "alice", "", 1, False, 0),
    is_enrolled=False,
    kinds=(),
    grant_type=GrantType.PASSWORD,
    target=Target(),
    source="",
    source_known=False,
    ruling=Ruling(MfaPolicy.NEVER, False, ("deployment",), Wanted()),
    wanted=Wanted(),
)


@asynccontextmanager
async def asking(target: HookTarget, seconds: float = 10) -> AsyncIterator[HookClient]:
    client = HookClient(replace(target, seconds=seconds), CollectorRegistry())
    try:
        yield client
    finally:
        await client.close()


def credentials(pair: tuple[Path, Path], *, client_ca: Path | None = None) -> grpc.ServerCredentials:
    certificate_file, key_file = pair
    return grpc.ssl_server_credentials(
        [(key_file.read_bytes(), certificate_file.read_bytes())],
        client_ca.read_bytes() if client_ca else None,
        require_client_auth=client_ca is not None,
    )


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """Certificates that have nothing to do with each other."""
    made = {}
    for name in ("hook", "server", "other"):
        (tmp_path / name).mkdir()
        made[name] = certificate(tmp_path / name)
    return made


@pytest.mark.requirement("S58")
async def test_it_believes_the_authority_that_it_was_given_and_no_other(pairs: dict[str, tuple[Path, Path]]) -> None:
    async with hook_server(credentials(pairs["hook"])) as hook:
        target = replace(hook.target, address=f"dns:///localhost:{hook.address.rpartition(':')[2]}")
        async with asking(replace(target, ca_file=pairs["hook"][0])) as client:
            assert await client.decide(QUESTION) == AsRuled()
        for ca_file in (pairs["other"][0], None):
            async with asking(replace(target, ca_file=ca_file)) as client:
                assert await client.decide(QUESTION) == NoAnswer(Failure.AWAY)
    assert len(hook.asked) == 1


@pytest.mark.requirement("S58")
async def test_it_shows_a_certificate_of_its_own_and_a_new_one_once_it_is_there(
    pairs: dict[str, tuple[Path, Path]],
) -> None:
    async with hook_server(credentials(pairs["hook"], client_ca=pairs["server"][0])) as hook:
        address = f"dns:///localhost:{hook.address.rpartition(':')[2]}"
        target = HookTarget(address, pairs["hook"][0], *pairs["other"])
        async with asking(target) as client:
            assert await client.decide(QUESTION) != AsRuled()
            for theirs, ours in zip(pairs["server"], pairs["other"], strict=True):
                theirs.replace(ours)
            client._looked_at -= LOOK_SECONDS
            assert await client.decide(QUESTION) == AsRuled()
            pairs["other"][0].write_text("half a certificate")
            client._looked_at -= LOOK_SECONDS
            assert await client.decide(QUESTION) == AsRuled()


def test_plaintext_is_for_this_machine_alone() -> None:
    assert HookTarget("dns:///hook.example.com:443").credentials() is not None
    for local in ("dns:///127.0.0.1:1", "dns:///[::1]:1", "dns:///localhost:1", "unix:/run/hook.sock"):
        assert HookTarget(local).credentials() is None


async def test_no_proxy_is_asked_to_carry_what_is_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with hook_server() as hook, asking(hook.target) as client:
        assert await client.decide(QUESTION) == AsRuled()


@pytest.mark.parametrize("address", ["hook.example.com:443", "dns:///hook", "dns:///a@b:1", "dns:///a:1/x", "unix:x"])
def test_an_address_that_could_mean_something_else_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="must be dns"):
        check_address(address)


def test_files_that_hold_something_else_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for file in ("ca.pem", "gone.pem"):
        with pytest.raises(HookUnusable, match=file):
            HookTarget("dns:///hook.example.com:443", tmp_path / file).credentials()


async def test_more_logins_than_there_are_places_for_are_answered_in_time() -> None:
    async with hook_server() as hook, asking(hook.target, SECONDS) as client:
        hook.says = "nothing"
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = await asyncio.gather(*(client.decide(QUESTION) for _ in range(3 * AT_ONCE)))
        took = loop.time() - began

    assert set(answers) == {NoAnswer(Failure.LATE)}
    assert took < SECONDS + 5
    assert len(hook.asked) < 2 * AT_ONCE  # some get a place in the moment in which all others give theirs up
