"""Methods as the Management API shows them: masked, unless whoever set them is answered (W10.3)."""

from collections.abc import Mapping
from typing import Any

from cofactor.admin.v1 import methods_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

EMAIL_TYPES = ("email", "email-verification")
_AUTH_METHODS: Mapping[str, str] = {
    "totp": "authenticator",
    "hotp": "authenticator",
    "push": "guardian",
    "phone": "sms",
}


def method(value: pb.AuthenticationMethod) -> dict[str, Any]:
    """Return a method as it is listed."""
    return {**created(value), "confirmed": value.confirmed, **_instants(value)}


def created(value: pb.AuthenticationMethod) -> dict[str, Any]:
    """Return a method as whoever has added it is answered: it is confirmed, and nobody says so."""
    shown: dict[str, Any] = {"id": value.id, "type": value.type, "created_at": instant(value.create_time)}
    if value.name:
        shown["name"] = value.name
    if address := value.address or value.masked_address:
        shown["email" if value.type in EMAIL_TYPES else "phone_number"] = address
    if value.ways:
        shown["authentication_methods"] = [{"type": way.type, "id": way.id} for way in value.ways]
    if value.preferred:
        shown["preferred_authentication_method"] = value.preferred
    if value.link_id:
        shown["link_id"] = value.link_id
    return shown


def enrollment(value: pb.AuthenticationMethod) -> dict[str, Any]:
    """Return what is told of an enrollment by the end of its id."""
    shown: dict[str, Any] = {
        "id": value.id.partition("|")[2],
        "status": "confirmed" if value.confirmed else "pending",
    }
    if value.name:
        shown["name"] = value.name
    if value.masked_address and value.type not in EMAIL_TYPES:
        shown["phone_number"] = value.masked_address
    if value.HasField("confirm_time"):
        shown["enrolled_at"] = instant(value.confirm_time)
    if value.HasField("last_use_time"):
        shown["last_auth"] = instant(value.last_use_time)
    return shown


def users_enrollment(value: pb.AuthenticationMethod) -> dict[str, Any]:
    """Return an enrollment as it stands in the list of its user."""
    return {**enrollment(value), "type": value.type, "auth_method": _AUTH_METHODS.get(value.type, value.type)}


def instant(time: Timestamp) -> str:
    """Return an instant as RFC 3339 has it, with milliseconds."""
    return time.ToDatetime().isoformat(timespec="milliseconds") + "Z"


def _instants(value: pb.AuthenticationMethod) -> dict[str, str]:
    shown = {}
    if value.HasField("confirm_time"):
        shown["enrolled_at"] = instant(value.confirm_time)
    if value.HasField("last_use_time"):
        shown["last_auth_at"] = instant(value.last_use_time)
    return shown
