"""The factors this process knows: ours first, then those of plugins, each behind one untyped face."""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import NoneType
from typing import Any, TypeAlias

import msgspec

from cofactor_server.domain.authenticators.kinds import PUSH
from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    C,
    Context,
    Enrollment,
    Kind,
    Mismatch,
    Prompt,
    Proof,
    S,
    Verdict,
)
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.relying_party import RelyingParty
from cofactor_server.factors.factor import Factor
from cofactor_server.factors.hotp import LOOK_AHEAD, Hotp
from cofactor_server.factors.push import Push
from cofactor_server.factors.recovery_code import RecoveryCode
from cofactor_server.factors.sent_code import Email, Sms, Voice
from cofactor_server.factors.totp import Totp
from cofactor_server.factors.webauthn import WebAuthn
from cofactor_server.seams import Entropy

GROUP = "cofactor.factors"
"""Entry points of this group name what takes an `Entropy` and returns a `Factor`; the factor's class will do."""

PARSE_ERRORS = (ValueError, LookupError, OverflowError, RecursionError, struct.error)
"""What parsing an untrusted payload raises. `TypeError` and `AttributeError` are a factor's own bugs, and propagate."""

EncodedEnrollment: TypeAlias = Enrollment[bytes]
EncodedPrompt: TypeAlias = Prompt[bytes]
EncodedVerdict: TypeAlias = Verdict[bytes]

_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")


class FactorConflict(Exception):
    """Two factors claim one kind: the server does not start."""


class FactorUnusable(Exception):
    """A factor contradicts itself: the server does not start."""


class CredentialUnreadable(Exception):
    """What is stored for an authenticator or a challenge is not what its factor writes. Carries no content."""


class Registered:
    """A factor as the core sees it: credentials and expectations are octets. Made by `register`."""

    def __init__(self, factor: Factor[Any, Any]) -> None:
        self._factor = factor
        self._credentials = msgspec.msgpack.Decoder(factor.credential_type)
        self._expectations = msgspec.msgpack.Decoder(factor.expected_type)
        self._encode = msgspec.msgpack.Encoder().encode
        self._address = getattr(factor, "address", None)
        self.has_address = self._address is not None
        """Whether notices reach the user over the channel of this kind."""
        self.kind: Kind = factor.kind
        self.prompts: bool = factor.prompts
        self.listed_type: str = factor.listed_type
        self.authenticator_type: str = factor.authenticator_type
        self.on_device: bool = getattr(factor, "on_device", factor.kind == PUSH)
        """Whether a device answers, so that the login has nothing to type, and polls; a factor of ours need not say."""

    def __repr__(self) -> str:
        return f"Registered({self.kind!r}, {self.origin})"

    @property
    def origin(self) -> str:
        """Module and name of the factor's class, for messages to the operator."""
        return f"{type(self._factor).__module__}:{type(self._factor).__qualname__}"

    def decode(self, credential: bytes) -> Any:
        """Return the credential as its factor knows it, for `Context.siblings` and for calls that a device signs.

        Raises:
            CredentialUnreadable: It is not what the factor writes.
        """
        return self._read(self._credentials, credential, "credential")

    def expectation(self, expected: bytes) -> Any:
        """Return what a challenge expects as its factor knows it.

        Raises:
            CredentialUnreadable: It is not what the factor writes.
        """
        return self._read(self._expectations, expected, "expectation")

    def encode(self, credential: Any) -> bytes:
        """Return a credential as it is kept."""
        return self._encode(credential)

    def address(self, credential: bytes) -> str:
        """Return where notices reach the user over the channel of this kind; empty where the factor has no `address`.

        Raises:
            CredentialUnreadable: It is not what the factor writes.
        """
        return str(self._address(self.decode(credential))) if self._address is not None else ""

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> EncodedEnrollment:
        """See `Factor.enroll`."""
        made = self._factor.enroll(account, destination, options)
        return Enrollment(self._encode(made.credential), made.show, made.name, made.unique)

    def challenge(self, credential: bytes, context: Context) -> EncodedPrompt:
        """See `Factor.challenge`.

        Raises:
            CredentialUnreadable: The stored credential is not what the factor writes.
        """
        prompt = self._factor.challenge(self.decode(credential), context)
        return Prompt(self._encode(prompt.expected), prompt.show, prompt.send)

    def verify(self, credential: bytes, expected: bytes | None, proof: Proof, context: Context) -> EncodedVerdict:
        """See `Factor.verify`. `expected` is the prompt's, or None where no challenge was made.

        Raises:
            CredentialUnreadable: The stored credential or expectation is not what the factor writes.
        """
        known = self.decode(credential)
        if expected is None and self.prompts:
            return Mismatch()
        wanted = None if expected is None else self._read(self._expectations, expected, "expectation")
        try:
            verdict = self._factor.verify(known, wanted, proof, context)
        except PARSE_ERRORS:
            return Mismatch()
        if isinstance(verdict, Approved):
            return replace(verdict, credential=self._encode(verdict.credential))
        return verdict

    def _read(self, decoder: msgspec.msgpack.Decoder[Any], stored: bytes, what: str) -> Any:
        try:
            return decoder.decode(stored)
        except PARSE_ERRORS:  # msgspec's own, and a UnicodeDecodeError from inside it
            # The cause may quote a stored value, and a traceback prints causes.
            raise CredentialUnreadable(f"a stored {what} of kind {self.kind!r} can't be read") from None


def register(factor: Factor[C, S]) -> Registered:
    """Put a factor behind its untyped face.

    Generic, so that the type checker compares what the factor declares with what its methods take and return; handed
    over as `Factor[Any, Any]` it could contradict itself.

    Raises:
        FactorUnusable: The kind is no name, or `prompts` and `expected_type` disagree.
    """
    registered = Registered(factor)
    if not _KIND.fullmatch(factor.kind):
        raise FactorUnusable(f"{registered.origin}: the kind {factor.kind!r} is more than a-z, 0-9 and hyphens")
    if factor.prompts == (factor.expected_type is NoneType):
        raise FactorUnusable(f"{registered.origin}: a factor expects something exactly if it prompts")
    return registered


class Registry(Mapping[Kind, Registered]):
    """Factors by kind, in the order given.

    Raises:
        FactorConflict: A kind is there twice.
    """

    def __init__(self, factors: Iterable[Registered]) -> None:
        self._factors: dict[Kind, Registered] = {}
        for factor in factors:
            if other := self._factors.get(factor.kind):
                raise FactorConflict(f"two factors are of kind {factor.kind!r}: {other.origin} and {factor.origin}")
            self._factors[factor.kind] = factor

    def __getitem__(self, kind: Kind) -> Registered:
        return self._factors[kind]

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._factors)

    def __len__(self) -> int:
        return len(self._factors)


def shipped(
    entropy: Entropy,
    relying_party: RelyingParty,
    *,
    strict: bool = False,
    hotp_look_ahead: int = LOOK_AHEAD,
    guardian_url: str = "",
) -> tuple[Registered, ...]:
    """Return Cofactor's own factors.

    Args:
        entropy: For all of them.
        relying_party: For whom security keys and passkeys are registered.
        strict: The profile (docs/requirements.md, "Where the sources disagree").
        hotp_look_ahead: Of counter-based tokens.
        guardian_url: As of `Deployment`.
    """
    return (
        register(Totp(entropy, skew_steps=0 if strict else 1)),
        register(Hotp(entropy, look_ahead=hotp_look_ahead)),
        register(Sms(entropy)),
        register(Voice(entropy)),
        register(Email(entropy)),
        register(Push(entropy, strict=strict, guardian_url=guardian_url)),
        register(WebAuthn(entropy, relying_party)),
        register(RecoveryCode(entropy)),
    )


def plugged(entropy: Entropy, points: Iterable[EntryPoint] | None = None) -> tuple[Registered, ...]:
    """Return the factors of installed plugins, by entry-point name; `points` stands in for the installed ones."""
    found = entry_points(group=GROUP) if points is None else points
    return tuple(register(point.load()(entropy)) for point in sorted(found, key=lambda point: point.name))


def load(entropy: Entropy, relying_party: RelyingParty, *, strict: bool = False) -> Registry:
    """Return every factor of this process, ours first; see `shipped`.

    Raises:
        FactorConflict: A plugin claims a kind that is taken.
        FactorUnusable: A plugin's factor contradicts itself.
    """
    return Registry((*shipped(entropy, relying_party, strict=strict), *plugged(entropy)))
