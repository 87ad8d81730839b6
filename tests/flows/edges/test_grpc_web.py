"""What pages get over gRPC-Web, on the wire: the same calls, and none that are not for pages."""

import itertools
import time

import pytest
from cofactor.v1 import authenticators_pb2 as authenticators
from cofactor.v1 import challenges_pb2 as challenges
from cofactor.v1 import tokens_pb2 as tokens
from cofactor_server.domain.parties.clients import Capability, GrantType
from cofactor_server.rpc.callers import RULES
from cofactor_server.rpc.transport.grpc_web import MAX_MESSAGE, METHODS
from google.rpc import error_details_pb2

from tests.support.flows.pages import BINARY, Ended, Page, frame
from tests.support.flows.steps import ALICE, shop
from tests.support.world import PASSWORD, World

APP = "https://app.example.test"
OTHER = "https://other.example.test"
ISSUE = "TokenService/IssueToken"
ALLOW = "access-control-allow-origin"
NUMBER = "+442071838750"
LOGIN = tokens.IssueTokenRequest(password=tokens.PasswordGrant(username=ALICE, password=PASSWORD))


@pytest.fixture
def given() -> dict[str, object]:
    return {"kinds": frozenset({"totp", "sms", "recovery-code"})}


@pytest.fixture
async def page(world: World) -> Page:
    """A page of the origin that a public client was given."""
    await world.user()
    client_id, _ = await shop(world, public=True, origins=(APP,))
    return Page(world, client_id, APP)


def issued(ended: Ended) -> tokens.IssueTokenResponse:
    assert (ended.http, ended.code) == (200, 0), ended.text
    (message,) = ended.messages
    return tokens.IssueTokenResponse.FromString(message)


async def mfa_token(page: Page) -> str:
    return str(issued(await page.call(ISSUE, LOGIN)).mfa_required.mfa_token)


async def watched(page: Page) -> tuple[str, str]:
    """Begin to enroll a telephone, and return mfa_token and oob_code."""
    token = await mfa_token(page)
    asked = authenticators.EnrollAuthenticatorRequest(sms=authenticators.SmsEnrollment(phone_number=NUMBER))
    ended = await page.call("AuthenticatorService/EnrollAuthenticator", asked, bearer=token)
    (message,) = ended.messages
    return token, authenticators.EnrollAuthenticatorResponse.FromString(message).oob.oob_code


async def test_a_page_logs_in_with_a_password_and_an_app(page: Page, world: World) -> None:
    token = await mfa_token(page)
    asked = authenticators.EnrollAuthenticatorRequest(totp=authenticators.TotpEnrollment())
    ended = await page.call("AuthenticatorService/EnrollAuthenticator", asked, bearer=token)
    begun = authenticators.EnrollAuthenticatorResponse.FromString(ended.messages[0])
    grant = tokens.MfaOtpGrant(mfa_token=token, otp=world.otp(begun.otp_secret.secret))

    ended = await page.call(ISSUE, tokens.IssueTokenRequest(mfa_otp=grant))

    assert issued(ended).tokens.access_token.count(".") == 2
    assert (ended.headers["content-type"], ended.headers["cache-control"]) == (BINARY, "no-store")
    assert ended.headers[ALLOW] == APP


async def test_a_refusal_has_its_reason_and_its_delay_in_the_trailers(page: Page) -> None:
    wrong = tokens.IssueTokenRequest(password=tokens.PasswordGrant(username=ALICE, password="wrong é"))
    ended = [await page.call(ISSUE, wrong) for _ in range(11)]

    assert {answer.http for answer in ended} == {200}
    assert (ended[0].reason, ended[0].code, ended[0].messages) == ("INVALID_CREDENTIALS", 16, [])
    assert (ended[-1].reason, ended[-1].code) == ("TOO_MANY_ATTEMPTS", 8)
    assert ended[-1].detail(error_details_pb2.RetryInfo()).retry_delay.seconds > 0
    assert "x-ratelimit-reset" in ended[-1].trailers
    exposed = ended[-1].headers["access-control-expose-headers"]
    assert exposed == "grpc-status, grpc-message, grpc-status-details-bin"


async def test_a_page_hears_what_it_watches_while_it_happens(page: Page, world: World) -> None:
    token, oob_code = await watched(page)
    request = frame(challenges.WatchChallengeRequest(oob_code=oob_code).SerializeToString())
    stream = page.open("/cofactor.v1.ChallengeService/WatchChallenge", request, bearer=token)
    kind, first = await stream.frame()
    state = challenges.WatchChallengeResponse.FromString(first).state
    answer = challenges.AnswerChallengeRequest(oob_code=oob_code, code=world.outbox.sent[-1].code)
    await page.call("ChallengeService/AnswerChallenge", answer, bearer=token)
    _, second = await stream.frame()

    assert (kind, state) == (0, challenges.CHALLENGE_STATE_PENDING)
    assert challenges.WatchChallengeResponse.FromString(second).state == challenges.CHALLENGE_STATE_APPROVED
    stream.leave()
    await stream.rest()


async def test_who_leaves_watches_no_more(page: Page) -> None:
    token, oob_code = await watched(page)
    request = frame(challenges.WatchChallengeRequest(oob_code=oob_code).SerializeToString())
    for _ in range(7):  # at most five watch one challenge
        stream = page.open("/cofactor.v1.ChallengeService/WatchChallenge", request, bearer=token)
        kind, _ = await stream.frame()
        assert kind == 0
        stream.leave()
        assert await stream.rest() == b""
        assert not stream.done  # nothing was said to whoever is gone


async def test_a_stopping_server_ends_what_is_watched_and_says_so(page: Page, world: World) -> None:
    token, oob_code = await watched(page)
    request = frame(challenges.WatchChallengeRequest(oob_code=oob_code).SerializeToString())
    stream = page.open("/cofactor.v1.ChallengeService/WatchChallenge", request, bearer=token)
    await stream.frame()

    world.app.end_streams()

    kind, trailers = await stream.frame()
    assert (kind, b"grpc-status: 14\r\n" in trailers) == (0x80, True)
    assert await stream.rest() == b""


async def test_a_deadline_is_kept_and_a_wrong_one_refused(page: Page) -> None:
    token, oob_code = await watched(page)
    request = challenges.WatchChallengeRequest(oob_code=oob_code)
    began = time.monotonic()
    late = await page.call("ChallengeService/WatchChallenge", request, bearer=token, grpc_timeout="200m")
    assert (late.code, 0.1 < time.monotonic() - began < 10) == (4, True)
    for stated in ("", "5", "1x", "-1S", "123456789S", "1S1"):
        ended = await page.call(ISSUE, LOGIN, grpc_timeout=stated or " ")
        assert ended.detail(error_details_pb2.BadRequest()).field_violations[0].field == "grpc-timeout"
    assert (await page.call(ISSUE, LOGIN, grpc_timeout="0S")).code == 4


# What is not for pages


async def test_nobody_vouches_over_it(world: World) -> None:
    client, secret = await world.client(
        grant_types=frozenset(GrantType),
        capabilities=frozenset({Capability.VOUCH, Capability.PROVISION}),
        realms=("default",),
    )
    page = Page(world, client.id)
    vouched = tokens.VouchedGrant(realm="default", subject="4711", methods=["pwd"])
    vouched.authenticate_time.FromMicroseconds(world.clock.now())
    request = tokens.IssueTokenRequest(vouched=vouched)
    hidden = request.SerializeToString()

    assert (await page.call(ISSUE, request)).reason == "UNSUPPORTED_GRANT_TYPE"
    assert (await page.call(ISSUE, request, cofactor_client_secret=secret)).reason == "CALLER_NOT_ALLOWED"
    # Of a oneof the last one counts: hidden behind another grant, and before one.
    behind = await page.send(f"/cofactor.v1.{ISSUE}", frame(LOGIN.SerializeToString() + hidden))
    before = await page.send(f"/cofactor.v1.{ISSUE}", frame(hidden + LOGIN.SerializeToString()))
    assert (behind.reason, before.reason) == ("UNSUPPORTED_GRANT_TYPE", "INVALID_CLIENT")


async def test_only_public_clients_are_heard_and_by_their_id_alone(world: World) -> None:
    await world.user()
    client_id, secret = await shop(world)
    page = Page(world, client_id)
    basic = "Basic " + "c2hvcDpzZWNyZXQ="

    assert (await page.call(ISSUE, LOGIN)).reason == "INVALID_CLIENT"
    assert (await page.call(ISSUE, LOGIN, cofactor_client_secret=secret or "")).reason == "CALLER_NOT_ALLOWED"
    assert (await page.call(ISSUE, LOGIN, cofactor_client_assertion="a.b.c")).reason == "CALLER_NOT_ALLOWED"
    assert (await page.call(ISSUE, LOGIN, authorization=basic)).reason == "CALLER_NOT_ALLOWED"
    assert (await Page(world).call(ISSUE, LOGIN)).reason == "INVALID_CLIENT"


async def test_what_is_not_for_pages_is_not_there(page: Page) -> None:
    offered = {f"/{service.full_name}/{name}" for service, names in METHODS.items() for name in names}
    assert offered < set(RULES)
    assert not [path for path in offered if "Device" in path or "Origin" in path or "Introspect" in path]
    for path in set(RULES) - offered:
        ended = await page.send(path, frame(b""))
        assert (ended.http, ended.messages) == (404, []), path
    assert (await page.send("/cofactor.v1.TokenService/Nothing", frame(b""))).http == 404
    assert (await page.send("/cofactor.admin.v1.UserService/ListUsers", frame(b""))).http == 404


async def test_no_page_states_where_it_calls_from(page: Page) -> None:
    ended = await page.call(ISSUE, LOGIN, cofactor_forwarded_for="198.51.100.9")
    assert ended.reason == "CALLER_NOT_ALLOWED"


# Who may read


async def test_pages_of_the_clients_origin_ask_first_and_others_read_nothing(page: Page, world: World) -> None:
    ask = {"access_control_request_method": "POST", "access_control_request_headers": "x-grpc-web"}
    path = f"/cofactor.v1.{ISSUE}"
    preflight = await page.send(path, method="OPTIONS", **ask)
    foreign = Page(world, page.named["cofactor-client-id"], OTHER)
    refused = await foreign.send(path, method="OPTIONS", **ask)

    assert (preflight.http, preflight.headers[ALLOW]) == (204, APP)
    assert preflight.headers["access-control-allow-methods"] == "POST"
    allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
    assert set(allowed) == {
        *("authorization", "content-type", "grpc-timeout", "x-grpc-web", "x-user-agent", "cofactor-client-id")
    }
    assert (refused.http, ALLOW in refused.headers) == (405, False)
    assert ALLOW not in (await foreign.call(ISSUE, LOGIN)).headers


async def test_an_answer_is_for_pages_of_its_own_client_only(page: Page, world: World) -> None:
    theirs, _ = await shop(world, public=True, origins=(OTHER,))
    ended = await Page(world, theirs, APP).call(ISSUE, LOGIN)
    assert (ended.code, ALLOW in ended.headers) == (0, False)


# What no client sends


def bad_bodies() -> dict[str, tuple[bytes, str]]:
    login = LOGIN.SerializeToString()
    return {
        "nothing": (b"", "INVALID_REQUEST"),
        "half a head": (bytes(4), "INVALID_REQUEST"),
        "truncated": (frame(login)[:-1], "INVALID_REQUEST"),
        "more than a frame": (frame(login) + b"\0", "INVALID_REQUEST"),
        "two messages": (frame(login) * 2, "INVALID_REQUEST"),
        "compressed": (frame(login, 1), "INVALID_REQUEST"),
        "trailers": (frame(login, 0x80), "INVALID_REQUEST"),
        "no message": (frame(b"\xff\xff\xff"), "INVALID_REQUEST"),
        "promises too much": (b"\0\xff\xff\xff\xff", "REQUEST_TOO_LARGE"),
        "too much": (frame(bytes(MAX_MESSAGE + 1)), "REQUEST_TOO_LARGE"),
    }


async def test_a_bad_body_is_refused_however_it_arrives(page: Page) -> None:
    for name, (body, reason) in bad_bodies().items():
        parts = [body[at : at + 3] for at in range(0, 90, 3)] + [body[90:]]
        for sent in ([body], parts):
            ended = await page.send(f"/cofactor.v1.{ISSUE}", *sent)
            assert (ended.http, ended.reason, ended.messages) == (200, reason, []), name


async def test_a_body_that_does_not_end_is_not_kept(page: Page) -> None:
    chunks = [bytes(MAX_MESSAGE // 2)] * 1_000
    stream = page.open(f"/cofactor.v1.{ISSUE}", *chunks)
    await stream.rest()
    assert stream._sent.qsize() > 990


async def test_another_content_type_is_refused_unread(page: Page) -> None:
    for kind in ("", "application/json", "text/plain", "application/grpc", f"{BINARY}, text/plain"):
        ended = await page.send(f"/cofactor.v1.{ISSUE}", frame(LOGIN.SerializeToString()), kind=kind)
        assert (ended.http, "application/grpc-web" in ended.headers["accept-post"]) == (415, True), kind


async def test_only_post_is_served(page: Page) -> None:
    for method in ("GET", "PUT", "DELETE"):
        ended = await page.send(f"/cofactor.v1.{ISSUE}", method=method)
        assert (ended.http, ended.headers["allow"]) == (405, "POST")


async def test_headers_that_can_not_be_passed_on_are_refused(page: Page) -> None:
    values = ("a\x00b", "zoë", "x" * 5_000)
    for header, value in itertools.product(("cofactor_client_id", "authorization"), values):
        ended = await page.call("AuthenticatorService/ListAuthenticators", LOGIN, **{header: value})
        assert ended.code in (3, 16), ended.text
        assert value not in ended.text


async def test_who_leaves_before_the_body_is_complete_is_answered_nothing(page: Page) -> None:
    stream = page.open(f"/cofactor.v1.{ISSUE}", frame(LOGIN.SerializeToString())[:9], whole=False)
    stream.leave()
    assert (await stream.rest(), stream.start) == (b"", {})
