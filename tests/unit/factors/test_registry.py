"""What the registry accepts at the start, and what it makes of a factor that fails."""

import ast
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import NoneType
from typing import Any

import msgspec
import pytest
from cofactor_server import factors
from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    Code,
    Context,
    Denied,
    Enrollment,
    Facts,
    Mismatch,
    Possession,
    Prompt,
    Proof,
    Verdict,
)
from cofactor_server.factors.registry import (
    GROUP,
    CredentialUnreadable,
    FactorConflict,
    FactorUnusable,
    Registry,
    load,
    plugged,
    register,
    shipped,
)
from cofactor_server.seams import Entropy

from tests.unit.factors.worlds import ALICE, NOW, RELYING_PARTY, SeededEntropy, at


class Badge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plugin's credential."""

    number: int


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plugin's expectation."""

    word: str


class BadgeReader:
    """A plugin's factor, which answers with whatever the test wants."""

    kind = "badge"
    credential_type = Badge
    expected_type = Expected
    prompts = True
    listed_type = "badge"
    authenticator_type = "oob"

    def __init__(self, entropy: Entropy, outcome: Verdict[Badge] | Exception | None = None) -> None:
        self.outcome = outcome
        self.seen: list[Any] = []

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[Badge]:
        return Enrollment(Badge(1), {}, "badge 1")

    def challenge(self, credential: Badge, context: Context) -> Prompt[Expected]:
        return Prompt(Expected("swordfish"))

    def verify(self, credential: Badge, expected: Expected, proof: Proof, context: Context) -> Verdict[Badge]:
        self.seen += [credential, expected]
        match self.outcome:
            case Exception():
                raise self.outcome
            case None:
                return Mismatch()
            case verdict:
                return verdict


class Twin(BadgeReader):
    kind = "totp"


class Misnamed(BadgeReader):
    kind = "Badge|dev"


class Undecided(BadgeReader):
    prompts = False


class Blank(BadgeReader):
    expected_type = NoneType  # type: ignore[assignment]


def point(name: str) -> EntryPoint:
    return EntryPoint(name.lower(), f"{__name__}:{name}", GROUP)


def test_cofactors_own_factors_come_first() -> None:
    ours = [factor.kind for factor in shipped(SeededEntropy(), RELYING_PARTY)]

    assert list(load(SeededEntropy(), RELYING_PARTY))[: len(ours)] == ours
    assert (ours[0], ours[-1]) == ("totp", "recovery-code")


def test_a_plugins_factor_is_found_by_its_entry_point() -> None:
    entropy = SeededEntropy()

    known = Registry((*shipped(entropy, RELYING_PARTY), *plugged(entropy, [point("BadgeReader")])))

    assert list(known)[-2:] == ["recovery-code", "badge"]
    assert known["badge"].enroll(ALICE, "", {}).name == "badge 1"


def test_a_kind_that_is_registered_twice_stops_the_start_and_both_are_named() -> None:
    entropy = SeededEntropy()

    with pytest.raises(FactorConflict) as caught:
        Registry((*shipped(entropy, RELYING_PARTY), *plugged(entropy, [point("Twin")])))

    assert str(caught.value) == f"two factors are of kind 'totp': cofactor_server.factors.totp:Totp and {__name__}:Twin"


@pytest.mark.parametrize("contradictory", [Misnamed, Undecided, Blank])
def test_a_factor_that_contradicts_itself_stops_the_start(contradictory: type[BadgeReader]) -> None:
    with pytest.raises(FactorUnusable, match=contradictory.__name__):
        register(contradictory(SeededEntropy()))


def test_a_kind_that_nobody_registered_is_absent_and_no_error() -> None:
    assert load(SeededEntropy(), RELYING_PARTY).get("retinal-scan") is None


def test_a_factor_gets_back_what_it_enrolled_and_expected() -> None:
    reader = BadgeReader(SeededEntropy())
    badge = register(reader)
    credential = badge.enroll(ALICE, "", {}).credential
    expected = badge.challenge(credential, at(NOW)).expected

    badge.verify(credential, expected, Code("swordfish"), at(NOW))

    assert reader.seen == [Badge(1), Expected("swordfish")]
    assert badge.decode(credential) == Badge(1)


def test_an_approval_keeps_all_it_says_but_its_credential_is_encoded() -> None:
    facts = Facts(amr=("hwk",), possession=Possession.HARDWARE)
    badge = register(BadgeReader(SeededEntropy(), Approved(Badge(2), facts, unique="2", show="hello")))

    verdict = badge.verify(*stored(), Code("x"), at(NOW))

    assert verdict == Approved(msgspec.msgpack.encode(Badge(2)), facts, unique="2", show="hello")


@pytest.mark.parametrize("outcome", [Denied(), Mismatch(), Mismatch(hint="check_clock"), Mismatch(replay=True)])
def test_a_refusal_passes_unchanged(outcome: Denied | Mismatch) -> None:
    assert register(BadgeReader(SeededEntropy(), outcome)).verify(*stored(), Code("x"), at(NOW)) == outcome


@pytest.mark.parametrize(
    "failure",
    [
        ValueError("x"),
        KeyError("x"),
        IndexError("x"),
        OverflowError("x"),
        RecursionError("x"),
        msgspec.DecodeError("x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
    ],
)
def test_a_parse_error_inside_verify_is_a_mismatch(failure: Exception) -> None:
    assert register(BadgeReader(SeededEntropy(), failure)).verify(*stored(), Code("x"), at(NOW)) == Mismatch()


@pytest.mark.parametrize("failure", [TypeError("x"), AttributeError("x"), MemoryError("x")])
def test_a_factors_own_bug_is_not_taken_for_a_wrong_code(failure: Exception) -> None:
    badge = register(BadgeReader(SeededEntropy(), failure))

    with pytest.raises(type(failure)):
        badge.verify(*stored(), Code("x"), at(NOW))


def test_a_factor_that_prompts_is_not_asked_without_a_challenge() -> None:
    reader = BadgeReader(SeededEntropy(), Approved(Badge(1), Facts(amr=(), possession=Possession.NONE)))

    assert register(reader).verify(stored()[0], None, Code("x"), at(NOW)) == Mismatch()
    assert not reader.seen


@pytest.mark.parametrize(
    "expected", [b"", b"\xc0", msgspec.msgpack.encode({"word": 1}), msgspec.msgpack.encode({"word": "x", "more": 1})]
)
def test_an_expectation_that_is_not_the_factors_is_unreadable_and_not_quoted(expected: bytes) -> None:
    badge = register(BadgeReader(SeededEntropy()))

    with pytest.raises(CredentialUnreadable, match=r"^a stored expectation of kind 'badge' can't be read$"):
        badge.verify(stored()[0], expected, Code("x"), at(NOW))


@pytest.mark.requirement("S89")
def test_factors_compute_only() -> None:
    """No clock, no chance of their own, no network, no files: whatever a factor imports is on this list."""
    allowed = {
        "base64", "binascii", "collections", "cryptography", "dataclasses", "datetime", "email_validator", "hashlib",
        "hmac", "importlib", "msgspec", "phonenumbers", "re", "string", "struct", "types", "typing", "urllib",
        "webauthn", "cofactor_server.domain", "cofactor_server.errors", "cofactor_server.factors",
        "cofactor_server.seams",
    }  # fmt: skip

    imported = {
        name for file in Path(factors.__path__[0]).glob("*.py") for name in imports(ast.parse(file.read_text()))
    }

    assert not {name for name in imported if not any(f"{name}.".startswith(f"{known}.") for known in allowed)}


def imports(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def stored() -> tuple[bytes, bytes]:
    """Return an encoded credential and an encoded expectation."""
    return msgspec.msgpack.encode(Badge(1)), msgspec.msgpack.encode(Expected("swordfish"))
