"""ChallengeService: which challenge is wanted, and what the caller needs to meet it."""

from cofactor.v1 import challenges_pb2 as pb

from cofactor_server.domain.authenticators.proofs import Code, Proof
from cofactor_server.domain.challenges.challenge import POLL_INTERVAL, Standing
from cofactor_server.domain.requests import AnswerRequest, ChallengeRequest, ChallengeType, CreatedChallenge
from cofactor_server.errors import MissingParameter
from cofactor_server.rpc.convert import kinds
from cofactor_server.rpc.convert.devices import signed
from cofactor_server.rpc.convert.fields import (
    CODE_LENGTH,
    ID_LENGTH,
    NAME,
    TOKEN_LENGTH,
    VISIBLE,
    Fields,
    duration,
    timestamp,
)

LONGEST_LIST = 16

_TO_WIRE: dict[ChallengeType, pb.ChallengeType.ValueType] = {
    ChallengeType.OTP: pb.CHALLENGE_TYPE_OTP,
    ChallengeType.OOB: pb.CHALLENGE_TYPE_OOB,
    ChallengeType.WEBAUTHN: pb.CHALLENGE_TYPE_WEBAUTHN,
}
_STATES: dict[Standing, pb.ChallengeState.ValueType] = {
    Standing.PENDING: pb.CHALLENGE_STATE_PENDING,
    Standing.APPROVED: pb.CHALLENGE_STATE_APPROVED,
    Standing.DENIED: pb.CHALLENGE_STATE_DENIED,
    Standing.EXPIRED: pb.CHALLENGE_STATE_EXPIRED,
    Standing.REDEEMED: pb.CHALLENGE_STATE_REDEEMED,
}
_FROM_WIRE: dict[int, ChallengeType] = {wire: kind for kind, wire in _TO_WIRE.items()}


def challenge_request(request: pb.CreateChallengeRequest) -> ChallengeRequest:
    """Return which challenge is wanted.

    Raises:
        InvalidRequest: Fields are beyond their limits, or a list holds what names nothing.
    """
    fields = Fields()
    types = []
    for value in dict.fromkeys(request.challenge_types[:LONGEST_LIST]):
        if value in _FROM_WIRE:
            types.append(_FROM_WIRE[value])
        else:
            fields.refuse("challenge_types", f"holds {value}, which names no type of challenge")
    for name, length in (("challenge_types", len(request.challenge_types)), ("kinds", len(request.kinds))):
        if length > LONGEST_LIST:
            fields.refuse(name, f"has more than {LONGEST_LIST} values")
    authenticator_id = fields.text("authenticator_id", request.authenticator_id, ID_LENGTH, VISIBLE)
    wanted = kinds.from_wire(fields, "kinds", request.kinds[:LONGEST_LIST])
    fields.done()
    return ChallengeRequest(tuple(types), authenticator_id, wanted)


def created(value: CreatedChallenge) -> pb.CreateChallengeResponse:
    """Return a challenge that is ready to be met."""
    response = pb.CreateChallengeResponse(
        challenge_type=_TO_WIRE[value.type], authenticator_id=value.authenticator_id, oob_code=value.oob_code
    )
    if value.type is ChallengeType.WEBAUTHN:
        response.webauthn.public_key_json = value.show["public_key_json"]
    elif value.type is ChallengeType.OOB and value.on_device:
        response.device.number = value.show.get("number", "")
        response.device.poll_interval.CopyFrom(duration(POLL_INTERVAL))
    elif value.type is ChallengeType.OOB:
        response.code.SetInParent()
    if value.expires_at is not None:
        response.expire_time.CopyFrom(timestamp(value.expires_at))
    return response


def watched(request: pb.WatchChallengeRequest) -> str:
    """Return the oob_code of the challenge that is to be watched.

    Raises:
        MissingParameter: There is none.
        InvalidRequest: It is beyond its limits.
    """
    fields = Fields()
    oob_code = fields.required("oob_code", request.oob_code, TOKEN_LENGTH, VISIBLE)
    fields.done()
    return oob_code


def seen(standing: Standing, expires_at: int) -> pb.WatchChallengeResponse:
    """Return where a watched challenge stands."""
    return pb.WatchChallengeResponse(state=_STATES[standing], expire_time=timestamp(expires_at))


def answer_request(request: pb.AnswerChallengeRequest) -> AnswerRequest:
    """Return an answer: a challenge named in one of its two ways, and a proof.

    Raises:
        MissingParameter: Neither name is given, or no proof.
        InvalidRequest: Both names are given, or fields are beyond their limits.
    """
    fields = Fields()
    oob_code = fields.text("oob_code", request.oob_code, TOKEN_LENGTH, VISIBLE)
    challenge_id = fields.text("challenge_id", request.challenge_id, ID_LENGTH, VISIBLE)
    if not oob_code and not challenge_id:
        raise MissingParameter(parameter="oob_code")
    if oob_code and challenge_id:
        fields.refuse("challenge_id", "names the challenge a second time")
    proof = _proof(request, fields)
    fields.done()
    return AnswerRequest(proof, oob_code, challenge_id)


def _proof(request: pb.AnswerChallengeRequest, fields: Fields) -> Proof:
    match request.WhichOneof("proof"):
        case "code":
            return Code(fields.required("code", request.code, CODE_LENGTH, NAME))
        case "signed":
            return signed(fields, "signed", request.signed)
    raise MissingParameter(parameter="proof")


def answered(standing: Standing) -> pb.AnswerChallengeResponse:
    """Return where a challenge stands after an answer."""
    return pb.AnswerChallengeResponse(state=_STATES[standing])
