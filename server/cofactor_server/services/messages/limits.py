"""Per-destination, per-client and per-prefix message rate limits, over all users and replicas.

The limits per user are part of the decision that stores the challenge (`services.messages.sending`). These limits are
checked after that, before the message is sent.
"""

from collections.abc import Sequence

import phonenumbers
import structlog

from cofactor_server.domain.authenticators.kinds import EMAIL, PHONE_KINDS
from cofactor_server.domain.authenticators.proofs import Message, Purpose
from cofactor_server.domain.challenges.challenge import Challenge
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.budgets import Charge
from cofactor_server.domain.foundation.encoding import framed
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.domain.logins.explanations import BudgetStanding
from cofactor_server.errors import TooManyMessages
from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import budgets
from cofactor_server.store.repositories import message_counts as postage
from cofactor_server.vault.keyring import Keyring

_PURPOSE = "destination"

log = structlog.get_logger("cofactor")


class Postage:
    """Counts messages against shared rate limits before they are sent.

    A number or address that is being enrolled may belong to anyone, so its messages are counted over all users.
    Messages to a confirmed number or address are not counted per destination: otherwise an attacker who enrolls it
    again and again would keep codes from its owner.
    """

    def __init__(self, deployment: Deployment, records: Records, keyring: Keyring, clock: Clock) -> None:
        self._deployment = deployment
        self._records = records
        self._keyring = keyring
        self._clock = clock

    async def take(self, challenge: Challenge, message: Message) -> Sequence[Charge]:
        """Count a message that is about to be sent.

        Args:
            challenge: The stored challenge that the message belongs to.
            message: The message.

        Returns:
            The charges to give back if the message is not sent.

        Raises:
            TooManyMessages: The rate limit of the number, client or prefix is reached; nothing was counted.
            Unavailable: The database is away.
        """
        now, by_phone, bounds = self._clock.now(), message.channel in PHONE_KINDS, self._deployment
        charges, prefix = [], ""
        if message.purpose is Purpose.ENROLL and (by_phone or message.channel == EMAIL):
            bucket, group = (bounds.number_sends, "phone") if by_phone else (bounds.address_sends, EMAIL)
            _, mac = self._keyring.mac(_PURPOSE, framed(group, message.to.casefold()))
            charges.append(Charge(f"sent:{group}:{mac.hex()}", "messages-to-destination", bucket))
            prefix = prefix_of(message.to, bounds.pumping.digits) if by_phone else ""
        if by_phone:
            charges.append(self._of_client(challenge.client_id))
        if not charges:
            return charges
        stopped = Event(
            challenge.user_id,
            EventName.MESSAGES_STOPPED,
            now,
            challenge.client_id,
            challenge.login_id,
            challenge.authenticator_id,
            details={"prefix": prefix},
        )
        match await self._records.change(postage.take, charges, stopped, prefix, bounds.pumping, now):
            case budgets.Empty(charge, full_at):
                wait, quota = charge.bucket.wait(full_at, now), charge.bucket.quota(charge.name, full_at, now)
                log.warning("messages refused", budget=charge.name, client=challenge.client_id)
                raise TooManyMessages(retry_after=wait / SECOND, quota=quota)
            case postage.Stopped(wait):
                log.warning("messages stopped", prefix=prefix)
                raise TooManyMessages(retry_after=wait / SECOND)
        return charges

    async def standing(self, client_id: str) -> BudgetStanding:
        """Return the state of a client's message rate limit, without counting anything.

        Raises:
            Unavailable: The database is away.
        """
        charge, now = self._of_client(client_id), self._clock.now()
        taken = await self._records.read(budgets.standing, [charge])
        (full_at,) = taken.full_at
        quota = charge.bucket.quota(charge.name, full_at, now)
        return BudgetStanding(quota, charge.bucket.wait(full_at, now), applies=True)

    def _of_client(self, client_id: str) -> Charge:
        return Charge(f"sent-by:{client_id}", "messages-of-client", self._deployment.client_sends)

    async def give_back(self, charges: Sequence[Charge]) -> None:
        """Give back the charges of a message that was not sent.

        Raises:
            Unavailable: The database is away.
        """
        if charges:
            await self._records.change(budgets.give_back, charges)


def prefix_of(number: str, digits: int) -> str:
    """Return a number's country code and the first digits after it, never the last four.

    Args:
        number: A number in E.164 form; for any other text, its first four characters are returned.
        digits: How many digits to take after the country code.
    """
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return number[:4]
    national = phonenumbers.national_significant_number(parsed)
    return f"+{parsed.country_code}{national[: min(digits, max(0, len(national) - 4))]}"
