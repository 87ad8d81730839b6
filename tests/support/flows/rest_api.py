"""The REST edge as a client sees it, within this process; each answer is as /openapi.json describes it."""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import httpx2
from cofactor_server import errors
from cofactor_server.rest.application import HttpApplication

from tests.support.flows.traffic import Traffic
from tests.support.flows.values import (
    TIMEOUT,
    Challenge,
    ClientCredentials,
    Enrollment,
    MfaRequired,
    NotCarried,
    Outcome,
    Pending,
    Refused,
    Row,
    Tokens,
    settled,
)
from tests.support.world import ISSUER, World
from tests.unit.rest.conftest import DescribedTransport

AUTH0 = "http://auth0.com/oauth/grant-type/"


class RestApi:
    """The REST edge; `http` is open to tests that send what no client would."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.source = ""

    async def issue(self, client: ClientCredentials, grant_type: str, **members: Any) -> Outcome:
        """Post to the token endpoint; members that are empty are left out."""
        given = {name: value for name, value in members.items() if value not in ("", None)}
        body = {**_credentials(client), "grant_type": grant_type, **given}
        response = await self.http.post("/oauth/token", json=body, headers=self._headers())
        said = response.json()
        match response.status_code, said.get("error"):
            case 200, None:
                assert said.pop("token_type") == "Bearer"
                return Tokens(**said)
            case 403, "mfa_required":
                return _mfa_required(said)
            case 400, "authorization_pending":
                return Pending()
        raise _refused(response)

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
    ) -> Tokens | MfaRequired:
        _carries_no(request_id=request_id)
        grant_type = f"{AUTH0}password-realm" if realm else "password"
        members: dict[str, Any] = {
            "username": username,
            "password": password,
            "realm": realm,
            "scope": scope,
            "audience": audience,
        }
        members |= {"acr_values": " ".join(acr_values), "max_age": max_age}
        return settled(await self.issue(client, grant_type, **members))

    async def otp(
        self,
        client: ClientCredentials,
        mfa_token: str,
        otp: str,
        *,
        authenticator_id: str = "",
        request_id: str = "",
    ) -> Tokens | MfaRequired:
        _carries_no(authenticator_id=authenticator_id, request_id=request_id)
        return settled(await self.issue(client, f"{AUTH0}mfa-otp", mfa_token=mfa_token, otp=otp))

    async def oob(
        self,
        client: ClientCredentials,
        mfa_token: str,
        oob_code: str,
        binding_code: str = "",
        *,
        request_id: str = "",
    ) -> Outcome:
        _carries_no(request_id=request_id)
        members = {"mfa_token": mfa_token, "oob_code": oob_code, "binding_code": binding_code}
        return await self.issue(client, f"{AUTH0}mfa-oob", **members)

    async def recovery(
        self, client: ClientCredentials, mfa_token: str, code: str, *, request_id: str = ""
    ) -> Tokens | MfaRequired:
        _carries_no(request_id=request_id)
        members = {"mfa_token": mfa_token, "recovery_code": code}
        return settled(await self.issue(client, f"{AUTH0}mfa-recovery-code", **members))

    async def webauthn(
        self, client: ClientCredentials, mfa_token: str, oob_code: str, credential: str, *, request_id: str = ""
    ) -> Tokens | MfaRequired:
        """Present what the browser returned, as JSON."""
        _carries_no(request_id=request_id)
        members = {"mfa_token": mfa_token, "oob_code": oob_code, "credential": credential}
        return settled(await self.issue(client, f"{AUTH0}mfa-webauthn", **members))

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
        _carries_no(request_id=request_id)
        members: dict[str, Any] = {"refresh_token": refresh_token, "scope": scope, "audience": audience}
        members |= {"acr_values": " ".join(acr_values), "max_age": max_age}
        return settled(await self.issue(client, "refresh_token", **members))

    async def challenge(
        self,
        client: ClientCredentials,
        mfa_token: str,
        *,
        types: Sequence[str] = (),
        authenticator_id: str = "",
    ) -> Challenge:
        members = {
            "mfa_token": mfa_token,
            "challenge_type": " ".join(types),
            "authenticator_id": authenticator_id,
        }
        body = {**_credentials(client), **{name: value for name, value in members.items() if value}}
        said = (await self._ok(self.http.post("/mfa/challenge", json=body, headers=self._headers()))).json()
        return Challenge(
            type=said["challenge_type"],
            oob_code=said.get("oob_code", ""),
            prompts=said.get("binding_method") == "prompt",
            number=said.get("number", ""),
            public_key=said.get("authn_params_public_key", {}),
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
        _carries_no(algorithm=algorithm, digits=digits, period=period, count=count)
        wanted: dict[str, Any]
        match kind:
            case "totp":
                wanted = {"authenticator_types": ["otp"]}
            case "sms":
                wanted = {"authenticator_types": ["oob"], "oob_channels": ["sms"], "phone_number": destination}
            case "voice":
                wanted = {"authenticator_types": ["oob"], "oob_channels": ["voice"], "phone_number": destination}
            case "email":
                wanted = {"authenticator_types": ["oob"], "oob_channels": ["email"], "email": destination}
            case "push":
                wanted = {"authenticator_types": ["oob"], "oob_channels": ["auth0"]}
            case "webauthn":
                wanted = {"authenticator_types": ["webauthn"]}
            case _:
                raise NotCarried(kind)
        body = {**wanted, **({"name": name} if name else {}), **(_credentials(client) if client else {})}
        said = (await self._ok(self.http.post("/mfa/associate", json=body, headers=_bearer(bearer)))).json()
        return Enrollment(
            secret=said.get("secret", ""),
            barcode_uri=said.get("barcode_uri", ""),
            oob_code=said.get("oob_code", ""),
            recovery_codes=tuple(said.get("recovery_codes", ())),
            public_key=said.get("authn_params_public_key", {}),
        )

    async def list(self, bearer: str) -> Sequence[Row]:
        response = await self._ok(self.http.get("/mfa/authenticators", headers=_bearer(bearer)))
        return [_row_of(row) for row in response.json()]

    async def rename(self, bearer: str, authenticator_id: str, name: str) -> Row:
        url = f"/mfa/authenticators/{authenticator_id.replace('|', '%7C')}"
        response = await self._ok(self.http.patch(url, json={"name": name}, headers=_bearer(bearer)))
        return _row_of(response.json())

    async def remove(self, bearer: str, authenticator_id: str) -> None:
        url = f"/mfa/authenticators/{authenticator_id.replace('|', '%7C')}"
        response = await self._ok(self.http.delete(url, headers=_bearer(bearer)))
        assert response.status_code == 204
        assert response.content == b""

    async def revoke(self, client: ClientCredentials, token: str) -> None:
        body = {**_credentials(client), "token": token}
        await self._ok(self.http.post("/oauth/revoke", json=body, headers=self._headers()))

    async def introspect(self, client: ClientCredentials, token: str) -> dict[str, Any]:
        body = {**_credentials(client), "token": token}
        response = await self._ok(self.http.post("/oauth/introspect", json=body, headers=self._headers()))
        said: dict[str, Any] = response.json()
        return said

    async def keys(self) -> Sequence[dict[str, str]]:
        response = await self._ok(self.http.get("/.well-known/keys.json"))
        found: list[dict[str, str]] = response.json()["keys"]
        return found

    def _headers(self) -> dict[str, str]:
        return {"auth0-forwarded-for": self.source} if self.source else {}

    async def _ok(self, request: Any) -> httpx2.Response:
        response: httpx2.Response = await request
        if response.is_success:
            return response
        raise _refused(response)


def _refused(response: httpx2.Response) -> Refused:
    """Return a REST error; a challenge beside it would be shown in its place by auth-js (W1.3)."""
    assert "www-authenticate" not in response.headers or response.request.url.path == "/userinfo"
    return refusal_in(response)


def refusal_in(response: httpx2.Response) -> Refused:
    """Return a REST error as what it says; the reason is the one row of the table that looks like it."""
    said = response.json()
    error, text = said["error"], said["error_description"]
    reason, filled = reason_of(response.status_code, error, text)
    retry_after = response.headers.get("retry-after")
    return Refused(
        reason,
        text,
        float(retry_after) if retry_after else None,
        {**filled, **{name: said[name] for name in ("hint", "enrollment_way", "contact") if name in said}},
        response.status_code,
        oauth=error,
    )


def reason_of(http_status: int, error: str, text: str) -> tuple[str, dict[str, str]]:
    """Return the reason whose row shows itself so, and what its text was filled with."""
    rows = {name: row for name, row in errors.TABLE.items() if (row.http, row.oauth) == (http_status, error)}
    literal = [name for name, row in rows.items() if row.text == text]
    if len(literal) == 1:
        return literal[0], {}
    assert not literal, f"{literal} look alike over REST"
    filled = {name: match for name, row in rows.items() if (match := re.fullmatch(_pattern(row.text), text))}
    assert len(filled) == 1, f"{http_status} {error} {text!r} is {sorted(filled) or 'in no row of the table'}"
    ((name, match),) = filled.items()
    return name, match.groupdict()


def _pattern(template: str) -> str:
    """Return what matches a text of the table, filled; a malformed request's is followed by what is wrong with it."""
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(template))
    return pattern + ("(?: .+)?" if template == errors.TABLE["INVALID_REQUEST"].text else "")


def _mfa_required(said: Mapping[str, Any]) -> MfaRequired:
    ((wants, entries),) = said["mfa_requirements"].items()
    return MfaRequired(
        said["mfa_token"],
        wants,
        tuple(entry["type"] for entry in entries),
        recovery_code=said.get("recovery_code", ""),
        way=said.get("enrollment_way", ""),
        contact=said.get("contact", ""),
    )


def _row_of(said: Mapping[str, Any]) -> Row:
    assert isinstance(said["active"], bool)
    return Row(said["id"], said["type"], said["active"], said.get("name", ""))


def _credentials(client: ClientCredentials) -> dict[str, str]:
    client_id, secret = client
    return {"client_id": client_id, **({"client_secret": secret} if secret is not None else {})}


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _carries_no(**given: object) -> None:
    for name, value in given.items():
        if value:
            raise NotCarried(name)


class _RestTraffic(DescribedTransport):
    def __init__(self, app: HttpApplication, traffic: Traffic) -> None:
        super().__init__(app)
        self._traffic = traffic

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        sent = (await request.aread()).decode(errors="replace")
        self._traffic.take(dict(parse_qsl(sent)))
        self._traffic.take(_document(sent))
        self._traffic.take(
            {"secret": request.headers.get("authorization", "").rpartition(" ")[2].removeprefix("id=").strip('"')}
        )
        response = await super().handle_async_request(request)
        said = _document((await response.aread()).decode())
        self._traffic.take(said)
        if response.status_code >= 400:
            self._traffic.texts.append(str(said.get("error_description") or said.get("message", "")))
        return response


def _document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {"": found}


@asynccontextmanager
async def rest_edge(world: World, traffic: Traffic | None = None) -> AsyncIterator[RestApi]:
    """Serve a world over HTTP within this process."""
    transport = _RestTraffic(world.app.http(), traffic or Traffic())
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER, timeout=TIMEOUT) as http:
        yield RestApi(http)
