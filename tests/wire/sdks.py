"""What the SDKs with an MFA client have in common, so that one test can be run with each."""

import asyncio
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.wire.node import Driver, SdkError
from tests.wire.tenant import Person, Tenant

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK's own, while it is imported
    from auth0_server_python.auth_server.mfa_client import MfaClient
    from auth0_server_python.error import MfaApiError

SCOPE = "openid profile email offline_access"
"""What auth0-spa-js asks for by itself, with refresh tokens."""


@dataclass(frozen=True)
class Authenticator:
    """A row of the list, as the SDK hands it out."""

    id: str
    authenticator_type: str
    active: bool
    type: str
    name: str = ""


@dataclass(frozen=True)
class Enrollment:
    """What an enrollment shows."""

    authenticator_type: str
    secret: str = field(default="", repr=False)
    barcode_uri: str = field(default="", repr=False)
    recovery_codes: Sequence[str] = field(default=(), repr=False)
    oob_channel: str = ""
    oob_code: str = field(default="", repr=False)
    binding_method: str = ""


@dataclass(frozen=True)
class Challenge:
    """What a challenge tells."""

    challenge_type: str
    oob_code: str = field(default="", repr=False)
    binding_method: str = ""
    number: str = field(default="", repr=False)
    """What the user types on the device, where the SDK hands on members that it does not know."""


@dataclass(frozen=True)
class Tokens:
    """What a verification brings."""

    access_token: str = field(repr=False)
    id_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    scope: str = ""
    recovery_code: str = field(default="", repr=False)


class Refused(Exception):
    """What an application catches: the SDK's class of error, and what the answer said."""

    def __init__(self, kind: str, error: str | None, description: str | None) -> None:
        super().__init__(f"{kind}: {error}: {description}")
        self.kind = kind
        self.literals = (error, description)


class Sdk(Protocol):
    """One SDK, in the words of none of them. Every call raises `Refused`; a token is the SDK's own form of one."""

    def login(self, person: Person, *, manages: bool = False) -> str:
        """Log in with the password, and return the mfa_token as the SDK passes it to an application.

        Args:
            person: Who.
            manages: Whether the tokens are to add and remove authenticators.
        """

    def held(self, token: str) -> str:
        """Return a token as the SDK holds it, whoever got it."""

    def list(self, token: str) -> Sequence[Authenticator]:
        """List the authenticators."""

    def enroll(self, token: str, factor: str, destination: str = "") -> Enrollment:
        """Begin an enrollment of `otp`, `sms`, `voice`, `email` or `push`."""

    def challenge(self, token: str, challenge_type: str, authenticator_id: str = "") -> Challenge:
        """Ask for a challenge."""

    def verify(self, token: str, **proof: str) -> Tokens:
        """Verify `otp`, `oob_code` with or without `binding_code`, or `recovery_code`."""

    def delete(self, token: str, authenticator_id: str) -> None:
        """Delete an authenticator."""


class AuthJs:
    """@auth0/auth0-auth-js, as a confidential client."""

    def __init__(self, tenant: Tenant, driver: Driver) -> None:
        self._tenant = tenant
        self._client = driver.make(
            "AuthClient", domain=tenant.domain, clientId=tenant.client_id, clientSecret=tenant.client_secret
        )

    def login(self, person: Person, *, manages: bool = False) -> str:
        given = {"username": person.name, "password": person.password, **self._tenant.target(SCOPE, manages)}
        try:
            self._client.call("getTokenByPassword", given)
        except SdkError as error:
            if not error.said["is_mfa_required"]:
                raise _refused(error) from None
            token: str = error.said["cause"]["mfa_token"]
            return token
        raise AssertionError("no second factor was asked for")

    def held(self, token: str) -> str:
        return token

    def list(self, token: str) -> Sequence[Authenticator]:
        return _rows(self._call("mfa.listAuthenticators", {"mfaToken": token}))

    def enroll(self, token: str, factor: str, destination: str = "") -> Enrollment:
        kind: dict[str, Any]
        match factor:
            case "sms" | "voice":
                kind = {"authenticatorTypes": ["oob"], "oobChannels": [factor], "phoneNumber": destination}
            case "email":
                kind = {"authenticatorTypes": ["oob"], "oobChannels": ["email"], "email": destination}
            case "push":
                kind = {"authenticatorTypes": ["oob"], "oobChannels": ["auth0"]}
            case _:
                kind = {"authenticatorTypes": [factor]}
        return _enrollment(self._call("mfa.enrollAuthenticator", {"mfaToken": token, **kind}))

    def challenge(self, token: str, challenge_type: str, authenticator_id: str = "") -> Challenge:
        given = {"mfaToken": token, "challengeType": challenge_type, "authenticatorId": authenticator_id}
        return _challenge(self._call("mfa.challengeAuthenticator", given))

    def verify(self, token: str, **proof: str) -> Tokens:
        factor = next(f for m, f in _FACTOR_TYPES.items() if m in proof)
        said = self._call("mfa.verify", {"mfaToken": token, "factorType": factor, **_camel(proof)})
        return Tokens(
            said["accessToken"],
            said.get("idToken", ""),
            said.get("refreshToken", ""),
            said.get("scope", ""),
            said.get("recoveryCode", ""),
        )

    def delete(self, token: str, authenticator_id: str) -> None:
        self._call("mfa.deleteAuthenticator", {"mfaToken": token, "authenticatorId": authenticator_id})

    def _call(self, path: str, given: Mapping[str, Any]) -> Any:
        try:
            return self._client.call(path, given)
        except SdkError as error:
            raise _refused(error) from None


class SpaJs:
    """@auth0/auth0-spa-js, as a public client. It has no password grant, and hears of logins that began elsewhere."""

    def __init__(self, tenant: Tenant, driver: Driver) -> None:
        self._tenant = tenant
        self._client = driver.make(
            "Auth0Client",
            domain=tenant.domain,
            clientId=tenant.public_client_id,
            useRefreshTokens=True,
            useMrrt=True,
        )

    def login(self, person: Person, *, manages: bool = False) -> str:
        target = self._tenant.target(SCOPE, manages)
        token = self._tenant.mfa_token(person, target, public=True)
        self._client.call("mfa.setMFAAuthDetails", token, target["scope"], target.get("audience"))
        return token

    def held(self, token: str) -> str:
        self._client.call("mfa.setMFAAuthDetails", token, SCOPE)
        return token

    def list(self, token: str) -> Sequence[Authenticator]:
        return _rows(self._call("mfa.getAuthenticators", token))

    def enroll(self, token: str, factor: str, destination: str = "") -> Enrollment:
        place = "email" if factor == "email" else "phoneNumber"
        given = {"mfaToken": token, "factorType": factor, **({place: destination} if destination else {})}
        return _enrollment(self._call("mfa.enroll", given))

    def challenge(self, token: str, challenge_type: str, authenticator_id: str = "") -> Challenge:
        given = {"mfaToken": token, "challengeType": challenge_type, "authenticatorId": authenticator_id}
        return _challenge(self._call("mfa.challenge", given))

    def verify(self, token: str, **proof: str) -> Tokens:
        said = self._call("mfa.verify", {"mfaToken": token, **_camel(proof)})
        return _tokens(said)

    def delete(self, token: str, authenticator_id: str) -> None:
        raise NotImplementedError("the SDK deletes nothing")

    def _call(self, path: str, *given: Any) -> Any:
        try:
            return self._client.call(path, *given)
        except SdkError as error:
            raise _refused(error) from None


class ServerPython:
    """auth0-server-python, as a confidential client; it hands out mfa_tokens sealed by itself."""

    def __init__(self, tenant: Tenant, *, client_secret: str = "") -> None:
        self._tenant = tenant
        self._client = MfaClient(
            domain=tenant.domain,
            client_id=tenant.client_id,
            client_secret=client_secret or tenant.client_secret,
            secret="a secret of the application, 32 characters at least",
        )

    def login(self, person: Person, *, manages: bool = False) -> str:
        return self.held(self._tenant.mfa_token(person, self._tenant.target(SCOPE, manages)))

    def held(self, token: str) -> str:
        sealed: str = self._client._encrypt_mfa_token(raw_mfa_token=token, audience="", scope=SCOPE)
        return sealed

    def list(self, token: str) -> Sequence[Authenticator]:
        found = self._run(self._client.list_authenticators({"mfa_token": token}))
        return [Authenticator(r.id, r.authenticator_type, r.active, r.type, r.name or "") for r in found]

    def enroll(self, token: str, factor: str, destination: str = "") -> Enrollment:
        place = "email" if factor == "email" else "phone_number"
        given = {"mfa_token": token, "factor_type": "auth0" if factor == "push" else factor, place: destination}
        said = self._run(self._client.enroll_authenticator(given)).model_dump(exclude_none=True)
        return Enrollment(**said)

    def challenge(self, token: str, challenge_type: str, authenticator_id: str = "") -> Challenge:
        factor = {"oob": "sms"}.get(challenge_type, challenge_type)
        given = {"mfa_token": token, "factor_type": factor, "authenticator_id": authenticator_id}
        said = self._run(self._client.challenge_authenticator(given))
        number = (said.model_extra or {}).get("number", "")
        return Challenge(said.challenge_type, said.oob_code or "", said.binding_method or "", number)

    def verify(self, token: str, **proof: str) -> Tokens:
        return _tokens(self._run(self._client.verify({"mfa_token": token, **proof})).model_dump(exclude_none=True))

    def delete(self, token: str, authenticator_id: str) -> None:
        raise NotImplementedError

    def _run(self, coroutine: Any) -> Any:
        async def awaited() -> Any:
            return await coroutine

        try:
            return asyncio.run(awaited())
        except MfaApiError as error:
            cause = error.cause or {}
            raise Refused(type(error).__name__, cause.get("error"), cause.get("error_description")) from None


_FACTOR_TYPES = {"otp": "otp", "oob_code": "oob", "recovery_code": "recovery-code"}


def _camel(members: Mapping[str, str]) -> dict[str, str]:
    return {
        first + "".join(word.capitalize() for word in rest): value
        for (first, *rest), value in ((name.split("_"), value) for name, value in members.items())
    }


def _rows(said: Sequence[Mapping[str, Any]]) -> Sequence[Authenticator]:
    return [
        Authenticator(row["id"], row["authenticatorType"], row["active"], row["type"], row.get("name", ""))
        for row in said
    ]


def _enrollment(said: Mapping[str, Any]) -> Enrollment:
    return Enrollment(
        said["authenticatorType"],
        said.get("secret", ""),
        said.get("barcodeUri", ""),
        said.get("recoveryCodes", ()),
        said.get("oobChannel", ""),
        said.get("oobCode", ""),
        said.get("bindingMethod", ""),
    )


def _challenge(said: Mapping[str, Any]) -> Challenge:
    return Challenge(said["challengeType"], said.get("oobCode", ""), said.get("bindingMethod", ""))


def _tokens(said: Mapping[str, Any]) -> Tokens:
    names = ("id_token", "refresh_token", "scope", "recovery_code")
    return Tokens(said["access_token"], *(said.get(name, "") for name in names))


def _refused(error: SdkError) -> Refused:
    return Refused(error.said["class"], *error.literals)
