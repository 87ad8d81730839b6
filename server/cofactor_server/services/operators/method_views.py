"""Presents authenticators to operators as methods: those of one phone as one method, with masked addresses."""

from collections.abc import Iterable

import structlog

from cofactor_server.domain.authenticators.authenticator import Authenticator, offered_order
from cofactor_server.domain.authenticators.kinds import PHONE_KINDS, WEBAUTHN
from cofactor_server.domain.authenticators.methods import Details, Method, method_of, suffix_of
from cofactor_server.domain.authenticators.proofs import Account
from cofactor_server.services.proofs.credentials import Credentials

log = structlog.get_logger("cofactor")

_BUILT_IN = frozenset({"internal", "hybrid"})
"""WebAuthn transports of authenticators that are built into the device or are on a phone nearby."""


class Describing:
    """Builds methods from authenticators."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def methods(self, authenticators: Iterable[Authenticator], now: int) -> list[Method]:
        """Return a user's methods in the order of offer; a profile address only if codes by mail are on."""
        together: dict[str, list[Authenticator]] = {}
        for a in offered_order(authenticators):
            if not a.lapsed(now) and (not a.implicit or self._credentials.factor(a.kind)):
                together.setdefault(suffix_of(a.id) if a.kind in PHONE_KINDS else a.id, []).append(a)
        return [self.method(group) for group in together.values()]

    def method(self, together: list[Authenticator]) -> Method:
        """Return the method of linked authenticators."""
        return method_of(together, self._details(together[0]))

    def _details(self, authenticator: Authenticator) -> Details:
        try:
            return self._read(authenticator)
        except Exception as error:
            # One unreadable row, or a plugin's bug, must not hide the others from the operator who has to remove it.
            log.error("credential unreadable", kind=authenticator.kind, cause=type(error).__name__)
            return Details()

    def _read(self, authenticator: Authenticator) -> Details:
        credentials, kind = self._credentials, authenticator.kind
        if not credentials.is_known(kind):
            return Details()
        factor = credentials.known(kind)
        if kind == WEBAUTHN:
            key = factor.decode(credentials.open(authenticator)).key
            transports = set(key.transports) if key is not None else set()
            return Details(is_platform="internal" in transports and transports <= _BUILT_IN)
        if not factor.has_address:
            return Details()
        return Details(masked_address=factor.enroll(Account("", "", ""), credentials.address(authenticator), {}).name)
