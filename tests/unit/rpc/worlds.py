"""Services with memory, behind real servicers, on a socket or in this process."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub
from cofactor.v1.guardian_pb2_grpc import DeviceAccountServiceStub
from cofactor.v1.policies_pb2_grpc import PolicyServiceStub
from cofactor.v1.tickets_pb2_grpc import EnrollmentTicketServiceStub
from cofactor.v1.tokens_pb2_grpc import TokenServiceStub
from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.endings import Opened
from cofactor_server.domain.authenticators.proofs import Code, PublicKeyCredential, Signed
from cofactor_server.domain.authenticators.tickets import Confirmed, TicketOffer, Waiting
from cofactor_server.domain.callers import Access, Caller, Device
from cofactor_server.domain.challenges.challenge import Standing
from cofactor_server.domain.challenges.guardian import (
    DeviceAccount,
    DeviceAccountChange,
    EnrolledDevice,
    NewDeviceAccount,
    OtpTwin,
    PushTarget,
    RichConsent,
)
from cofactor_server.domain.challenges.prompts import DeviceEvent, Listening
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.demands import Wanted
from cofactor_server.domain.logins.explanations import Consequence, DecisionQuestion, Explanation, HookWord
from cofactor_server.domain.logins.grants import Grant, Outcome, Tokens
from cofactor_server.domain.logins.login import FirstFactor, Login
from cofactor_server.domain.logins.policies import Ruling
from cofactor_server.domain.parties.clients import Capability, Client
from cofactor_server.domain.parties.operators import Operator
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.domain.requests import (
    AnswerRequest,
    ChallengeRequest,
    ChallengeType,
    CreatedChallenge,
    Enrolled,
    EnrollmentRequest,
    Introspection,
    Paired,
    UserInfo,
)
from cofactor_server.errors import AccessTokenInvalid, BearerInvalid, InvalidClient, MfaTokenExpired, MfaTokenMalformed
from cofactor_server.rpc.callers import Admission
from cofactor_server.rpc.interceptors import Interceptor
from cofactor_server.rpc.metrics import Metrics
from cofactor_server.rpc.server import Services, build_server, listen, register
from cofactor_server.rpc.source import Sources
from cofactor_server.rpc.transport.local import LocalChannel
from cofactor_server.services.challenges.watching import Seen
from google.rpc import error_details_pb2
from grpc_health.v1 import health
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

PUBLIC = Client("spa", "Single-page app", 0)
SERVER = Client("backend", "Backend", 0, secret_sha256=b"x" * 32)
SUPPORT = Client("support", "Support", 0, secret_sha256=b"x" * 32, capabilities=frozenset({Capability.USERS_MANAGE}))
EDGE = Client("edge", "Edge", 0, secret_sha256=b"x" * 32, capabilities=frozenset({Capability.FORWARD_SOURCE}))
SECRET = "right horse"
LOGINS = {"login-of-spa": "spa", "login-of-backend": "backend", "login-of-edge": "edge"}


def login(client_id: str) -> Login:
    return Login(
        id="log_1",
        user_id="usr_1",
        epoch=1,
        client_id=client_id,
        scope="",
        audience="",
        methods=("pwd",),
        first_factor=FirstFactor.PASSWORD,
        first_factor_at=0,
        issued_at=0,
        expires_at=10,
    )


def authenticator(**changes: Any) -> Authenticator:
    given: dict[str, Any] = {"credential": b"sealed", "created_at": 1_700_000_000_123_456, **changes}
    return Authenticator(
        user_id="usr_1",
        id=given.pop("id", "totp|dev_1"),
        kind=given.pop("kind", "totp"),
        state=given.pop("state", State.ACTIVE),
        **given,
    )


@dataclass
class World:
    """Every service at once; remembers who asked what."""

    asked: list[tuple[str, Caller, tuple[Any, ...]]] = field(default_factory=list)
    failure: BaseException | None = None
    outcome: Outcome = field(default_factory=lambda: Tokens("at", 60))
    listed: Sequence[Authenticator] = ()

    @property
    def caller(self) -> Caller:
        return self.asked[-1][1]

    def ask(self, name: str, caller: Caller, *what: Any) -> None:
        self.asked.append((name, caller, what))
        if self.failure is not None:
            raise self.failure

    # services.callers
    async def client(self, client_id: str | None, secret: str | None, sans: Set[str], assertion: str | None) -> Client:
        client = {c.id: c for c in (PUBLIC, SERVER, EDGE, SUPPORT)}.get(client_id or "")
        if client is None or secret != (SECRET if client.confidential else None):
            raise InvalidClient
        return client

    def login(self, mfa_token: str) -> Login:
        if mfa_token == "expired":
            raise MfaTokenExpired
        if mfa_token not in LOGINS:
            raise MfaTokenMalformed
        return login(LOGINS[mfa_token])

    def access(self, token: str) -> Access:
        client_id, scopes, signature = token.split(".")
        if signature != "signed":
            raise BearerInvalid
        scope = scopes.replace("+", " ")
        return Access(
            jti="jti",
            user_id="usr_1",
            client_id=client_id,
            scopes=frozenset(scope.split()),
            scope=scope,
            audience="https://mfa.example/mfa/",
            level=Level.MFA,
            amr=("pwd", "otp", "mfa"),
            recovery=False,
            epoch=1,
            issued_at=0,
            expires_at=10,
        )

    def identity(self, token: str) -> Access:
        if token.count(".") != 2:
            raise AccessTokenInvalid
        try:
            return self.access(token)
        except BearerInvalid:
            raise AccessTokenInvalid from None

    def operator(self, token: str) -> Operator:
        raise BearerInvalid

    async def follow_switches(self) -> None:
        """Have nothing switched off."""

    async def allows_origin(self, origin: str, client_id: str) -> bool:
        return origin == "https://app.example" and client_id in ("", "spa")

    async def user_info(self, caller: Caller) -> UserInfo:
        self.ask("user_info", caller)
        return UserInfo("usr_1")

    async def explain(self, caller: Caller, asked: DecisionQuestion) -> Explanation:
        self.ask("explain", caller, asked)
        return Explanation(
            Consequence.TOKENS,
            Ruling(MfaPolicy.NEVER, False, ("client",), Wanted()),
            Wanted(),
            HookWord.ABSENT,
            may_be_remembered=True,
            is_enrolled=False,
            source_known=False,
            kinds=(),
            enrollment_way=None,
            keeps_last_authenticator=False,
            authenticators=(),
            budgets=(),
            wait=0,
            now=0,
        )

    # services.tokens, challenges, authenticators
    async def issue(self, caller: Caller, grant: Grant, request_id: str) -> Outcome:
        self.ask("issue", caller, grant, request_id)
        return self.outcome

    def json_web_keys(self) -> Sequence[Mapping[str, str]]:
        if self.failure is not None:
            raise self.failure
        return [{"kty": "EC", "kid": "k1", "use": "sig", "alg": "ES256", "crv": "P-256", "x": "X", "y": "Y", "d": "!"}]

    async def revoke(self, caller: Caller, token: str) -> None:
        self.ask("revoke", caller, token)

    async def introspect(self, caller: Caller, token: str) -> Introspection:
        self.ask("introspect", caller, token)
        return Introspection(active=True, iss="https://mfa.example/", aud=("a", "b"), exp=7)

    async def create(self, caller: Caller, request: ChallengeRequest) -> CreatedChallenge:
        self.ask("create", caller, request)
        return CreatedChallenge(ChallengeType.OTP, "totp|dev_1", "totp")

    async def watch(self, caller: Caller, oob_code: str) -> AsyncGenerator[Seen, None]:
        self.ask("watch", caller, oob_code)
        yield Seen(Standing.PENDING, 5)
        yield Seen(Standing.REDEEMED, 5)

    async def answer(self, caller: Caller, request: AnswerRequest) -> Standing:
        self.ask("answer", caller, request)
        return Standing.APPROVED

    async def enroll(self, caller: Caller, request: EnrollmentRequest) -> Enrolled:
        self.ask("enroll", caller, request)
        return Enrolled(authenticator(state=State.PENDING), {"secret": "S", "barcode_uri": "otpauth://"})

    async def list(self, caller: Caller) -> Sequence[Authenticator]:
        self.ask("list", caller)
        return self.listed

    async def get(self, caller: Caller, authenticator_id: str) -> Authenticator:
        self.ask("get", caller, authenticator_id)
        return authenticator()

    async def rename(self, caller: Caller, authenticator_id: str, name: str) -> Authenticator:
        self.ask("rename", caller, authenticator_id, name)
        return authenticator(name=name)

    async def remove(self, caller: Caller, authenticator_id: str, *, sign_out: bool = False) -> Opened:
        self.ask("remove", caller, authenticator_id)
        return Opened()


class Devices:
    """Devices of a world, which remembers what they ask."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def pair(self, caller: Caller, secret: str, statement: Signed) -> Paired:
        self._world.ask("pair", caller, secret, statement)
        return Paired("push|dev_1", "usr_1", "Example", "alice", {"secret": "S", "barcode_uri": "otpauth://"})

    def nonce(self) -> tuple[str, int]:
        return "nonce", 1_700_000_000_000_000

    async def known(self, caller: Caller, statement: Signed) -> Caller:
        self._world.ask("known", caller, statement)
        return replace(caller, device=Device("usr_1", "push|dev_1"))

    async def update(self, caller: Caller, statement: Signed) -> None:
        self._world.ask("update", caller, statement)

    async def remove(self, caller: Caller, statement: Signed) -> None:
        self._world.ask("remove device", caller, statement)

    async def watch(self, caller: Caller, statement: Signed) -> AsyncGenerator[DeviceEvent, None]:
        self._world.ask("watch device", caller, statement)
        yield Listening(0)


class DeviceAccounts:
    """Devices of the Guardian wire, likewise."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def enroll(self, caller: Caller, new: NewDeviceAccount) -> EnrolledDevice:
        self._world.ask("enroll device account", caller, new)
        return EnrolledDevice("dev_1", "https://mfa.example/", "Example", "usr_1", "token", OtpTwin("S", "SHA1", 6, 30))

    async def resolve(self, caller: Caller, token: str, answer: str) -> None:
        self._world.ask("resolve", caller, token, answer)

    async def update(self, caller: Caller, token: str, change: DeviceAccountChange) -> DeviceAccount:
        self._world.ask("update device account", caller, token, change)
        return DeviceAccount("dev_1", "phone", "Phone", PushTarget("APNS", "rt"))

    async def remove(self, caller: Caller, token: str, account_id: str) -> None:
        self._world.ask("remove device account", caller, token, account_id)

    async def consent(self, caller: Caller, consent_id: str, token: str, proof: str) -> RichConsent:
        self._world.ask("consent", caller, consent_id, token, proof)
        return RichConsent(consent_id, "https://api.example/", ("read",), "", "", 1_700_000_000_000_000, 0)


class Tickets:
    """Enrollment tickets, likewise."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def offer(self, caller: Caller, ticket: str) -> TicketOffer:
        self._world.ask("offer", caller, ticket)
        return TicketOffer("Example", "a****", ("totp", "letter"), 1_700_000_000_000_000)

    async def begin(self, caller: Caller, ticket: str, request: EnrollmentRequest) -> tuple[str, Enrolled]:
        self._world.ask("begin", caller, ticket, request)
        return "enrollment", Enrolled(authenticator(state=State.PENDING), {"secret": "S", "barcode_uri": "otpauth://"})

    async def confirm(
        self, caller: Caller, ticket: str, enrollment: str, proof: Code | PublicKeyCredential | None
    ) -> Confirmed | Waiting:
        self._world.ask("confirm", caller, ticket, enrollment, proof)
        return Confirmed(authenticator(), ("code",))


@dataclass
class Edge:
    """What a caller sees of a world."""

    world: World
    channel: grpc.aio.Channel
    registry: CollectorRegistry
    interceptor: Interceptor
    health: health.aio.HealthServicer
    server: grpc.aio.Server
    port: int
    """Of the socket; 0 for a unix socket."""

    def raw(self, method: str, octets: bytes, **options: Any) -> Any:
        """Call with octets that need not be a message."""
        channel: Any = self.channel
        return channel.unary_unary(method)(octets, **options)

    @property
    def tokens(self) -> Any:
        return TokenServiceStub(self.channel)

    @property
    def challenges(self) -> Any:
        return ChallengeServiceStub(self.channel)

    @property
    def authenticators(self) -> Any:
        return AuthenticatorServiceStub(self.channel)

    @property
    def device_accounts(self) -> Any:
        return DeviceAccountServiceStub(self.channel)

    @property
    def policies(self) -> Any:
        return PolicyServiceStub(self.channel)

    @property
    def tickets(self) -> Any:
        return EnrollmentTicketServiceStub(self.channel)


def surrounding(world: World, registry: CollectorRegistry, trusted_proxies: Sequence[str] = ()) -> Interceptor:
    return Interceptor(Admission(world, Sources(trusted_proxies)), Metrics(registry))


def services(world: World) -> Services:
    return Services(world, world, world, world, world, Devices(world), DeviceAccounts(world), world, Tickets(world))


@asynccontextmanager
async def in_process() -> AsyncIterator[Edge]:
    world, registry, servicer = World(), CollectorRegistry(), health.aio.HealthServicer()
    interceptor = surrounding(world, registry)
    channel = LocalChannel([interceptor])
    register(channel, services(world), health_servicer=servicer, reflect=True)
    try:
        yield Edge(world, channel, registry, interceptor, servicer, channel, 0)
    finally:
        await channel.close()


@asynccontextmanager
async def on_a_socket(address: str = "127.0.0.1:0", trusted_proxies: Sequence[str] = ()) -> AsyncIterator[Edge]:
    world, registry, servicer = World(), CollectorRegistry(), health.aio.HealthServicer()
    interceptor = surrounding(world, registry, trusted_proxies)
    server = build_server(services(world), interceptor, health_servicer=servicer, reflect=True)
    port = listen(server, address)
    target = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
    await server.start()
    async with grpc.aio.insecure_channel(target) as channel:
        try:
            yield Edge(world, channel, registry, interceptor, servicer, server, port)
        finally:
            await server.stop(0)


def by(client: Client) -> tuple[tuple[str, str], ...]:
    """Metadata of a client that authenticates as it should."""
    secret = (("cofactor-client-secret", SECRET),) if client.confidential else ()
    return (("cofactor-client-id", client.id), *secret)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


DETAILS = (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.BadRequest)


async def refusal(call: Any) -> tuple[str, dict[str, Any]]:
    """Return code name and details, by their type's name, of a call that has to be refused; text under `text`."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an AioRpcError has what a Call is asked for
        found: dict[str, Any] = {"text": error.details()}
        for packed in status.details if status is not None else ():
            for kind in DETAILS:
                detail: Any = kind()
                if packed.Unpack(detail):
                    found[kind.__name__] = detail
        return error.code().name, found
    raise AssertionError("the call was not refused")


async def reason(call: Any) -> str:
    """Return the ErrorInfo's reason of a call that has to be refused."""
    _, details = await refusal(call)
    return str(details["ErrorInfo"].reason)
