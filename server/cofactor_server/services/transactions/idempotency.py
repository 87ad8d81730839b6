"""Idempotency by request id: for two minutes, a repeated request gets the same outcome (ADR-16)."""

import hashlib

import msgspec

from cofactor_server.domain.foundation.values import Secret, Value
from cofactor_server.domain.logins.grants import Chained, Issue
from cofactor_server.errors import RequestIdReused
from cofactor_server.seams import MINUTE
from cofactor_server.store.transactions.rows import StoredOutcome
from cofactor_server.store.transactions.work import Work
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.digests import same

KEPT = 2 * MINUTE
_CHAINED = b"\xc1"
"""Prefix of a stored login that continues with another factor; no MessagePack value starts with this byte."""


class Repeat(Value, frozen=True):
    """Identifies a request, so that a repetition of it is recognized."""

    client_id: str
    request_id: str
    digest: Secret[bytes]

    @classmethod
    def of(cls, client_id: str, request_id: str, *parts: str) -> "Repeat | None":
        """Return the identity of a request; None if it has no request id.

        Args:
            client_id: The client that sends the request.
            request_id: Its idempotency key.
            parts: Every other field of the request. The digest covers all of them, each with its length.
        """
        if not request_id:
            return None
        digest = hashlib.sha256()
        for part in parts:
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return cls(client_id, request_id, digest.digest())


class Repeats:
    """Stores the outcomes of decided requests, sealed, and finds them when a request is repeated."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Issue).decode
        self._decode_chained = msgspec.msgpack.Decoder(Chained).decode

    def find(
        self, work: Work, user_id: str, repeat: Repeat | None, now: int
    ) -> Issue | Chained | RequestIdReused | None:
        """Return the stored outcome of a repeated request; None if the request is new.

        The result is `RequestIdReused` if the request id was used for a different request.
        """
        if repeat is None:
            return None
        stored = work.outcome(user_id, repeat.client_id, repeat.request_id, now)
        if stored is None:
            return None
        if not same(stored.request_sha256, repeat.digest):
            return RequestIdReused()
        row_id = f"{repeat.client_id}\0{repeat.request_id}"
        kept = self._columns.open("outcomes", "issue", user_id, row_id, stored.issue)
        return self._decode_chained(kept[1:]) if kept[:1] == _CHAINED else self._decode(kept)

    def keep(self, work: Work, repeat: Repeat | None, decided: Issue | Chained, now: int) -> None:
        """Store an outcome in the transaction that decides it."""
        if repeat is None:
            return
        row_id = f"{repeat.client_id}\0{repeat.request_id}"
        chained = isinstance(decided, Chained)
        user_id = decided.login.user_id if isinstance(decided, Chained) else decided.user_id
        encoded = (_CHAINED if chained else b"") + self._encode(decided)
        sealed = self._columns.seal("outcomes", "issue", user_id, row_id, encoded)
        work.keep_outcome(
            StoredOutcome(user_id, repeat.client_id, repeat.request_id, repeat.digest, sealed, now + KEPT)
        )
