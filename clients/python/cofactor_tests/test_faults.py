"""What the client does where a server is away, is slow, or answers what no version knew."""

from collections.abc import Sequence

import grpc
import pytest
from cofactor import waiting
from cofactor.client import CofactorError, Credentials, DeadlineExceeded, Plaintext, RateLimited, Tokens, Unavailable
from cofactor.v1 import challenges_pb2, tokens_pb2

from cofactor_tests.faults import Answer, Faulty, done, pending, refusal, serving
from cofactor_tests.twins import TWINS, Form, State
from cofactor_tests.users import a

UNAVAILABLE, UNKNOWN = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN
PENDING, APPROVED = challenges_pb2.CHALLENGE_STATE_PENDING, challenges_pb2.CHALLENGE_STATE_APPROVED
DENIED = challenges_pb2.CHALLENGE_STATE_DENIED
REQUEST = tokens_pb2.IssueTokenRequest(mfa_otp=tokens_pb2.MfaOtpGrant(mfa_token="t", otp="123456"))
CREDENTIALS = Credentials("cli_1", "s3cret")


@pytest.fixture(params=TWINS, ids=lambda form: form.__name__)
def form(request: pytest.FixtureRequest) -> Form:
    form: Form = request.param
    return form


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "LEAST_INTERVAL", "LONGEST_INTERVAL"):
        monkeypatch.setattr(waiting, name, 0.01)


async def issued(form: Form, *answers: Answer, request: tokens_pb2.IssueTokenRequest = REQUEST) -> Faulty:
    """Issue once against a server that answers so; it does not matter what becomes of it."""
    faulty = Faulty(answers)
    async with serving(faulty) as target:
        twin = form(target, CREDENTIALS, Plaintext())
        try:
            await twin.issue(request)
        except CofactorError as error:
            faulty.error = error
        await twin.close()
    return faulty


async def error(form: Form, answer: Answer) -> CofactorError:
    """Return how a call fails."""
    return a(CofactorError, (await issued(form, answer)).error)


async def test_a_server_that_is_away_is_asked_again_and_the_request_is_known_as_the_same(form: Form) -> None:
    faulty = await issued(form, UNAVAILABLE, UNAVAILABLE, done())

    assert len(faulty.asked) == 3
    assert len({request.request_id for request in faulty.asked}) == 1
    assert len(faulty.asked[0].request_id) == 36
    assert REQUEST.request_id == ""


async def test_four_attempts_are_made_and_no_more(form: Form) -> None:
    assert len((await issued(form, UNAVAILABLE)).asked) == 4


@pytest.mark.parametrize("code", [UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_nothing_else_is_repeated(form: Form, code: grpc.StatusCode) -> None:
    assert len((await issued(form, code)).asked) == 1


async def test_a_request_id_that_is_given_is_kept_and_grants_that_use_nothing_up_have_none(form: Form) -> None:
    given = tokens_pb2.IssueTokenRequest(mfa_otp=REQUEST.mfa_otp, request_id="0123456789abcdef")
    vouched = tokens_pb2.IssueTokenRequest(vouched=tokens_pb2.VouchedGrant(subject="4711"))

    ids = [(await issued(form, done(), request=request)).asked[0].request_id for request in (given, vouched)]

    assert ids == ["0123456789abcdef", ""]


async def test_credentials_go_along_with_every_call(form: Form) -> None:
    (sent,) = (await issued(form, done())).metadata

    assert (sent["cofactor-client-id"], sent["cofactor-client-secret"]) == ("cli_1", "s3cret")


async def test_a_reason_of_a_later_version_survives_as_text(form: Form) -> None:
    found = await error(form, refusal(UNKNOWN, "MOON_NOT_FULL", after=7))

    assert (found.code, found.reason, found.message, found.metadata) == (
        UNKNOWN,
        "MOON_NOT_FULL",
        "Said so.",
        {"hint": "why"},
    )
    assert found.retry_delay == 7
    assert str(found) == "MOON_NOT_FULL: Said so."


async def test_a_reason_of_somebody_else_is_not_ours(form: Form) -> None:
    found = await error(form, refusal(grpc.StatusCode.PERMISSION_DENIED, "BLOCKED", domain="proxy.example"))

    assert (found.reason, found.metadata, found.retry_delay) == ("", {}, None)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (UNAVAILABLE, Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RateLimited),
        (UNKNOWN, CofactorError),
    ],
    ids=str,
)
async def test_an_error_without_details_is_typed_by_its_code(
    form: Form, code: grpc.StatusCode, kind: type[CofactorError]
) -> None:
    found = await error(form, code)

    assert (type(found), found.code, found.reason) == (kind, code, "")


async def test_an_outcome_of_a_later_version_is_an_error(form: Form) -> None:
    found = await error(form, tokens_pb2.IssueTokenResponse())

    assert "no outcome that this version knows" in found.message


async def states(form: Form, *watches: Sequence[State | grpc.StatusCode]) -> tuple[list[State], Faulty]:
    """Return what a watch tells."""
    faulty = Faulty(watches=watches)
    async with serving(faulty) as target:
        twin = form(target, CREDENTIALS, Plaintext())
        told = [state async for state in twin.watch("mfa-token", "oob-code")]
        await twin.close()
    return list(told), faulty


@pytest.mark.requirement("S141")
async def test_a_watch_goes_on_after_the_connection_was_lost_and_tells_each_state_once(form: Form) -> None:
    told, faulty = await states(form, [PENDING, UNAVAILABLE], [PENDING], [PENDING, APPROVED])

    assert told == [PENDING, APPROVED]
    assert faulty.watched == 3


async def test_a_watch_of_a_login_that_cant_go_on_fails(form: Form) -> None:
    with pytest.raises(CofactorError) as failed:
        await states(form, [PENDING, grpc.StatusCode.UNAUTHENTICATED])

    assert failed.value.code is grpc.StatusCode.UNAUTHENTICATED


async def awaited(form: Form, faulty: Faulty) -> Tokens:
    """Await tokens."""
    async with serving(faulty) as target:
        twin = form(target, CREDENTIALS, Plaintext())
        try:
            return a(Tokens, await twin.await_tokens("mfa-token", "oob-code"))
        finally:
            await twin.close()


@pytest.mark.parametrize("last", [APPROVED, DENIED])
async def test_what_was_watched_to_its_end_is_redeemed_once(form: Form, last: State) -> None:
    faulty = Faulty([done()], [[PENDING, last]])

    await awaited(form, faulty)

    assert [request.mfa_oob.oob_code for request in faulty.asked] == ["oob-code"]


@pytest.mark.requirement("S141")
@pytest.mark.parametrize("watches", [(), ([grpc.StatusCode.RESOURCE_EXHAUSTED],)], ids=["none served", "too many"])
async def test_where_watching_is_not_possible_it_polls(
    form: Form, watches: Sequence[Sequence[State | grpc.StatusCode]]
) -> None:
    faulty = Faulty([pending(0.01), done()], watches)

    await awaited(form, faulty)

    assert len(faulty.asked) == 2
    assert len({request.request_id for request in faulty.asked}) == 2


async def test_a_denial_ends_the_waiting_with_the_servers_own_words(form: Form) -> None:
    denied = refusal(grpc.StatusCode.PERMISSION_DENIED, "CHALLENGE_DENIED")

    with pytest.raises(CofactorError) as failed:
        await awaited(form, Faulty([denied], [[PENDING, DENIED]]))

    assert failed.value.reason == "CHALLENGE_DENIED"
