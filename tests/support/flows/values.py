"""What tests of flows ask of an edge, and what comes back, in the same words for both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import grpc

ClientCredentials: TypeAlias = tuple[str, str | None]
"""A client's id and its secret; None for one that only names itself."""

TIMEOUT = 20.0


@dataclass(frozen=True)
class Tokens:
    """A completed login."""

    access_token: str = field(repr=False)
    expires_in: int
    scope: str = ""
    id_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    recovery_code: str = field(default="", repr=False)
    remember_token: str = field(default="", repr=False)
    """REST carries none."""
    remember_expires_at: float = 0


@dataclass(frozen=True)
class MfaRequired:
    """A second factor is awaited."""

    mfa_token: str = field(repr=False)
    wants: str
    """`challenge` or `enroll`; empty where the answer says neither."""
    types: tuple[str, ...]
    """Such as `otp`, in the words of the REST wire."""
    expires_at: float | None = None
    """Seconds since the Unix epoch; REST does not tell."""
    recovery_code: str = field(default="", repr=False)
    way: str = ""
    """How the first authenticator is enrolled, in the words of the REST wire; empty for within this login."""
    contact: str = ""
    """Whom to ask."""


@dataclass(frozen=True)
class Pending:
    """The challenge is not answered yet."""

    interval: float | None = None
    """Seconds; REST does not tell."""


@dataclass(frozen=True)
class Challenge:
    """A challenge is ready."""

    type: str
    oob_code: str = field(default="", repr=False)
    prompts: bool = False
    """Whether the user types a code that was sent."""
    number: str = field(default="", repr=False)
    """What the user types on the device."""
    authenticator_id: str = ""
    """REST does not tell."""
    expires_at: float | None = None
    """Seconds since the Unix epoch; REST does not tell."""
    public_key: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the browser's WebAuthn call takes."""


@dataclass(frozen=True)
class Enrollment:
    """What the user sees once."""

    secret: str = field(default="", repr=False)
    barcode_uri: str = field(default="", repr=False)
    oob_code: str = field(default="", repr=False)
    recovery_codes: tuple[str, ...] = field(default=(), repr=False)
    id: str = ""
    """REST does not tell."""
    public_key: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the browser's WebAuthn call takes."""


@dataclass(frozen=True)
class Row:
    """One authenticator."""

    id: str
    type: str
    """Such as `otp`, in the words of the REST wire; a plugin's kind."""
    active: bool
    name: str = ""


class Refused(Exception):
    """A refusal, as either edge showed it."""

    def __init__(
        self,
        reason: str,
        text: str,
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
        http_status: int | None = None,
        grpc_code: grpc.StatusCode | None = None,
        oauth: str = "",
    ) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason
        self.text = text
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})
        """Over REST only `hint`, `enrollment_way`, `contact`, and what the text was filled with."""
        self.http_status = http_status
        self.grpc_code = grpc_code
        self.oauth = oauth
        """`error` over REST."""


Outcome: TypeAlias = Tokens | MfaRequired | Pending


class Api(Protocol):
    """What both edges serve."""

    source: str
    """The end user's address, which a confidential client forwards; empty for none."""

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
    ) -> Tokens | MfaRequired: ...

    async def otp(
        self,
        client: ClientCredentials,
        mfa_token: str,
        otp: str,
        *,
        authenticator_id: str = "",
        request_id: str = "",
    ) -> Tokens | MfaRequired: ...

    async def oob(
        self,
        client: ClientCredentials,
        mfa_token: str,
        oob_code: str,
        binding_code: str = "",
        *,
        request_id: str = "",
    ) -> Outcome: ...

    async def recovery(
        self, client: ClientCredentials, mfa_token: str, code: str, *, request_id: str = ""
    ) -> Tokens | MfaRequired: ...

    async def webauthn(
        self, client: ClientCredentials, mfa_token: str, oob_code: str, credential: str, *, request_id: str = ""
    ) -> Tokens | MfaRequired: ...

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
    ) -> Tokens | MfaRequired: ...

    async def challenge(
        self,
        client: ClientCredentials,
        mfa_token: str,
        *,
        types: Sequence[str] = (),
        authenticator_id: str = "",
    ) -> Challenge: ...

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
    ) -> Enrollment: ...

    async def list(self, bearer: str) -> Sequence[Row]: ...

    async def rename(self, bearer: str, authenticator_id: str, name: str) -> Row: ...

    async def remove(self, bearer: str, authenticator_id: str) -> None: ...

    async def revoke(self, client: ClientCredentials, token: str) -> None: ...

    async def introspect(self, client: ClientCredentials, token: str) -> dict[str, Any]: ...

    async def keys(self) -> Sequence[dict[str, str]]: ...


class NotCarried(Exception):
    """The wire of this edge has no place for what the test asks."""


def settled(outcome: Outcome) -> Tokens | MfaRequired:
    """Return an outcome of a grant that never has to wait."""
    assert not isinstance(outcome, Pending)
    return outcome
