"""Withdraws a challenge and its enrollment when its message could not be sent."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.kinds import PUSH, RECOVERY_CODE
from cofactor_server.domain.authenticators.proofs import Message, Purpose
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState
from cofactor_server.domain.foundation.budgets import Charge
from cofactor_server.domain.foundation.languages import preferred
from cofactor_server.domain.foundation.values import replace
from cofactor_server.errors import CofactorError, DeliveryFailed, FactorDisabled
from cofactor_server.seams import Clock
from cofactor_server.services.messages.limits import Postage
from cofactor_server.services.messages.sending import Sender, refund
from cofactor_server.services.proofs.credentials import Credentials, remove
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work

log = structlog.get_logger("cofactor")


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Decides that a challenge, and the enrollment that it was to confirm, never began."""

    credentials: Credentials
    clock: Clock
    challenge: Challenge
    refunded: bool
    """Whether the message is given back to the user's rate limit."""
    code_before: Authenticator | None
    """The recovery code that the user saw before, which this enrollment replaced."""

    @property
    def needs(self) -> Needs:
        """The challenge and the user's authenticators."""
        return Needs(self.challenge.user_id, challenge_id=self.challenge.id)

    def decide(self, work: Work) -> None:
        """Supersede the challenge if it is unanswered, and remove the authenticators that it was to confirm."""
        user_id = self.challenge.user_id
        user, challenge = work.user(user_id), work.challenge(user_id, self.challenge.id)
        if user is None or challenge is None or challenge.state is not ChallengeState.PENDING:
            return
        work.save_challenge(replace(challenge, state=ChallengeState.SUPERSEDED))
        if self.refunded:
            refund(work, user, challenge.authenticator_id.partition("|")[0], known=challenge.known)
        if challenge.purpose is not Purpose.ENROLL:
            return
        for a in work.authenticators(user_id):
            made_with_it = (a.login_id, a.created_at) == (challenge.login_id, challenge.created_at)
            if a.state is not State.PENDING or not made_with_it:
                continue
            if a.kind == RECOVERY_CODE and self.code_before is not None:
                # The user never saw the new code: the code that the user wrote down is valid again.
                credential = self.credentials.open(self.code_before)
                work.save_authenticator(replace(a, credential=self.credentials.seal(user_id, a.id, credential)))
            else:
                remove(work, a, self.clock.now())


class Dispatch:
    """Sends the message of a challenge once the challenge is stored."""

    def __init__(
        self, sender: Sender, postage: Postage, credentials: Credentials, decider: Decider, clock: Clock
    ) -> None:
        self._postage = postage
        self._sender = sender
        self._credentials = credentials
        self._decider = decider
        self._clock = clock

    async def send(
        self,
        caller: Caller,
        challenge: Challenge,
        message: Message | None,
        *,
        code_before: Authenticator | None = None,
    ) -> None:
        """Send the message of a stored challenge, if it has one; withdraw the challenge if that fails.

        Args:
            caller: The caller that asked for the challenge.
            challenge: The challenge that the message belongs to.
            message: The message; None to send nothing.
            code_before: The recovery code that this enrollment replaced; it becomes valid again if sending fails.

        Raises:
            DeliveryFailed: The message was not sent, or the outcome is unknown.
            DestinationRefused: The destination can't receive messages.
            TooManyMessages: The rate limit of the number, client or prefix is reached.
        """
        if message is None:
            return
        counted: Sequence[Charge] = ()
        try:
            counted = await self._postage.take(challenge, message)
            await self._send(replace(message, languages=message.languages or preferred(caller.accepted_languages)))
        except CofactorError as failure:
            # A refused number or client still counts against the user: otherwise one login could ask without end.
            refunded = isinstance(failure, DeliveryFailed)
            withdraw = Withdraw(self._credentials, self._clock, challenge, refunded, code_before)
            try:
                if refunded:
                    await self._postage.give_back(counted)
                # The caller's deadline bounds the request; the withdrawal must run even after it.
                await self._decider.decide(replace(caller, deadline=None), withdraw)
            except CofactorError as error:
                log.warning("not withdrawn", cause=error.reason)  # the challenge expires unanswered within minutes
            raise

    async def _send(self, message: Message) -> None:
        try:
            await self._sender.send(message)
        except FactorDisabled:
            # A push only wakes the device; a device that watches does not need it.
            if message.channel != PUSH:
                raise
