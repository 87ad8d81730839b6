"""ChallengeService over gRPC."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol

from cofactor.v1 import challenges_pb2 as pb
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceServicer

from cofactor_server.domain.authenticators.proofs import Signed
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.challenges.challenge import Standing
from cofactor_server.domain.challenges.prompts import DeviceEvent
from cofactor_server.domain.requests import AnswerRequest, ChallengeRequest, CreatedChallenge
from cofactor_server.rpc.callers import admitted
from cofactor_server.rpc.convert import challenges as convert
from cofactor_server.rpc.convert import devices as convert_devices
from cofactor_server.rpc.errors import tell


class Challenges(Protocol):
    """Prepares challenges; `services.challenges.creation` does it."""

    async def create(self, caller: Caller, request: ChallengeRequest) -> CreatedChallenge:
        """Prepare a challenge to be answered."""
        ...


class Answers(Protocol):
    """Has challenges answered; `services.challenges.answers` does it."""

    async def answer(self, caller: Caller, request: AnswerRequest) -> Standing:
        """Answer a challenge without redeeming it, and return where it stands."""
        ...


class Devices(Protocol):
    """Tells devices; `services.devices.calls` does it."""

    async def known(self, caller: Caller, statement: Signed, /) -> Caller:
        """Return a device that answers a challenge, as the caller that it is."""
        ...

    def watch(self, caller: Caller, statement: Signed, /) -> AsyncGenerator[DeviceEvent, None]:
        """Yield the prompts that wait for a device, now and as they come and go."""
        ...


class Seen(Protocol):
    """Where a watched challenge stands."""

    @property
    def standing(self) -> Standing:
        """The state."""
        ...

    @property
    def expires_at(self) -> int:
        """When its time is over."""
        ...


class Watching(Protocol):
    """Tells where challenges stand; `services.challenges.watching` does it."""

    def watch(self, caller: Caller, oob_code: str) -> AsyncGenerator[Seen, None]:
        """Yield where a challenge stands, now and at every change, until that is final."""
        ...


class ChallengeServicer(ChallengeServiceServicer):
    """Speaks for `Challenges`, `Answers`, `Watching` and `Devices`."""

    def __init__(self, challenges: Challenges, answers: Answers, watching: Watching, devices: Devices) -> None:
        self._challenges = challenges
        self._answers = answers
        self._watching = watching
        self._devices = devices

    async def CreateChallenge(self, request: pb.CreateChallengeRequest, context: Any) -> pb.CreateChallengeResponse:
        challenge = await self._challenges.create(admitted(), convert.challenge_request(request))
        tell(context, challenge.quota)
        return convert.created(challenge)

    async def WatchChallenge(
        self, request: pb.WatchChallengeRequest, context: Any
    ) -> AsyncIterator[pb.WatchChallengeResponse]:
        async with aclosing(self._watching.watch(admitted(), convert.watched(request))) as changes:
            async for seen in changes:
                yield convert.seen(seen.standing, seen.expires_at)

    async def AnswerChallenge(self, request: pb.AnswerChallengeRequest, context: Any) -> pb.AnswerChallengeResponse:
        caller, answer = admitted(), convert.answer_request(request)
        if caller.client is None and isinstance(answer.proof, Signed):  # see ByLogin.or_device
            caller = await self._devices.known(caller, answer.proof)
        return convert.answered(await self._answers.answer(caller, answer))

    async def WatchDevice(self, request: pb.WatchDeviceRequest, context: Any) -> AsyncIterator[pb.WatchDeviceResponse]:
        async with aclosing(self._devices.watch(admitted(), convert_devices.statement(request))) as events:
            async for event in events:
                yield convert_devices.event(event)
