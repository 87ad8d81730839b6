"""gRPC-Web in its text form: base64, in pieces that a page can decode as they come."""

import base64

import pytest
from cofactor.v1 import challenges_pb2 as challenges
from cofactor.v1 import tokens_pb2 as tokens
from cofactor_server.rpc.transport.grpc_web import MAX_MESSAGE

from tests.flows.edges.test_grpc_web import APP, ISSUE, LOGIN, issued, watched
from tests.support.flows.pages import TEXT, Page, decode, frame
from tests.support.flows.steps import ALICE, shop
from tests.support.world import World

PATH = f"/cofactor.v1.{ISSUE}"
BODY = frame(LOGIN.SerializeToString())


@pytest.fixture
def given() -> dict[str, object]:
    return {"kinds": frozenset({"totp", "sms", "recovery-code"})}


@pytest.fixture
async def page(world: World) -> Page:
    await world.user()
    client_id, _ = await shop(world, public=True, origins=(APP,))
    return Page(world, client_id, APP)


@pytest.mark.parametrize("kind", ["application/grpc-web-text", TEXT])
async def test_a_page_logs_in_over_the_text_form_and_is_answered_in_it(page: Page, kind: str) -> None:
    ended = await page.send(PATH, base64.b64encode(BODY), kind=kind)

    assert issued(ended).mfa_required.mfa_token
    assert (ended.headers["content-type"], ended.headers["access-control-allow-origin"]) == (TEXT, APP)


async def test_a_body_may_come_in_pieces_that_are_padded_each(page: Page) -> None:
    pieces = [base64.b64encode(BODY[at : at + 7]) for at in range(0, len(BODY), 7)]
    assert b"=" in pieces[0]

    whole, apart = await page.send(PATH, b"".join(pieces), kind=TEXT), await page.send(PATH, *pieces, kind=TEXT)

    assert issued(whole).mfa_required.mfa_token
    assert issued(apart).mfa_required.mfa_token


async def test_each_message_of_a_stream_can_be_decoded_when_it_comes(page: Page, world: World) -> None:
    token, oob_code = await watched(page)
    request = base64.b64encode(frame(challenges.WatchChallengeRequest(oob_code=oob_code).SerializeToString()))
    stream = page.open("/cofactor.v1.ChallengeService/WatchChallenge", request, bearer=token, kind=TEXT)
    first = decode(await stream.part())
    answer = challenges.AnswerChallengeRequest(oob_code=oob_code, code=world.outbox.sent[-1].code)
    await page.call("ChallengeService/AnswerChallenge", answer, bearer=token)
    second = decode(await stream.part())
    stream.leave()
    await stream.rest()

    states = [challenges.WatchChallengeResponse.FromString(framed[5:]).state for framed in (first, second)]
    assert states == [challenges.CHALLENGE_STATE_PENDING, challenges.CHALLENGE_STATE_APPROVED]


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        base64.urlsafe_b64encode(b"\xff\xfe" * 20),
        base64.b64encode(BODY)[:-1],
        b"=" + base64.b64encode(BODY),
        base64.b64encode(BODY).replace(b"A", b"A\n", 1),
    ],
)
async def test_what_is_not_base64_is_refused_in_the_text_form(page: Page, body: bytes) -> None:
    ended = await page.send(PATH, body, kind=TEXT)

    assert (ended.http, ended.reason, ended.headers["content-type"]) == (200, "INVALID_REQUEST", TEXT)


async def test_the_longest_message_is_as_long_as_in_the_binary_form(page: Page) -> None:
    longest = tokens.IssueTokenRequest(password=tokens.PasswordGrant(username=ALICE))
    longest.password.password = "x" * (MAX_MESSAGE - longest.ByteSize() - 8)
    fits = await page.send(PATH, base64.b64encode(frame(longest.SerializeToString())), kind=TEXT)
    longer = await page.send(PATH, base64.b64encode(frame(bytes(MAX_MESSAGE + 1))), kind=TEXT)

    assert (fits.reason != "REQUEST_TOO_LARGE", longer.reason) == (True, "REQUEST_TOO_LARGE")
