"""Sends messages: written in the user's language, carried by a provider, within a time limit (ADR-21).

A message is tried again only where the provider certainly did not take it, so that one challenge sends one message.
"""

import asyncio
import uuid
from collections.abc import Mapping

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from cofactor_server.delivery.breaker import Breaker
from cofactor_server.delivery.number_checks import NumberChecks
from cofactor_server.delivery.provider import (
    Failure,
    NoSuchDestination,
    NotTaken,
    Outgoing,
    Provider,
)
from cofactor_server.delivery.texts import Texts
from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.errors import DeliveryFailed, DestinationRefused, FactorDisabled
from cofactor_server.seams import SECOND, Clock, Entropy

ATTEMPTS = 3
DEADLINE = 10.0
"""Seconds for all attempts together."""
ASK_AGAIN = 5.0
"""Seconds after which a caller may ask again, where the provider names no time."""

PATIENCE = 2.0
"""Seconds that a provider may ask to be left alone and is still tried again within the call."""

log = structlog.get_logger("cofactor")


class Guarded:
    """One provider with its breaker."""

    def __init__(self, name: str, provider: Provider, breaker: Breaker) -> None:
        self.name = name
        self.provider = provider
        self._breaker = breaker

    async def carry(self, outgoing: Outgoing, deadline: float) -> None:
        """Carry one message, within `deadline` seconds.

        Raises:
            DeliveryFailed: It was not sent, or nobody knows.
            DestinationRefused: Nothing arrives there.
        """
        if wait := self._breaker.wait():
            raise DeliveryFailed(retry_after=max(1.0, wait / SECOND))
        try:
            async with asyncio.timeout(deadline):
                await self._attempts(outgoing)
        except NoSuchDestination as refusal:
            self._breaker.succeeded()
            log.info("destination refused", provider=self.name, channel=outgoing.channel, said=str(refusal))
            raise DestinationRefused from None
        except Failure as failure:
            self._failed(outgoing, type(failure).__name__, str(failure))
            raise DeliveryFailed(retry_after=max(ASK_AGAIN, getattr(failure, "wait", 0))) from None
        except TimeoutError:
            self._failed(outgoing, "TimeoutError", f"no answer within {deadline:g} s")
            raise DeliveryFailed(retry_after=ASK_AGAIN) from None
        except Exception as error:
            # A provider's own bug: its text may quote the message.
            self._failed(outgoing, type(error).__name__, "")
            raise DeliveryFailed(retry_after=ASK_AGAIN) from None
        self._breaker.succeeded()

    async def _attempts(self, outgoing: Outgoing) -> None:
        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, NotTaken) and error.wait <= PATIENCE),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.1, max=1),
            reraise=True,
        )
        await attempts(self.provider.carry, outgoing)

    def _failed(self, outgoing: Outgoing, cause: str, text: str) -> None:
        log.error("delivery failed", provider=self.name, channel=outgoing.channel, cause=cause, said=text)
        if self._breaker.failed():
            log.error("provider left alone", provider=self.name)


class Delivery:
    """Sends what the services hand over, each channel by its provider."""

    def __init__(
        self,
        providers: Mapping[str, tuple[str, Provider]],
        texts: Texts,
        clock: Clock,
        entropy: Entropy,
        *,
        deadline: float = DEADLINE,
        number_checks: NumberChecks | None = None,
    ) -> None:
        """Put a breaker before each provider.

        Args:
            providers: By channel, each with the name that an operator gives it. A channel that has several, as
                pushes have, names the part of `to` before the colon: `push:fcm`.
            texts: What messages say.
            clock: Times the breakers.
            entropy: Names messages.
            deadline: Seconds for one message.
            number_checks: Asked before a code goes to a telephone.
        """
        guarded = {id(provider): Guarded(name, provider, Breaker(clock)) for name, provider in providers.values()}
        self._guarded = {channel: guarded[id(provider)] for channel, (_, provider) in providers.items()}
        self._texts = texts
        self._entropy = entropy
        self._deadline = deadline
        self._number_checks = number_checks or NumberChecks()

    def carries(self, channel: str) -> bool:
        """Whether there is a provider for a channel."""
        return any(known.partition(":")[0] == channel for known in self._guarded)

    async def send(self, message: Message) -> None:
        """Send one message.

        Raises:
            DeliveryFailed: It was not sent, or nobody knows.
            DestinationRefused: Nothing arrives there, or the number is not to be trusted.
            FactorDisabled: Nothing carries this channel.
        """
        guarded = self._guarded.get(message.channel) or self._guarded.get(_by_service(message))
        if guarded is None:
            log.error("no provider", channel=message.channel)
            raise FactorDisabled
        await self._number_checks.pass_on(message)
        message_id = str(uuid.UUID(bytes=self._entropy.octets(16), version=4))
        try:
            outgoing = self._texts.written(message, message_id)
        except Exception as error:
            # An operator's template that renders with the samples need not render with everything.
            log.error("text unusable", channel=message.channel, languages=message.languages, cause=type(error).__name__)
            raise DeliveryFailed(retry_after=ASK_AGAIN) from None
        await guarded.carry(outgoing, self._deadline)

    async def close(self) -> None:
        """Close every provider."""
        for guarded in {id(g): g for g in self._guarded.values()}.values():
            await guarded.provider.close()
        await self._number_checks.close()


def _by_service(message: Message) -> str:
    return f"{message.channel}:{message.to.partition(':')[0]}"
