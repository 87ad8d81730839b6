"""What messages say, in every language."""

from pathlib import Path

import pytest
from cofactor_server.delivery.texts import CHANNELS, Texts, TextsInvalid
from cofactor_server.domain.authenticators.proofs import Message, Purpose
from cofactor_server.domain.foundation.events import NoticeName

from tests.unit.delivery.conftest import CODE, NUMBER

LANGUAGES = ("en", "de", "fr", "es")


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts("Example & Co")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("channel", ["sms", "email"])
def test_a_message_begins_with_the_code(channel: str, purpose: Purpose, language: str, texts: Texts) -> None:
    written = texts.written(Message(channel, NUMBER, CODE, purpose=purpose, languages=(language,)), "m1")
    assert written.text.startswith(CODE)
    assert "Example & Co" in written.text
    assert (channel == "sms") == (not written.subject)
    assert CODE not in written.subject
    assert written.locale.startswith(language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("purpose", Purpose)
def test_a_voice_speaks_digit_by_digit_and_twice(purpose: Purpose, language: str, texts: Texts) -> None:
    written = texts.written(Message("voice", NUMBER, CODE, purpose=purpose, languages=(language,)), "m1")
    assert written.text.count("4, 9, 2, 0, 3, 9") == 2
    assert CODE not in written.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_purpose_has_a_text_of_its_own(language: str, texts: Texts) -> None:
    for channel in CHANNELS:
        said = {
            texts.written(Message(channel, NUMBER, CODE, purpose=purpose, languages=(language,)), "m1").text
            for purpose in Purpose
        }
        assert len(said) == 2


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NoticeName)
@pytest.mark.parametrize("channel", ["sms", "email", "voice"])
def test_a_notice_says_what_happened_and_when(channel: str, name: NoticeName, language: str, texts: Texts) -> None:
    facts = {"kind": "totp", "time": "2026-11-24 12:08 UTC", "source": "203.0.113.9"}
    written = texts.written(Message(channel, NUMBER, notice=name, facts=facts, languages=(language,)), "m1")
    other = texts.written(
        Message(channel, NUMBER, notice=name, facts=facts, languages=(LANGUAGES[language == "en"],)), "m1"
    )
    assert facts["time"] in written.text
    assert "Example & Co" in written.text + written.subject
    assert bool(written.subject) == (channel == "email")
    assert written.text != other.text


def test_every_notice_has_a_text_of_its_own(texts: Texts) -> None:
    said = [texts.written(Message("email", "a@example.com", notice=name), "m1").subject for name in NoticeName]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_ticket_comes_with_its_page_on_a_line_of_its_own_and_until_when(language: str, texts: Texts) -> None:
    facts, link = {"time": "2026-11-24 12:08 UTC"}, "https://mfa.example.com/mfa/enrollment?ticket=t"
    letter = Message("email", "a@example.com", purpose=Purpose.ENROLL, link=link, facts=facts, languages=(language,))
    written = texts.written(letter, "m1")
    assert link in written.text.splitlines()
    assert facts["time"] in written.text
    assert link not in written.subject
    assert "Example & Co" in written.subject
    assert link not in repr(letter)


def test_a_language_that_nobody_wrote_is_the_deployments(texts: Texts) -> None:
    def first_word(chosen: Texts, language: str) -> str:
        return chosen.written(Message("voice", NUMBER, CODE, languages=(language,)), "m1").text.split(".")[0]

    assert [first_word(texts, tag) for tag in ("", "xx", "de-AT", "de_DE", "DE", "fr-CA")] == [
        "Hello",
        "Hello",
        "Guten Tag",
        "Guten Tag",
        "Guten Tag",
        "Bonjour",
    ]
    several = texts.written(Message("voice", NUMBER, CODE, languages=("nl", "fr-BE", "en")), "m1")
    assert several.locale == "fr-FR"
    assert first_word(Texts("Example", language="es"), "xx") == "Hola"


def test_a_plugins_channel_says_what_a_text_message_says(texts: Texts) -> None:
    assert (
        texts.written(Message("pigeon", "loft 3", CODE), "m1").text
        == texts.written(Message("sms", NUMBER, CODE), "m1").text
    )


def test_what_an_operator_wrote_replaces_ours_and_adds_languages(tmp_path: Path) -> None:
    (tmp_path / "de.toml").write_text('[sms]\nlogin.text = "{{ code }} fuer {{ friendly_name }}"\n')
    (tmp_path / "pt.toml").write_text('locale = "pt-BR"\n[email.login]\nsubject = "Codigo\\nhoje"\n')
    texts = Texts("Example", folder=tmp_path)
    assert texts.written(Message("sms", NUMBER, CODE, languages=("de",)), "m1").text == f"{CODE} fuer Example"
    assert texts.written(Message("voice", NUMBER, CODE, languages=("de",)), "m1").text.startswith("Guten Tag")
    mail = texts.written(Message("email", "a@example.com", CODE, languages=("pt-BR",)), "m1")
    assert (mail.subject, mail.locale) == ("Codigo hoje", "pt-BR")
    assert mail.text.startswith(f"{CODE} is your")


@pytest.mark.parametrize(
    "content",
    [
        "[sms",
        "[sms]\nlogin.txt = 'x'",
        "[sms]\nlogin.text = 5",
        "[sms]\nlogin.text = '{{ code'",
        "[sms]\nlogin.text = '{{ colour }}'",
        "[sms]\nlogin.text = '{{ code.__class__.__mro__ }}'",
        "[sms]\nlogin.text = '{% include \"/etc/passwd\" %}'",
        "[sms]\nlogin.text = '{{ 1 / 0 }}'",
    ],
)
def test_a_text_that_does_not_render_stops_the_start(content: str, tmp_path: Path) -> None:
    (tmp_path / "de.toml").write_text(content)
    with pytest.raises(TextsInvalid, match=r"de\.toml"):
        Texts("Example", folder=tmp_path)


def test_a_folder_or_language_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(TextsInvalid, match="nowhere"):
        Texts("Example", folder=tmp_path / "nowhere")
    with pytest.raises(TextsInvalid, match="xx"):
        Texts("Example", language="xx")


def test_what_is_secret_is_in_no_repr(texts: Texts) -> None:
    message = Message("sms", NUMBER, CODE, payload={"number": CODE})
    printed = repr(message) + repr(texts.written(message, "m1"))
    assert not any(secret in printed for secret in (NUMBER, CODE))
