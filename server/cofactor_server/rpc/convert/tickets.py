"""EnrollmentTicketService: tickets, and what is enrolled by them."""

from cofactor.v1 import authenticators_pb2 as authenticators
from cofactor.v1 import tickets_pb2 as pb

from cofactor_server.domain.authenticators.proofs import Code, PublicKeyCredential
from cofactor_server.domain.authenticators.tickets import Confirmed, TicketOffer, Waiting
from cofactor_server.domain.challenges.challenge import POLL_INTERVAL
from cofactor_server.domain.requests import Enrolled, EnrollmentRequest
from cofactor_server.rpc.convert import authenticators as convert
from cofactor_server.rpc.convert import kinds
from cofactor_server.rpc.convert.fields import (
    CODE_LENGTH,
    NAME,
    TOKEN_LENGTH,
    VISIBLE,
    Fields,
    duration,
    timestamp,
)
from cofactor_server.rpc.convert.public_keys import public_key_credential

TICKET_LENGTH = 64


def ticket(request: pb.GetEnrollmentTicketRequest) -> str:
    """Return the ticket that is asked about.

    Raises:
        MissingParameter: There is none.
        InvalidRequest: It can't be one.
    """
    fields = Fields()
    presented = _ticket(fields, request.ticket)
    fields.done()
    return presented


def offered(value: TicketOffer) -> pb.GetEnrollmentTicketResponse:
    """Return what a ticket is for."""
    return pb.GetEnrollmentTicketResponse(
        issuer_label=value.issuer_label,
        user_label=value.user_label,
        kinds=kinds.all_to_wire(value.kinds),
        plugin_kinds=[kind for kind in value.kinds if not kinds.is_core(kind)],
        expire_time=timestamp(value.expires_at),
    )


def beginning(request: pb.BeginEnrollmentRequest) -> tuple[str, EnrollmentRequest]:
    """Return the ticket, and what is to be enrolled by it.

    Raises:
        MissingParameter: There is no ticket, or nothing is named.
        InvalidRequest: Fields are beyond their limits.
    """
    fields = Fields()
    presented = _ticket(fields, request.ticket)
    fields.done()
    return presented, convert.enrollment_request(request.wanted)


def begun(enrollment: str, value: Enrolled) -> pb.BeginEnrollmentResponse:
    """Return an enrollment, and what its user must see once; which form that has is told by what the factor shows."""
    response = pb.BeginEnrollmentResponse(
        enrollment=enrollment, authenticator=convert.authenticator(value.authenticator)
    )
    match value.show:
        case {"secret": secret, "barcode_uri": uri}:
            response.otp_secret.CopyFrom(authenticators.OtpSecret(secret=secret, barcode_uri=uri))
        case {"public_key_json": public_key}:
            response.webauthn.public_key_json = public_key
        case {"barcode_uri": uri}:
            response.pairing.CopyFrom(pb.TicketPairing(barcode_uri=uri, poll_interval=duration(POLL_INTERVAL)))
        case _:
            response.sent_code.CopyFrom(pb.SentCode(risk_notice=convert.risk_notice(value.authenticator.kind)))
    return response


def confirming(
    request: pb.ConfirmEnrollmentRequest,
) -> tuple[str, str, Code | PublicKeyCredential | None]:
    """Return the ticket, the enrollment's name, and the answer, if there is one.

    Raises:
        MissingParameter: The ticket or the name is missing.
        InvalidRequest: Fields are beyond their limits.
    """
    fields = Fields()
    presented = _ticket(fields, request.ticket)
    enrollment = fields.required("enrollment", request.enrollment, TOKEN_LENGTH, VISIBLE)
    proof = _proof(fields, request)
    fields.done()
    return presented, enrollment, proof


def confirmed(value: Confirmed | Waiting) -> pb.ConfirmEnrollmentResponse:
    """Return where an enrollment stands."""
    match value:
        case Waiting(poll_interval):
            return pb.ConfirmEnrollmentResponse(pending=pb.EnrollmentPending(poll_interval=duration(poll_interval)))
        case Confirmed(authenticator, recovery_codes):
            done = pb.EnrollmentConfirmed(
                authenticator=convert.authenticator(authenticator), recovery_codes=recovery_codes
            )
            return pb.ConfirmEnrollmentResponse(confirmed=done)


def _ticket(fields: Fields, text: str) -> str:
    return fields.required("ticket", text, TICKET_LENGTH, VISIBLE)


def _proof(fields: Fields, request: pb.ConfirmEnrollmentRequest) -> Code | PublicKeyCredential | None:
    match request.WhichOneof("proof"):
        case "code":
            return Code(fields.required("code", request.code, CODE_LENGTH, NAME))
        case "credential_json":
            return public_key_credential(fields, request.credential_json)
    return None
