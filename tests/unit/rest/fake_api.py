"""The gRPC API as the HTTP edge sees it: it remembers the calls and answers as it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from cofactor.v1 import authenticators_pb2, challenges_pb2, guardian_pb2, tokens_pb2
from cofactor.v1 import authenticators_pb2_grpc as authenticators_grpc
from cofactor.v1 import challenges_pb2_grpc as challenges_grpc
from cofactor.v1 import guardian_pb2_grpc as guardian_grpc
from cofactor.v1 import tokens_pb2_grpc as tokens_grpc
from cofactor_server import errors
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Call:
    """One call as it arrived; `source` is the in-process channel's origin."""

    method: str
    request: Any
    metadata: dict[str, str]
    source: str | None
    seconds_left: float | None


@dataclass(frozen=True)
class Refusal:
    code: grpc.StatusCode
    message: str
    details: Sequence[Any] = ()


class FakeApi(
    tokens_grpc.TokenServiceServicer,
    challenges_grpc.ChallengeServiceServicer,
    authenticators_grpc.AuthenticatorServiceServicer,
    guardian_grpc.DeviceAccountServiceServicer,
):
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.outcome: Any = tokens_pb2.Tokens(
            access_token="eyJ.access", token_type="Bearer", expires_in=Duration(seconds=86400)
        )
        self.answers: dict[str, Any] = {}
        self.refusal: Refusal | Exception | None = None

    @property
    def call(self) -> Call:
        """The only call."""
        assert len(self.calls) == 1
        return self.calls[0]

    def register(self, server: grpc.aio.Server) -> None:
        tokens_grpc.add_TokenServiceServicer_to_server(self, server)
        challenges_grpc.add_ChallengeServiceServicer_to_server(self, server)
        authenticators_grpc.add_AuthenticatorServiceServicer_to_server(self, server)
        guardian_grpc.add_DeviceAccountServiceServicer_to_server(self, server)

    def refuse(
        self,
        reason: str,
        metadata: Mapping[str, str] | None = None,
        *,
        retry_after: float | None = None,
        violations: Sequence[tuple[str, str]] = (),
        domain: str = errors.DOMAIN,
    ) -> None:
        """Refuse from now on, in the way of errors.py."""
        row = errors.TABLE.get(reason, errors.TABLE["INTERNAL"])
        details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)]
        if retry_after is not None:
            seconds, fraction = divmod(retry_after, 1)
            delay = Duration(seconds=int(seconds), nanos=int(fraction * 1e9))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        if violations:
            violation = error_details_pb2.BadRequest.FieldViolation
            found = [violation(field=name, description=why) for name, why in violations]
            details.append(error_details_pb2.BadRequest(field_violations=found))
        self.refusal = Refusal(grpc.StatusCode[row.grpc], "the message of gRPC", details)

    def fail(self, code: grpc.StatusCode, message: str = "") -> None:
        """Fail from now on as gRPC itself does, without details."""
        self.refusal = Refusal(code, message)

    async def _serve(self, method: str, request: Any, context: Any, default: Any = None) -> Any:
        origin = getattr(context, "origin", None)
        self.calls.append(
            Call(
                method,
                request,
                {key: value for key, value in context.invocation_metadata() if key != "user-agent"},
                origin.source if origin else None,
                context.time_remaining(),
            )
        )
        match self.refusal:
            case Refusal(code, message, details) if details:
                status = status_pb2.Status(code=code.value[0], message=message)
                for detail in details:
                    status.details.add().Pack(detail)
                await context.abort_with_status(rpc_status.to_status(status))
            case Refusal(code, message):
                await context.abort(code, message)
            case Exception():
                raise self.refusal
        return self.answers.get(method, default)

    async def IssueToken(self, request: Any, context: Any) -> Any:
        response = tokens_pb2.IssueTokenResponse()
        match self.outcome:
            case tokens_pb2.Tokens():
                response.tokens.CopyFrom(self.outcome)
            case tokens_pb2.MfaRequired():
                response.mfa_required.CopyFrom(self.outcome)
            case tokens_pb2.AnswerPending():
                response.answer_pending.CopyFrom(self.outcome)
        return await self._serve("IssueToken", request, context, response)

    async def GetJsonWebKeySet(self, request: Any, context: Any) -> Any:
        return await self._serve("GetJsonWebKeySet", request, context, tokens_pb2.GetJsonWebKeySetResponse())

    async def RevokeToken(self, request: Any, context: Any) -> Any:
        return await self._serve("RevokeToken", request, context, tokens_pb2.RevokeTokenResponse())

    async def CheckOrigin(self, request: Any, context: Any) -> Any:
        return tokens_pb2.CheckOriginResponse()

    async def GetUserInfo(self, request: Any, context: Any) -> Any:
        return await self._serve("GetUserInfo", request, context, tokens_pb2.GetUserInfoResponse(sub="usr_1"))

    async def IntrospectToken(self, request: Any, context: Any) -> Any:
        return await self._serve("IntrospectToken", request, context, tokens_pb2.IntrospectTokenResponse())

    async def CreateChallenge(self, request: Any, context: Any) -> Any:
        otp = challenges_pb2.CreateChallengeResponse(challenge_type=challenges_pb2.CHALLENGE_TYPE_OTP)
        return await self._serve("CreateChallenge", request, context, otp)

    def WatchChallenge(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def AnswerChallenge(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def EnrollAuthenticator(self, request: Any, context: Any) -> Any:
        response = authenticators_pb2.EnrollAuthenticatorResponse()
        response.authenticator.kind = authenticators_pb2.FACTOR_KIND_TOTP
        response.otp_secret.secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
        response.otp_secret.barcode_uri = "otpauth://totp/x"
        return await self._serve("EnrollAuthenticator", request, context, response)

    async def ListAuthenticators(self, request: Any, context: Any) -> Any:
        return await self._serve(
            "ListAuthenticators", request, context, authenticators_pb2.ListAuthenticatorsResponse()
        )

    async def GetAuthenticator(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def UpdateAuthenticator(self, request: Any, context: Any) -> Any:
        response = authenticators_pb2.UpdateAuthenticatorResponse(authenticator=request.authenticator)
        response.authenticator.kind = authenticators_pb2.FACTOR_KIND_TOTP
        response.authenticator.state = authenticators_pb2.AUTHENTICATOR_STATE_ACTIVE
        return await self._serve("UpdateAuthenticator", request, context, response)

    async def DeleteAuthenticator(self, request: Any, context: Any) -> Any:
        return await self._serve(
            "DeleteAuthenticator", request, context, authenticators_pb2.DeleteAuthenticatorResponse()
        )

    def WatchDevice(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def PairDevice(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def CreateDeviceNonce(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def UpdateDevice(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def RemoveDevice(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def EnrollDeviceAccount(self, request: Any, context: Any) -> Any:
        response = guardian_pb2.EnrollDeviceAccountResponse(
            id="dev_1", url="https://mfa.example.com/", issuer_label="Example", user_id="usr_1", device_token="dt"
        )
        return await self._serve("EnrollDeviceAccount", request, context, response)

    async def ResolveTransaction(self, request: Any, context: Any) -> Any:
        return await self._serve("ResolveTransaction", request, context, guardian_pb2.ResolveTransactionResponse())

    async def UpdateDeviceAccount(self, request: Any, context: Any) -> Any:
        response = guardian_pb2.UpdateDeviceAccountResponse(account=request.account)
        response.account.identifier = response.account.identifier or "phone-1"
        response.account.name = response.account.name or "Phone"
        return await self._serve("UpdateDeviceAccount", request, context, response)

    async def DeleteDeviceAccount(self, request: Any, context: Any) -> Any:
        return await self._serve("DeleteDeviceAccount", request, context, guardian_pb2.DeleteDeviceAccountResponse())

    async def GetRichConsent(self, request: Any, context: Any) -> Any:
        response = guardian_pb2.GetRichConsentResponse(id=request.id)
        return await self._serve("GetRichConsent", request, context, response)
