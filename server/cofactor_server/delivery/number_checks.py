"""What a plugin says of a telephone number before a code goes there (S17, NIST SP 800-63B section 3.1.3.3).

Whoever has a number ported, or its SIM changed, receives its codes. Carriers and those who resell them tell of both;
which of them is asked, and which signal counts, is for a plugin to say.
"""

import asyncio
from enum import StrEnum
from typing import Protocol

import structlog

from cofactor_server.domain.authenticators.kinds import PHONE_KINDS
from cofactor_server.domain.authenticators.proofs import Message, Purpose
from cofactor_server.errors import DeliveryFailed, DestinationRefused

GROUP = "cofactor.number_checks"
"""Entry points of this group name what takes the process's environment and returns a `NumberCheck`."""
SECONDS = 3.0
"""How long an answer may take."""
ASK_AGAIN = 5.0
"""Seconds after which a caller may ask again, where there was no answer."""

log = structlog.get_logger("cofactor")


class Word(StrEnum):
    """What is said of a number."""

    SEND = "send"
    REFUSE = "refuse"


class NumberCheck(Protocol):
    """Looks at a telephone number before a code is sent to it. Texts of its exceptions are not logged."""

    async def check(self, number: str, *, channel: str, enrolling: bool) -> Word:
        """Say whether a code may go to a number, now.

        Args:
            number: In E.164 form.
            channel: `sms` or `voice`.
            enrolling: Whether it is being enrolled; otherwise it is its user's, and a login waits for the code.
        """
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class NumberChecks:
    """Asks the check, if there is one, and sends nothing where it says no, or says nothing in time."""

    def __init__(self, check: NumberCheck | None = None, seconds: float = SECONDS) -> None:
        self._check = check
        self._seconds = seconds

    async def pass_on(self, message: Message) -> None:
        """Return where a message may be sent. Notices always are: they are what tells the user of a change.

        Raises:
            DestinationRefused: The check says no.
            DeliveryFailed: It failed, said nothing in time, or said what is no answer.
        """
        if self._check is None or message.channel not in PHONE_KINDS or message.notice is not None:
            return
        enrolling = message.purpose is Purpose.ENROLL
        try:
            async with asyncio.timeout(self._seconds):
                word: object = await self._check.check(message.to, channel=message.channel, enrolling=enrolling)
        except Exception as error:
            # Silence is no consent. Its text may quote the number.
            log.error("number not checked", channel=message.channel, cause=type(error).__name__)
            raise DeliveryFailed(retry_after=ASK_AGAIN) from None
        if word == Word.REFUSE:
            log.warning("number refused", channel=message.channel, enrolling=enrolling)
            raise DestinationRefused
        if word != Word.SEND:
            log.error("number not checked", channel=message.channel, cause="no answer")
            raise DeliveryFailed(retry_after=ASK_AGAIN)

    async def close(self) -> None:
        """Close the check."""
        if self._check is not None:
            await self._check.close()
