"""Runs decisions in a group commit, then returns their result or raises their refusal."""

from contextlib import AbstractContextManager
from typing import TypeVar

from cofactor_server.domain.callers import Caller
from cofactor_server.errors import CofactorError
from cofactor_server.store.transactions.group_commit import Decision, GroupCommit

V = TypeVar("V")


class Decider:
    """Runs decisions in transactions and raises a refusal only after its commit."""

    def __init__(self, group_commit: GroupCommit) -> None:
        self._group_commit = group_commit

    def under_way(self, caller: Caller) -> AbstractContextManager[None]:
        """Announce a call that is going to run a decision; see `GroupCommit.under_way`."""
        return self._group_commit.under_way(caller.client.id if caller.client else caller.user_id)

    async def decide(self, caller: Caller, decision: Decision[V | CofactorError]) -> V:
        """Run `decision`, commit it, and return its verdict.

        A refusal is a return value until its transaction is on disk, with the failure that it counted. Only then is it
        raised: an exception inside the transaction would roll the counter back.

        Args:
            caller: Makes the call; its deadline bounds the wait.
            decision: Runs inside the transaction.

        Returns:
            The verdict, where it is not a refusal.

        Raises:
            CofactorError: The verdict is this refusal, or nothing was decided.
        """
        verdict = await self._group_commit.decide(decision, deadline=caller.deadline)
        if isinstance(verdict, CofactorError):
            raise verdict
        return verdict
