"""The README's code, as it stands there."""

import asyncio
import re
import threading
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from cofactor.client import Plaintext
from cofactor.testing.servers import Server
from cofactor.v1 import challenges_pb2

from cofactor_tests.test_rows import with_device
from cofactor_tests.twins import ForAsyncio
from cofactor_tests.users import User

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


async def test_a_login_goes_as_the_readme_says(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    twin = ForAsyncio(server.demo.grpc, server.demo.credentials, server.transport)
    user = User(server, twin)
    device = await with_device(user)
    code = "\n".join(BLOCKS[:3]) + "\nawait mfa.close()"
    for said, here in (
        ('"mfa.example.com:443", Credentials(client_id, client_secret)', "target, credentials, plaintext"),
        ('realm="employees", subject="4711"', "realm=realm, subject=subject"),
        ("vouched.authenticate_time.GetCurrentTime()", "vouched.authenticate_time.seconds = now"),
    ):
        assert said in code
        code = code.replace(said, here)
    names: dict[str, Any] = {
        "target": server.demo.grpc,
        "credentials": server.demo.credentials,
        "plaintext": Plaintext(),
        "realm": server.demo.realm,
        "subject": user.subject,
        "now": server.clock.now(),
        "typed": "12345",
    }
    told: list[challenges_pb2.ChallengeState.ValueType] = []
    exec(f"async def shown():\n{indent(code, '    ')}\n    return outcome", names)

    def approves() -> None:
        prompt = device.prompt(timeout=60)
        number = capsys.readouterr().out.split()[-1]
        told.append(device.approve(prompt, number))

    approval = threading.Thread(target=approves)
    approval.start()
    outcome = await asyncio.wait_for(names["shown"](), 60)
    approval.join()
    await twin.close()

    assert repr(outcome) == "Tokens()"
    assert told == [challenges_pb2.CHALLENGE_STATE_APPROVED]


@pytest.mark.parametrize("block", BLOCKS[3:4])
def test_the_fixture_of_the_readme_is_one(block: str) -> None:
    names: dict[str, Any] = {}

    exec(block, names)

    assert {"AuthenticatorApp", "Phone", "PushDevice", "SecurityKey", "mfa_server"} <= set(names)
