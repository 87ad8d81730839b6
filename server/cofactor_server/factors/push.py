"""Prompts on a paired device, which signs what its user decided (ADR-17).

The number is shown where the login is and typed on the device, so that nobody approves a login that is not before his
eyes: what an approval proves was carried from one to the other by the user (SP 800-63B-4 section 3.1.3).
"""

# ruff: noqa: ARG002 - a factor takes what the interface gives

import hashlib
import hmac
import string
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from cofactor_server.domain.authenticators.authenticator import NAME_LENGTH
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
    Ticket,
    Verdict,
)
from cofactor_server.domain.foundation.encoding import base64url
from cofactor_server.errors import InvalidRequest
from cofactor_server.factors import device_keys, guardian
from cofactor_server.factors.device_keys import PublicJwk
from cofactor_server.seams import ALPHANUMERIC, MINUTE, SECOND, Entropy

SECRET_LENGTH = 32
"""Alphanumerics of a pairing secret: 190 bits."""
NUMBER_LENGTH = 6
CLOCK_LEEWAY = 5 * MINUTE
"""How far off a device's clock may be. Its answer is bound to one challenge, which lives as long."""
LONGEST_STATEMENT = 4_096
"""Octets."""
TOKEN_LENGTH = 2_048

_AMR = ("swk", "pop")
NUMBER_MATCHED = Facts(amr=_AMR, possession=Possession.SOFTWARE, replay_resistant=True)
ONLY_APPROVED = Facts(amr=_AMR, possession=Possession.SOFTWARE, replay_resistant=True, approve_deny=True)

Service: TypeAlias = Literal["FCM", "APNS"]
S = TypeVar("S", bound="_Statement")


class PushAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a device is reached when it does not watch."""

    service: Service
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=TOKEN_LENGTH, pattern=r"\A[!-~]+\Z")]

    def __repr__(self) -> str:
        return f"PushAddress({self.service!r})"


class PushCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device: none yet, and the hash of the secret that pairs one, or its public key."""

    secret_sha256: Annotated[bytes, msgspec.Meta(max_length=32)]
    """Empty once it is used."""
    key: bytes = b""
    """A SubjectPublicKeyInfo; empty while nothing has paired."""
    push: PushAddress | None = None
    approve_only: bool = False
    account: guardian.Device | None = None
    """What a device of the Guardian wire is known by; None for all others, and for none."""

    def __repr__(self) -> str:
        return f"PushCredential(paired={bool(self.key)}, approve_only={self.approve_only})"


class PushExpected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a prompt was about, and the number to be typed; nothing while a pairing is awaited."""

    shown: bytes
    """What the device shows, as JSON."""
    key_id: str = ""
    mac: bytes = b""
    """Of the number; empty on devices that only approve."""
    transaction: guardian.Transaction | None = None
    """Of a device of the Guardian wire."""

    def __repr__(self) -> str:
        return "PushExpected(…)"


Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,128}\Z")]
"""What rows are looked up by, before anything is verified."""


class _Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    # The type is a field of each: a tag may be left out where only one type is expected.
    version: Literal[1]
    issuer: str


class Pair(_Statement, frozen=True, kw_only=True):
    """A device pairs."""

    type: Literal["cofactor.pair"]
    secret_sha256: str
    key: PublicJwk
    name: str = ""
    push: PushAddress | None = None
    approve_only: bool = False


class Answer(_Statement, frozen=True, kw_only=True):
    """A device's user decided."""

    type: Literal["cofactor.answer"]
    challenge: str
    user: Name
    device: Name
    decision: Literal["approve", "deny"]
    number: str
    shown_sha256: str
    time: int


class Call(_Statement, frozen=True):
    """What every signed call of a device says."""

    nonce: str
    user: Name
    device: Name


class Watch(Call, frozen=True, kw_only=True):
    """A device wants to hear of its prompts."""

    type: Literal["cofactor.watch"]


class Update(Call, frozen=True, kw_only=True):
    """A device is reached elsewhere from now on."""

    type: Literal["cofactor.update"]
    push: PushAddress | None = None


class Remove(Call, frozen=True, kw_only=True):
    """A device is given up."""

    type: Literal["cofactor.remove"]


class Push:
    """A device that holds a key of its own.

    Two kinds of proof: while nothing has paired, the pairing, which only who reads the pairing secret can make; from
    then on the signed answer to a prompt. A wrong number denies, since a second try would be a guess.

    Args:
        entropy: Draws pairing secrets and numbers.
        strict: Refuse devices that only approve (S13).
        guardian_url: A host of its own that apps of the Guardian wire know; empty without.
    """

    kind: Final = "push"
    credential_type: ClassVar[type[PushCredential]] = PushCredential
    expected_type: ClassVar[type[PushExpected]] = PushExpected
    prompts: Final = True
    on_device: Final = True
    listed_type: Final = "push-notification"
    authenticator_type: Final = "oob"

    def __init__(self, entropy: Entropy, *, strict: bool = False, guardian_url: str = "") -> None:
        self._entropy = entropy
        self._strict = strict
        self._guardian_url = guardian_url

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[PushCredential]:
        """Make a pairing secret; `barcode_uri` carries it (W5).

        Raises:
            InvalidRequest: There is an option.
        """
        if options:
            raise InvalidRequest(violations=tuple((name, "unknown to this kind of authenticator") for name in options))
        secret = self._entropy.choose(ALPHANUMERIC, SECRET_LENGTH)
        label = f"{quote(account.issuer_label, safe='')}:{quote(account.label, safe='')}"
        uri = f"otpauth://totp/{label}?enrollment_tx_id={secret}&base_url={quote(account.issuer, safe='')}"
        digest = secret_digest(secret)
        return Enrollment(PushCredential(digest), {"barcode_uri": uri}, unique=digest.hex())

    def challenge(self, credential: PushCredential, context: Context) -> Prompt[PushExpected]:
        """Ask the device, and draw the number that its user finds where the login is."""
        if not credential.key:
            return Prompt(PushExpected(b""))
        shown = _shown(context)
        if credential.account is not None:
            transaction, payload = guardian.asked(self._entropy, context)
            return Prompt(PushExpected(shown, transaction=transaction), send=_message(credential, payload))
        number, key_id, mac = "", "", b""
        if not credential.approve_only:
            number = self._entropy.choose(string.digits, NUMBER_LENGTH)
            key_id, mac = context.code_mac(number, "")
        payload = {
            "challenge": context.names.challenge_id,
            "device": context.names.authenticator_id,
            "shown": shown.decode(),
            "number_wanted": "false" if credential.approve_only else "true",
        }
        show = {"number": number} if number else {}
        return Prompt(PushExpected(shown, key_id, mac), show, _message(credential, payload))

    def verify(
        self, credential: PushCredential, expected: PushExpected, proof: Proof, context: Context
    ) -> Verdict[PushCredential]:
        """Accept a pairing once, and then what the paired device signed; a wrong number, and no, are denials."""
        match proof:
            case Signed() if credential.account is not None:
                return self._resolved(credential, credential.account, proof, context)
            case Signed() if credential.key:
                return self._answered(credential, expected, proof, context)
            case Signed():
                return self._paired(credential, proof, context)
            case Ticket() if not credential.key:
                return self._ticketed(credential, proof)
        return Mismatch()

    def _paired(self, credential: PushCredential, proof: Signed, context: Context) -> Verdict[PushCredential]:
        said = statement(proof, Pair)
        digest = device_keys.octets(said.secret_sha256)
        key = device_keys.to_der(said.key)
        meant = said.issuer == context.names.issuer and hmac.compare_digest(digest, credential.secret_sha256)
        if not meant or not device_keys.signed_by(key, proof.payload, proof.signature):
            return Mismatch()
        if said.approve_only and self._strict:
            return Mismatch()
        paired = PushCredential(b"", key, said.push, said.approve_only)
        # A name that is shown beside others has nothing in it that is not seen.
        name = "".join(letter for letter in said.name if letter.isprintable())[:NAME_LENGTH].strip()
        return Approved(paired, _facts(paired), device_keys.fingerprint(key), name=name)

    def _ticketed(self, credential: PushCredential, ticket: Ticket) -> Verdict[PushCredential]:
        if self._strict or not hmac.compare_digest(secret_digest(ticket.secret), credential.secret_sha256):
            return Mismatch()
        address = msgspec.convert({"service": ticket.push_service, "token": ticket.push_token}, PushAddress)
        device = guardian.Device(ticket.identifier, ticket.token_sha256)
        paired = PushCredential(b"", ticket.key, address, approve_only=True, account=device)
        return Approved(paired, _facts(paired), device_keys.fingerprint(ticket.key), name=ticket.name)

    def _resolved(
        self, credential: PushCredential, device: guardian.Device, proof: Signed, context: Context
    ) -> Verdict[PushCredential]:
        """Judge what a device of the Guardian wire signed; `Signed.payload` is all of the JWT."""
        names = context.names
        accepted = guardian.decision(
            proof.payload,
            credential.key,
            urls=guardian.Urls(names.issuer, self._guardian_url).resolve,
            device=device.identifier,
            challenge=names.challenge_id,
            now=context.now,
        )
        return Approved(credential, _facts(credential)) if accepted else Denied()

    def _answered(
        self, credential: PushCredential, expected: PushExpected, proof: Signed, context: Context
    ) -> Verdict[PushCredential]:
        said = statement(proof, Answer)
        if not device_keys.signed_by(credential.key, proof.payload, proof.signature):
            return Mismatch()
        names = context.names
        meant = (said.issuer, said.challenge, said.user, said.device, said.shown_sha256) == (
            names.issuer,
            names.challenge_id,
            names.user_id,
            names.authenticator_id,
            base64url(hashlib.sha256(expected.shown).digest()),
        )
        if not meant or not expected.shown or abs(context.now - said.time * SECOND) > CLOCK_LEEWAY:
            return Mismatch()
        if said.decision == "deny" or not _matches(said.number, credential, expected, context):
            return Denied()
        return Approved(credential, _facts(credential))


def secret_digest(secret: str) -> bytes:
    """Return what is kept of a pairing secret."""
    return hashlib.sha256(secret.encode()).digest()


def statement(signed: Signed, kind: type[S]) -> S:
    """Return what a device states; nothing of it is verified.

    Args:
        signed: Untrusted.
        kind: One of this module's statements.

    Raises:
        ValueError: It is no such statement.
    """
    if len(signed.payload) > LONGEST_STATEMENT:
        raise ValueError("too long")
    return msgspec.json.decode(signed.payload, type=kind)


def _message(credential: PushCredential, payload: Mapping[str, str]) -> Message | None:
    address = credential.push
    if address is None:
        return None
    return Message("push", f"{address.service.lower()}:{address.token}", payload=payload)


def _facts(credential: PushCredential) -> Facts:
    return ONLY_APPROVED if credential.approve_only else NUMBER_MATCHED


def _matches(number: str, credential: PushCredential, expected: PushExpected, context: Context) -> bool:
    if credential.approve_only or not expected.mac:
        return credential.approve_only and not expected.mac and not number
    if len(number) != NUMBER_LENGTH or not number.isascii() or not number.isdigit():
        return False
    _, mac = context.code_mac(number, expected.key_id)
    return hmac.compare_digest(mac, expected.mac)


def _shown(context: Context) -> bytes:
    """Return what the device shows, and hashes, to the letter."""
    shown: dict[str, object] = {
        "account": context.names.account,
        "application": context.application,
        "address": context.source,
        "time": context.now // SECOND,
        "transaction": dict(context.transaction),
    }
    return msgspec.json.encode({name: value for name, value in shown.items() if value})
