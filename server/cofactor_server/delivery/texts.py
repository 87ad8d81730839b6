"""What messages say: Jinja2 in its sandbox, one file a language, each text replaceable by the operator's."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cofactor_server.delivery.provider import Outgoing
from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.domain.challenges.challenge import CHALLENGE_LIFE
from cofactor_server.seams import MINUTE

DEFAULT = "en"
CHANNELS = ("sms", "voice", "email", "push")
PLAIN = "sms"
"""Channels of plugins say what a text message says."""

Key: TypeAlias = tuple[str, ...]

_SAMPLE = {
    "code": "123456",
    "digits": "1, 2, 3, 4, 5, 6",
    "friendly_name": "Example",
    "minutes": 5,
    "kind": "",
    "time": "2026-01-01 00:00 UTC",
    "source": "192.0.2.1",
    "link": "https://example.com/",
}


class TextsInvalid(Exception):
    """A file of texts can't be used: the message names it."""


class Texts:
    """The texts of every language.

    Args:
        friendly_name: The deployment's, which every text may name.
        language: What users read of whom nothing else is known.
        folder: The operator's own `de.toml`, `pt.toml`, …; what one leaves out is taken from ours.

    Raises:
        TextsInvalid: A file can't be read, names a text that does not exist, or does not render.
    """

    def __init__(self, friendly_name: str, *, language: str = DEFAULT, folder: Path | None = None) -> None:
        self._friendly_name = friendly_name
        self._language = language
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
        )
        ours = {
            name: _read(file.read_text(encoding="utf-8"), f"{name}.toml")
            for file in sorted(resources.files("cofactor_server.delivery").joinpath("languages").iterdir(), key=str)
            if (name := file.name.removesuffix(".toml")) != file.name
        }
        theirs = dict(_files(folder)) if folder is not None else {}
        known = set(ours[DEFAULT])
        self._texts: dict[str, dict[Key, Template]] = {}
        for name in sorted({*ours, *theirs}):
            own = theirs.get(name, {})
            if unknown := sorted(".".join(key) for key in own.keys() - known):
                raise TextsInvalid(f"{folder}/{name}.toml: there is no text {unknown[0]}")
            found = {**ours[DEFAULT], **ours.get(name, {}), **own}
            self._texts[name] = {key: _compiled(environment, name, key, text) for key, text in found.items()}
        if language not in self._texts:
            raise TextsInvalid(f"{language}: there is no such language; there are {', '.join(self._texts)}")

    def written(self, message: Message, message_id: str) -> Outgoing:
        """Return a message as it leaves, under an id of its own."""
        texts = self._texts[self._chosen(message.languages)]
        values = {
            "code": message.code,
            "digits": ", ".join(message.code),
            "friendly_name": self._friendly_name,
            "minutes": CHALLENGE_LIFE // MINUTE,
            "kind": _in_words(texts, message.facts.get("kind", "")),
            "time": message.facts.get("time", ""),
            "source": message.facts.get("source", ""),
            "link": message.link,
        }
        text, subject = _of_notice(texts, message) if message.notice else _of_code(texts, message)
        return Outgoing(
            id=message_id,
            channel=message.channel,
            to=message.to,
            # A header is one line.
            subject=" ".join(subject.render(values).split()) if subject is not None else "",
            text=text.render(values).strip(),
            locale=texts[("locale",)].render(),
            payload=message.payload,
        )

    def _chosen(self, languages: Sequence[str]) -> str:
        """Return the first language that there is: as it is called, or without its region (RFC 4647 section 3.4)."""
        for language in languages:
            tag = language.replace("_", "-")
            for candidate in (tag, tag.partition("-")[0].lower()):
                if candidate in self._texts:
                    return candidate
        return self._language


def _of_code(texts: Mapping[Key, Template], message: Message) -> tuple[Template, Template | None]:
    channel = message.channel if message.channel in CHANNELS else PLAIN
    prefix = (channel, message.purpose.value)
    if message.link:  # goes by mail alone
        prefix = ("email", "ticket")
    return texts[(*prefix, "text")], texts.get((*prefix, "subject"))


def _of_notice(texts: Mapping[Key, Template], message: Message) -> tuple[Template, Template | None]:
    prefix: Key = ("notices", str(message.notice))
    if (*prefix, "text") not in texts:
        prefix = ("notices", "other")
    if message.channel == "email":
        return texts[(*prefix, "text")], texts[(*prefix, "subject")]
    return texts[(*prefix, "short")], None


def _in_words(texts: Mapping[Key, Template], kind: str) -> str:
    # A name that its owner gave does not appear: whoever took over an account would write something there.
    return texts.get(("kinds", kind), texts[("kinds", "other")]).render()


def _files(folder: Path) -> Iterator[tuple[str, dict[Key, str]]]:
    try:
        for file in sorted(folder.iterdir()):
            if file.suffix == ".toml":
                yield file.stem, _read(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise TextsInvalid(f"{folder}: {getattr(error, 'strerror', None) or 'not text'}") from None


def _read(content: str, name: str) -> dict[Key, str]:
    try:
        return dict(_flat(tomllib.loads(content), ()))
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise TextsInvalid(f"{name}: {error}") from None


def _flat(table: Mapping[str, Any], key: Key) -> Iterator[tuple[Key, str]]:
    for name, value in table.items():
        match value:
            case str():
                yield (*key, name), value
            case dict():
                yield from _flat(value, (*key, name))
            case _:
                raise TypeError(f"{'.'.join((*key, name))} is no text")


def _compiled(environment: ImmutableSandboxedEnvironment, name: str, key: Key, text: str) -> Template:
    try:
        template = environment.from_string(text)
        template.render(_SAMPLE)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TextsInvalid(f"{name}.toml: {'.'.join(key)}: {error}") from None
    return template
