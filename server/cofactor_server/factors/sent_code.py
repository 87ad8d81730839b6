"""A code sent to where only its user reads it: by text message, by telephone call, by mail (W9).

Three kinds in one file, since they differ in what an address is and in what reading it proves, and in nothing else.
"""

# ruff: noqa: ARG002 - a factor takes what the interface gives

import hmac
import re
import string
from collections.abc import Mapping
from typing import Annotated, Final, Protocol

import email_validator
import msgspec
import phonenumbers
from phonenumbers import PhoneNumberType

from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    Code,
    Context,
    Enrollment,
    Facts,
    Kind,
    Message,
    Mismatch,
    Possession,
    Prompt,
    Proof,
    Verdict,
)
from cofactor_server.errors import InvalidRequest, PhoneNumberInvalid
from cofactor_server.seams import Entropy

DIGITS = 6
"""What the wire's applications have a field for, and the least that is allowed (S10)."""

SMS_FACTS = Facts(amr=("sms",), possession=Possession.SOFTWARE, replay_resistant=True)
VOICE_FACTS = Facts(amr=("tel",), possession=Possession.SOFTWARE, replay_resistant=True)
EMAIL_FACTS = Facts(amr=(), possession=Possession.NONE, replay_resistant=True, delivered_by="email")
"""Whoever has the mailbox's password reads the code: that is no possession (SP 800-63B-4 section 3.1.3.1)."""

COSTLY = frozenset(
    {
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.UAN,
        PhoneNumberType.VOICEMAIL,
        PhoneNumberType.PAGER,
    }
)
"""Numbers that charge whoever calls them, or belong to no person: made for fraud at our cost."""

_E164 = re.compile(r"\+[0-9]{1,15}")
_WITHOUT_WHITESPACE = str.maketrans("", "", string.whitespace)
_LONGEST_INPUT = 64
_SHOWN = 4


class Destination(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where codes go: a number in E.164, or a mail address."""

    to: Annotated[str, msgspec.Meta(min_length=1, max_length=320)]

    def __repr__(self) -> str:
        return "Destination()"


class SentCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that was sent, as a MAC bound to its challenge and authenticator (ADR-10)."""

    key_id: str
    mac: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

    def __repr__(self) -> str:
        return "SentCode()"


class Channel(Protocol):
    """What one way of sending knows of its addresses and of what they prove."""

    kind: Kind
    listed_type: str
    facts: Facts

    def address(self, destination: str) -> str:
        """Return an address as it is kept.

        Raises:
            PhoneNumberInvalid: It is no telephone number that can be reached.
            InvalidRequest: It is no mail address.
        """
        ...

    def masked(self, address: str) -> str:
        """Return what a list shows of an address."""
        ...


class _Sending:
    """What the three kinds have in common. A new challenge has a new code; the one before is superseded (S115)."""

    credential_type: Final = Destination
    expected_type: Final = SentCode
    prompts: Final = True
    authenticator_type: Final = "oob"

    def __init__(self, entropy: Entropy, channel: Channel) -> None:
        self._entropy = entropy
        self._channel = channel

    @property
    def kind(self) -> Kind:
        """The channel's name."""
        return self._channel.kind

    @property
    def listed_type(self) -> str:
        """`phone` or `email`."""
        return self._channel.listed_type

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[Destination]:
        """Keep where codes go; the name is its mask. There are no options.

        Raises:
            PhoneNumberInvalid: It is no telephone number that can be reached.
            InvalidRequest: It is no mail address, or there is an option.
        """
        for name in options:
            raise InvalidRequest(violations=((name, "unknown to this kind of authenticator"),))
        address = self._channel.address(destination)
        return Enrollment(Destination(address), {}, self._channel.masked(address))

    def address(self, credential: Destination) -> str:
        """Return where notices reach the user, too."""
        return credential.to

    def challenge(self, credential: Destination, context: Context) -> Prompt[SentCode]:
        """Draw a code, keep its MAC, and have it sent."""
        code = self._entropy.choose(string.digits, DIGITS)
        key_id, mac = context.code_mac(code, "")
        return Prompt(SentCode(key_id, mac), send=Message(self.kind, credential.to, code, purpose=context.purpose))

    def verify(
        self, credential: Destination, expected: SentCode, proof: Proof, context: Context
    ) -> Verdict[Destination]:
        """Accept the code that was sent; ASCII white space in it is ignored."""
        if not isinstance(proof, Code) or not (typed := _digits(proof.value)):
            return Mismatch()
        _, mac = context.code_mac(typed, expected.key_id)
        return Approved(credential, self._channel.facts) if hmac.compare_digest(mac, expected.mac) else Mismatch()


class _Telephone:
    listed_type = "phone"

    def address(self, destination: str) -> str:
        # The wire's pattern first: the library reads letters, extensions and much else into a number.
        if not _E164.fullmatch(destination):
            raise PhoneNumberInvalid
        try:
            number = phonenumbers.parse(destination, None)
        except phonenumbers.NumberParseException:
            raise PhoneNumberInvalid from None
        if not phonenumbers.is_valid_number(number) or phonenumbers.number_type(number) in COSTLY:
            raise PhoneNumberInvalid
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    def masked(self, address: str) -> str:
        return "X" * (len(address) - _SHOWN) + address[-_SHOWN:]


class _ByText(_Telephone):
    kind = "sms"
    facts = SMS_FACTS


class _ByCall(_Telephone):
    kind = "voice"
    facts = VOICE_FACTS


class _ByMail:
    kind = "email"
    listed_type = "email"
    facts = EMAIL_FACTS

    def address(self, destination: str) -> str:
        try:
            # No look-up: a factor does no I/O, and the code that arrives proves more than a record.
            return email_validator.validate_email(destination, check_deliverability=False).normalized
        except email_validator.EmailNotValidError:
            raise InvalidRequest(violations=(("email", "is not a mail address"),)) from None

    def masked(self, address: str) -> str:
        local, _, domain = address.rpartition("@")
        shown = _SHOWN if len(local) > _SHOWN else 0
        return f"{_starred(local, shown)}@{_starred(domain, _SHOWN)}"


class Sms(_Sending):
    """Six digits by text message."""

    def __init__(self, entropy: Entropy) -> None:
        super().__init__(entropy, _ByText())


class Voice(_Sending):
    """Six digits, spoken by a telephone call."""

    def __init__(self, entropy: Entropy) -> None:
        super().__init__(entropy, _ByCall())


class Email(_Sending):
    """Six digits by mail."""

    def __init__(self, entropy: Entropy) -> None:
        super().__init__(entropy, _ByMail())


def _digits(value: str) -> str:
    """Return what was typed without white space, or nothing if that is not `DIGITS` ASCII digits."""
    if len(value) > _LONGEST_INPUT:
        return ""
    typed = value.translate(_WITHOUT_WHITESPACE)
    return typed if len(typed) == DIGITS and typed.isascii() and typed.isdigit() else ""


def _starred(text: str, shown: int) -> str:
    return text[:shown] + "*" * (len(text) - shown)
