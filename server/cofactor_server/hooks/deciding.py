"""A client of the operator's PolicyDecisionService, which has 300 milliseconds to answer (ADR-13)."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import structlog
from cofactor.hooks.v1.decisions_pb2_grpc import PolicyDecisionServiceStub
from prometheus_client import CollectorRegistry, Counter, Histogram

from cofactor_server.domain.logins.hooks import Answer, AsRuled, Deny, Failure, NoAnswer, Question, RequireMfa, SkipMfa
from cofactor_server.hooks import convert
from cofactor_server.hooks.target import SECONDS, HookTarget, HookUnusable

AT_ONCE = 64
"""The maximum number of concurrent calls. Waiting for a place counts against the same time limit, so no queue grows."""
LOOK_SECONDS = 10
"""How many seconds pass between two checks for changed files."""
LARGEST_ANSWER = 16_384

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.enable_http_proxy", 0),  # a plaintext call to loopback must not leave the machine by `http_proxy`
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", LARGEST_ANSWER),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 60_000),  # with these two, the kernel drops a connection on which nothing arrives
    ("grpc.keepalive_timeout_ms", 5_000),
]
_OUTCOMES = {AsRuled: "as_ruled", RequireMfa: "require_mfa", Deny: "deny", SkipMfa: "skip_mfa"}

log = structlog.get_logger("cofactor.hooks")


class HookClient:
    """Calls the decision hook.

    There is no circuit breaker: an attacker who could trip it would avoid the hook's denials.

    Args:
        target: The hook's address and TLS files; the files are read now, and again after they are replaced.
        metrics: The registry that counts the calls.

    Raises:
        HookUnusable: A file can't be read.
    """

    def __init__(self, target: HookTarget, metrics: CollectorRegistry) -> None:
        self._target = target
        self._places = asyncio.Semaphore(AT_ONCE)
        self._calls = Counter(
            "cofactor_hook_calls", "Logins the decision hook was asked about.", ("outcome",), registry=metrics
        )
        self._seconds = Histogram(
            "cofactor_hook_seconds",
            "Time until the decision hook had answered, or was given up.",
            registry=metrics,
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, SECONDS),
        )
        self._stamps = target.stamps()
        self._channel = self._opened()
        self._looked_at = 0.0
        self._closing: set[asyncio.Task[None]] = set()

    async def decide(self, question: Question) -> Answer:
        """Return the hook's answer; this never raises, no matter what the hook does."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await self._answer(question)
        self._seconds.observe(loop.time() - began)
        match answer:
            case NoAnswer(failure):
                self._calls.labels(failure.value).inc()
            case _:
                self._calls.labels(_OUTCOMES[type(answer)]).inc()
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(self._channel.close(), *self._closing)

    async def _answer(self, question: Question) -> Answer:
        request = convert.request(question)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._target.seconds
        try:
            async with asyncio.timeout_at(until), self._places:
                stub = PolicyDecisionServiceStub(self._current())
                return convert.answer(await stub.Decide(request, timeout=until - loop.time()))
        except TimeoutError:
            return NoAnswer(Failure.LATE)
        except grpc.aio.AioRpcError as error:
            # Only the code is logged: the text may quote the question to the hook.
            log.warning("hook_failed", code=error.code().name)
            return NoAnswer(_FAILURES.get(error.code(), Failure.FAILED))
        except (grpc.RpcError, grpc.aio.UsageError):
            return NoAnswer(Failure.FAILED)

    def _current(self) -> grpc.aio.Channel:
        """Return a channel with the current files, since certificates of a service mesh may expire within an hour."""
        now = asyncio.get_running_loop().time()
        if now < self._looked_at + LOOK_SECONDS:
            return self._channel
        self._looked_at = now
        stamps = self._target.stamps()
        if stamps in (self._stamps, ()):
            return self._channel
        try:
            opened = self._opened()
        except HookUnusable as problem:
            log.error("hook_files_unusable", reason=str(problem))
            return self._channel
        closing = asyncio.ensure_future(self._channel.close(grace=2 * self._target.seconds))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._channel, self._stamps = opened, stamps
        log.info("hook_files_reloaded")
        return opened

    def _opened(self) -> grpc.aio.Channel:
        credentials = self._target.credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(self._target.address, options=_OPTIONS)
        return grpc.aio.secure_channel(self._target.address, credentials, options=_OPTIONS)


_FAILURES = {grpc.StatusCode.DEADLINE_EXCEEDED: Failure.LATE, grpc.StatusCode.UNAVAILABLE: Failure.AWAY}
