"""A deployment that serves HTTPS from a thread of its own, so that SDKs which block can call it."""

import asyncio
import gc
import ssl
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import httpx2
from cofactor_server.domain.authenticators.methods import NewMethod
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.foundation.budgets import UNBOUNDED
from cofactor_server.domain.parties.operators import Operator, Role
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.rpc.transport.tls import TlsFiles
from cofactor_server.seams import HOUR
from cofactor_server.serving.http_server import HttpServer
from cofactor_server.serving.listening import Listening, bind, name_of

from tests.support.authorities import Authority, write
from tests.support.flows.phones import Owned
from tests.support.world import API, PASSWORD, World, world_on
from tests.unit.factors.devices import Phone

T = TypeVar("T")
P = ParamSpec("P")

AUTH0 = "http://auth0.com/oauth/grant-type/"
MFA_SCOPE = "enroll read:authenticators remove:authenticators"
KINDS = frozenset({"totp", "sms", "voice", "email", "push", "recovery-code"})


@dataclass(frozen=True)
class Person:
    """A user and, once there is one, the secret of their authenticator app."""

    name: str
    password: str = field(default=PASSWORD, repr=False)


class Tenant:
    """What an SDK is pointed at, and what a test knows of it beside."""

    def __init__(
        self, domain: str, management: str, authority: Path, world: World, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.domain = domain
        """`localhost:port`, as SDKs want it."""
        self.management = management
        """Where operators call, without TLS: this machine's alone."""
        self.issuer = f"https://{domain}/"
        self.mfa_audience = f"{self.issuer}mfa/"
        self.authority = authority
        """PEM file of who signed the certificate."""
        self.trust = ssl.create_default_context(cafile=authority)
        self.world = world
        self.channel = world.app.local_channel()
        """For phones, which speak gRPC."""
        self._loop = loop
        self._people = 0
        client, secret = self.do(world.client())
        self.client_id, self.client_secret = client.id, secret
        public, _ = self.do(world.client(name="Page", public=True))
        self.public_client_id = public.id

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something on the deployment's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def person(self, *, mfa_policy: MfaPolicy | None = None, email: str = "") -> Person:
        """Create a user whom no other test knows; an address is one that was verified."""
        self._people += 1
        person = Person(f"person-{self._people}@example.test")
        self.do(self.world.user(person.name, mfa_policy=mfa_policy, email=email, email_verified=bool(email)))
        return person

    def code_sent_to(self, destination: str) -> str:
        """Return the code of the newest message to a number or address."""
        return next(message.code for message in reversed(self.world.outbox.sent) if message.to == destination)

    def phone(self, barcode_uri: str) -> Owned:
        """Return a phone that has scanned an enrollment's barcode."""

        return Owned(self.world, self.channel, Phone(barcode_uri, "", ""))

    def strip(self, person: Person) -> None:
        """Have an operator add an authenticator and remove it: from then on the person enrolls by ticket only.

        What a password alone opened goes on, since no authenticator opened it.
        """
        methods = self.world.app.admin.methods
        (user,) = [user for user, _ in self.do(self.world.app.operators.users()) if user.subject == person.name]
        operator = Operator("opt_wire", Role.ADMIN, frozenset(), self.world.clock.now() + HOUR)
        app = NewMethod("totp", secret=b"an app of an operator")
        added = self.do(methods.add(Caller(operator=operator), user.id, app))
        self.do(methods.remove(Caller(operator=operator), user.id, added.id))

    async def aside(self, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Run what blocks, beside the test's own loop."""
        return await asyncio.to_thread(call, *given, **named)

    @contextmanager
    def later(self, seconds: float) -> Iterator[None]:
        """Let the deployment's clock be ahead for a while."""
        self.world.clock.advance(seconds)
        try:
            yield
        finally:
            self.world.clock.advance(-seconds)

    def target(self, scope: str, manages: bool) -> dict[str, str]:
        """Return scope and, for tokens that are to add and remove authenticators, the audience of a login."""
        return {"scope": f"{scope} {MFA_SCOPE}", "audience": self.mfa_audience} if manages else {"scope": scope}

    def mfa_token(self, person: Person, target: Mapping[str, str], *, public: bool = False) -> str:
        """Log in with the password, for an SDK that has no password grant; return the mfa_token."""
        token: str = self.refusal(person, target, public=public)["mfa_token"]
        return token

    def password_tokens(self, person: Person) -> dict[str, Any]:
        """Log a person in of whom no factor is asked; return what the token endpoint says."""
        credentials = {"client_id": self.client_id, "client_secret": self.client_secret}
        login = {"grant_type": "password", "username": person.name, "password": person.password}
        scope = {"scope": "openid offline_access"}
        response = httpx2.post(f"{self.issuer}oauth/token", json={**login, **scope, **credentials}, verify=self.trust)
        assert response.status_code == 200, response.text
        said: dict[str, Any] = response.json()
        return said

    def refusal(self, person: Person, target: Mapping[str, str], *, public: bool = False) -> dict[str, Any]:
        """Log in with the password; return what `mfa_required` says."""
        client = (
            {"client_id": self.public_client_id}
            if public
            else {"client_id": self.client_id, "client_secret": self.client_secret}
        )
        body = {"grant_type": "password", "username": person.name, "password": person.password, **client, **target}
        response = httpx2.post(f"{self.issuer}oauth/token", json=body, verify=self.trust)
        assert response.status_code == 403, response.text
        said: dict[str, Any] = response.json()
        return said

    @classmethod
    @contextmanager
    def serving(cls, folder: Path) -> "Iterator[Tenant]":
        """Serve from a new database and a new certificate, until the block ends."""
        authority = Authority.new()
        files = write(folder, authority.issue("localhost"))
        pem = folder / "authority.pem"
        pem.write_bytes(authority.pem)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="tenant")
        thread.start()
        served = _Served(loop, folder, files)
        try:
            domain, management, world = asyncio.run_coroutine_threadsafe(served.start(), loop).result(timeout=30)
            tenant = cls(domain, management, pem, world, loop)
            yield tenant
            tenant.do(tenant.channel.close())
        finally:
            asyncio.run_coroutine_threadsafe(served.stop(), loop).result(timeout=30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=10)
            loop.close()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # of connections that Node began and left
                gc.collect()


class _Served:
    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path, files: TlsFiles) -> None:
        self._loop = loop
        self._folder = folder
        self._files = files
        self._begun: asyncio.Future[tuple[str, str, World]] = loop.create_future()
        self._end = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> tuple[str, str, World]:
        """Serve, and return domain, where operators call, and world."""
        self._task = asyncio.create_task(self._serve())
        self._task.add_done_callback(self._failed)
        return await self._begun

    async def stop(self) -> None:
        """Close everything."""
        self._end.set()
        if self._task is not None:
            await self._task

    def _failed(self, task: asyncio.Task[None]) -> None:
        if not self._begun.done():
            self._begun.set_exception(task.exception() or RuntimeError("the deployment ended before it began"))

    async def _serve(self) -> None:
        sock = bind("127.0.0.1:0")
        domain = f"localhost:{sock.getsockname()[1]}"
        listening = Listening(name_of(sock), None, tls=self._files, drain_seconds=10)
        url = f"sqlite:///{self._folder / 'tenant.sqlite3'}"
        # All tests of a run enroll one number here, each for a user of its own.
        async with world_on(
            url,
            issuer=f"https://{domain}/",
            kinds=KINDS,
            number_sends=UNBOUNDED,
            address_sends=UNBOUNDED,
        ) as world:
            server = await HttpServer.started(world.app.http(), sock, listening)
            own = bind("127.0.0.1:0")
            plain = Listening(None, None, drain_seconds=1)
            operators = await HttpServer.started(world.app.management(), own, plain, for_operators=True)
            management = f"http://localhost:{own.getsockname()[1]}/api/v2"
            self._begun.set_result((domain, management, world))
            await self._end.wait()
            await operators.stop()
            await server.stop()


__all__ = ["API", "AUTH0", "KINDS", "MFA_SCOPE", "PASSWORD", "Person", "Tenant"]
