"""Whether what a token came from is still there, where nothing is decided."""

from collections.abc import Iterable

from cofactor_server.domain.authenticators.endings import gone_of
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import queries
from cofactor_server.store.repositories.queries import Account


async def is_opened(records: Records, account: Account, token_id: str, opened_by: Iterable[str]) -> bool:
    """Whether an access token stands, as `standing.still_opened` tells under the lock.

    Args:
        records: To look up what the token removed itself.
        account: Its user's.
        token_id: Its jti.
        opened_by: Ids of the authenticators that it came from.
    """
    gone = gone_of(opened_by, account.authenticators)
    return not gone or gone <= await records.read(queries.removed_by, account.user.id, token_id)
