"""Converts questions to a hook into protobuf messages, and a hook's responses into answers."""

from cofactor.hooks.v1 import decisions_pb2 as pb
from google.protobuf import duration_pb2

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.logins.hooks import (
    Answer,
    AsRuled,
    Deny,
    Failure,
    NoAnswer,
    Question,
    RequireMfa,
    SkipMfa,
)
from cofactor_server.seams import SECOND

NOTE_LENGTH = 200
MOST_KINDS = 16  # the kinds are sealed into the mfa_token, so their number is bounded
KIND_LENGTH = 64


def request(question: Question) -> pb.DecideRequest:
    """Return a question as the request to the hook."""
    login, user, target, wanted = question.login, question.user, question.target, question.wanted
    made = pb.DecideRequest(
        issuer=question.issuer,
        login_id="" if question.dry_run else login.id,
        dry_run=question.dry_run,
        client_id=login.client_id,
        subject=pb.Subject(
            user_id=user.id,
            realm=user.realm,
            name=user.subject,
            enrolled=question.is_enrolled,
            kinds=question.kinds,
        ),
        audience=login.audience,
        scopes=login.scope.split(),
        grant_type=question.grant_type,
        methods=login.methods,
        source_address=question.source,
        source_known=question.source_known,
        acr_values=target.acr_values,
        ruling=pb.Ruling(
            requires_mfa=question.ruling.asks,
            decided_by=question.ruling.by,
            acr=wanted.level.demanded,
            two_kinds=wanted.two_kinds,
        ),
    )
    if target.max_age is not None:
        made.max_age.CopyFrom(duration_pb2.Duration(seconds=target.max_age // SECOND))
    return made


def answer(response: pb.DecideResponse | None) -> Answer:
    """Return a hook's answer; an unreadable response counts as no answer and is never guessed."""
    match response.WhichOneof("decision") if response is not None else None:
        case "as_ruled":
            return AsRuled()
        case "require_mfa" if response is not None:
            return _required(response.require_mfa)
        case "deny" if response is not None:
            return Deny(_printable(response.deny.note)[:NOTE_LENGTH])
        case "skip_mfa":
            return SkipMfa()
    return NoAnswer(Failure.UNKNOWN_ANSWER)


def _required(required: pb.RequireMfa) -> Answer:
    levels = [level for acr in required.acr_values if (level := Level.named(acr)) is not None]
    if required.acr_values and not levels:
        return NoAnswer(Failure.UNKNOWN_ANSWER)
    kinds = tuple(dict.fromkeys(required.kinds))
    if len(kinds) > MOST_KINDS or any(len(kind) > KIND_LENGTH for kind in kinds):
        return NoAnswer(Failure.UNKNOWN_ANSWER)
    return RequireMfa(min(levels, default=Level.ONE_FACTOR), required.two_kinds, kinds or None)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
