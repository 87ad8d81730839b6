"""The page on vouching: its commands make a client that vouches, and each capability left out is missed as it says."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cofactor.v1 import authenticators_pb2, authenticators_pb2_grpc, tokens_pb2, tokens_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.support.world import totp
from tests.unit.cli.conftest import Invoke, Start, parsed

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
(SECTION,) = re.findall(r"^## Vouching\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
CREATE_CLIENT, CREATE_USER = (
    shlex.split(line)[1:] for line in re.findall(r"^\$ (cofactor .*)$", SECTION, re.MULTILINE)
)
WITHOUT = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| `(\w+)`", SECTION, re.MULTILINE))

pytestmark = pytest.mark.timeout(240)  # a process, on machines that do other things, too


class Portal:
    """A service that checks passwords itself, as the client of a created one."""

    def __init__(self, channel: grpc.Channel, created: dict[str, Any]) -> None:
        self._tokens: Any = tokens_pb2_grpc.TokenServiceStub(channel)
        self._authenticators: Any = authenticators_pb2_grpc.AuthenticatorServiceStub(channel)
        self._client = (
            ("cofactor-client-id", created["client_id"]),
            ("cofactor-client-secret", created["client_secret"]),
        )

    def vouch(self, subject: str) -> Any:
        grant = tokens_pb2.VouchedGrant(realm="employees", subject=subject, methods=["pwd"])
        grant.authenticate_time.GetCurrentTime()
        return self._issue(vouched=grant)

    def enroll(self, mfa_token: str) -> Any:
        request = authenticators_pb2.EnrollAuthenticatorRequest(totp=authenticators_pb2.TotpEnrollment())
        bearer = (("authorization", f"Bearer {mfa_token}"),)
        return self._authenticators.EnrollAuthenticator(request, metadata=bearer, timeout=20)

    def confirm(self, mfa_token: str, otp: str) -> Any:
        return self._issue(mfa_otp=tokens_pb2.MfaOtpGrant(mfa_token=mfa_token, otp=otp))

    def _issue(self, **grant: Any) -> Any:
        return self._tokens.IssueToken(tokens_pb2.IssueTokenRequest(**grant), metadata=self._client, timeout=20)


@pytest.fixture
def server(deployed: Invoke, start: Start) -> Iterator[grpc.Channel]:
    process = start("serve")
    process.says('"serving"')
    (line,) = [line for line in process.stderr.splitlines() if '"serving"' in line]
    with grpc.insecure_channel(json.loads(line)["grpc"]) as channel:
        yield channel


def without(capability: str) -> list[str]:
    """Return the page's command that makes a client, with one capability left out."""
    at = CREATE_CLIENT.index(capability) - 1
    assert CREATE_CLIENT[at] == "--capability"
    return [*CREATE_CLIENT[:at], *CREATE_CLIENT[at + 2 :]]


def refusal(error: grpc.RpcError) -> tuple[str, str]:
    """Return why a call is refused, and the text."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info.reason, status.message


def test_the_documented_client_takes_an_unknown_user_through_enrollment_to_tokens(
    deployed: Invoke, server: grpc.Channel
) -> None:
    portal = Portal(server, parsed(deployed(*CREATE_CLIENT, "--json")))

    login = portal.vouch("4712").mfa_required
    app = portal.enroll(login.mfa_token)
    code = totp(app.otp_secret.secret, int(time.time()))
    done = portal.confirm(login.mfa_token, code)

    assert login.WhichOneof("requirement") == "enroll"
    assert done.tokens.access_token


def test_without_provision_only_users_who_were_created_are_vouched_for(deployed: Invoke, server: grpc.Channel) -> None:
    portal = Portal(server, parsed(deployed(*without("provision"), "--json")))
    with pytest.raises(grpc.RpcError) as unknown:
        portal.vouch("4711")
    assert deployed(*CREATE_USER).exit_code == 0

    login = portal.vouch("4711").mfa_required

    reason, text = refusal(unknown.value)
    assert reason == WITHOUT["provision"]
    assert text.endswith(": the user is unknown")
    assert portal.enroll(login.mfa_token).otp_secret.secret


def test_without_enroll_a_vouched_user_enrolls_nothing(deployed: Invoke, server: grpc.Channel) -> None:
    portal = Portal(server, parsed(deployed(*without("enroll"), "--json")))
    login = portal.vouch("4713").mfa_required

    with pytest.raises(grpc.RpcError) as refused:
        portal.enroll(login.mfa_token)

    assert refusal(refused.value)[0] == WITHOUT["enroll"] == "ENROLLMENT_BY_TICKET_ONLY"


def test_each_capability_of_vouching_is_on_the_page() -> None:
    assert set(WITHOUT) == {"vouch", "provision", "enroll"}
    assert {WITHOUT["vouch"], WITHOUT["provision"]} == {"VOUCH_REFUSED"}
