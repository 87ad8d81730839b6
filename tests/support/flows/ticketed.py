"""Whoever holds an enrollment ticket, over either edge."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cofactor.v1 import authenticators_pb2 as authenticators
from cofactor.v1 import tickets_pb2 as tickets
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.authenticators.tickets import NewTicket
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.parties.users import User

from tests.support.flows.api import Api, GrpcApi, RestApi, call, refusal_in
from tests.support.flows.values import TIMEOUT
from tests.support.world import World

_NAMES: Mapping[int, str] = {
    authenticators.FACTOR_KIND_TOTP: "otp",
    authenticators.FACTOR_KIND_SMS: "sms",
    authenticators.FACTOR_KIND_VOICE: "voice",
    authenticators.FACTOR_KIND_EMAIL: "email",
    authenticators.FACTOR_KIND_PUSH: "push",
    authenticators.FACTOR_KIND_WEBAUTHN: "webauthn",
}
NUMBER = "+442071838750"


@dataclass(frozen=True)
class Offer:
    """What a ticket is for."""

    issuer: str
    user: str
    factors: tuple[str, ...]


@dataclass(frozen=True)
class Begun:
    """An enrollment that waits."""

    enrollment: str = field(repr=False)
    secret: str = field(default="", repr=False)
    barcode_uri: str = field(default="", repr=False)
    masked_address: str = ""
    risk_notice: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    poll_interval: float = 0
    barcode_svg: str = field(default="", repr=False)
    """Of REST alone."""


@dataclass(frozen=True)
class Outcome:
    """Where an enrollment stands."""

    confirmed: bool
    recovery_codes: tuple[str, ...] = ()
    poll_interval: float = 0


@dataclass(frozen=True)
class Holder:
    """Whoever holds a ticket."""

    api: Api
    ticket: str

    async def offer(self) -> Offer:
        """Ask what the ticket is for."""
        if isinstance(self.api, RestApi):
            said = await self._post("ticket", {})
            return Offer(said["issuer_name"], said["user"], tuple(said["factors"]))
        request = tickets.GetEnrollmentTicketRequest(ticket=self.ticket)
        found = await call(self._stub.GetEnrollmentTicket(request, timeout=TIMEOUT))
        return Offer(found.issuer_label, found.user_label, tuple(_NAMES[kind] for kind in found.kinds))

    async def begin(self, factor: str = "otp", *, to: str = "", name: str = "") -> Begun:
        """Begin an enrollment."""
        if isinstance(self.api, RestApi):
            address = {"email" if factor == "email" else "phone_number": to}
            said = await self._post("begin", {"factor": factor, "name": name, **address})
            options = said.pop("webauthn_options", {})
            return Begun(**said, options=options)
        wanted = authenticators.EnrollAuthenticatorRequest(name=name)
        chosen = getattr(wanted, "totp" if factor == "otp" else factor)
        chosen.SetInParent()  # a message that is empty, too, says what is wanted
        if to:
            setattr(chosen, "email" if factor == "email" else "phone_number", to)
        request = tickets.BeginEnrollmentRequest(ticket=self.ticket, wanted=wanted)
        found = await call(self._stub.BeginEnrollment(request, timeout=TIMEOUT))
        how = found.WhichOneof("confirmation")
        return Begun(
            found.enrollment,
            found.otp_secret.secret,
            found.otp_secret.barcode_uri or found.pairing.barcode_uri,
            found.authenticator.name if how == "sent_code" else "",
            found.sent_code.risk_notice,
            json.loads(found.webauthn.public_key_json or "{}"),
            found.pairing.poll_interval.seconds,
        )

    async def confirm(self, begun: Begun | str, code: str = "", *, credential: str = "") -> Outcome:
        """Answer, or ask whether a device has."""
        enrollment = begun if isinstance(begun, str) else begun.enrollment
        if isinstance(self.api, RestApi):
            proof = {"credential": json.loads(credential)} if credential else {"code": code}
            said = await self._post("confirm", {"enrollment": enrollment, **proof})
            return Outcome(said["confirmed"], tuple(said.get("recovery_codes", ())), said.get("poll_interval", 0))
        request = tickets.ConfirmEnrollmentRequest(ticket=self.ticket, enrollment=enrollment)
        if credential:
            request.credential_json = credential
        elif code:
            request.code = code
        found = await call(self._stub.ConfirmEnrollment(request, timeout=TIMEOUT))
        confirmed = found.HasField("confirmed")
        return Outcome(confirmed, tuple(found.confirmed.recovery_codes), found.pending.poll_interval.seconds)

    @property
    def _stub(self) -> Any:
        assert isinstance(self.api, GrpcApi)
        return self.api.tickets

    async def _post(self, name: str, members: Mapping[str, Any]) -> dict[str, Any]:
        assert isinstance(self.api, RestApi)
        response = await self.api.http.post(f"/mfa/enrollment/{name}", json={"ticket": self.ticket, **members})
        if not response.is_success:
            raise refusal_in(response)
        said: dict[str, Any] = response.json()
        assert response.status_code == (202 if said.get("confirmed") is False else 200)
        assert response.headers["cache-control"] == "no-store"
        return said


async def holder(
    api: Api,
    world: World,
    user: User,
    *,
    kinds: Sequence[Kind] = (),
    several: bool = False,
    **given: Any,
) -> Holder:
    """Have an operator issue a ticket."""
    new = NewTicket(user.id, frozenset(kinds), several, **given)
    return Holder(api, (await world.app.ticket_office.issue(Caller(), "olga", new)).ticket)


async def with_app(world: World, held: Holder) -> tuple[str, Outcome]:
    """Enroll an authenticator app by a ticket; return its secret and the outcome."""
    begun = await held.begin()
    return begun.secret, await held.confirm(begun, world.otp(begun.secret))
