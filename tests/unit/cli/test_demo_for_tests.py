"""`cofactor demo --test`: a clock that can be moved, messages over gRPC, and client certificates."""

import json
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from cofactor.testing.v1 import clock_pb2, outbox_pb2
from cofactor.testing.v1.clock_pb2_grpc import ClockServiceStub
from cofactor.testing.v1.outbox_pb2_grpc import OutboxServiceStub
from cofactor.v1 import authenticators_pb2, challenges_pb2, tokens_pb2
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub
from cofactor.v1.tokens_pb2_grpc import TokenServiceStub
from google.protobuf.duration_pb2 import Duration

from tests.unit.cli.conftest import Process, Start, environment_in

pytestmark = pytest.mark.timeout(240)
PORTS = ("--http-port", "0", "--grpc-port", "0")
NUMBER = "+442071838750"


class Demo:
    """A demo in test mode, known by the one line it prints."""

    def __init__(self, process: Process) -> None:
        assert process.running.stdout is not None
        self.process = process
        self.told: dict[str, Any] = json.loads(process.running.stdout.readline())
        self.channel = grpc.insecure_channel(self.told["grpc"])
        self.clock = ClockServiceStub(self.channel)
        self.outbox = OutboxServiceStub(self.channel)
        self.client = tuple((f"cofactor-client-{name}", self.told[f"client_{name}"]) for name in ("id", "secret"))

    def now(self) -> int:
        return int(self.clock.GetTime(clock_pb2.GetTimeRequest(), timeout=10).time.seconds)

    def advance(self, seconds: int) -> int:
        request = clock_pb2.AdvanceTimeRequest(by=Duration(seconds=seconds))
        return int(self.clock.AdvanceTime(request, timeout=10).time.seconds)

    def log_in(self) -> str:
        """Vouch for somebody new, and return the mfa_token."""
        grant = tokens_pb2.VouchedGrant(realm=self.told["realm"], subject=uuid.uuid4().hex, methods=["pwd"])
        grant.authenticate_time.seconds = self.now()
        return str(self.issue(tokens_pb2.IssueTokenRequest(vouched=grant)).mfa_required.mfa_token)

    def issue(self, request: tokens_pb2.IssueTokenRequest) -> tokens_pb2.IssueTokenResponse:
        return TokenServiceStub(self.channel).IssueToken(request, metadata=self.client, timeout=10)

    def enroll_telephone(self, mfa_token: str) -> str:
        request = authenticators_pb2.EnrollAuthenticatorRequest(
            sms=authenticators_pb2.SmsEnrollment(phone_number=NUMBER)
        )
        metadata = (("authorization", f"Bearer {mfa_token}"),)
        begun = AuthenticatorServiceStub(self.channel).EnrollAuthenticator(request, metadata=metadata, timeout=10)
        return str(begun.oob.oob_code)

    def redeem(self, mfa_token: str, oob_code: str, code: str) -> tokens_pb2.IssueTokenResponse:
        grant = tokens_pb2.MfaOobGrant(mfa_token=mfa_token, oob_code=oob_code, binding_code=code)
        return self.issue(tokens_pb2.IssueTokenRequest(mfa_oob=grant))


@contextmanager
def demo_in(folder: Path, *arguments: str) -> Iterator[Demo]:
    with (folder / "stderr").open("w") as errors:
        process = Process(("demo", *arguments, "--state-dir", str(folder / "state")), environment_in(folder), errors)
        try:
            running = Demo(process)
            yield running
            running.channel.close()
        finally:
            process.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that no test stops."""
    with demo_in(tmp_path_factory.mktemp("demo"), "--test", *PORTS) as running:
        yield running


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """Return code and text of how a call is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details() or ""


def test_what_it_prints_is_what_demo_json_says(shared: Demo) -> None:
    state = Path(shared.told["test"]["ca_file"]).parents[1]
    assert json.loads((state / "demo.json").read_text()) == shared.told
    assert [stat.S_IMODE(file.stat().st_mode) for file in (state / "tls").iterdir()] == [0o600] * 5


def test_the_clock_goes_forward_and_takes_everything_with_it(shared: Demo) -> None:
    mfa_token = shared.log_in()
    before = shared.now()

    after = shared.advance(601)

    assert 601 <= after - before < 660
    late = tokens_pb2.IssueTokenRequest(mfa_otp=tokens_pb2.MfaOtpGrant(mfa_token=mfa_token, otp="123456"))
    assert "expired" in refusal(lambda: shared.issue(late))[1]


@pytest.mark.parametrize(
    "by",
    [
        Duration(),
        Duration(seconds=-1),
        Duration(seconds=3_650 * 86_400 + 1),
        Duration(seconds=2**62),
        Duration(nanos=-1),
    ],
    ids=str,
)
def test_the_clock_never_goes_back_nor_out_of_sight(by: Duration, shared: Demo) -> None:
    before = shared.now()
    request = clock_pb2.AdvanceTimeRequest(by=by)

    assert refusal(lambda: shared.clock.AdvanceTime(request, timeout=10))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert 0 <= shared.now() - before < 60


def test_a_code_that_was_sent_is_read_over_grpc_and_logs_in(shared: Demo) -> None:
    mfa_token = shared.log_in()
    oob_code = shared.enroll_telephone(mfa_token)

    messages = shared.outbox.ListMessages(outbox_pb2.ListMessagesRequest(to=NUMBER), timeout=10).messages
    nobodys = shared.outbox.ListMessages(outbox_pb2.ListMessagesRequest(to="+442071838751"), timeout=10).messages

    sent = messages[-1]
    assert (sent.channel, sent.to, list(nobodys)) == ("sms", NUMBER, [])
    assert sent.code in sent.text
    assert abs(sent.create_time.seconds - shared.now()) < 60
    assert shared.redeem(mfa_token, oob_code, sent.code).tokens.access_token


def test_whoever_watches_hears_of_a_challenge_that_the_clock_ended(shared: Demo) -> None:
    mfa_token = shared.log_in()
    metadata = (*shared.client, ("authorization", f"Bearer {mfa_token}"))
    watched = challenges_pb2.WatchChallengeRequest(oob_code=shared.enroll_telephone(mfa_token))
    watch = ChallengeServiceStub(shared.channel).WatchChallenge(watched, metadata=metadata, timeout=20)
    first = next(watch).state

    shared.advance(301)

    assert (first, next(watch).state) == (
        challenges_pb2.CHALLENGE_STATE_PENDING,
        challenges_pb2.CHALLENGE_STATE_EXPIRED,
    )


def test_a_certificate_is_the_clients_secret(shared: Demo) -> None:
    files = shared.told["test"]
    ca, certificate, key = (Path(files[name]).read_bytes() for name in ("ca_file", "certificate_file", "key_file"))
    grant = tokens_pb2.PasswordGrant(username=shared.told["username"], password=shared.told["password"])
    request = tokens_pb2.IssueTokenRequest(password=grant)
    metadata = (("cofactor-client-id", files["tls_client_id"]),)

    with grpc.secure_channel(files["grpc_tls"], grpc.ssl_channel_credentials(ca, key, certificate)) as channel:
        answer = TokenServiceStub(channel).IssueToken(request, metadata=metadata, timeout=10)
        assert ClockServiceStub(channel).GetTime(clock_pb2.GetTimeRequest(), timeout=10).time.seconds
    with grpc.secure_channel(files["grpc_tls"], grpc.ssl_channel_credentials(ca)) as channel:
        nobody, _ = refusal(lambda: TokenServiceStub(channel).IssueToken(request, metadata=metadata, timeout=10))

    assert answer.mfa_required.mfa_token
    assert nobody is grpc.StatusCode.UNAVAILABLE
    without, _ = refusal(lambda: TokenServiceStub(shared.channel).IssueToken(request, metadata=metadata, timeout=10))
    assert without is grpc.StatusCode.UNAUTHENTICATED


def test_the_shim_shows_nothing_of_it(shared: Demo) -> None:
    document = httpx2.get(shared.told["http"] + "/openapi.json").text
    assert "testing" not in document


def test_the_clock_stays_ahead_over_a_restart_and_the_folder_is_for_tests_from_then_on(
    start: Start, tmp_path: Path
) -> None:
    with demo_in(tmp_path, "--test", *PORTS) as first:
        moved = first.advance(86_400)
        http, grpc_port = (first.told[name].rpartition(":")[2] for name in ("http", "grpc"))
        assert first.process.stop() == 0
    with demo_in(tmp_path, "--test", "--http-port", http, "--grpc-port", grpc_port) as second:
        later = second.now()
        same = [second.told[name] == first.told[name] for name in ("http", "grpc", "client_secret", "password")]
        assert second.told["test"]["tls_client_id"] == first.told["test"]["tls_client_id"]
        assert second.process.stop() == 0
    plain = start("demo", *PORTS, "--state-dir", str(tmp_path / "state"))

    assert 0 <= later - moved < 120
    assert same == [True] * 4
    assert plain.wait() == 1
    assert "a test moved the clock of this folder" in plain.stderr


@pytest.mark.requirement("S77")
def test_a_demo_without_it_has_nothing_of_it(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "state" / "demo.json"
    process = start("demo", *PORTS, "--state-dir", str(file.parent))
    process.until(file.exists)
    told = json.loads(file.read_text())

    with grpc.insecure_channel(told["grpc"]) as channel:
        for call in (
            lambda: ClockServiceStub(channel).GetTime(clock_pb2.GetTimeRequest(), timeout=10),
            lambda: ClockServiceStub(channel).AdvanceTime(clock_pb2.AdvanceTimeRequest(), timeout=10),
            lambda: OutboxServiceStub(channel).ListMessages(outbox_pb2.ListMessagesRequest(), timeout=10),
        ):
            assert refusal(call)[0] is grpc.StatusCode.UNIMPLEMENTED
    assert "test" not in told
