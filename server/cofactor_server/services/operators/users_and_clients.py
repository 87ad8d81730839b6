"""Manages users and clients for operators; read access to the keyring is the authority (ADR-5)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cofactor_server.domain.authenticators.acr import FIRST_FACTOR_METHODS
from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.endings import Opened
from cofactor_server.domain.foundation.encoding import base64url
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.browsers import MOST_DAYS
from cofactor_server.domain.parties.clients import MFA_GRANTS, Capability, Client, GrantType
from cofactor_server.domain.parties.users import Enrollment, MfaPolicy, User
from cofactor_server.errors import InvalidRequest
from cofactor_server.origin import is_loopback
from cofactor_server.seams import Clock, Entropy, new_id
from cofactor_server.services.authenticators.imports import Seed, TokenImports
from cofactor_server.services.messages.notices import Recipients
from cofactor_server.services.messages.profile_addresses import ProfileAddresses
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.transactions.refusals import Conflict, Missing
from cofactor_server.store.repositories import accounts, queries
from cofactor_server.vault import client_keys
from cofactor_server.vault.digests import sha256
from cofactor_server.vault.passwords import Passwords

SECRET_OCTETS = 32

_san = re.compile(r"dns:(?=.{1,253}\Z)[a-z0-9_-]+(\.[a-z0-9_-]+)*|uri:[a-z][a-z0-9+.-]*:[!-~]{1,2048}").fullmatch
"""Names that a certificate can contain exactly as written: comparison neither decodes nor folds them."""


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be created."""

    realm: str
    subject: str
    password: str = field(repr=False)
    """Empty for users whose first factor another system verifies."""
    label: str = ""
    mfa_policy: MfaPolicy | None = None
    email: str = ""
    email_verified: bool = False
    """Whether the address is known to be the user's: codes then go there, and it can't be removed."""


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client to be created; its secret is generated at random, never chosen (ADR-10)."""

    name: str
    public: bool = False
    grant_types: frozenset[GrantType] = frozenset()
    """The MFA grants are enabled together: naming one enables all of them."""
    capabilities: frozenset[Capability] = frozenset()
    audiences: tuple[str, ...] = ()
    algorithm: str = "RS256"
    realms: tuple[str, ...] = ()
    vouch_methods: tuple[str, ...] = ("pwd",)
    mfa_policy: MfaPolicy | None = None
    enrollment: Enrollment = Enrollment.AT_LOGIN
    remember_days: int = 30
    """How many days its users' browsers may be remembered."""
    tls_san: str = ""
    """Instead of a secret, the subject alternative name of its certificates; see `Client.tls_san`."""
    origins: tuple[str, ...] = ()
    """The origins of web pages that may read responses to the client; none by default (ADR-25)."""
    jwks: str = ""
    """Instead of a secret, the public keys of its signatures: a JSON Web Key Set (RFC 7517 section 5)."""


class Operators:
    """Creates, lists, resets and deletes users and clients."""

    def __init__(
        self,
        records: Records,
        passwords: Passwords,
        addresses: ProfileAddresses,
        recipients: Recipients,
        tokens: TokenImports,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._records = records
        self._passwords = passwords
        self._addresses = addresses
        self._recipients = recipients
        self._tokens = tokens
        self._clock = clock
        self._entropy = entropy

    async def create_user(self, new: NewUser) -> User:
        """Create a user.

        Raises:
            Conflict: The realm has this subject already.
            InvalidRequest: The name is empty, the password has more than 1,024 bytes, or the address is invalid.
        """
        if not new.realm or not new.subject:
            raise InvalidRequest(violations=(("subject", "must not be empty"),))
        self._check_address(new.email, verified=new.email_verified)
        try:
            password_hash = await self._passwords.hash(new.password) if new.password else ""
        except ValueError as error:
            raise InvalidRequest(violations=(("password", str(error)),)) from None
        user = User(
            id=new_id(self._entropy, "usr_"),
            realm=new.realm,
            subject=new.subject,
            label=new.label,
            epoch=1,
            blocked=False,
            created_at=self._clock.now(),
            mfa_policy=new.mfa_policy,
            password_hash=password_hash,
            email=new.email,
            email_verified=new.email_verified,
        )
        if not await self._records.change(accounts.add_user, user, self._addresses.of(user)):
            raise Conflict
        return user

    async def set_email(self, realm: str, subject: str, email: str, *, verified: bool) -> User:
        """Set or clear the address of a user's profile; the user is notified.

        Raises:
            Missing: There is no such user.
            InvalidRequest: The address is invalid.
        """
        self._check_address(email, verified=verified)

        def changed(user: User) -> User:
            return replace(user, email=email, email_verified=verified)

        user = await self._records.change(
            accounts.change_address,
            realm,
            subject,
            changed,
            self._addresses.of,
            self._recipients.sealed,
            self._clock.now(),
        )
        if user is None:
            raise Missing
        return user

    async def users(self, realm: str = "") -> list[tuple[User, list[Authenticator]]]:
        """Return the users of a realm, or all users if it is empty, with their authenticators."""
        return await self._records.read(accounts.users, realm)

    async def user(self, realm: str, subject: str) -> User:
        """Return a user.

        Raises:
            Missing: There is no such user.
        """
        user = await self._records.read(queries.user_named, realm, subject)
        if user is None:
            raise Missing
        return user

    async def delete_user(self, realm: str, subject: str) -> User:
        """Delete a user and all of the user's data; the user's tokens stop working.

        Raises:
            Missing: There is no such user.
        """
        user = await self._records.change(accounts.delete_user, realm, subject, self._clock.now())
        if user is None:
            raise Missing
        return user

    async def reset_mfa(self, realm: str, subject: str, *, enroll_at_login: bool = False) -> int:
        """Remove every authenticator of a user, and revoke every token issued before.

        Afterwards the user enrolls by ticket only, unless `enroll_at_login` is true. An attacker who has the password
        and persuaded the help desk to reset gains nothing at a login (ADR-3).

        Returns:
            How many authenticators were removed.

        Raises:
            Missing: There is no such user.
        """
        now = self._clock.now()
        removed = await self._records.change(
            accounts.reset_mfa, realm, subject, enroll_at_login, self._recipients.sealed, now
        )
        if removed is None:
            raise Missing
        return removed

    async def sign_out(self, realm: str, subject: str) -> Opened:
        """Revoke everything that a user has open: every refresh token, remembered browser, mfa_token and access token.

        Returns:
            What was open.

        Raises:
            Missing: There is no such user.
        """
        ended = await self._records.change(accounts.sign_out, realm, subject, self._clock.now())
        if ended is None:
            raise Missing
        return ended

    async def forget_browsers(self, realm: str, subject: str) -> int:
        """Forget every remembered browser of a user, so that each needs a second factor again.

        Returns:
            How many there were.

        Raises:
            Missing: There is no such user.
        """
        forgotten = await self._records.change(accounts.forget_browsers, realm, subject)
        if forgotten is None:
            raise Missing
        return forgotten

    async def set_blocked(self, realm: str, subject: str, *, blocked: bool) -> User:
        """Block a user and revoke every token issued before, or unblock the user.

        Raises:
            Missing: There is no such user.
        """

        def changed(user: User) -> User:
            return replace(user, blocked=blocked, epoch=user.epoch + (1 if blocked else 0))

        user = await self._records.change(accounts.change_user, realm, subject, changed)
        if user is None:
            raise Missing
        return user

    async def set_password(self, realm: str, subject: str, password: str) -> User:
        """Set a user's password, and revoke every token issued before.

        Raises:
            Missing: There is no such user.
            InvalidRequest: The password is empty or has more than 1,024 bytes.
        """
        if not password:
            raise InvalidRequest(violations=(("password", "must not be empty"),))
        try:
            password_hash = await self._passwords.hash(password)
        except ValueError as error:
            raise InvalidRequest(violations=(("password", str(error)),)) from None

        def changed(user: User) -> User:
            return replace(user, password_hash=password_hash, epoch=user.epoch + 1)

        user = await self._records.change(accounts.change_user, realm, subject, changed)
        if user is None:
            raise Missing
        return user

    async def import_tokens(self, realm: str, seeds: Sequence[Seed], *, allow_short: bool = False) -> int:
        """Import hardware tokens and bind them to users; see `TokenImports.add`.

        Raises:
            ImportRefused: At least one token can't be bound; no token was bound.
        """
        return await self._tokens.add(realm, seeds, allow_short=allow_short)

    def _check_address(self, email: str, *, verified: bool) -> None:
        if email:
            self._addresses.check(email)
        elif verified:
            raise InvalidRequest(violations=(("email", "must be there to be verified"),))

    async def create_client(self, new: NewClient) -> tuple[Client, str]:
        """Create a client.

        Returns:
            The client and its secret, which is never shown again; the secret is empty for a client that has none.

        Raises:
            InvalidRequest: A property is invalid, or properties contradict each other.
        """
        jwks = _check(new)
        secret = "" if new.public or new.tls_san or new.jwks else base64url(self._entropy.octets(SECRET_OCTETS))
        grant_types = new.grant_types | (MFA_GRANTS if new.grant_types & MFA_GRANTS else frozenset())
        client = Client(
            id=new_id(self._entropy, "cli_"),
            name=new.name,
            created_at=self._clock.now(),
            secret_sha256=sha256(secret) if secret else b"",
            grant_types=grant_types,
            capabilities=new.capabilities,
            audiences=new.audiences,
            algorithm=new.algorithm,
            realms=new.realms,
            vouch_methods=new.vouch_methods,
            mfa_policy=new.mfa_policy,
            enrollment=new.enrollment,
            tls_san=new.tls_san,
            remember_days=new.remember_days,
            jwks=jwks,
            origins=tuple(dict.fromkeys(new.origins)),
        )
        await self._records.change(accounts.add_client, client)
        return client, secret

    async def clients(self) -> list[Client]:
        """Return every client."""
        return await self._records.read(accounts.clients)

    async def delete_client(self, client_id: str) -> None:
        """Delete a client; its decisions are refused from now on, and its introspection calls after five seconds.

        Raises:
            Missing: There is no such client.
        """
        if not await self._records.change(accounts.delete_client, client_id):
            raise Missing


def _check(new: NewClient) -> str:  # noqa: C901 - one condition each
    """Check a new client, and return its keys in the form to register."""
    jwks, violations = _keys(new)
    violations += _strange_origins(new)
    if not new.name:
        violations.append(("name", "must not be empty"))
    if new.algorithm not in ("RS256", "ES256"):
        violations.append(("algorithm", "is RS256 or ES256"))
    if not 0 <= new.remember_days <= MOST_DAYS:
        violations.append(("remember_days", f"is from 0 to {MOST_DAYS}"))
    if new.public and new.capabilities:
        violations.append(("capabilities", "are for confidential clients"))
    if new.public and new.tls_san:
        violations.append(("tls_san", "is for confidential clients"))
    if new.tls_san and not _san(new.tls_san):
        violations.append(("tls_san", "is dns: and a name in lower case without wildcard, or uri: and a URI"))
    vouches = Capability.VOUCH in new.capabilities
    if vouches != (GrantType.VOUCHED in new.grant_types):
        violations.append(("grant_types", "vouching takes the grant and the capability"))
    if vouches and not new.realms:
        violations.append(("realms", "must be listed for a client that vouches"))
    if not FIRST_FACTOR_METHODS.issuperset(new.vouch_methods):
        violations.append(("vouch_methods", f"are among {', '.join(sorted(FIRST_FACTOR_METHODS))}"))
    if violations:
        raise InvalidRequest(violations=tuple(violations))
    return jwks


def _strange_origins(new: NewClient) -> list[tuple[str, str]]:
    if all(map(_is_origin, new.origins)):
        return []
    return [("origins", "are like https://app.example.com: in lower case, without path and wildcard")]


def _is_origin(text: str) -> bool:
    """Whether a browser could send this as the origin of a page that was loaded securely (RFC 6454 section 6.2)."""
    try:
        parts = urlsplit(text)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return False
    host = parts.hostname or ""
    bare = f"[{host}]" if ":" in host else host
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    default = port == {"https": ":443", "http": ":80"}.get(parts.scheme)
    return safe and "*" not in host and not default and text == f"{parts.scheme}://{bare}{port}" and text.isascii()


def _keys(new: NewClient) -> tuple[str, list[tuple[str, str]]]:
    """Return the client's keys in the form to register, and what is wrong with them."""
    if not new.jwks:
        return "", []
    if new.public or new.tls_san:
        return "", [("jwks", "is for confidential clients that are not known by a certificate")]
    try:
        return client_keys.normalized(new.jwks), []
    except client_keys.KeySetInvalid as error:
        return "", [("jwks", str(error))]
