"""Devices: who pairs, what they signed, and what they are told."""

from typing import Protocol

from cofactor.v1 import authenticators_pb2 as pb
from cofactor.v1 import challenges_pb2

from cofactor_server.domain.authenticators.proofs import Signed
from cofactor_server.domain.challenges.prompts import DeviceEvent, Listening, WaitingPrompt, Withdrawn
from cofactor_server.domain.requests import Paired
from cofactor_server.errors import MissingParameter
from cofactor_server.rpc.convert.fields import ID_LENGTH, VISIBLE, Fields, timestamp

PAYLOAD_OCTETS = 4_096
SIGNATURE_OCTETS = 1_024


class _SignedMessage(Protocol):
    payload: bytes
    signature: bytes


def signed(fields: Fields, name: str, message: _SignedMessage) -> Signed:
    """Return what is said to be signed; `name` is that of the field.

    Raises:
        MissingParameter: There is no payload or no signature.
    """
    for part, value, limit in (
        ("payload", message.payload, PAYLOAD_OCTETS),
        ("signature", message.signature, SIGNATURE_OCTETS),
    ):
        if not value:
            raise MissingParameter(parameter=f"{name}.{part}")
        if len(value) > limit:
            fields.refuse(f"{name}.{part}", f"is longer than {limit} octets")
    return Signed(message.payload, message.signature)


def statement(
    request: pb.UpdateDeviceRequest | pb.RemoveDeviceRequest | challenges_pb2.WatchDeviceRequest,
) -> Signed:
    """Return what a device signed to make its call."""
    fields = Fields()
    said = signed(fields, "statement", request.statement)
    fields.done()
    return said


def pairing(request: pb.PairDeviceRequest) -> tuple[str, Signed]:
    """Return the pairing secret, and the statement of who pairs."""
    fields = Fields()
    secret = fields.required("pairing_secret", request.pairing_secret, ID_LENGTH, VISIBLE)
    said = signed(fields, "statement", request.statement)
    fields.done()
    return secret, said


def paired(value: Paired) -> pb.PairDeviceResponse:
    """Return what a paired device keeps."""
    return pb.PairDeviceResponse(
        device_id=value.device_id,
        user_id=value.user_id,
        issuer_label=value.issuer_label,
        user_label=value.user_label,
        otp_secret=pb.OtpSecret(**value.otp) if value.otp else None,
    )


def nonce(value: str, expires_at: int) -> pb.CreateDeviceNonceResponse:
    """Return a nonce for one signed call."""
    return pb.CreateDeviceNonceResponse(nonce=value, expire_time=timestamp(expires_at))


def event(value: DeviceEvent) -> challenges_pb2.WatchDeviceResponse:
    """Return something that concerns a device."""
    match value:
        case Listening(waiting):
            return challenges_pb2.WatchDeviceResponse(listening=challenges_pb2.DeviceListening(waiting=waiting))
        case Withdrawn(challenge_id):
            return challenges_pb2.WatchDeviceResponse(
                withdrawn=challenges_pb2.PromptWithdrawn(challenge_id=challenge_id)
            )
        case WaitingPrompt():
            return challenges_pb2.WatchDeviceResponse(
                prompt=challenges_pb2.PromptForDevice(
                    challenge_id=value.challenge_id,
                    shown=value.shown,
                    number_wanted=value.number_wanted,
                    expire_time=timestamp(value.expires_at),
                )
            )
