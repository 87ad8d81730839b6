"""A message that was not sent: what it was for is taken back, as if nobody had asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from cofactor_server.domain.authenticators import Authenticator, State
from cofactor_server.domain.budgets import Charge
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.challenges import Challenge, ChallengeState
from cofactor_server.domain.factor_kinds import PUSH, RECOVERY_CODE
from cofactor_server.domain.languages import preferred
from cofactor_server.domain.proofs import Message, Purpose
from cofactor_server.domain.values import replace
from cofactor_server.errors import CofactorError, DeliveryFailed, FactorDisabled
from cofactor_server.seams import Clock
from cofactor_server.services.credentials import Credentials, remove
from cofactor_server.services.deciding import Decider
from cofactor_server.services.postage import Postage
from cofactor_server.services.sending import Sender, refund
from cofactor_server.store.needs import Needs
from cofactor_server.store.work import Work

log = structlog.get_logger("cofactor")


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Decides that a challenge, and the enrollment it was to confirm, were never begun."""

    credentials: Credentials
    clock: Clock
    challenge: Challenge
    refunded: bool
    """Whether the message costs none of the user's budget."""
    code_before: Authenticator | None
    """The recovery code, shown before, that gave way to the one of this enrollment."""

    @property
    def needs(self) -> Needs:
        """The challenge and the user's authenticators."""
        return Needs(self.challenge.user_id, challenge_id=self.challenge.id)

    def decide(self, work: Work) -> None:
        """Supersede the challenge if nobody answered it, and remove what it was to confirm."""
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
                # Nobody saw the new one: the one that the user wrote down counts again.
                credential = self.credentials.open(self.code_before)
                work.save_authenticator(replace(a, credential=self.credentials.seal(user_id, a.id, credential)))
            else:
                remove(work, a, self.clock.now())


class Dispatch:
    """Sends what a decision has prepared, once it is stored."""

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
        """Send the message of a stored challenge, if it has one; if that fails, the challenge is withdrawn.

        Args:
            caller: Who asked.
            challenge: What the message is about.
            message: What is to be sent.
            code_before: The recovery code that gave way to one that nobody sees if this fails.

        Raises:
            DeliveryFailed: It was not sent, or nobody knows.
            DestinationRefused: Nothing arrives where it was to go.
            TooManyMessages: The number, the client or the range of numbers gets no more for now.
        """
        if message is None:
            return
        counted: Sequence[Charge] = ()
        try:
            counted = await self._postage.take(challenge, message)
            await self._send(replace(message, languages=message.languages or preferred(caller.accepted_languages)))
        except CofactorError as failure:
            # What a number or a client is refused costs the user one all the same: else one login asks without end.
            refunded = isinstance(failure, DeliveryFailed)
            withdraw = Withdraw(self._credentials, self._clock, challenge, refunded, code_before)
            try:
                if refunded:
                    await self._postage.give_back(counted)
                # The caller's deadline was for asking; what it asked for is taken back even if that is over.
                await self._decider.decide(replace(caller, deadline=None), withdraw)
            except CofactorError as error:
                log.warning("not withdrawn", cause=error.reason)  # it is over in minutes, unanswered
            raise

    async def _send(self, message: Message) -> None:
        try:
            await self._sender.send(message)
        except FactorDisabled:
            # A push only wakes the device up: one that watches needs none.
            if message.channel != PUSH:
                raise
