"""What decisions read, and for a batch of them the rows of each table."""

from collections.abc import Sequence
from typing import TypeAlias

from cofactor_server.domain.foundation.values import Value

Pair: TypeAlias = tuple[str, str]
"""A user's id and a row's."""


class Needs(Value, frozen=True):
    """What one decision reads, so that a batch reads each table once. Empty fields need nothing."""

    user_id: str
    client_id: str = ""
    authenticators: bool = True
    token_id: str = ""
    challenge_id: str = ""
    pending_challenges: bool = False
    family_id: str = ""
    request_id: str = ""
    source: str = ""
    browser_id: str = ""


class Wanted:
    """The rows that decisions need, table by table: users, or pairs of a user's id and a row's."""

    def __init__(self, needs: Sequence[Needs]) -> None:
        self.authenticators: set[str] = set()
        self.pending_challenges: set[str] = set()
        self.tokens: set[Pair] = set()
        self.challenges: set[Pair] = set()
        self.families: set[Pair] = set()
        self.outcomes: set[Pair] = set()
        self.sources: set[Pair] = set()
        self.browsers: set[Pair] = set()
        for need in needs:
            user_id = need.user_id
            if need.authenticators:
                self.authenticators.add(user_id)
            if need.pending_challenges:
                self.pending_challenges.add(user_id)
            if need.token_id:
                self.tokens.add((user_id, need.token_id))
            if need.challenge_id:
                self.challenges.add((user_id, need.challenge_id))
            if need.family_id:
                self.families.add((user_id, need.family_id))
            if need.request_id:
                self.outcomes.add((user_id, need.request_id))
            if need.source:
                self.sources.add((user_id, need.source))
            if need.browser_id:
                self.browsers.add((user_id, need.browser_id))
