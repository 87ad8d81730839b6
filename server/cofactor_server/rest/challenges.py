"""Challenges over HTTP (W4)."""

import json
from typing import Any

import grpc.aio
from cofactor.v1 import authenticators_pb2, challenges_pb2_grpc
from cofactor.v1 import challenges_pb2 as pb
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server import errors
from cofactor_server.rest import bodies, credentials, kinds, openapi
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.bodies import Body
from cofactor_server.rest.errors import answered
from cofactor_server.rest.tokens import TIMEOUT

TYPES = {
    "otp": pb.CHALLENGE_TYPE_OTP,
    "oob": pb.CHALLENGE_TYPE_OOB,
    "webauthn": pb.CHALLENGE_TYPE_WEBAUTHN,  # ours
}
UNASKED = ("otp", "oob")
_TYPE_NAMES = {number: name for name, number in TYPES.items()}


class Challenges:
    """The route; `limit` is how much of a body is read, in octets."""

    def __init__(self, channel: grpc.aio.Channel, *, limit: int) -> None:
        self._stub = challenges_pb2_grpc.ChallengeServiceStub(channel)
        self._limit = limit

    def register(self, app: HttpApplication) -> None:
        """Add the route to `app`."""
        app.add("POST", "/mfa/challenge", self.create, openapi.CHALLENGE)

    async def create(self, request: Request) -> Response:
        """Prepare one of the user's authenticators to be answered, and send what is to be sent."""
        body = await bodies.read(request, self._limit)
        mfa_token = body.required("mfa_token")
        client = credentials.of_client(request, body)
        metadata = (*credentials.of_mfa_token(mfa_token), *client)
        call = self._stub.CreateChallenge(_wanted(body), metadata=metadata, timeout=TIMEOUT)
        response, rates = await answered(call)
        return JSONResponse(_created(response), headers=rates)


def _wanted(body: Body) -> pb.CreateChallengeRequest:
    """Return what the client can handle; types unknown here are those it handles in vain.

    A client that names none is one of those written for otp and oob: WebAuthn is ours, and asked for by its name.
    """
    names = body.words("challenge_type")
    types = [TYPES[name] for name in dict.fromkeys(names or UNASKED) if name in TYPES]
    if not types:
        raise errors.ChallengeTypeUnsupported(explanation="The requested challenge type is unknown.")
    wanted = []
    if channel := body.text("oob_channel"):
        if channel not in kinds.CHANNELS:
            raise bodies.malformed("oob_channel", "is unknown")
        wanted.append(kinds.CHANNELS[channel])
        if names and pb.CHALLENGE_TYPE_OTP in types:  # the channel narrows only what goes over one
            wanted += [authenticators_pb2.FACTOR_KIND_TOTP, authenticators_pb2.FACTOR_KIND_HOTP]
    return pb.CreateChallengeRequest(
        challenge_types=types, authenticator_id=body.text("authenticator_id"), kinds=wanted
    )


def _created(response: pb.CreateChallengeResponse) -> dict[str, Any]:
    challenge_type = _TYPE_NAMES.get(response.challenge_type)
    if challenge_type is None:
        raise errors.Internal  # a type that this edge does not know
    body: dict[str, Any] = {"challenge_type": challenge_type}
    if response.oob_code:
        body["oob_code"] = response.oob_code
    match response.WhichOneof("prompt"):
        case "code" if challenge_type == "oob":
            body["binding_method"] = "prompt"
        case "device" if response.device.number:  # ours: number matching, to be typed on the device
            body["number"] = response.device.number
        case "webauthn":
            body["authn_params_public_key"] = json.loads(response.webauthn.public_key_json)
    return body
