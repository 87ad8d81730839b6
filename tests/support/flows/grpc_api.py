"""The gRPC edge as a client sees it, over a real socket."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from cofactor.v1 import authenticators_pb2 as authenticators
from cofactor.v1 import challenges_pb2 as challenges
from cofactor.v1 import tokens_pb2 as tokens
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub
from cofactor.v1.policies_pb2_grpc import PolicyServiceStub
from cofactor.v1.tickets_pb2_grpc import EnrollmentTicketServiceStub
from cofactor.v1.tokens_pb2_grpc import TokenServiceStub
from cofactor_server.rpc.server import build_server, listen
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_health.v1 import health
from grpc_status import rpc_status

from tests.support.flows.traffic import Traffic
from tests.support.flows.values import (
    TIMEOUT,
    Challenge,
    ClientCredentials,
    Enrollment,
    MfaRequired,
    Outcome,
    Pending,
    Refused,
    Row,
    Tokens,
    settled,
)
from tests.support.world import World

_TYPES: Mapping[int, str] = {
    authenticators.FACTOR_KIND_TOTP: "otp",
    authenticators.FACTOR_KIND_HOTP: "otp",
    authenticators.FACTOR_KIND_SMS: "phone",
    authenticators.FACTOR_KIND_VOICE: "phone",
    authenticators.FACTOR_KIND_EMAIL: "email",
    authenticators.FACTOR_KIND_PUSH: "push-notification",
    authenticators.FACTOR_KIND_WEBAUTHN: "webauthn",
    authenticators.FACTOR_KIND_RECOVERY_CODE: "recovery-code",
    authenticators.FACTOR_KIND_PLUGIN: "plugin",
}
_CHALLENGE_TYPES: Mapping[str, challenges.ChallengeType.ValueType] = {
    "otp": challenges.CHALLENGE_TYPE_OTP,
    "oob": challenges.CHALLENGE_TYPE_OOB,
    "webauthn": challenges.CHALLENGE_TYPE_WEBAUTHN,
}
_CHALLENGE_NAMES = {value: name for name, value in _CHALLENGE_TYPES.items()}
_ALGORITHMS: Mapping[str, authenticators.OtpAlgorithm.ValueType] = {
    "": authenticators.OTP_ALGORITHM_UNSPECIFIED,
    "SHA1": authenticators.OTP_ALGORITHM_SHA1,
    "SHA256": authenticators.OTP_ALGORITHM_SHA256,
    "SHA512": authenticators.OTP_ALGORITHM_SHA512,
}


class GrpcApi:
    """The gRPC edge: generated stubs on a channel; the stubs are open to tests that send what no client would."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.tokens = TokenServiceStub(channel)
        self.challenges = ChallengeServiceStub(channel)
        self.authenticators = AuthenticatorServiceStub(channel)
        self.policies = PolicyServiceStub(channel)
        self.tickets = EnrollmentTicketServiceStub(channel)
        self.source = ""

    async def issue(
        self, client: ClientCredentials, *, request_id: str = "", remember: bool = False, **grant: Any
    ) -> Tokens | MfaRequired | Pending:
        request = tokens.IssueTokenRequest(request_id=request_id, remember_browser=remember, **grant)
        response = await call(self.tokens.IssueToken(request, metadata=self.by_client(client), timeout=TIMEOUT))
        match response.WhichOneof("outcome"):
            case "tokens":
                return _tokens_of(response.tokens)
            case "mfa_required":
                return _mfa_required_of(response.mfa_required)
            case "answer_pending":
                interval = response.answer_pending.poll_interval
                return Pending(interval.seconds + interval.nanos / 1e9)
        raise AssertionError("an outcome is exactly one")

    async def password(
        self,
        client: ClientCredentials,
        username: str,
        password: str,
        *,
        realm: str = "",
        scope: str = "",
        audience: str = "",
        acr_values: Sequence[str] = (),
        max_age: int | None = None,
        request_id: str = "",
        remember_token: str = "",
    ) -> Tokens | MfaRequired:
        target = _target(scope, audience, acr_values, max_age)
        grant: dict[str, Any] = {"username": username, "password": password, "target": target}
        grant["remember_token"] = remember_token
        if realm:
            by_realm = tokens.PasswordRealmGrant(**grant, realm=realm)
            return settled(await self.issue(client, request_id=request_id, password_realm=by_realm))
        return settled(await self.issue(client, request_id=request_id, password=tokens.PasswordGrant(**grant)))

    async def otp(
        self,
        client: ClientCredentials,
        mfa_token: str,
        otp: str,
        *,
        authenticator_id: str = "",
        request_id: str = "",
        remember: bool = False,
    ) -> Tokens | MfaRequired:
        grant = tokens.MfaOtpGrant(mfa_token=mfa_token, otp=otp, authenticator_id=authenticator_id)
        return settled(await self.issue(client, request_id=request_id, remember=remember, mfa_otp=grant))

    async def oob(
        self,
        client: ClientCredentials,
        mfa_token: str,
        oob_code: str,
        binding_code: str = "",
        *,
        request_id: str = "",
        remember: bool = False,
    ) -> Outcome:
        grant = tokens.MfaOobGrant(mfa_token=mfa_token, oob_code=oob_code, binding_code=binding_code)
        return await self.issue(client, request_id=request_id, remember=remember, mfa_oob=grant)

    async def recovery(
        self, client: ClientCredentials, mfa_token: str, code: str, *, request_id: str = ""
    ) -> Tokens | MfaRequired:
        grant = tokens.MfaRecoveryCodeGrant(mfa_token=mfa_token, recovery_code=code)
        return settled(await self.issue(client, request_id=request_id, mfa_recovery_code=grant))

    async def webauthn(
        self,
        client: ClientCredentials,
        mfa_token: str,
        oob_code: str,
        credential: str,
        *,
        request_id: str = "",
        remember: bool = False,
    ) -> Tokens | MfaRequired:
        """Present what the browser returned, as JSON."""
        grant = tokens.MfaWebAuthnGrant(mfa_token=mfa_token, oob_code=oob_code, credential_json=credential)
        return settled(await self.issue(client, request_id=request_id, remember=remember, mfa_webauthn=grant))

    async def refresh(
        self,
        client: ClientCredentials,
        refresh_token: str,
        *,
        scope: str = "",
        audience: str = "",
        acr_values: Sequence[str] = (),
        max_age: int | None = None,
        request_id: str = "",
    ) -> Tokens | MfaRequired:
        target = _target(scope, audience, acr_values, max_age)
        grant = tokens.RefreshTokenGrant(refresh_token=refresh_token, target=target)
        return settled(await self.issue(client, request_id=request_id, refresh_token=grant))

    async def vouched(
        self,
        client: ClientCredentials,
        realm: str,
        subject: str,
        methods: Sequence[str],
        authenticated_at: float,
        *,
        label: str = "",
        scope: str = "",
        audience: str = "",
        acr_values: Sequence[str] = (),
        max_age: int | None = None,
        request_id: str = "",
        remember_token: str = "",
    ) -> Tokens | MfaRequired:
        """Vouch for a user; `authenticated_at` in seconds since the Unix epoch."""
        seconds, rest = divmod(round(authenticated_at * 1_000_000), 1_000_000)
        grant = tokens.VouchedGrant(
            realm=realm,
            subject=subject,
            methods=methods,
            authenticate_time=Timestamp(seconds=seconds, nanos=rest * 1_000),
            label=label,
            remember_token=remember_token,
            target=_target(scope, audience, acr_values, max_age),
        )
        return settled(await self.issue(client, request_id=request_id, vouched=grant))

    async def challenge(
        self,
        client: ClientCredentials,
        mfa_token: str,
        *,
        types: Sequence[str] = (),
        authenticator_id: str = "",
    ) -> Challenge:
        request = challenges.CreateChallengeRequest(
            challenge_types=[_CHALLENGE_TYPES[name] for name in types], authenticator_id=authenticator_id
        )
        metadata = (*_by_bearer(mfa_token), *self.by_client(client))
        response = await call(self.challenges.CreateChallenge(request, metadata=metadata, timeout=TIMEOUT))
        return Challenge(
            type=_CHALLENGE_NAMES[response.challenge_type],
            oob_code=response.oob_code,
            prompts=response.WhichOneof("prompt") == "code",
            number=response.device.number,
            authenticator_id=response.authenticator_id,
            expires_at=_seconds(response.expire_time) if response.HasField("expire_time") else None,
            public_key=json.loads(response.webauthn.public_key_json or "{}"),
        )

    async def enroll(
        self,
        bearer: str,
        kind: str = "totp",
        *,
        algorithm: str = "",
        digits: int = 0,
        period: int = 0,
        count: int = 0,
        destination: str = "",
        name: str = "",
        client: ClientCredentials | None = None,
    ) -> Enrollment:
        """Enroll; a kind that is none of the wire's is a plugin's."""
        wanted: dict[str, Any]
        match kind:
            case "totp":
                totp = authenticators.TotpEnrollment(
                    algorithm=_ALGORITHMS[algorithm], digits=digits, period_seconds=period
                )
                wanted = {"totp": totp}
            case "recovery-code":
                wanted = {"recovery_code": authenticators.RecoveryCodeEnrollment(count=count)}
            case "sms":
                wanted = {"sms": authenticators.SmsEnrollment(phone_number=destination)}
            case "voice":
                wanted = {"voice": authenticators.VoiceEnrollment(phone_number=destination)}
            case "hotp":
                hotp = authenticators.HotpEnrollment(algorithm=_ALGORITHMS[algorithm], digits=digits)
                wanted = {"hotp": hotp}
            case "email":
                wanted = {"email": authenticators.EmailEnrollment(email=destination)}
            case "push":
                wanted = {"push": authenticators.PushEnrollment()}
            case "webauthn":
                wanted = {"webauthn": authenticators.WebAuthnEnrollment()}
            case _:
                wanted = {"plugin": authenticators.PluginEnrollment(kind=kind, destination=destination)}
        request = authenticators.EnrollAuthenticatorRequest(name=name, **wanted)
        metadata = (*_by_bearer(bearer), *(self.by_client(client) if client else ()))
        response = await call(self.authenticators.EnrollAuthenticator(request, metadata=metadata, timeout=TIMEOUT))
        return Enrollment(
            secret=response.otp_secret.secret,
            barcode_uri=response.otp_secret.barcode_uri or response.pairing.barcode_uri,
            oob_code=response.oob.oob_code or response.pairing.oob_code or response.webauthn.oob_code,
            recovery_codes=tuple(response.recovery_codes),
            id=response.authenticator.id,
            public_key=json.loads(response.webauthn.public_key_json or "{}"),
        )

    async def list(self, bearer: str) -> Sequence[Row]:
        request = authenticators.ListAuthenticatorsRequest()
        response = await call(
            self.authenticators.ListAuthenticators(request, metadata=_by_bearer(bearer), timeout=TIMEOUT)
        )
        return [_row(authenticator) for authenticator in response.authenticators]

    async def get(self, bearer: str, authenticator_id: str) -> authenticators.Authenticator:
        """Return the message itself, which says more than a row."""
        request = authenticators.GetAuthenticatorRequest(id=authenticator_id)
        response = await call(
            self.authenticators.GetAuthenticator(request, metadata=_by_bearer(bearer), timeout=TIMEOUT)
        )
        found: authenticators.Authenticator = response.authenticator
        return found

    async def rename(self, bearer: str, authenticator_id: str, name: str) -> Row:
        return await self.update(bearer, authenticator_id, ["name"], name)

    async def update(self, bearer: str, authenticator_id: str, paths: Sequence[str], name: str = "") -> Row:
        """Change what the mask names."""
        request = authenticators.UpdateAuthenticatorRequest(
            authenticator=authenticators.Authenticator(id=authenticator_id, name=name),
            update_mask=FieldMask(paths=paths),
        )
        response = await call(
            self.authenticators.UpdateAuthenticator(request, metadata=_by_bearer(bearer), timeout=TIMEOUT)
        )
        return _row(response.authenticator)

    async def remove(self, bearer: str, authenticator_id: str) -> None:
        await self.end(bearer, authenticator_id, sign_out=False)

    async def end(self, bearer: str, authenticator_id: str, *, sign_out: bool) -> tuple[int, int]:
        """Remove an authenticator; return how many refresh tokens and remembered browsers ended."""
        request = authenticators.DeleteAuthenticatorRequest(id=authenticator_id, sign_out_everywhere=sign_out)
        said = await call(
            self.authenticators.DeleteAuthenticator(request, metadata=_by_bearer(bearer), timeout=TIMEOUT)
        )
        return said.ended_refresh_tokens, said.ended_browsers

    async def revoke(self, client: ClientCredentials, token: str) -> None:
        request = tokens.RevokeTokenRequest(token=token)
        await call(self.tokens.RevokeToken(request, metadata=self.by_client(client), timeout=TIMEOUT))

    async def introspect(self, client: ClientCredentials, token: str) -> dict[str, Any]:
        request = tokens.IntrospectTokenRequest(token=token)
        response = await call(self.tokens.IntrospectToken(request, metadata=self.by_client(client), timeout=TIMEOUT))
        said = {descriptor.name: value for descriptor, value in response.ListFields()}
        for name in ("aud", "amr"):
            if name in said:
                said[name] = [*said[name]]
        return {"active": False, **said}

    async def keys(self) -> Sequence[dict[str, str]]:
        response = await call(self.tokens.GetJsonWebKeySet(tokens.GetJsonWebKeySetRequest(), timeout=TIMEOUT))
        return [{descriptor.name: value for descriptor, value in key.ListFields()} for key in response.keys]

    def by_client(self, client: ClientCredentials) -> tuple[tuple[str, str], ...]:
        """Return metadata with a client's credentials, and the source if there is one."""
        client_id, secret = client
        return (
            ("cofactor-client-id", client_id),
            *((("cofactor-client-secret", secret),) if secret is not None else ()),
            *((("cofactor-forwarded-for", self.source),) if self.source else ()),
        )


async def call(rpc: Any) -> Any:
    """Await a call; raise Refused for what it refuses, and let nothing pass that has no reason."""
    try:
        return await rpc
    except grpc.aio.AioRpcError as error:
        raise refusal_of(error) from None


def refusal_of(error: grpc.aio.AioRpcError) -> Refused:
    """Return a gRPC error as what it says."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an AioRpcError has what is read of a Call
    if status is None:
        return Refused(f"UNEXPLAINED_{error.code().name}", error.details() or "", grpc_code=error.code())
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(retry)
    delay = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return Refused(info.reason, status.message, delay or None, info.metadata, grpc_code=error.code())


def _by_bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def _target(scope: str, audience: str, acr_values: Sequence[str], max_age: int | None) -> tokens.TokenTarget:
    target = tokens.TokenTarget(scope=scope, audience=audience, acr_values=acr_values)
    if max_age is not None:
        target.max_age.seconds = max_age
    return target


def _tokens_of(message: tokens.Tokens) -> Tokens:
    assert message.token_type == "Bearer"
    return Tokens(
        access_token=message.access_token,
        expires_in=message.expires_in.seconds,
        scope=message.scope,
        id_token=message.id_token,
        refresh_token=message.refresh_token,
        recovery_code=message.recovery_code,
        remember_token=message.remember_token,
        remember_expires_at=_seconds(message.remember_expire_time),
    )


def _mfa_required_of(message: tokens.MfaRequired) -> MfaRequired:
    wants = message.WhichOneof("requirement")
    kinds = message.enroll.kinds if wants == "enroll" else message.challenge.kinds
    return MfaRequired(
        message.mfa_token,
        wants or "",
        _types(kinds),
        _seconds(message.expire_time),
        message.recovery_code,
        _WAYS.get(message.enroll.way, ""),
        message.enroll.contact,
    )


_WAYS = {
    tokens.ENROLLMENT_WAY_TICKET: "ticket",
    tokens.ENROLLMENT_WAY_VOUCHED_LOGIN: "vouched_login",
    tokens.ENROLLMENT_WAY_NEW_LOGIN: "new_login",
}


def _types(kinds: Iterable[int]) -> tuple[str, ...]:
    return tuple(_TYPES[kind] for kind in kinds)


def _seconds(timestamp: Timestamp) -> float:
    return timestamp.seconds + timestamp.nanos / 1e9


def _row(message: authenticators.Authenticator) -> Row:
    return Row(
        id=message.id,
        type=message.plugin_kind or _TYPES[message.kind],
        active=message.state == authenticators.AUTHENTICATOR_STATE_ACTIVE,
        name=message.name,
    )


class _GrpcTraffic(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self._traffic.take(json_format.MessageToDict(request, preserving_proto_field_name=True))
        for key, value in client_call_details.metadata or ():
            if key in ("authorization", "cofactor-client-secret"):
                self._traffic.take({"secret": value.removeprefix("Bearer ")})
        call = await continuation(client_call_details, request)
        try:
            self._traffic.take(json_format.MessageToDict(await call, preserving_proto_field_name=True))
        except grpc.aio.AioRpcError as error:
            self._traffic.texts.append(error.details() or "")
        return call


@asynccontextmanager
async def grpc_edge(world: World, traffic: Traffic | None = None) -> AsyncIterator[GrpcApi]:
    """Serve a world over gRPC on a port of the loopback."""
    server = build_server(world.app.services, world.app.interceptor(), health_servicer=health.aio.HealthServicer())
    port = listen(server, "127.0.0.1:0")
    await server.start()
    interceptors = [_GrpcTraffic(traffic or Traffic())]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors) as channel:
            yield GrpcApi(channel)
    finally:
        await server.stop(0)
