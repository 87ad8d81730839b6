"""DeviceAccountService: what a device of the Guardian wire asks, and device accounts as the wire shows them."""

from cofactor.v1 import authenticators_pb2
from cofactor.v1 import guardian_pb2 as pb

from cofactor_server.domain.authenticators.authenticator import NAME_LENGTH
from cofactor_server.domain.challenges.guardian import (
    DeviceAccount,
    DeviceAccountChange,
    EnrolledDevice,
    NewDeviceAccount,
    PushService,
    PushTarget,
    RichConsent,
)
from cofactor_server.errors import MissingParameter
from cofactor_server.rpc.convert.fields import ID_LENGTH, NAME, TOKEN_LENGTH, VISIBLE, Fields, timestamp

IDENTIFIER_LENGTH = 256
PUSH_TOKEN_LENGTH = 2_048
NUMBER_LENGTH = 1_024
"""Characters of an RSA modulus in base64url; 4,096 bits and a leading zero octet take 684."""

_SERVICES: dict[int, PushService] = {pb.PUSH_SERVICE_FCM: "FCM", pb.PUSH_SERVICE_APNS: "APNS"}
_SERVICE_NUMBERS: dict[PushService, pb.PushService.ValueType] = {
    "FCM": pb.PUSH_SERVICE_FCM,
    "APNS": pb.PUSH_SERVICE_APNS,
}
_ALGORITHMS: dict[str, authenticators_pb2.OtpAlgorithm.ValueType] = {
    "SHA1": authenticators_pb2.OTP_ALGORITHM_SHA1,
    "SHA256": authenticators_pb2.OTP_ALGORITHM_SHA256,
    "SHA512": authenticators_pb2.OTP_ALGORITHM_SHA512,
}


def enrollment(request: pb.EnrollDeviceAccountRequest) -> NewDeviceAccount:
    """Return the device that is to be enrolled.

    Raises:
        MissingParameter: A field is empty.
        InvalidRequest: Fields are beyond their limits.
    """
    fields = Fields()
    new = NewDeviceAccount(
        ticket=fields.required("ticket", request.ticket, ID_LENGTH, VISIBLE),
        identifier=fields.required("identifier", request.identifier, IDENTIFIER_LENGTH, NAME),
        name=fields.required("name", request.name, NAME_LENGTH, NAME),
        push=_push(fields, request.push_credentials),
        n=fields.required("public_key.n", request.public_key.n, NUMBER_LENGTH, VISIBLE),
        e=fields.required("public_key.e", request.public_key.e, NUMBER_LENGTH, VISIBLE),
    )
    fields.done()
    return new


def resolving(request: pb.ResolveTransactionRequest) -> tuple[str, str]:
    """Return the transaction token and the device's answer."""
    fields = Fields()
    token = fields.required("transaction_token", request.transaction_token, TOKEN_LENGTH, VISIBLE)
    answer = fields.required("challenge_response", request.challenge_response, TOKEN_LENGTH, VISIBLE)
    fields.done()
    return token, answer


def change(request: pb.UpdateDeviceAccountRequest) -> tuple[str, DeviceAccountChange]:
    """Return the device's token and what it changes.

    Raises:
        MissingParameter: No token, no id, no mask, or a named field is empty.
        InvalidRequest: The mask names what can't be changed, or fields are beyond their limits.
    """
    fields, account = Fields(), request.account
    token = fields.required("device_token", request.device_token, TOKEN_LENGTH, VISIBLE)
    id_ = fields.required("account.id", account.id, ID_LENGTH, VISIBLE)
    paths = set(request.update_mask.paths)
    if not paths:
        raise MissingParameter(parameter="update_mask")
    if paths - {"identifier", "name", "push_credentials"}:
        fields.refuse("update_mask", "may hold `identifier`, `name` and `push_credentials` only")
    identifier, name, push = None, None, None
    if "identifier" in paths:
        identifier = fields.required("account.identifier", account.identifier, IDENTIFIER_LENGTH, NAME)
    if "name" in paths:
        name = fields.required("account.name", account.name, NAME_LENGTH, NAME)
    if "push_credentials" in paths:
        push = _push(fields, account.push_credentials)
    fields.done()
    return token, DeviceAccountChange(id_, identifier, name, push)


def removal(request: pb.DeleteDeviceAccountRequest) -> tuple[str, str]:
    """Return the device's token and the device account that is to be removed."""
    fields = Fields()
    token = fields.required("device_token", request.device_token, TOKEN_LENGTH, VISIBLE)
    id_ = fields.required("id", request.id, ID_LENGTH, VISIBLE)
    fields.done()
    return token, id_


def consent_wanted(request: pb.GetRichConsentRequest) -> tuple[str, str, str]:
    """Return the consent's id, the transaction token and the proof."""
    fields = Fields()
    id_ = fields.required("id", request.id, ID_LENGTH, VISIBLE)
    token = fields.required("transaction_token", request.transaction_token, TOKEN_LENGTH, VISIBLE)
    proof = fields.required("proof", request.proof, TOKEN_LENGTH, VISIBLE)
    fields.done()
    return id_, token, proof


def enrolled(value: EnrolledDevice) -> pb.EnrollDeviceAccountResponse:
    """Return what the device keeps."""
    response = pb.EnrollDeviceAccountResponse(
        id=value.id, url=value.url, issuer_label=value.issuer_label, user_id=value.user_id, device_token=value.token
    )
    if (twin := value.totp) is not None:
        response.totp.secret = twin.secret
        response.totp.algorithm = _ALGORITHMS[twin.algorithm]
        response.totp.digits, response.totp.period_seconds = twin.digits, twin.period
    return response


def account(value: DeviceAccount) -> pb.DeviceAccount:
    """Return a device account."""
    push = None
    if value.push is not None:
        push = pb.PushCredentials(service=_SERVICE_NUMBERS[value.push.service], token=value.push.token)
    return pb.DeviceAccount(id=value.id, identifier=value.identifier, name=value.name, push_credentials=push)


def consent(value: RichConsent) -> pb.GetRichConsentResponse:
    """Return what a login is for."""
    return pb.GetRichConsentResponse(
        id=value.id,
        audience=value.audience,
        scopes=value.scopes,
        binding_message=value.binding_message,
        authorization_details_json=value.authorization_details,
        create_time=timestamp(value.created_at),
        expire_time=timestamp(value.expires_at),
    )


def _push(fields: Fields, value: pb.PushCredentials) -> PushTarget:
    token = fields.required("push_credentials.token", value.token, PUSH_TOKEN_LENGTH, VISIBLE)
    if value.service == pb.PUSH_SERVICE_UNSPECIFIED:
        raise MissingParameter(parameter="push_credentials.service")
    service = _SERVICES.get(value.service)
    if service is None:
        fields.refuse("push_credentials.service", "is not known")
    return PushTarget(service or "FCM", token)
