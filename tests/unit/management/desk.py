"""An operator's desk: the Management API, and the deployment behind it as its users meet it."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx2
from cofactor_server.domain.parties.operators import Role
from cofactor_server.domain.parties.users import User
from cofactor_server.rest.application import HttpApplication
from cofactor_server.seams import HOUR

from tests.support.flows.api import ClientCredentials, RestApi, Traffic
from tests.support.flows.attacks import rows
from tests.support.flows.steps import ALICE, Enrolled, enrolled, shop
from tests.support.world import World

SECRETS = ("totp_secret", "recovery_code", "ticket_id", "ticket_url")
NUMBER, MAIL = "+442071838750", "chuck@example.com"
APP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


class Recorded(httpx2.ASGITransport):
    """Remembers what passes, for what must not be logged or repeated in a refusal."""

    def __init__(self, app: HttpApplication, traffic: Traffic) -> None:
        super().__init__(app=app)
        self._traffic = traffic

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._take((await request.aread()).decode(errors="replace"))
        self._traffic.take({"secret": request.headers.get("authorization", "").removeprefix("Bearer ")})
        response = await super().handle_async_request(request)
        said = (await response.aread()).decode()
        self._take(said)
        if response.status_code >= 400:
            self._traffic.texts.append(said)
            assert response.json()["statusCode"] == response.status_code
            assert set(response.json()) <= {"statusCode", "error", "message", "errorCode", "attributes"}
        assert not request.url.path.startswith("/api/v2") or response.headers["cache-control"] == "no-store"
        return response

    def _take(self, text: str) -> None:
        try:
            said = json.loads(text)
        except ValueError:
            return
        for item in said if isinstance(said, list) else [said]:
            if isinstance(item, dict):
                self._traffic.take({"secret": [str(item[name]) for name in SECRETS if name in item]})
                for name in SECRETS:
                    self._traffic.take({"secret": str(item.get(name, ""))})


@dataclass
class Desk:
    """What an operator has at hand."""

    world: World
    http: httpx2.AsyncClient
    api: RestApi
    tokens: dict[Role, str] = field(default_factory=dict, repr=False)

    def token(self, role: Role = Role.ADMIN, *scopes: str) -> str:
        """Return a token of a role, with all its scopes or some."""
        if scopes:
            return self.world.app.operator_tokens.mint(role, HOUR, scopes)[0]
        if role not in self.tokens:
            self.tokens[role] = self.world.app.operator_tokens.mint(role, HOUR)[0]
        return self.tokens[role]

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: Role = Role.ADMIN,
        token: str | None = None,
        **given: Any,
    ) -> httpx2.Response:
        """Send a request; the path may have a query."""
        bearer = self.token(role) if token is None else token
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        if body is not None:
            given["json"] = body
        headers |= given.pop("headers", {})
        return await self.http.request(method, f"/api/v2{path}", headers=headers, **given)

    async def said(self, method: str, path: str, body: Any = None, status: int = 200, **given: Any) -> Any:
        """Send a request, and return what is said in answer to a status; None where nothing is."""
        response = await self.send(method, path, body, **given)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def refused(self, method: str, path: str, body: Any = None, **given: Any) -> tuple[int, str]:
        """Send a request that is refused, and return status and code."""
        response = await self.send(method, path, body, **given)
        assert response.status_code >= 400, response.text
        return response.status_code, response.json().get("errorCode", "")

    async def user(self, **given: Any) -> User:
        """Create Alice."""
        return await self.world.user(ALICE, **given)

    async def shop(self, **given: Any) -> ClientCredentials:
        """Create a client."""
        return await shop(self.world, **given)

    async def with_app(self, client: ClientCredentials) -> tuple[User, Enrolled]:
        """Create Alice, and have her enroll an authenticator app at a login."""
        user = await self.user()
        return user, await enrolled(self.api, self.world, client, create=False)

    async def methods(self, user: User) -> list[dict[str, Any]]:
        """Return a user's methods."""
        found: list[dict[str, Any]] = await self.said("GET", f"/users/{user.id}/authentication-methods")
        return found

    async def events(self, *names: str) -> list[Any]:
        """Return the events of these names."""
        return [row for row in await rows(self.world, "events") if row.name in names]

    async def told(self) -> list[tuple[str, str, str]]:
        """Send what users are to be told, and return channel, address and name of all that was sent."""
        await self.world.app.notices.send_due()
        return sorted((m.channel, m.to, str(m.notice)) for m in self.world.outbox.sent if m.notice is not None)
