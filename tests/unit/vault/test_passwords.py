"""Passwords."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from argon2.exceptions import VerificationError
from cofactor_server.vault.passwords import LONGEST, PasswordCost, Passwords, PasswordsBusy

CHEAP = PasswordCost(time_cost=1, memory_kib=8, parallelism=1)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(workers=2, cost=CHEAP)
    yield made
    made.close()


class Gate:
    """Holds each thread of a pool until it is opened, and counts what came."""

    def __init__(self, passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
        self.came = 0
        self.opened = threading.Event()
        monkeypatch.setattr(passwords, "_verify", self._verify)

    def _verify(self, encoded: str | None, password: str) -> bool:
        self.came += 1
        self.opened.wait(5)  # lest a failed test wait for ever
        return True


async def test_the_right_password_verifies_and_a_wrong_one_does_not(passwords: Passwords) -> None:
    encoded = await passwords.hash("correct horse")
    assert await passwords.verify(encoded, "correct horse")
    assert not await passwords.verify(encoded, "correct horsf")
    assert not await passwords.verify(encoded, "")


async def test_a_hash_is_argon2id_of_the_given_cost_and_salted(passwords: Passwords) -> None:
    one, other = await passwords.hash("same"), await passwords.hash("same")
    assert one.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert one != other


def test_the_default_cost_is_the_second_choice_of_rfc_9106() -> None:
    assert PasswordCost() == PasswordCost(time_cost=3, memory_kib=65_536, parallelism=4)


@pytest.mark.parametrize("encoded", [None, "", "$2b$12$abc", "ä"])
async def test_without_a_hash_every_password_is_wrong(passwords: Passwords, encoded: str | None) -> None:
    for password in ("", "x"):  # the dummy's password is the empty one
        assert not await passwords.verify(encoded, password)


async def test_a_damaged_hash_is_an_error_and_not_a_wrong_password(passwords: Passwords) -> None:
    encoded = await passwords.hash("x")
    with pytest.raises(VerificationError, match="Decoding"):
        await passwords.verify(encoded[:-3] + "!!!", "x")


@pytest.mark.parametrize("encoded", [None, "no hash"])
async def test_an_unknown_user_costs_one_argon2_like_a_known_one(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch, encoded: str | None
) -> None:
    hashed = []
    library = type(passwords._hasher).verify

    def verify(hasher: object, encoded: str, password: str) -> bool:
        if encoded.startswith("$argon2id$v=19$m=8,t=1,p=1$"):
            hashed.append(password)
        return library(passwords._hasher, encoded, password)

    monkeypatch.setattr(type(passwords._hasher), "verify", verify)
    await passwords.verify(encoded, "guess")
    assert hashed == ["guess"]


async def test_an_unknown_user_takes_as_long_as_a_wrong_password() -> None:
    passwords = Passwords(workers=1, cost=PasswordCost(time_cost=3, memory_kib=4_096, parallelism=1))
    known = await passwords.hash("right")

    def best(encoded: str | None) -> float:
        times = []
        for _ in range(9):
            start = time.thread_time()  # of this thread's work alone, whatever else the machine does
            passwords._verify(encoded, "wrong")
            times.append(time.thread_time() - start)
        return min(times)

    assert 0.6 < best(None) / best(known) < 1.6
    passwords.close()


@pytest.mark.parametrize(
    "password", ["x" * 1_025, "é" * 513, "\ud800", "x" * 50_000_000], ids=["long", "wide", "surrogate", "50 MB"]
)
async def test_a_password_too_long_is_refused_unhashed(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    gate = Gate(passwords, monkeypatch)
    assert not await passwords.verify(None, password)
    with pytest.raises(ValueError, match="at most 1024"):
        await passwords.hash(password)
    assert gate.came == 0


async def test_the_longest_password_counts_to_its_last_letter(passwords: Passwords) -> None:
    encoded = await passwords.hash("x" * LONGEST)
    assert await passwords.verify(encoded, "x" * LONGEST)
    assert not await passwords.verify(encoded, "x" * (LONGEST - 1) + "y")


async def test_a_full_queue_refuses_at_once_and_takes_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(workers=2, queue=3, cost=CHEAP)
    gate = Gate(passwords, monkeypatch)
    waiting = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(PasswordsBusy):
        await passwords.verify(None, "x")
    with pytest.raises(PasswordsBusy):
        await passwords.hash("x")
    gate.opened.set()
    assert all(await asyncio.gather(*waiting))
    assert await passwords.verify(None, "x")
    passwords.close()


async def test_callers_who_leave_do_not_make_room_for_more_work_than_the_threads_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords(workers=1, queue=0, cost=CHEAP)
    gate = Gate(passwords, monkeypatch)
    left = asyncio.create_task(passwords.verify(None, "x"))
    while gate.came == 0:  # noqa: ASYNC110 - a thread tells
        await asyncio.sleep(0.001)
    left.cancel()
    await asyncio.wait([left])
    with pytest.raises(PasswordsBusy):
        await passwords.verify(None, "x")
    gate.opened.set()
    passwords.close()


async def test_no_more_than_the_workers_hash_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(workers=2, queue=10, cost=CHEAP)
    gate = Gate(passwords, monkeypatch)
    waiting = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(8)]
    while gate.came < 2:  # noqa: ASYNC110 - threads tell
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert gate.came == 2
    gate.opened.set()
    await asyncio.gather(*waiting)
    passwords.close()


async def test_the_loop_runs_on_while_a_password_is_hashed(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(passwords, monkeypatch)
    verifying = asyncio.create_task(passwords.verify(None, "x"))
    await asyncio.sleep(0.01)
    assert not verifying.done()
    gate.opened.set()
    assert await verifying
