"""Creates challenges: picks an authenticator, stores the challenge and sends its message."""

from collections.abc import Sequence
from typing import Any

from cofactor_server.domain.authenticators.authenticator import Authenticator, enrolled, offered_order
from cofactor_server.domain.authenticators.kinds import PUSH, RECOVERY_CODE, WEBAUTHN
from cofactor_server.domain.authenticators.proofs import Context, Prompt, Purpose
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.challenges.challenge import CHALLENGE_LIFE, PENDING_PER_USER, Challenge, ChallengeState
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.domain.foundation.values import Value, replace
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.requests import ChallengeRequest, ChallengeType, CreatedChallenge
from cofactor_server.errors import (
    AnotherKindRequired,
    AssociationRequired,
    AuthenticatorNotFound,
    ChallengeTypeUnsupported,
    CofactorError,
    InvalidClient,
    MfaTokenMalformed,
    MfaTokenStale,
    Quota,
    TooManyMessages,
)
from cofactor_server.seams import Clock, Entropy, new_id
from cofactor_server.services.messages.sending import charge, count_prompt, messages_left, prompts_refused
from cofactor_server.services.messages.withdrawal import Dispatch
from cofactor_server.services.policy.first_enrollments import enrollment_refusal
from cofactor_server.services.proofs.credentials import Credentials
from cofactor_server.services.proofs.oob_codes import OobCodes
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.validity import login_refusal
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work

NOTHING_SUPPORTED = "Currently there is no supported challenge available."


class Prepared(Value, frozen=True):
    """An authenticator to answer with and, if its kind has prompts, the stored challenge to show and send."""

    authenticator: Authenticator
    challenge: Challenge | None = None
    prompt: Prompt[bytes] | None = None
    quota: Quota | None = None
    """What is left of the rate limit that the message counts against."""


def prepare(
    work: Work,
    credentials: Credentials,
    entropy: Entropy,
    authenticator: Authenticator,
    context: Context,
    login: tuple[str, str, int],
    *,
    known: bool,
) -> Prepared:
    """Store a challenge for an authenticator.

    It supersedes the login's pending challenge for the same authenticator, the login's other pending pushes if it is a
    push itself, and the oldest pending challenges of a user who has too many.

    Args:
        work: The deciding transaction.
        credentials: Opens the authenticator's credential.
        entropy: Generates the challenge's id.
        authenticator: The authenticator to challenge.
        context: The context of the challenge; its `now` is the creation time.
        login: The id of the login, its client and its epoch.
        known: Whether the request comes from a source where the user completed MFA lately, or a remembered browser.

    Returns:
        The challenge and its prompt; neither if the kind needs no challenge.
    """
    factor = credentials.factor(authenticator.kind)
    if factor is None or not factor.prompts:
        return Prepared(authenticator)
    login_id, client_id, epoch = login
    pending = sorted(work.pending_challenges(authenticator.user_id), key=lambda earlier: earlier.created_at)
    mine = [earlier for earlier in pending if earlier.known == known]
    too_many = mine[: max(0, len(mine) - PENDING_PER_USER + 1)]
    alike = {authenticator.id}
    if authenticator.kind == PUSH and context.purpose is Purpose.LOGIN:  # one pending push per login (ADR-17)
        alike |= {other.id for other in work.authenticators(authenticator.user_id) if other.kind == PUSH}
    for earlier in pending:
        replaced = earlier.login_id == login_id and earlier.authenticator_id in alike
        if replaced or earlier in too_many:
            work.save_challenge(replace(earlier, state=ChallengeState.SUPERSEDED))
    challenge_id = new_id(entropy, "")
    user = work.user(authenticator.user_id)
    account = user.shown_label if user is not None else ""
    bound = credentials.bound(context, challenge_id, authenticator, account)
    prompt = factor.challenge(credentials.open(authenticator), bound)
    challenge = Challenge(
        user_id=authenticator.user_id,
        id=challenge_id,
        client_id=client_id,
        login_id=login_id,
        purpose=context.purpose,
        authenticator_id=authenticator.id,
        state=ChallengeState.PENDING,
        epoch=epoch,
        created_at=context.now,
        expires_at=context.now + CHALLENGE_LIFE,
        expected=credentials.seal_expected(authenticator.user_id, challenge_id, prompt.expected),
        known=known,
    )
    work.save_challenge(challenge)
    event = Event(
        authenticator.user_id, EventName.CHALLENGE_CREATED, context.now, client_id, login_id, authenticator.id
    )
    work.record(event)
    return Prepared(authenticator, challenge, prompt)


class CreateChallenge(Value, frozen=True):
    """Decides which authenticator is challenged, and stores the challenge."""

    credentials: Credentials
    clock: Clock
    entropy: Entropy
    login: Login
    client: Client
    source: str
    request: ChallengeRequest
    contact: str = ""
    """The operator's support contact, for users who can't enroll at a login."""

    @property
    def needs(self) -> Needs:
        """The user's authenticators and unanswered challenges."""
        return Needs(
            self.login.user_id,
            client_id=self.client.id,
            token_id=self.login.id,
            pending_challenges=True,
            source=self.source,
        )

    def decide(self, work: Work) -> Prepared | CofactorError:
        """Pick an authenticator and store a challenge for it, or return a refusal."""
        now = self.clock.now()
        login = self.login
        if refusal := login_refusal(work, login, self.client, now):
            return refusal
        user = work.user(login.user_id)
        if user is None:
            return MfaTokenStale()
        known = login.remembered or work.is_known(user.id, self.source, now)
        if not enrolled(mine := work.authenticators(user.id)):
            return enrollment_refusal(login, user, self.client, self.contact) or AssociationRequired()
        picked = self._pick(mine, no_push=prompts_refused(user, now, known=known))
        if isinstance(picked, CofactorError):
            return picked
        if refusal := charge(work, user, picked.kind, now, known=known):
            return refusal
        if picked.kind == PUSH:
            count_prompt(work, user, picked.id, self.source, now, known=known)
        siblings = self._siblings(picked, work.authenticators(user.id))
        context = Context(self.client.name, Purpose.LOGIN, now, self.source, siblings=siblings)
        context = replace(context, audience=login.audience, scope=login.scope)
        owner = (login.id, self.client.id, login.epoch)
        prepared = prepare(work, self.credentials, self.entropy, picked, context, owner, known=known)
        return replace(prepared, quota=messages_left(work.user(user.id) or user, picked.kind, now, known=known))

    def _pick(self, mine: Sequence[Authenticator], *, no_push: TooManyMessages | None) -> Authenticator | CofactorError:
        request = self.request
        usable = [a for a in offered_order(mine) if a.usable() and self.credentials.factor(a.kind)]
        demand = self.login.demand
        if demand is not None and demand.steps_up:
            leading = {a.id for a in demand.answered_by(usable)}
            usable = sorted(filter(demand.admits, usable), key=lambda a: a.id not in leading)
            if not usable:
                return AnotherKindRequired()
        if request.authenticator_id:
            usable = [a for a in usable if a.id == request.authenticator_id]
            if not usable:
                return AuthenticatorNotFound()
        answering = [a for a in usable if a.kind != RECOVERY_CODE]
        fitting = [a for a in answering if not request.types or self.type_of(a) in request.types]
        fitting = [a for a in fitting if not request.kinds or a.kind in request.kinds]
        if not fitting:
            return ChallengeTypeUnsupported(explanation=self._explained(answering))
        if no_push is None:
            return fitting[0]
        return next((a for a in fitting if a.kind != PUSH), no_push)

    def _siblings(self, picked: Authenticator, mine: list[Authenticator]) -> tuple[Any, ...]:
        """Return the credentials that may answer too; none if the request names an authenticator."""
        factor = self.credentials.factor(picked.kind)
        if factor is None or not factor.prompts or self.request.authenticator_id:
            return ()
        return self.credentials.siblings(factor, picked, mine)

    def type_of(self, authenticator: Authenticator) -> ChallengeType:
        """Return the challenge type of an authenticator whose kind is switched on."""
        return challenge_type(self.credentials, authenticator)

    def _explained(self, answering: Sequence[Authenticator]) -> str:
        wanted = [str(t) for t in self.request.types] or list(self.request.kinds)
        if not wanted or (self.request.authenticator_id and not answering):
            wanted = [RECOVERY_CODE]
        word = "type" if len(wanted) == 1 else "types"
        any_of = "the" if len(wanted) == 1 else "any of the"
        supported = ", ".join(dict.fromkeys(str(self.type_of(a)) for a in answering))
        currently = f"Supported type: {supported}." if supported else NOTHING_SUPPORTED
        return f"The user does not support {any_of} requested challenge {word} ({', '.join(wanted)}). {currently}"


def challenge_type(credentials: Credentials, authenticator: Authenticator) -> ChallengeType:
    """Return the challenge type of an authenticator, as the API names it."""
    if authenticator.kind == WEBAUTHN:
        return ChallengeType.WEBAUTHN
    factor = credentials.factor(authenticator.kind)
    return ChallengeType.OOB if factor is not None and factor.prompts else ChallengeType.OTP


class Challenges:
    """Creates challenges, and sends their messages once they are stored."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        decider: Decider,
        oob_codes: OobCodes,
        dispatch: Dispatch,
        clock: Clock,
        entropy: Entropy,
        contact: str,
    ) -> None:
        self._credentials = credentials
        self._decider = decider
        self._oob_codes = oob_codes
        self._dispatch = dispatch
        self._clock = clock
        self._entropy = entropy
        self._contact = contact

    async def create(self, caller: Caller, request: ChallengeRequest) -> CreatedChallenge:
        """Challenge one of the user's authenticators.

        Args:
            caller: The holder of the mfa_token.
            request: The authenticator, or the types and kinds to pick from.

        Raises:
            AssociationRequired: The user is not enrolled, and may enroll within this login.
            EnrollmentByTicketOnly: The user is not enrolled, and enrolls with a ticket only.
            AuthenticatorNotFound: The named authenticator does not belong to the user, or is not usable.
            ChallengeTypeUnsupported: No usable authenticator has a requested type.
            DeliveryFailed: The message was not sent, or the outcome is unknown; the challenge is withdrawn.
            DestinationRefused: The destination can't receive messages; the challenge is withdrawn.
            CofactorError: The login can't continue.
        """
        if caller.client is None:
            raise InvalidClient
        if caller.login is None:
            raise MfaTokenMalformed
        with self._decider.under_way(caller):
            decision = CreateChallenge(
                self._credentials,
                self._clock,
                self._entropy,
                caller.login,
                caller.client,
                caller.source,
                request,
                self._contact,
            )
            prepared = await self._decider.decide(caller, decision)
        authenticator, challenge = prepared.authenticator, prepared.challenge
        if challenge is not None and prepared.prompt is not None:
            await self._dispatch.send(caller, challenge, prepared.prompt.send)
        return CreatedChallenge(
            type=challenge_type(self._credentials, authenticator),
            authenticator_id=authenticator.id,
            kind=authenticator.kind,
            oob_code=self._oob_codes.seal(challenge.id) if challenge else "",
            show=prepared.prompt.show if prepared.prompt else {},
            expires_at=challenge.expires_at if challenge else None,
            on_device=self._credentials.on_device(authenticator.kind),
            quota=prepared.quota,
        )
