"""PolicyService: questions in, explanations out."""

from cofactor.v1 import authenticators_pb2, tokens_pb2
from cofactor.v1 import policies_pb2 as pb

from cofactor_server.domain.authenticators.authenticator import State
from cofactor_server.domain.logins.explanations import (
    AuthenticatorStanding,
    BudgetStanding,
    Consequence,
    DecisionQuestion,
    Explanation,
    HookWord,
)
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.rpc.convert.fields import ID_LENGTH, NAME, VISIBLE, Fields, duration, timestamp
from cofactor_server.rpc.convert.tokens import ENROLLMENT_WAYS, REALM_LENGTH, USERNAME_LENGTH, token_target
from cofactor_server.rpc.source import counted

ADDRESS_LENGTH = 64  # an IPv6 address with a zone

_OUTCOMES = {
    Consequence.TOKENS: pb.DECISION_OUTCOME_TOKENS,
    Consequence.MFA_REQUIRED: pb.DECISION_OUTCOME_MFA_REQUIRED,
    Consequence.ENROLLMENT_REQUIRED: pb.DECISION_OUTCOME_ENROLLMENT_REQUIRED,
    Consequence.BLOCKED: pb.DECISION_OUTCOME_BLOCKED,
    Consequence.DENIED: pb.DECISION_OUTCOME_DENIED,
    Consequence.UNREACHABLE: pb.DECISION_OUTCOME_UNREACHABLE,
}
_POLICIES = {
    MfaPolicy.NEVER: pb.DECISION_POLICY_NEVER,
    MfaPolicy.WHEN_ENROLLED: pb.DECISION_POLICY_WHEN_ENROLLED,
    MfaPolicy.ALWAYS: pb.DECISION_POLICY_ALWAYS,
}
_WORDS = {
    HookWord.ABSENT: pb.HOOK_WORD_ABSENT,
    HookWord.NOT_ASKED: pb.HOOK_WORD_NOT_ASKED,
    HookWord.AS_RULED: pb.HOOK_WORD_AS_RULED,
    HookWord.REQUIRES_MFA: pb.HOOK_WORD_REQUIRES_MFA,
    HookWord.DENIES: pb.HOOK_WORD_DENIES,
    HookWord.SKIPS_MFA: pb.HOOK_WORD_SKIPS_MFA,
    HookWord.MAY_NOT_SKIP_MFA: pb.HOOK_WORD_MAY_NOT_SKIP_MFA,
    HookWord.NO_ANSWER: pb.HOOK_WORD_NO_ANSWER,
}
_STATES = {
    State.PENDING: authenticators_pb2.AUTHENTICATOR_STATE_PENDING,
    State.ACTIVE: authenticators_pb2.AUTHENTICATOR_STATE_ACTIVE,
    State.DISABLED: authenticators_pb2.AUTHENTICATOR_STATE_DISABLED,
}


def question(request: pb.ExplainDecisionRequest) -> DecisionQuestion:
    """Return what is asked.

    Raises:
        MissingParameter: No user is named.
        InvalidRequest: Fields are beyond their limits.
    """
    fields = Fields()
    subject = fields.required("subject", request.subject, USERNAME_LENGTH, NAME)
    address = fields.text("source_address", request.source_address, ADDRESS_LENGTH, VISIBLE)
    source = counted(address)
    if address and not source:
        fields.refuse("source_address", "is no address")
    asked = DecisionQuestion(
        subject=subject,
        realm=fields.text("realm", request.realm, REALM_LENGTH, NAME),
        client_id=fields.text("client_id", request.client_id, ID_LENGTH, VISIBLE),
        target=token_target(request.target, fields),
        vouched=request.vouched,
        source=source,
        ask_hook=request.ask_hook,
    )
    fields.done()
    return asked


def explained(value: Explanation) -> pb.ExplainDecisionResponse:
    """Return an explanation as the wire has it."""
    ruling, wanted, now = value.ruling, value.wanted, value.now
    way = value.enrollment_way
    return pb.ExplainDecisionResponse(
        outcome=_OUTCOMES[value.consequence],
        policy=_POLICIES[ruling.policy],
        decided_by=ruling.by,
        acr=wanted.level.demanded,
        two_kinds=wanted.two_kinds,
        max_age=duration(wanted.max_age) if wanted.max_age is not None else None,
        wanted_by=wanted.by,
        hook=_WORDS[value.hook],
        may_be_remembered=value.may_be_remembered,
        enrolled=value.is_enrolled,
        source_known=value.source_known,
        kinds=value.kinds,
        authenticators=[_authenticator(standing, now) for standing in value.authenticators],
        budgets=[_budget(standing) for standing in value.budgets],
        unlock_time=timestamp(now + value.wait) if value.wait else None,
        enrollment_way=ENROLLMENT_WAYS[way] if way is not None else tokens_pb2.ENROLLMENT_WAY_UNSPECIFIED,
        keeps_last_authenticator=value.keeps_last_authenticator,
    )


def _authenticator(standing: AuthenticatorStanding, now: int) -> pb.AuthenticatorStanding:
    authenticator = standing.authenticator
    return pb.AuthenticatorStanding(
        id=authenticator.id,
        kind=authenticator.kind,
        state=_STATES[authenticator.state],
        offered=standing.offered,
        consecutive_failures=authenticator.guard.failures,
        disabled_at_failures=standing.disabled_at,
        budgets=[_budget(budget) for budget in standing.budgets],
        unlock_time=timestamp(now + standing.wait) if standing.wait else None,
    )


def _budget(standing: BudgetStanding) -> pb.BudgetStanding:
    quota = standing.quota
    return pb.BudgetStanding(
        name=quota.name,
        limit=quota.limit,
        remaining=quota.remaining,
        next_time=timestamp(standing.next_at) if standing.next_at is not None else None,
        applies=standing.applies,
    )
