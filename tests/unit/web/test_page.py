import json
import re
from collections.abc import AsyncIterator
from importlib import resources

import httpx2
import pytest
from cofactor_server.web import page

from tests.support.flows.steps import shop
from tests.support.world import World, world_on

STATIC = resources.files("cofactor_server.web") / "static"
MARKUP = (STATIC / "page.html").read_text()
SCRIPTS = {name: (STATIC / name).read_text() for name in ("page.js", "keys.js", "server.js", "texts.js")}
TEXTS = {language: json.loads((STATIC / "texts" / f"{language}.json").read_text()) for language in page.LANGUAGES}
PATHS = [route.path for route in page.routes()]
APP = "https://app.example.test"
COMPUTED = {
    f"{factor}{part}" for factor in ("otp", "sms", "voice", "email", "push", "webauthn") for part in ("", "_about")
}
COMPUTED |= {f"key_{name}" for name in ("InvalidStateError", "NotAllowedError", "SecurityError")}


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=world.app.http())
    async with httpx2.AsyncClient(transport=transport, base_url="https://auth.example.test") as client:
        yield client


@pytest.fixture
def engine() -> str:
    return "sqlite"  # which database there is does not matter to a file


@pytest.mark.requirement("S145")
async def test_every_file_forbids_what_the_page_does_not_need(http: httpx2.AsyncClient) -> None:
    for path in PATHS:
        answer = await http.get(path)
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))

        assert answer.status_code == 200
        none = {name for name, value in policy.items() if value == "'none'"}
        assert none >= {"default-src", "frame-ancestors", "form-action", "base-uri", "trusted-types"}
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in str(policy)
        assert "http" not in str(policy)
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
        assert "set-cookie" not in answer.headers


async def test_the_page_is_the_same_whatever_ticket_its_address_names(http: httpx2.AsyncClient) -> None:
    plain = await http.get(page.PATH)
    ticket = "kq3ZVNv0qZ4uKf5oM1tJw8hYb2RcXs7D"
    with_ticket = await http.get(page.PATH, params={"ticket": ticket})

    assert plain.content == with_ticket.content
    assert ticket not in str(with_ticket.headers)
    assert (await http.head(page.PATH, params={"ticket": ticket})).status_code == 200


async def test_the_page_says_whom_to_ask(prepared_url: str, world: World) -> None:
    async with world_on(
        prepared_url, clock=world.clock, keyring=world.keyring, support_contact="help & <ask>@example.com"
    ) as asked:
        transport = httpx2.ASGITransport(app=asked.app.http())
        async with httpx2.AsyncClient(transport=transport, base_url="https://auth.example.test") as http:
            said = (await http.get(page.PATH)).text

    assert '<meta name="contact" content="help &amp; &lt;ask&gt;@example.com">' in said


async def test_the_page_says_nobody_where_nobody_is_named(http: httpx2.AsyncClient) -> None:
    assert '<meta name="contact" content="">' in (await http.get(page.PATH)).text


async def test_nothing_but_the_pages_own_files_is_served(http: httpx2.AsyncClient) -> None:
    for name in ("", "page.html", "texts", "texts/it.json", "%2e%2e/page.py", "x.js"):
        assert (await http.get(f"{page.PATH}/{name}")).status_code == 404, name


async def test_files_are_only_read(http: httpx2.AsyncClient) -> None:
    answer = await http.put(f"{page.PATH}/page.js")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_no_page_of_others_may_read_it(http: httpx2.AsyncClient, world: World) -> None:
    await shop(world, public=True, origins=(APP,))
    asks = {"origin": APP, "access-control-request-method": "POST"}
    for path in (page.PATH, f"{page.PATH}/page.js", f"{page.PATH}/ticket"):
        for method in ("OPTIONS", "GET", "POST"):
            answer = await http.request(method, path, headers=asks)
            assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_nothing_is_inline_and_nothing_is_of_others() -> None:
    styles = (STATIC / "page.css").read_text()

    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", MARKUP) == []
    assert re.findall(r"https?:|//\w+\.", MARKUP + styles) == []
    assert re.findall(r"https?:|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Storage", str(SCRIPTS)) == []


def test_every_field_has_a_label_and_hears_of_problems() -> None:
    fields = re.findall(r"<input[^>]* id=\"([\w-]+)\"|<input id=\"([\w-]+)\"", MARKUP)
    labels = re.findall(r"<label for=\"([\w-]+)\"", MARKUP)
    described = re.findall(r"<input[^>]*aria-describedby=\"[^\"]*problem\"", MARKUP)

    assert sorted(a or b for a, b in fields) == sorted(labels)
    assert len(described) == len(fields)


@pytest.mark.parametrize("language", page.LANGUAGES)
def test_every_language_has_every_text_with_the_same_values_in_it(language: str) -> None:
    def values(texts: dict[str, str]) -> dict[str, list[str]]:
        return {name: sorted(re.findall(r"\{(\w+)\}", text)) for name, text in texts.items()}

    assert values(TEXTS[language]) == values(TEXTS["en"])
    assert all(TEXTS[language].values())
    assert f'"{language}"' in SCRIPTS["texts.js"]


def test_every_text_is_used_and_every_used_one_exists() -> None:
    asked = set(re.findall(r"data-text=\"(\w+)\"", MARKUP))
    written = set(re.findall(r"\"(\w+)\"", str(SCRIPTS)))

    assert asked <= TEXTS["en"].keys()
    assert TEXTS["en"].keys() - asked - COMPUTED <= written
    assert TEXTS["en"].keys() >= COMPUTED | set(re.findall(r"text\(\"(\w+)\"", str(SCRIPTS)))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colors_have_the_contrast_that_is_needed_to_read_them(scheme: int) -> None:
    styles = (STATIC / "page.css").read_text()
    colors = {name: found[scheme] for name, found in _colors(styles).items()}

    for name in ("ink", "quiet", "accent", "wrong"):
        assert _contrast(colors[name], colors["paper"]) >= 4.5, name  # WCAG 2.2, 1.4.3
    assert _contrast(colors["on-accent"], colors["accent"]) >= 4.5
    assert _contrast(colors["line"], colors["paper"]) >= 3  # 1.4.11


def _colors(styles: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"--([\w-]+): #(\w+);", styles):
        found.setdefault(name, []).append(value if len(value) == 6 else "".join(2 * digit for digit in value))
    return found


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
