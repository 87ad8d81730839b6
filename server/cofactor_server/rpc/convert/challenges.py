"""ChallengeService: which challenge is wanted, and what the caller needs to meet it."""

from cofactor.v1 import challenges_pb2 as pb
from google.protobuf import duration_pb2

from cofactor_server.domain.factor_kinds import PUSH
from cofactor_server.domain.requests import ChallengeRequest, ChallengeType, CreatedChallenge
from cofactor_server.rpc.convert import kinds
from cofactor_server.rpc.convert.fields import ID_LENGTH, VISIBLE, Fields, timestamp

POLL_SECONDS = 5
LONGEST_LIST = 16

_TO_WIRE: dict[ChallengeType, pb.ChallengeType.ValueType] = {
    ChallengeType.OTP: pb.CHALLENGE_TYPE_OTP,
    ChallengeType.OOB: pb.CHALLENGE_TYPE_OOB,
    ChallengeType.WEBAUTHN: pb.CHALLENGE_TYPE_WEBAUTHN,
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
    elif value.type is ChallengeType.OOB and value.kind == PUSH:
        response.device.number = value.show.get("number", "")
        response.device.poll_interval.CopyFrom(duration_pb2.Duration(seconds=POLL_SECONDS))
    elif value.type is ChallengeType.OOB:
        response.code.SetInParent()
    if value.expires_at is not None:
        response.expire_time.CopyFrom(timestamp(value.expires_at))
    return response
