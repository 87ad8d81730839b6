"""Checks, for reads, that the authenticators behind an access token still exist."""

from collections.abc import Iterable

from cofactor_server.domain.authenticators.endings import gone_of
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import queries
from cofactor_server.store.repositories.queries import Account


async def is_opened(records: Records, account: Account, token_id: str, opened_by: Iterable[str]) -> bool:
    """Check that the authenticators behind an access token still exist.

    Reads use this; decisions use `validity.still_opened`, the same check under the user's lock.

    Args:
        records: Looks up the authenticators that the token itself removed.
        account: The token's user, with authenticators.
        token_id: The token's jti.
        opened_by: Ids of the authenticators that the user showed to get the token.
    """
    gone = gone_of(opened_by, account.authenticators)
    return not gone or gone <= await records.read(queries.removed_by, account.user.id, token_id)
