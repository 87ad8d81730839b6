"""The rows that every language has to fill, each over both forms of the client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from cofactor.client import (
    CofactorError,
    Credentials,
    DeadlineExceeded,
    Plaintext,
    RateLimited,
    Tls,
    Tokens,
    Unavailable,
)
from cofactor.testing import servers
from cofactor.testing.devices import PushDevice, SecurityKey
from cofactor.testing.servers import Server, StartedServer
from cofactor.v1 import authenticators_pb2, challenges_pb2, tokens_pb2

from cofactor_tests.twins import TWINS, Form, State
from cofactor_tests.users import User, a

PENDING, APPROVED = challenges_pb2.CHALLENGE_STATE_PENDING, challenges_pb2.CHALLENGE_STATE_APPROVED
SOON = 30.0
"""Seconds: the longest that anything is waited for."""


async def with_device(user: User) -> PushDevice:
    """Enroll a device, and log in by pairing it."""
    login = (await user.log_in()).message
    begun = await user.enroll(login.mfa_token, push=authenticators_pb2.PushEnrollment())
    device = PushDevice(begun.pairing.barcode_uri, user.server)
    device.pair()
    a(Tokens, await user.twin.await_tokens(login.mfa_token, begun.pairing.oob_code))
    return device


async def heard(states: AsyncIterator[State], first: asyncio.Event) -> list[State]:
    """Return what a watch tells, and say when it began."""
    told = []
    async for state in states:
        told.append(state)
        first.set()
    return told


async def test_enroll_otp(user: User) -> None:
    login = (await user.log_in()).message
    begun = await user.enroll(login.mfa_token, totp=authenticators_pb2.TotpEnrollment(), name="App")

    assert login.WhichOneof("requirement") == "enroll"
    assert (begun.authenticator.name, len(begun.recovery_codes)) == ("App", 1)
    app, _ = await User(user.server, user.twin).with_app()
    assert app.code().isdigit()


async def test_verify(user: User) -> None:
    app, _ = await user.with_app()
    login = (await user.log_in()).message

    with pytest.raises(CofactorError) as refused:
        await user.otp(login.mfa_token, app.wrong_code())
    tokens = a(Tokens, await user.otp(login.mfa_token, app.code())).message

    assert list(login.challenge.kinds) == [
        authenticators_pb2.FACTOR_KIND_TOTP,
        authenticators_pb2.FACTOR_KIND_RECOVERY_CODE,
    ]
    assert (refused.value.reason, refused.value.code) == ("INVALID_OTP", grpc.StatusCode.UNAUTHENTICATED)
    assert tokens.access_token.count(".") == 2


async def test_recovery(user: User) -> None:
    _, code = await user.with_app()
    login = (await user.log_in()).message
    grant = tokens_pb2.MfaRecoveryCodeGrant(mfa_token=login.mfa_token, recovery_code=code)

    tokens = a(Tokens, await user.twin.issue(tokens_pb2.IssueTokenRequest(mfa_recovery_code=grant))).message

    assert tokens.recovery_code not in ("", code)


async def test_push_watch(user: User) -> None:
    device = await with_device(user)
    login = (await user.log_in()).message
    challenge = await user.challenge(login.mfa_token, authenticators_pb2.FACTOR_KIND_PUSH)
    first = asyncio.Event()
    watch = asyncio.create_task(heard(user.twin.watch(login.mfa_token, challenge.oob_code), first))
    await asyncio.wait_for(first.wait(), SOON)

    prompt = await asyncio.to_thread(device.prompt)
    await asyncio.to_thread(device.approve, prompt, challenge.device.number)
    told = await asyncio.wait_for(watch, SOON)

    assert told == [PENDING, APPROVED]
    assert prompt.about["account"] == user.subject
    a(Tokens, await user.twin.await_tokens(login.mfa_token, challenge.oob_code))


async def test_webauthn(user: User) -> None:
    key = SecurityKey()
    login = (await user.log_in()).message
    begun = await user.enroll(login.mfa_token, webauthn=authenticators_pb2.WebAuthnEnrollment())
    grant = tokens_pb2.MfaWebAuthnGrant(mfa_token=login.mfa_token, oob_code=begun.webauthn.oob_code)
    grant.credential_json = key.create(begun.webauthn.public_key_json)
    a(Tokens, await user.twin.issue(tokens_pb2.IssueTokenRequest(mfa_webauthn=grant)))

    again = (await user.log_in()).message
    challenge = await user.challenge(again.mfa_token, authenticators_pb2.FACTOR_KIND_WEBAUTHN)
    grant = tokens_pb2.MfaWebAuthnGrant(mfa_token=again.mfa_token, oob_code=challenge.oob_code)
    grant.credential_json = key.get(challenge.webauthn.public_key_json)

    assert a(Tokens, await user.twin.issue(tokens_pb2.IssueTokenRequest(mfa_webauthn=grant))).message.access_token


async def test_retry_delay(user: User) -> None:
    app, _ = await user.with_app()
    login = (await user.log_in()).message
    wrong = app.wrong_code()

    for _ in range(10):
        with pytest.raises(CofactorError, match="INVALID_OTP"):
            await user.otp(login.mfa_token, wrong)
    with pytest.raises(RateLimited) as refused:
        await user.otp(login.mfa_token, app.code())

    assert refused.value.reason == "TOO_MANY_FAILED_CODES"
    assert refused.value.retry_delay is not None
    assert 0 < refused.value.retry_delay <= 360


@pytest.mark.parametrize("form", TWINS, ids=lambda form: form.__name__)
async def test_deadline(form: Form, server: Server) -> None:
    request = tokens_pb2.GetJsonWebKeySetRequest()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        twin = form(f"127.0.0.1:{silent.getsockname()[1]}", server.demo.credentials, Plaintext(), deadline=0.2)
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceeded) as by_default:
            await twin.call("tokens", "GetJsonWebKeySet", request)
        with pytest.raises(DeadlineExceeded):
            await twin.call("tokens", "GetJsonWebKeySet", request, timeout=0.1)
        took = asyncio.get_running_loop().time() - began
        await twin.close()

    assert (by_default.value.code, by_default.value.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "")
    assert took < SOON / 3


@pytest.mark.parametrize("form", TWINS, ids=lambda form: form.__name__)
async def test_mtls(form: Form, server: Server) -> None:
    ours = server.demo.test
    twin = form(ours.grpc_tls, ours.credentials, ours.transport)
    login = await User(server, twin).log_in()
    await twin.close()

    nobody = form(ours.grpc_tls, Credentials(ours.tls_client_id), Tls(ours.ca_file))
    with pytest.raises(Unavailable):
        await User(server, nobody).log_in()
    await nobody.close()
    strangers = form(ours.grpc_tls, ours.credentials, Tls())
    with pytest.raises(Unavailable):
        await User(server, strangers).log_in()
    await strangers.close()

    assert login.message.mfa_token


@pytest.fixture(scope="module")
def own() -> Iterator[StartedServer]:
    """A server that may be stopped."""
    with servers.started() as server:
        yield server


@pytest.mark.timeout(240)
@pytest.mark.parametrize("form", TWINS, ids=lambda form: form.__name__)
async def test_reconnect(form: Form, own: StartedServer) -> None:
    twin = form(own.demo.grpc, own.demo.credentials, own.transport)
    user = User(own, twin)
    device = await with_device(user)
    login = (await user.log_in()).message
    challenge = await user.challenge(login.mfa_token, authenticators_pb2.FACTOR_KIND_PUSH)
    first = asyncio.Event()
    watch = asyncio.create_task(heard(twin.watch(login.mfa_token, challenge.oob_code), first))
    await asyncio.wait_for(first.wait(), SOON)

    await asyncio.to_thread(own.restart)
    prompt = await asyncio.to_thread(device.prompt)
    await asyncio.to_thread(device.approve, prompt, challenge.device.number)

    assert await asyncio.wait_for(watch, SOON) == [PENDING, APPROVED]
    a(Tokens, await twin.await_tokens(login.mfa_token, challenge.oob_code))
    await twin.close()


async def test_a_device_that_is_added_with_an_access_token_is_waited_for_by_polling(user: User) -> None:
    grant = tokens_pb2.VouchedGrant(realm=user.server.demo.realm, subject=user.subject, methods=["pwd"])
    grant.authenticate_time.seconds = user.server.clock.now()
    grant.target.audience, grant.target.scope = f"{user.server.demo.issuer}mfa/", "enroll"
    access = a(Tokens, await user.twin.issue(tokens_pb2.IssueTokenRequest(vouched=grant))).message.access_token
    begun = await user.enroll(access, push=authenticators_pb2.PushEnrollment())
    PushDevice(begun.pairing.barcode_uri, user.server).pair()

    a(Tokens, await user.twin.await_tokens(access, begun.pairing.oob_code))
