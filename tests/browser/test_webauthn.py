"""Chromium registers and uses keys at the demo, by its own WebAuthn and with a virtual authenticator."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jws import extract_compact
from playwright.async_api import Error

from tests.browser.chromium import PASSKEY, SECURITY_KEY, Browser, chromium, page_server
from tests.unit.cli.conftest import Process, environment_in

pytestmark = pytest.mark.timeout(240)  # processes, on machines that do other things, too
AUTH0 = "http://auth0.com/oauth/grant-type/"
MFA_SCOPE = "enroll read:authenticators remove:authenticators"


class Shop:
    """An application's server, which holds the client's secret and speaks to the demo."""

    def __init__(self, told: Mapping[str, str]) -> None:
        self.told = told
        self.http = httpx2.Client(base_url=told["http"])
        self.client = {key: told[key] for key in ("client_id", "client_secret")}

    def post(self, path: str, body: Mapping[str, Any], **more: Any) -> httpx2.Response:
        return self.http.post(path, json={**self.client, **body}, **more)

    def log_in(self, status: int = 403, **target: str) -> dict[str, Any]:
        names = {key: self.told[key] for key in ("username", "password")}
        return self.said(self.post("/oauth/token", {"grant_type": "password", **names, **target}), status)

    def begin(self, bearer: str, **asked: Any) -> dict[str, Any]:
        body = {"authenticator_types": ["webauthn"], **asked}
        return self.said(self.post("/mfa/associate", body, headers={"authorization": f"Bearer {bearer}"}))

    def challenge(self, mfa_token: str) -> dict[str, Any]:
        return self.said(self.post("/mfa/challenge", {"mfa_token": mfa_token, "challenge_type": "webauthn"}))

    def redeem(self, mfa_token: str, begun: Mapping[str, Any], credential: Mapping[str, Any]) -> httpx2.Response:
        grant = {"grant_type": f"{AUTH0}mfa-webauthn", "mfa_token": mfa_token, "oob_code": begun["oob_code"]}
        return self.post("/oauth/token", {**grant, "credential": credential})

    def said(self, response: httpx2.Response, status: int = 200) -> dict[str, Any]:
        assert response.status_code == status, response.text
        said: dict[str, Any] = response.json()
        return said


def claims(tokens: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(extract_compact(tokens["access_token"].encode()).payload)
    return said


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with (tmp_path / "stderr").open("w") as errors:
        ports = ("--http-port", "0", "--grpc-port", "0")
        process = Process(("demo", *ports, "--state-dir", str(tmp_path / "state")), environment_in(tmp_path), errors)
        try:
            file = tmp_path / "state" / "demo.json"
            process.until(file.exists)
            application = Shop(json.loads(file.read_text()))
            yield application
            application.http.close()
        finally:
            process.end()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


@pytest.fixture
def port() -> Iterator[int]:
    with page_server() as found:
        yield found


@pytest.mark.parametrize(
    ("kind", "acr", "amr"),
    [
        pytest.param(SECURITY_KEY, "urn:cofactor:acr:phrh", "hwk", id="security key"),
        pytest.param(PASSKEY, "urn:cofactor:acr:phr", "swk", id="passkey"),
    ],
)
async def test_a_browser_registers_a_key_and_logs_in_with_it_again_and_again(
    kind: Mapping[str, Any], acr: str, amr: str, shop: Shop, browser: Browser, port: int
) -> None:
    await browser.open(f"http://localhost:{port}/")
    await browser.plug_in(kind)

    login = shop.log_in()
    begun = shop.begin(login["mfa_token"], resident_key=kind["hasResidentKey"])
    created = await browser.create(begun["authn_params_public_key"])
    tokens = [shop.said(shop.redeem(login["mfa_token"], begun, created))]
    for _ in range(2):
        login = shop.log_in()
        challenge = shop.challenge(login["mfa_token"])
        signed = await browser.get(challenge["authn_params_public_key"])
        tokens.append(shop.said(shop.redeem(login["mfa_token"], challenge, signed)))

    assert login["mfa_requirements"] == {"challenge": [{"type": "webauthn"}, {"type": "recovery-code"}]}
    assert [claims(said)["acr"] for said in tokens] == [acr] * 3
    assert [claims(said)["amr"] for said in tokens] == [["pwd", amr, "user", "mfa"]] * 3


@pytest.mark.requirement("S161", "S165")
async def test_a_browser_makes_no_key_elsewhere_and_none_twice_and_any_of_two_logs_in(
    shop: Shop, browser: Browser, port: int
) -> None:
    await browser.open(f"http://127.0.0.1:{port}/")
    await browser.plug_in(SECURITY_KEY)
    bearer = shop.log_in(200, scope=MFA_SCOPE, audience=shop.told["issuer"] + "mfa/")["access_token"]
    begun = shop.begin(bearer)
    with pytest.raises(Error, match="SecurityError"):
        await browser.create(begun["authn_params_public_key"])

    await browser.open(f"http://localhost:{port}/")
    created = await browser.create(begun["authn_params_public_key"])
    bearer = shop.said(shop.redeem(bearer, begun, created))["access_token"]
    begun = shop.begin(bearer)
    with pytest.raises(Error, match="InvalidStateError"):
        await browser.create(begun["authn_params_public_key"])
    await browser.plug_in(PASSKEY)
    second = await browser.create(begun["authn_params_public_key"])
    shop.said(shop.redeem(bearer, begun, second))

    login = shop.log_in()
    challenge = shop.challenge(login["mfa_token"])
    assert len(challenge["authn_params_public_key"]["allowCredentials"]) == 2
    signed = await browser.get(challenge["authn_params_public_key"])
    shop.said(shop.redeem(login["mfa_token"], challenge, signed))
