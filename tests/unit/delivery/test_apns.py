"""Pushes to Apple, against a real HTTP/2 server over TLS."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cofactor_server.delivery.apns import Apns
from cofactor_server.delivery.provider import MaybeTaken, NoSuchDestination, NotTaken, ProviderRefuses
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.support.world import MovableClock
from tests.unit.cli.certificates import certificate
from tests.unit.delivery.conftest import outgoing
from tests.unit.delivery.gateway import Answer, Fault
from tests.unit.delivery.http2 import Http2Gateway, http2_gateway

DEVICE = "ab" * 32
KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("apns"))


@pytest.fixture
async def apple(files: tuple[Path, Path]) -> AsyncIterator[Http2Gateway]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    async with http2_gateway(context) as found:
        yield found


@pytest.fixture
async def apns(apple: Http2Gateway, files: tuple[Path, Path], clock: MovableClock) -> AsyncIterator[Apns]:
    trust = ssl.create_default_context(cafile=str(files[0]))
    found = Apns(pem(KEY), "ABC123DEFG", "TEAM123456", "com.example.mfa", trust, clock, base=apple.url)
    yield found
    await found.close()


def push(to: str = f"apns:{DEVICE}") -> object:
    return outgoing("push", to, subject="Example", text="Are you logging in?", payload={"c": "challenge"})


async def test_a_push_has_the_headers_and_body_that_apple_wants(
    apns: Apns, apple: Http2Gateway, clock: MovableClock
) -> None:
    await apns.carry(push())  # type: ignore[arg-type]
    (request,) = apple.received
    assert (request.method, request.path) == ("POST", f"/3/device/{DEVICE}")
    assert request.headers["apns-topic"] == "com.example.mfa"
    assert request.headers["apns-push-type"] == "alert"
    assert request.headers["apns-id"] == "7d9f4c1e-0f5b-4f0e-9d5b-4a1f0b8c2d3e"
    assert int(request.headers["apns-expiration"]) == clock.now() // 1_000_000 + 300
    assert request.json == {
        "aps": {"alert": {"title": "Example", "body": "Are you logging in?"}, "sound": "default"},
        "mfa": {"c": "challenge"},
    }
    token = jwt.decode(request.headers["authorization"].removeprefix("bearer "), ECKey.import_key(pem(KEY)), ["ES256"])
    assert token.header["kid"] == "ABC123DEFG"
    assert token.claims == {"iss": "TEAM123456", "iat": clock.now() // 1_000_000}


async def test_a_push_to_a_guardian_app_has_its_category_and_objects(apns: Apns, apple: Http2Gateway) -> None:
    payload = {"txtkn": "tx", "c": "challenge", "s": '{"b":{"n":"Shop","v":""}}', "l": '{"n":"203.0.113.7"}'}
    await apns.carry(outgoing("push", f"apns:{DEVICE}", subject="Example", text="Are you logging in?", payload=payload))
    (request,) = apple.received
    assert request.json["aps"]["category"] == "com.auth0.notification.authentication"
    assert request.json["mfa"] == {
        "txtkn": "tx",
        "c": "challenge",
        "s": {"b": {"n": "Shop", "v": ""}},
        "l": {"n": "203.0.113.7"},
    }


async def test_a_provider_token_is_made_again_after_forty_minutes(
    apns: Apns, apple: Http2Gateway, clock: MovableClock
) -> None:
    for minutes in (0, 39, 2):
        clock.advance(60 * minutes)
        await apns.carry(push())  # type: ignore[arg-type]
    first, second, third = (request.headers["authorization"] for request in apple.received)
    assert first == second != third


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(410, {"reason": "Unregistered"}), NoSuchDestination),
        (Answer(400, {"reason": "BadDeviceToken"}), NoSuchDestination),
        (Answer(400, {"reason": "BadTopic"}), ProviderRefuses),
        (Answer(403, {"reason": "InvalidProviderToken"}), ProviderRefuses),
        (Answer(403, {"reason": "ExpiredProviderToken"}), NotTaken),
        (Answer(429, {"reason": "TooManyRequests"}), NotTaken),
        (Answer(503, {"reason": "ServiceUnavailable"}), NotTaken),
        (Answer(500, {"reason": "InternalServerError"}), MaybeTaken),
        (Fault.CUT, MaybeTaken),
    ],
)
async def test_each_refusal_says_what_became_of_the_push(
    answer: Answer | Fault, failure: type[Exception], apns: Apns, apple: Http2Gateway
) -> None:
    apple.plan = [answer]
    with pytest.raises(failure):
        await apns.carry(push())  # type: ignore[arg-type]
    assert len(apple.received) == 1


async def test_a_certificate_that_nobody_vouches_for_gets_nothing(
    apple: Http2Gateway, trust: ssl.SSLContext, clock: MovableClock
) -> None:
    apns = Apns(pem(KEY), "ABC123DEFG", "TEAM123456", "com.example.mfa", trust, clock, base=apple.url)
    with pytest.raises(NotTaken):
        await apns.carry(push())  # type: ignore[arg-type]
    assert apple.received == []
    await apns.close()


async def test_a_device_token_is_hexadecimal_and_no_path(apns: Apns, apple: Http2Gateway) -> None:
    with pytest.raises(NoSuchDestination):
        await apns.carry(push("apns:../../admin"))  # type: ignore[arg-type]
    assert apple.received == []


@pytest.mark.parametrize("key", ["", "junk", pem(ec.generate_private_key(ec.SECP384R1()))])
def test_a_key_of_another_kind_is_refused(key: str, trust: ssl.SSLContext, clock: MovableClock) -> None:
    with pytest.raises(ValueError, match="P-256"):
        Apns(key, "ABC123DEFG", "TEAM123456", "com.example.mfa", trust, clock)
