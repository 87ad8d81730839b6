"""Server processes that share a database, and users to aim at them."""

import asyncio
import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from cofactor.v1 import tokens_pb2
from cofactor.v1.tokens_pb2_grpc import TokenServiceStub
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.logins.grants import Grant, MfaOtpGrant, MfaRecoveryCodeGrant, RefreshTokenGrant, Tokens
from cofactor_server.domain.logins.login import FirstFactor, Login
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.users import User
from cofactor_server.domain.requests import EnrollmentRequest
from cofactor_server.errors import CofactorError
from cofactor_server.seams import MINUTE
from cofactor_server.store.transactions.group_commit import Limits
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.concurrency.node import SharedClock
from tests.support.world import API, World, world_on

ROOT = Path(__file__).parents[2]
A_DAY_AND_MORE = 25 * 3_600
"""Seconds after which every budget is full again."""
SUCCESS = "SUCCESS"


@dataclass
class Person:
    """A user with an authenticator app and a recovery code."""

    user: User
    secret: str = field(repr=False)
    recovery_code: str = field(repr=False)


@dataclass
class Town:
    """A world that several nodes share; this process holds one more of them, for arranging."""

    world: World
    client: Client
    secret: str
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)

    def caller(self, login: Login | None = None) -> Caller:
        return Caller(client=self.client, login=login)

    def login(self, person: Person, scope: str = "") -> tuple[str, Login]:
        """Return an mfa_token as the password step makes it, and the login in it."""
        now = self.world.clock.now()
        login = Login(
            id=f"login-{next(self._ids)}-{now}",
            user_id=person.user.id,
            epoch=person.user.epoch,
            client_id=self.client.id,
            scope=scope,
            audience=API,
            methods=("pwd",),
            first_factor=FirstFactor.PASSWORD,
            first_factor_at=now,
            issued_at=now,
            expires_at=now + 10 * MINUTE,
        )
        return self.world.app.services.tokens._logins.seal(login), login  # type: ignore[attr-defined]

    async def person(self) -> Person:
        """Enroll somebody."""
        user = await self.world.user(f"user-{next(self._ids)}")
        person = Person(user, "", "")
        token, login = self.login(person)
        enrolled = await self.world.app.services.authenticators.enroll(self.caller(login), EnrollmentRequest("totp"))
        person.secret, person.recovery_code = enrolled.show["secret"], enrolled.recovery_codes[0]
        assert await here(self, MfaOtpGrant(token, self.code(person))) == SUCCESS
        return person

    def code(self, person: Person, steps: int = 0) -> str:
        return self.world.otp(person.secret, steps=steps)


@dataclass
class Node:
    """A server process, and a channel to it."""

    process: asyncio.subprocess.Process
    channel: grpc.aio.Channel
    town: Town

    async def issue(self, grant: tokens_pb2.IssueTokenRequest) -> tokens_pb2.IssueTokenResponse:
        metadata = (("cofactor-client-id", self.town.client.id), ("cofactor-client-secret", self.town.secret))
        return await TokenServiceStub(self.channel).IssueToken(grant, metadata=metadata, timeout=20)

    async def outcome(self, grant: Grant) -> str:
        """Exchange a grant, and return SUCCESS or the reason of the refusal."""
        try:
            response = await self.issue(_request(grant))
        except grpc.aio.AioRpcError as error:
            return reason(error)
        return SUCCESS if response.WhichOneof("outcome") == "tokens" else "NO_TOKENS"


def _request(grant: Grant) -> tokens_pb2.IssueTokenRequest:
    match grant:
        case MfaOtpGrant(token, otp, authenticator_id):
            mfa = tokens_pb2.MfaOtpGrant(mfa_token=token, otp=otp, authenticator_id=authenticator_id)
            return tokens_pb2.IssueTokenRequest(mfa_otp=mfa)
        case MfaRecoveryCodeGrant(token, code):
            recovery = tokens_pb2.MfaRecoveryCodeGrant(mfa_token=token, recovery_code=code)
            return tokens_pb2.IssueTokenRequest(mfa_recovery_code=recovery)
        case RefreshTokenGrant(refresh_token):
            refresh = tokens_pb2.RefreshTokenGrant(refresh_token=refresh_token)
            return tokens_pb2.IssueTokenRequest(refresh_token=refresh)
    raise NotImplementedError(grant)


def reason(error: grpc.aio.AioRpcError) -> str:
    """Return the reason in an error's details; its code where it has none."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return str(error.code().name)


async def here(town: Town, grant: Grant) -> str:
    """Exchange a grant in this process, and return SUCCESS or the reason of the refusal."""
    try:
        outcome = await town.world.app.services.tokens.issue(town.caller(), grant)  # type: ignore[call-arg]
    except CofactorError as error:
        return error.reason
    return SUCCESS if isinstance(outcome, Tokens) else "NO_TOKENS"


async def outcomes(calls: Iterable[Awaitable[str]]) -> Counter[str]:
    """Run calls at once and count what came of them."""
    return Counter(await asyncio.gather(*calls))


@asynccontextmanager
async def town_on(
    database_url: str, folder: Path, keys: Sequence[RootKey], limits: Limits | None = None
) -> AsyncIterator[Town]:
    """Open a deployment whose keyring and clock other processes can share."""
    clock = SharedClock(folder / "clock")
    path = folder / "keyring.json"
    Keyring.write(path, keys)
    async with world_on(database_url, clock=clock, keyring=Keyring.load(path, clock), limits=limits) as world:
        client, secret = await world.client()
        yield Town(world, client, secret)


@asynccontextmanager
async def node(town: Town, database_url: str, folder: Path) -> AsyncIterator[Node]:
    """Start a server process of the town."""
    with (folder / "node.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.concurrency.node",
            database_url,
            str(folder / "keyring.json"),
            str(folder / "clock"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
        )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        port = (await process.stdout.readline()).decode().strip()
        assert port, (folder / "node.log").read_text()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Node(process, channel, town)
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
