"""What passed over an edge, to be looked for where it must not be (S113)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_SECRETS = frozenset(
    {
        "password",
        "otp",
        "mfa_token",
        "oob_code",
        "binding_code",
        "recovery_code",
        "recovery_codes",
        "refresh_token",
        "remember_token",
        "token",
        "access_token",
        "id_token",
        "secret",
        "client_secret",
        "credential_json",
        "ticket",
        "enrollment",
        "challenge_response",
        "txtkn",
    }
)


@dataclass
class Traffic:
    """Remembers what passed: every secret, and every text with which something was refused."""

    secrets: set[str] = field(default_factory=set, repr=False)
    texts: list[str] = field(default_factory=list)

    def spilled_in(self, text: str) -> set[str]:
        """Return the secrets that a text holds; one that is part of a longer word is not meant."""
        words = set(re.findall(r"[\w.~-]+", text))
        return {secret for secret in self.secrets if secret in words or (len(secret) > 16 and secret in text)}

    def take(self, said: object) -> None:
        """Take the secrets of a message or a JSON document."""
        self.secrets.update(secret for secret in _secrets_of(said) if len(secret) >= 6)


def _secrets_of(said: object, name: str = "") -> Iterator[str]:
    match said:
        case str():
            if name in _SECRETS:
                yield said
        case Mapping():
            for key, value in said.items():
                yield from _secrets_of(value, key)
        case list() | tuple():
            for value in said:
                yield from _secrets_of(value, name)
