"""Group commit as the services use it: verdicts in, results or refusals out."""

from contextlib import AbstractContextManager
from typing import TypeVar

from cofactor_server.domain.callers import Caller
from cofactor_server.errors import CofactorError
from cofactor_server.store.transactions.group_commit import Decision, GroupCommit

V = TypeVar("V")


class Decider:
    """Has things decided, and raises refusals once they are committed."""

    def __init__(self, group_commit: GroupCommit) -> None:
        self._group_commit = group_commit

    def under_way(self, caller: Caller) -> AbstractContextManager[None]:
        """Announce a call that will want something decided; see `GroupCommit.under_way`."""
        return self._group_commit.under_way(caller.client.id if caller.client else caller.user_id)

    async def decide(self, caller: Caller, decision: Decision[V | CofactorError]) -> V:
        """Have `decision` decided and committed.

        A refusal is a verdict like any other until its transaction, with the failure it counted, is on disk; only then
        is it raised.

        Raises:
            CofactorError: The verdict, or that nothing was decided.
        """
        verdict = await self._group_commit.decide(decision, deadline=caller.deadline)
        if isinstance(verdict, CofactorError):
            raise verdict
        return verdict
