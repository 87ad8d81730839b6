"""A stand-in for push: a factor whose challenge another party answers, with the party itself."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from cofactor_server.domain.authenticators.kinds import PUSH
from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    Context,
    Denied,
    Enrollment,
    Facts,
    Message,
    Mismatch,
    Possession,
    Prompt,
    Proof,
    Signed,
    Verdict,
)
from cofactor_server.domain.callers import Caller, Device
from cofactor_server.domain.challenges.challenge import Standing
from cofactor_server.domain.requests import AnswerRequest
from cofactor_server.factors import registry
from cofactor_server.factors.registry import Registered, register
from cofactor_server.seams import Entropy, SystemEntropy

from tests.support.flows.api import Api, ClientCredentials, Tokens
from tests.support.flows.api import Enrollment as Begun
from tests.support.flows.attacks import rows
from tests.support.flows.steps import ALICE, MFA_SCOPE, Enrolled, a, logged_in_to_mfa, mfa_access_token
from tests.support.world import World, world_on

KINDS = frozenset({"totp", "recovery-code", PUSH})
FACTS = Facts(amr=("swk", "pop"), possession=Possession.SOFTWARE, replay_resistant=True, exportable=False)


class Key(msgspec.Struct, frozen=True):
    """What server and device share."""

    key: bytes
    answers: int = 0

    def __repr__(self) -> str:
        return f"Key(answers={self.answers})"


class Asked(msgspec.Struct, frozen=True):
    """What is to be signed."""

    nonce: str


class Pushed:
    """Sends a nonce to a device, which answers it under a key that it was shown once."""

    kind = PUSH
    credential_type = Key
    expected_type = Asked
    prompts = True
    listed_type = "push-notification"
    authenticator_type = "oob"

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[Key]:
        key = self._entropy.octets(16)
        return Enrollment(Key(key), {"barcode_uri": f"otpauth://{key.hex()}"})

    def challenge(self, credential: Key, context: Context) -> Prompt[Asked]:
        nonce = self._entropy.octets(8).hex()
        return Prompt(Asked(nonce), {"number": "123456"}, Message(PUSH, "device", nonce))

    def verify(self, credential: Key, expected: Asked, proof: Proof, context: Context) -> Verdict[Key]:
        if not isinstance(proof, Signed) or not hmac.compare_digest(
            _mac(credential.key, proof.payload), proof.signature
        ):
            return Mismatch()
        match proof.payload.decode().split():
            case ["approve", nonce] if nonce == expected.nonce:
                return Approved(msgspec.structs.replace(credential, answers=credential.answers + 1), FACTS)
            case ["deny", nonce] if nonce == expected.nonce:
                return Denied()
        return Mismatch()


def _mac(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, hashlib.sha256)


@dataclass(frozen=True)
class Phone:
    """A device: it answers what it was sent last, or what it is told to."""

    world: World
    user_id: str
    authenticator_id: str
    key: bytes = field(repr=False)

    @property
    def caller(self) -> Caller:
        """What admission makes of it."""
        return Caller(device=Device(self.user_id, self.authenticator_id))

    async def last_challenge(self) -> str:
        """Return the id of the newest challenge of its authenticator."""
        found = await rows(self.world, "challenges", authenticator_id=self.authenticator_id)
        return str(max(found, key=lambda row: (row.created_at, row.purpose == "login")).id)

    def signed(self, decision: str) -> Signed:
        """Return a statement about the prompt that was sent last."""
        payload = f"{decision} {self.world.outbox.sent[-1].code}".encode()
        return Signed(payload, _mac(self.key, payload))

    async def answer(
        self, decision: str = "approve", *, challenge_id: str = "", signed: Signed | None = None
    ) -> Standing:
        """Have an answer decided, as from a device that was admitted."""
        request = AnswerRequest(
            signed or self.signed(decision), challenge_id=challenge_id or await self.last_challenge()
        )
        answers: Any = self.world.app.services.answers
        standing: Standing = await answers.answer(self.caller, request)
        return standing


async def phone_of(world: World, begun: Begun, subject: str = ALICE) -> Phone:
    """Return the device of an enrollment that was begun just now."""
    (user,) = await rows(world, "users", subject=subject)
    enrolled = await rows(world, "authenticators", user_id=user.id, kind=PUSH)
    newest = max(enrolled, key=lambda row: (row.created_at, row.state == "pending"))
    return Phone(world, user.id, newest.id, bytes.fromhex(begun.barcode_uri.removeprefix("otpauth://")))


async def add_phone(api: Api, world: World, client: ClientCredentials, user: Enrolled) -> Phone:
    """Give an enrolled user a device."""
    bearer = await mfa_access_token(api, world, client, user)
    begun = await api.enroll(bearer, PUSH)
    phone = await phone_of(world, begun, user.subject)
    assert await phone.answer() is Standing.APPROVED
    a(Tokens, await api.oob(client, bearer, begun.oob_code))
    return phone


async def prompted(api: Api, client: ClientCredentials, phone: Phone, subject: str = ALICE) -> tuple[str, str]:
    """Log in and have the device prompted; return mfa_token and oob_code."""
    login = await logged_in_to_mfa(api, client, subject)
    challenge = await api.challenge(client, login.mfa_token, types=["oob"], authenticator_id=phone.authenticator_id)
    return login.mfa_token, challenge.oob_code


def instead_of_ours(patch: pytest.MonkeyPatch, *factors: Registered) -> tuple[Registered, ...]:
    """Return factors after having those of the same kinds left out of the shipped ones."""
    shipped, kinds = registry.shipped, {factor.kind for factor in factors}

    def others(*given: Any, **named: Any) -> Sequence[Registered]:
        return tuple(factor for factor in shipped(*given, **named) if factor.kind not in kinds)

    patch.setattr(registry, "shipped", others)
    return factors


@asynccontextmanager
async def pushed_world(database_url: str, **given: Any) -> AsyncIterator[World]:
    """Open a deployment with an authenticator app, recovery codes and devices; `given` goes to `world_on`."""
    with pytest.MonkeyPatch.context() as patch:
        factors = instead_of_ours(patch, register(Pushed(SystemEntropy())))
        async with world_on(database_url, **{"factors": factors, "kinds": KINDS, **given}) as world:
            yield world


__all__ = [
    "ALICE",
    "MFA_SCOPE",
    "Phone",
    "add_phone",
    "instead_of_ours",
    "phone_of",
    "prompted",
    "pushed_world",
]
