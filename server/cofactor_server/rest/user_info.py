"""Who the user of an access token is, over HTTP (OpenID Connect Core section 5.3, RFC 6750)."""

from collections.abc import Mapping

import grpc.aio
from cofactor.v1 import tokens_pb2 as pb
from cofactor.v1 import tokens_pb2_grpc
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server import errors
from cofactor_server.rest import credentials, openapi
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.errors import Refusal, answer, of_call, of_error

TIMEOUT = 10.0  # seconds

# Unlike on the routes of W1.3, a challenge belongs here (ADR-25).
_CHALLENGES: Mapping[str, str] = {
    "BEARER_MISSING": "Bearer",
    "ACCESS_TOKEN_INVALID": 'Bearer error="invalid_token", error_description="{text}"',
    "INSUFFICIENT_SCOPE": 'Bearer error="insufficient_scope", scope="{scopes}"',
}


class UserInfo:
    """The route."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = tokens_pb2_grpc.TokenServiceStub(channel)

    def register(self, app: HttpApplication) -> None:
        """Add the route to `app`."""
        app.add("GET", "/userinfo", self.get, openapi.USER_INFO)
        app.add("POST", "/userinfo", self.get)

    async def get(self, request: Request) -> Response:
        """Tell who the user is; the token is in the header alone, never in the query or the body."""
        try:
            metadata = credentials.of_bearer(request)
            response = await self._stub.GetUserInfo(pb.GetUserInfoRequest(), metadata=metadata, timeout=TIMEOUT)
        except errors.BearerInvalid:  # what can't be a token at all
            return _refused(Refusal("ACCESS_TOKEN_INVALID"))
        except errors.CofactorError as error:
            return _refused(of_error(error))
        except grpc.aio.AioRpcError as error:
            return _refused(of_call(error))
        said = {field.name: value for field, value in response.ListFields()}
        return JSONResponse(said)


def _refused(refusal: Refusal) -> Response:
    challenge = _CHALLENGES.get(refusal.reason)
    if challenge is None:
        return answer(refusal)
    text = errors.TABLE[refusal.reason].text
    header = challenge.format(text=text, scopes=refusal.metadata.get("scopes", ""))
    return answer(refusal, {"www-authenticate": header})
