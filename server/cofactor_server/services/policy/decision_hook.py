"""Calls the operator's decision hook outside of transactions, and applies and records its answer (ADR-13)."""

from dataclasses import dataclass, field
from typing import Protocol

from cofactor_server.domain.authenticators.authenticator import enrolled
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.domain.logins.demands import Wanted
from cofactor_server.domain.logins.grants import Target
from cofactor_server.domain.logins.hooks import Answer, AsRuled, Deny, NoAnswer, Question, SkipMfa, answered
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.logins.policies import Ruling
from cofactor_server.domain.parties.clients import Capability, Client, GrantType
from cofactor_server.errors import LoginDenied
from cofactor_server.services.policy.evaluation import Policy
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.store.repositories.queries import Account
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


class Hook(Protocol):
    """The operator's decision service; `hooks.deciding` implements the call."""

    async def decide(self, question: Question) -> Answer:
        """Return the hook's answer, within 300 milliseconds; raise nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """The request for a login."""

    grant_type: GrantType
    target: Target
    """The audience and scopes that the client requested."""
    wanted: Wanted
    """The requirements that the client stated."""
    source: str
    source_known: bool
    dry_run: bool = False


class NoHook:
    """A hook for deployments without one; it leaves every ruling as it is."""

    async def decide(self, question: Question) -> Answer:  # noqa: ARG002 - the signature is the interface's
        """Return that the policy's ruling is unchanged."""
        return AsRuled()


class Hooking:
    """Calls the decision hook, and applies its answer as far as the client and policy allow."""

    def __init__(self, deployment: Deployment, hook: Hook | None, policy: Policy, decider: Decider) -> None:
        self.is_on = hook is not None
        self._issuer = deployment.issuer
        self._hook = hook or NoHook()
        self._policy = policy
        self._decider = decider

    async def answer(self, asked: Asked, account: Account, login: Login, ruling: Ruling) -> Answer:
        """Call the hook and return its answer; no transaction is open meanwhile.

        Args:
            asked: The request for the login.
            account: The user, with authenticators.
            login: The login.
            ruling: The policy's ruling.
        """
        question = Question(
            issuer=self._issuer,
            login=login,
            user=account.user,
            is_enrolled=enrolled(account.authenticators),
            kinds=tuple(dict.fromkeys(a.kind for a in self._policy.usable(account.authenticators))),
            grant_type=asked.grant_type,
            target=asked.target,
            source=asked.source,
            source_known=asked.source_known,
            ruling=ruling,
            wanted=asked.wanted.joined(ruling.wanted),
            dry_run=asked.dry_run,
        )
        return await self._hook.decide(question)

    def ruled(self, client: Client, login: Login, wanted: Wanted, ruling: Ruling, answer: Answer) -> Ruling:
        """Return the ruling after the hook's answer is applied.

        Args:
            client: The client of the login.
            login: The login.
            wanted: The requirements that the client stated.
            ruling: The policy's ruling.
            answer: The hook's answer; `Deny` leaves the ruling as it is.
        """
        target = Target(login.scope, login.audience)
        trusted = Capability.HOOK_MAY_SKIP in client.capabilities
        may_skip = trusted and self._policy.may_skip(target, wanted.joined(ruling.wanted))
        return answered(ruling, answer, may_skip=may_skip)

    async def record(self, caller: Caller, login: Login, answer: Answer, *, spared: bool) -> None:
        """Record an answer in the audit log if it denies, skips a factor, or is missing.

        Args:
            caller: The caller that requested the login.
            login: The login.
            answer: The hook's answer.
            spared: Whether the answer made a second factor unnecessary.

        Raises:
            LoginDenied: The hook denied the login; the event is recorded before.
        """
        event = _event(caller, login, answer, spared=spared)
        if event is not None:
            with self._decider.under_way(caller):
                await self._decider.decide(caller, Record(event))
        if isinstance(answer, Deny):
            raise LoginDenied


@dataclass(frozen=True, slots=True)
class Record:
    """Records an event in a user's audit log."""

    event: Event = field(repr=False)

    @property
    def needs(self) -> Needs:
        """Nothing beyond the user's lock."""
        return Needs(self.event.user_id, authenticators=False)

    def decide(self, work: Work) -> None:
        """Record the event."""
        work.record(self.event)


def _event(caller: Caller, login: Login, answer: Answer, *, spared: bool) -> Event | None:
    details: dict[str, str] = {}
    match answer:
        case NoAnswer(failure):
            name, details = EventName.HOOK_FAILED, {"failure": failure.value}
        case Deny(note):
            name, details = EventName.HOOK_DENIED, {"note": note} if note else {}
        case SkipMfa() if spared:
            name = EventName.HOOK_SKIPPED
        case _:
            return None
    return Event(login.user_id, name, login.issued_at, login.client_id, login.id, source=caller.source, details=details)
