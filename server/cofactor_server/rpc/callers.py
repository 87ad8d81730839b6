"""Who may call what: one table, and how a call's credentials become its Caller (ADR-5).

Whose authenticators a call concerns is said by its bearer token. A client names a user in a request only with the
capability `users:manage`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Set
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from google.protobuf.descriptor import ServiceDescriptor

from cofactor_server.domain.callers import Access, Caller
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.clients import Capability, Client
from cofactor_server.domain.parties.operators import Operator, Role
from cofactor_server.errors import (
    BearerInvalid,
    BearerMissing,
    CallerNotAllowed,
    DeadlineExceeded,
    InsufficientScope,
    InvalidClient,
    MfaTokenForeign,
    MfaTokenMalformed,
    MissingParameter,
)
from cofactor_server.rpc import credentials
from cofactor_server.rpc.credentials import Credentials, Metadata
from cofactor_server.rpc.source import Sources
from cofactor_server.rpc.transport import certificates


class Callers(Protocol):
    """Verifies what callers present; `services.callers.authentication` does it."""

    async def client(self, client_id: str | None, secret: str | None, sans: Set[str], assertion: str | None) -> Client:
        """Return the client: by its secret, by its certificate's `sans`, by what it signed, or because it is public.

        Raises InvalidClient.
        """
        ...

    def login(self, mfa_token: str) -> Login:
        """Return the login an mfa_token stands for. Raises MfaTokenMalformed, MfaTokenExpired."""
        ...

    def access(self, token: str) -> Access:
        """Return what an access token for the MFA audience allows. Raises BearerInvalid."""
        ...

    def identity(self, token: str) -> Access:
        """Return what an access token for user info allows. Raises AccessTokenInvalid."""
        ...

    def operator(self, token: str) -> Operator:
        """Return who holds an operator's token. Raises BearerInvalid, OperatorTokenExpired."""
        ...

    async def follow_switches(self) -> None:
        """Know which factors operators have switched off, as of some seconds ago."""
        ...


@dataclass(frozen=True, slots=True)
class Anyone:
    """No credentials are asked for, and none are looked at."""


@dataclass(frozen=True, slots=True)
class ByClient:
    """A client, authenticated if it is confidential."""

    confidential: bool = False
    """Whether public clients are refused."""
    capability: Capability | None = None
    """What it must have been given."""

    def admits(self, client: Client) -> bool:
        """Whether a client that is who it says may call."""
        if self.confidential and not client.confidential:
            return False
        return self.capability is None or self.capability in client.capabilities


@dataclass(frozen=True, slots=True)
class ByDevice:
    """A paired device, or one that pairs: it signs each call, and `services.devices.calls` verifies that."""


@dataclass(frozen=True, slots=True)
class ByTicket:
    """The holder of an enrollment ticket, which is in the request: `services.authenticators.tickets` looks at it.

    No credentials are looked at, and yet the caller has a source, in which wrong tickets and codes are counted.
    """


@dataclass(frozen=True, slots=True)
class ByLogin:
    """A client with an mfa_token that was issued to it."""

    or_device: bool = False
    """Whether who presents nothing at all is let through as a device."""


@dataclass(frozen=True, slots=True)
class ByBearer:
    """A user's token; client credentials may be sent beside it, and are then verified."""

    scope: str
    """What an access token for the MFA audience must allow."""
    mfa_token: bool = False
    """Whether an mfa_token will do."""


@dataclass(frozen=True, slots=True)
class ByIdentity:
    """A user's access token for user info; nothing else is looked at."""

    scope: str = "openid"


@dataclass(frozen=True, slots=True)
class ByOperator:
    """The holder of an operator's token; nothing else is looked at."""

    scopes: tuple[str, ...]
    """Of which it must have one."""
    shows_or_picks_a_secret: bool = False
    """Whether it takes the role `admin` (S86)."""


Rule: TypeAlias = Anyone | ByClient | ByDevice | ByTicket | ByLogin | ByBearer | ByIdentity | ByOperator

RULES: Mapping[str, Rule] = {
    "/cofactor.v1.TokenService/IssueToken": ByClient(),
    "/cofactor.v1.TokenService/GetJsonWebKeySet": Anyone(),
    "/cofactor.v1.TokenService/RevokeToken": ByClient(),
    "/cofactor.v1.TokenService/IntrospectToken": ByClient(confidential=True),
    "/cofactor.v1.TokenService/CheckOrigin": Anyone(),
    "/cofactor.v1.TokenService/GetUserInfo": ByIdentity(),
    "/cofactor.v1.ChallengeService/CreateChallenge": ByLogin(),
    "/cofactor.v1.ChallengeService/WatchChallenge": ByLogin(),
    "/cofactor.v1.ChallengeService/AnswerChallenge": ByLogin(or_device=True),
    "/cofactor.v1.ChallengeService/WatchDevice": ByDevice(),
    "/cofactor.v1.AuthenticatorService/EnrollAuthenticator": ByBearer("enroll", mfa_token=True),
    "/cofactor.v1.AuthenticatorService/ListAuthenticators": ByBearer("read:authenticators", mfa_token=True),
    "/cofactor.v1.AuthenticatorService/GetAuthenticator": ByBearer("read:authenticators"),
    "/cofactor.v1.AuthenticatorService/UpdateAuthenticator": ByBearer("enroll"),
    "/cofactor.v1.AuthenticatorService/DeleteAuthenticator": ByBearer("remove:authenticators"),
    "/cofactor.v1.AuthenticatorService/PairDevice": ByDevice(),
    "/cofactor.v1.AuthenticatorService/CreateDeviceNonce": Anyone(),
    "/cofactor.v1.AuthenticatorService/UpdateDevice": ByDevice(),
    "/cofactor.v1.AuthenticatorService/RemoveDevice": ByDevice(),
    "/cofactor.v1.DeviceAccountService/EnrollDeviceAccount": ByDevice(),
    "/cofactor.v1.DeviceAccountService/ResolveTransaction": ByDevice(),
    "/cofactor.v1.DeviceAccountService/UpdateDeviceAccount": ByDevice(),
    "/cofactor.v1.DeviceAccountService/DeleteDeviceAccount": ByDevice(),
    "/cofactor.v1.DeviceAccountService/GetRichConsent": ByDevice(),
    "/cofactor.v1.EnrollmentTicketService/GetEnrollmentTicket": ByTicket(),
    "/cofactor.v1.EnrollmentTicketService/BeginEnrollment": ByTicket(),
    "/cofactor.v1.EnrollmentTicketService/ConfirmEnrollment": ByTicket(),
    "/cofactor.v1.PolicyService/ExplainDecision": ByClient(confidential=True, capability=Capability.USERS_MANAGE),
    "/grpc.health.v1.Health/Check": Anyone(),
    "/grpc.health.v1.Health/List": Anyone(),
    "/grpc.health.v1.Health/Watch": Anyone(),
    # Registered by a demo in test mode alone.
    "/cofactor.testing.v1.ClockService/GetTime": Anyone(),
    "/cofactor.testing.v1.ClockService/AdvanceTime": Anyone(),
    "/cofactor.testing.v1.OutboxService/ListMessages": Anyone(),
    # Registered only when asked for.
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Anyone(),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Anyone(),
}

ADMIN_RULES: Mapping[str, Rule] = {
    "/cofactor.admin.v1.FactorService/ListFactors": ByOperator(("read:guardian_factors",)),
    "/cofactor.admin.v1.FactorService/SetFactor": ByOperator(("update:guardian_factors",)),
    "/cofactor.admin.v1.FactorService/GetMessageTypes": ByOperator(("read:guardian_factors",)),
    "/cofactor.admin.v1.FactorService/SetMessageTypes": ByOperator(("update:guardian_factors",)),
    "/cofactor.admin.v1.FactorService/GetPolicies": ByOperator(("read:mfa_policies",)),
    "/cofactor.admin.v1.FactorService/SetPolicies": ByOperator(("update:mfa_policies",)),
    "/cofactor.admin.v1.EnrollmentService/GetUser": ByOperator(("read:users", "update:users")),
    "/cofactor.admin.v1.EnrollmentService/CreateEnrollmentTicket": ByOperator(("create:guardian_enrollment_tickets",)),
    "/cofactor.admin.v1.EnrollmentService/GetEnrollment": ByOperator(("read:guardian_enrollments",)),
    "/cofactor.admin.v1.EnrollmentService/DeleteEnrollment": ByOperator(("delete:guardian_enrollments",)),
    "/cofactor.admin.v1.EnrollmentService/ListEnrollments": ByOperator(("read:users",)),
    "/cofactor.admin.v1.EnrollmentService/DeleteEnrollments": ByOperator(("delete:guardian_enrollments",)),
    "/cofactor.admin.v1.EnrollmentService/ForgetBrowsers": ByOperator(("update:users",)),
    "/cofactor.admin.v1.EnrollmentService/RegenerateRecoveryCode": ByOperator(("update:users",), True),
    "/cofactor.admin.v1.AuthenticationMethodService/ListAuthenticationMethods": ByOperator(
        ("read:authentication_methods",)
    ),
    "/cofactor.admin.v1.AuthenticationMethodService/GetAuthenticationMethod": ByOperator(
        ("read:authentication_methods",)
    ),
    "/cofactor.admin.v1.AuthenticationMethodService/AddAuthenticationMethod": ByOperator(
        ("create:authentication_methods",), True
    ),
    "/cofactor.admin.v1.AuthenticationMethodService/ReplaceAuthenticationMethods": ByOperator(
        ("update:authentication_methods",), True
    ),
    "/cofactor.admin.v1.AuthenticationMethodService/UpdateAuthenticationMethod": ByOperator(
        ("update:authentication_methods",)
    ),
    "/cofactor.admin.v1.AuthenticationMethodService/DeleteAuthenticationMethod": ByOperator(
        ("delete:authentication_methods",)
    ),
    "/cofactor.admin.v1.AuthenticationMethodService/DeleteAuthenticationMethods": ByOperator(
        ("delete:authentication_methods",)
    ),
}
"""Of calls that are registered on an address of their own alone: nothing in `RULES` admits an operator."""


class RuleMissing(Exception):
    """An RPC has no row in the table; the server does not start."""


def check_complete(services: Iterable[ServiceDescriptor], rules: Mapping[str, Rule] = RULES) -> None:
    """Raise RuleMissing, naming the method, unless every method of `services` has a row."""
    for service in services:
        for method in service.methods:
            if f"/{service.full_name}/{method.name}" not in rules:
                raise RuleMissing(f"/{service.full_name}/{method.name} has no row in rpc/callers.py")


_CALLER: ContextVar[Caller] = ContextVar("caller")


def admitted() -> Caller:
    """Return the caller of the call that is being served; for servicers, which hand it on as an argument."""
    return _CALLER.get()


class Admission:
    """Enforces the table.

    Args:
        callers: Verifies credentials.
        sources: Tells where a call comes from.
        rules: The table; a composition with services of its own adds their rows.
    """

    def __init__(self, callers: Callers, sources: Sources, rules: Mapping[str, Rule] = RULES) -> None:
        self._callers = callers
        self._sources = sources
        self._rules = rules

    def rule(self, method: str) -> Rule | None:
        """Return the row of a full method name; None refuses every call."""
        return self._rules.get(method)

    async def admit(self, rule: Rule | None, context: Any, metadata: Metadata) -> Caller:
        """Return the caller, known to `admitted` from now on.

        Args:
            rule: The row of the method that is called.
            context: The call's.
            metadata: The call's, which the context would put together once more.

        Raises:
            CofactorError: The rule is not met; the reason says how.
        """
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:
            raise DeadlineExceeded
        deadline = None if remaining is None else asyncio.get_running_loop().time() + remaining
        if not isinstance(rule, Anyone):
            await self._callers.follow_switches()
        match rule:
            case ByClient() | ByLogin() | ByBearer():
                presented = credentials.read(metadata)
                client, login, access = await self._verified(rule, presented, context)
                source = self._sources.of(context, client, presented)
                caller = Caller(client, login, access, source, deadline, accepted_languages=presented.languages)
            case Anyone() | ByDevice():
                caller = Caller(deadline=deadline)
            case ByOperator():
                caller = Caller(operator=self._operator(rule, credentials.read(metadata).bearer), deadline=deadline)
            case ByTicket():
                presented = credentials.read(metadata)
                source = self._sources.of_stranger(context, presented)
                caller = Caller(source=source, deadline=deadline, accepted_languages=presented.languages)
            case ByIdentity(scope):
                presented = credentials.read(metadata)
                caller = Caller(access=self._identity(scope, presented.bearer), deadline=deadline)
            case _:
                raise CallerNotAllowed
        _CALLER.set(caller)
        return caller

    async def _verified(
        self, rule: ByClient | ByLogin | ByBearer, presented: Credentials, context: Any
    ) -> tuple[Client | None, Login | None, Access | None]:
        match rule:
            case ByClient():
                client = await self._client(presented, context)
                if not rule.admits(client):
                    raise CallerNotAllowed
                return client, None, None
            case ByLogin(or_device=True) if not presented.of_client and presented.bearer is None:
                return None, None, None
            case ByLogin():
                client = await self._client(presented, context)
                own = self._login(presented.bearer)
                if own.client_id != client.id:
                    raise MfaTokenForeign
                return client, own, None
            case ByBearer():
                login, access = self._bearer(rule, presented.bearer)
                if not presented.of_client:
                    return None, login, access
                beside = await self._client(presented, context)
                if login is not None and beside.id != login.client_id:
                    raise MfaTokenForeign
                if access is not None and beside.id != access.client_id:
                    raise BearerInvalid
                return beside, login, access

    async def _client(self, presented: Credentials, context: Any) -> Client:
        if not presented.of_client:
            raise InvalidClient
        secret, assertion = presented.secret, presented.assertion
        sans = certificates.sans(context) if secret is None and assertion is None else frozenset()
        client = await self._callers.client(presented.client_id, secret, sans, assertion)
        if client.confidential and secret is None and assertion is None and client.tls_san not in sans:
            raise InvalidClient  # whatever the service thinks of it
        return client

    def _login(self, token: str | None) -> Login:
        if token is None:
            raise MissingParameter(parameter="mfa_token")
        if not token or _is_access_token(token):
            raise MfaTokenMalformed
        return self._callers.login(token)

    def _identity(self, scope: str, token: str | None) -> Access:
        if token is None:
            raise BearerMissing
        access = self._callers.identity(token)
        if scope not in access.scopes:
            raise InsufficientScope(scopes=scope)
        return access

    def _operator(self, rule: ByOperator, token: str | None) -> Operator:
        if token is None:
            raise BearerMissing
        operator = self._callers.operator(token)
        if not operator.scopes.intersection(rule.scopes):
            raise InsufficientScope(scopes=", ".join(rule.scopes))
        if rule.shows_or_picks_a_secret and operator.role is not Role.ADMIN:
            raise CallerNotAllowed
        return operator

    def _bearer(self, rule: ByBearer, token: str | None) -> tuple[Login | None, Access | None]:
        if token is None:
            raise BearerMissing
        if _is_access_token(token):
            access = self._callers.access(token)
            if rule.scope not in access.scopes:
                raise InsufficientScope(scopes=rule.scope)
            return None, access
        if not token or not rule.mfa_token:
            raise BearerInvalid
        try:
            return self._callers.login(token), None
        except MfaTokenMalformed:
            raise BearerInvalid from None


def _is_access_token(token: str) -> bool:
    """Tell an access token, a JWS in compact form, from an mfa_token, which has no dots (S106)."""
    return token.count(".") == 2
