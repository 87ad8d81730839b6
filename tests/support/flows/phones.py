"""Phones that pair with a deployment and answer its prompts, over gRPC, whatever edge the login is on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from cofactor.v1 import authenticators_pb2 as authenticators
from cofactor.v1 import challenges_pb2 as challenges
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub
from cofactor_server.domain.authenticators.proofs import Message, Signed

from tests.support.flows.api import Api, ClientCredentials, Enrollment, Tokens
from tests.support.flows.grpc_api import call, refusal_of
from tests.support.flows.steps import ALICE, Enrolled, a, enrolled, logged_in_to_mfa, mfa_access_token
from tests.support.flows.values import TIMEOUT, Challenge
from tests.support.world import World
from tests.unit.factors.devices import Phone

KINDS = frozenset({"totp", "recovery-code", "push"})
SOON = 20.0
"""Seconds: the longest that anything is waited for."""
APPROVED = "APPROVED"
DENIED = "DENIED"


@dataclass
class Owned:
    """A phone in its owner's hand."""

    world: World
    channel: Any
    phone: Phone
    otp_secret: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        """The name of its authenticator."""
        return self.phone.device

    @property
    def challenges(self) -> Any:
        return ChallengeServiceStub(self.channel)

    @property
    def authenticators(self) -> Any:
        return AuthenticatorServiceStub(self.channel)

    async def pair(self, statement: Signed | None = None, *, secret: str = "", **changes: Any) -> None:
        """Pair, or try to."""
        request = authenticators.PairDeviceRequest(
            pairing_secret=secret or self.phone.secret, statement=_statement(statement or self.phone.pair(**changes))
        )
        paired = await call(self.authenticators.PairDevice(request, timeout=TIMEOUT))
        self.phone.user, self.phone.device, self.phone.paired = paired.user_id, paired.device_id, True
        self.otp_secret = paired.otp_secret.secret

    def pushed(self) -> Message:
        """Return what was sent to it last."""
        return next(message for message in reversed(self.world.outbox.sent) if message.channel == "push")

    def decided(self, number: str = "", **changes: Any) -> Signed:
        """Return a signed answer to what was sent last."""
        seen = self.pushed().payload or {}
        now = self.world.clock.now()
        return self.phone.state(seen["challenge"], seen["shown"].encode(), number, now, **changes)

    async def answer(self, number: str = "", *, signed: Signed | None = None, challenge: str = "", **said: Any) -> str:
        """Answer what was sent last, and return where the challenge stands."""
        challenge_id = challenge or (self.pushed().payload or {})["challenge"]
        proof = signed or self.decided(number, **said)
        request = challenges.AnswerChallengeRequest(
            challenge_id=challenge_id,
            signed=challenges.SignedAnswer(payload=proof.payload, signature=proof.signature),
        )
        response = await call(self.challenges.AnswerChallenge(request, timeout=TIMEOUT))
        return challenges.ChallengeState.Name(response.state).removeprefix("CHALLENGE_STATE_")

    async def nonce(self) -> str:
        """Get a nonce for one call."""
        request = authenticators.CreateDeviceNonceRequest()
        response = await call(self.authenticators.CreateDeviceNonce(request, timeout=TIMEOUT))
        return str(response.nonce)

    async def update(self, statement: Signed | None = None, **said: Any) -> None:
        """Say where it is reached."""
        statement = statement or self.phone.call("update", await self.nonce(), **said)
        request = authenticators.UpdateDeviceRequest(statement=_statement(statement))
        await call(self.authenticators.UpdateDevice(request, timeout=TIMEOUT))

    async def remove(self, statement: Signed | None = None, **said: Any) -> None:
        """Give itself up."""
        statement = statement or self.phone.call("remove", await self.nonce(), **said)
        request = authenticators.RemoveDeviceRequest(statement=_statement(statement))
        await call(self.authenticators.RemoveDevice(request, timeout=TIMEOUT))


class Stream:
    """What a phone hears while it listens."""

    def __init__(self, phone: Owned, statement: Signed) -> None:
        self.call = phone.challenges.WatchDevice(challenges.WatchDeviceRequest(statement=_statement(statement)))

    async def next(self) -> tuple[str, Any]:
        """Return the next event's kind and content; why the stream ends, where it is refused; nothing at its end."""
        try:
            async with asyncio.timeout(SOON):
                message = await self.call.read()
        except grpc.aio.AioRpcError as error:
            return refusal_of(error).reason, None
        if message is grpc.aio.EOF:
            return "", None
        kind = message.WhichOneof("event")
        return kind, getattr(message, kind)

    async def heard(self, count: int) -> list[str]:
        """Return the kinds of that many events."""
        return [(await self.next())[0] for _ in range(count)]


async def listening(phone: Owned) -> Stream:
    """Return a phone's stream once it is open and nothing waits."""
    stream = Stream(phone, phone.phone.call("watch", await phone.nonce()))
    kind, listening = await stream.next()
    assert (kind, listening.waiting) == ("listening", 0)
    return stream


def _statement(signed: Signed) -> authenticators.SignedStatement:
    return authenticators.SignedStatement(payload=signed.payload, signature=signed.signature)


class Shop:
    """Where phones come from."""

    def __init__(self, world: World, channel: Any) -> None:
        self.world = world
        self.channel = channel

    def phone(self, begun: Enrollment) -> Owned:
        """Return a new phone, which has scanned the code of an enrollment."""
        return Owned(self.world, self.channel, Phone(begun.barcode_uri, "", ""))

    async def added(self, api: Api, client: ClientCredentials, user: Enrolled, **pairing: Any) -> Owned:
        """Give an enrolled user a phone."""
        bearer = await mfa_access_token(api, self.world, client, user)
        begun = await api.enroll(bearer, "push")
        phone = self.phone(begun)
        await phone.pair(**pairing)
        a(Tokens, await api.oob(client, bearer, begun.oob_code))
        return phone

    async def of_new_user(
        self, api: Api, client: ClientCredentials, subject: str = ALICE, **pairing: Any
    ) -> tuple[Enrolled, Owned]:
        """Create a user who has an authenticator app and a phone."""
        user = await enrolled(api, self.world, client, subject)
        return user, await self.added(api, client, user, **pairing)


@asynccontextmanager
async def phone_shop(world: World) -> AsyncIterator[Shop]:
    """Open a channel for phones."""
    channel = world.app.local_channel()
    try:
        yield Shop(world, channel)
    finally:
        await channel.close()


async def prompted(api: Api, client: ClientCredentials, phone: Owned, subject: str = ALICE) -> tuple[str, Challenge]:
    """Log in and have the phone prompted; return mfa_token and challenge."""
    login = await logged_in_to_mfa(api, client, subject)
    return login.mfa_token, await api.challenge(client, login.mfa_token, types=["oob"], authenticator_id=phone.id)
