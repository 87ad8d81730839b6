"""`cofactor device`: a device in the terminal, so that push can be tried with no phone."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cofactor_server.cli.as_user import CaFile, DemoState, Target, ask
from cofactor_server.cli.output import Json, Problem, dump, say

if TYPE_CHECKING:
    from cofactor.v1 import challenges_pb2

app = typer.Typer(no_args_is_help=True, help="A device in the terminal: pair it, see its prompts, answer them.")

DEMO_TOKEN = "terminal"

DeviceFile = Annotated[
    Path | None,
    typer.Option("--file", envvar="COFACTOR_DEVICE_FILE", help="Keeps the device's key. With --demo: beside it."),
]
ChallengeId = Annotated[str, typer.Option("--challenge", help="Which prompt, where several wait.")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for a prompt.", min=0.1)]


@app.callback()
def _device() -> None:
    """A device in the terminal."""


@app.command()
def pair(
    demo: DemoState = None,
    file: DeviceFile = None,
    target: Target = "",
    ca_file: CaFile = None,
    name: Annotated[str, typer.Option(help="What it is called.")] = "Terminal",
    push_token: Annotated[
        str | None, typer.Option(help="Registers it with FCM by this token; with --demo there is one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Pair a new device with what the QR code of an enrollment says, which is read from standard input.

    Whoever began the enrollment then finishes it by asking for tokens with its oob_code.
    """
    from cofactor_server.cli import terminal_device

    path = _path(file, demo)
    target = _target(demo, target)
    if not target:
        raise typer.BadParameter("--target must be given")
    token = push_token if push_token is not None else DEMO_TOKEN if demo is not None else ""
    with terminal_device.new_file(path) as kept:
        scanned = ask("What the QR code says") if sys.stdin.isatty() else sys.stdin.read(4_096)
        paired = terminal_device.pair(scanned, target, ca_file, name=name, push_token=token)
        kept.append(paired)
    if as_json:
        dump({"device": paired.device, "user": paired.user, "file": str(path)})
    else:
        say(f"{paired.device}: paired; its key is in {path}")


@app.command()
def watch(demo: DemoState = None, file: DeviceFile = None, as_json: Json = False) -> None:
    """Show prompts as they come, and ask what to answer where somebody sits at the terminal. Ends with Ctrl-C."""
    from cofactor_server.cli import terminal_device

    kept = terminal_device.read_file(_path(file, demo))
    target = _target(demo, kept.target)
    answers = not as_json and sys.stdin.isatty()
    with terminal_device.reached(target, _authorities(kept.ca_file)) as channel:
        device = terminal_device.TerminalDevice(kept, channel)
        for event in device.listen():
            kind = event.WhichOneof("event")
            if as_json:
                dump(_view(event))
            elif kind == "listening":
                say("Waiting for prompts.")
            elif kind == "withdrawn":
                say(f"{event.withdrawn.challenge_id}: waits no more")
            elif kind == "prompt":
                say(f"{event.prompt.challenge_id}: {_described(event.prompt)}")
                if answers:
                    _ask_and_answer(device, event.prompt)


@app.command()
def approve(
    number: Annotated[str, typer.Argument(help="As it is shown where you log in.")] = "",
    challenge: ChallengeId = "",
    wait: Wait = 10,
    demo: DemoState = None,
    file: DeviceFile = None,
    as_json: Json = False,
) -> None:
    """Approve the prompt that waits. A wrong number denies it."""
    _answer(demo, file, challenge, wait, approve=True, number=number, as_json=as_json)


@app.command()
def deny(
    challenge: ChallengeId = "",
    wait: Wait = 10,
    demo: DemoState = None,
    file: DeviceFile = None,
    as_json: Json = False,
) -> None:
    """Deny the prompt that waits."""
    _answer(demo, file, challenge, wait, approve=False, number="", as_json=as_json)


@app.command()
def code(demo: DemoState = None, file: DeviceFile = None, as_json: Json = False) -> None:
    """Show the device's one-time password of this moment, for when no prompt reaches it."""
    import pyotp

    from cofactor_server.cli import terminal_device
    from cofactor_server.seams import SECOND, SystemClock

    kept = terminal_device.read_file(_path(file, demo))
    if not kept.otp_secret:
        raise Problem("this device was given no one-time passwords")
    shown = pyotp.TOTP(kept.otp_secret).at(SystemClock().now() // SECOND)
    if as_json:
        dump({"code": shown})
    else:
        say(shown)


@app.command()
def remove(demo: DemoState = None, file: DeviceFile = None, as_json: Json = False) -> None:
    """Give the device up, at the server and here."""
    from cofactor_server.cli import terminal_device

    path = _path(file, demo)
    kept = terminal_device.read_file(path)
    with terminal_device.reached(_target(demo, kept.target), _authorities(kept.ca_file)) as channel:
        terminal_device.TerminalDevice(kept, channel).remove()
    path.unlink()
    if as_json:
        dump({"removed": kept.device})
    else:
        say(f"{kept.device}: removed")


def _answer(
    demo: Path | None,
    file: Path | None,
    challenge: str,
    wait: float,
    *,
    approve: bool,
    number: str,
    as_json: bool,
) -> None:
    from cofactor_server.cli import terminal_device

    kept = terminal_device.read_file(_path(file, demo))
    with terminal_device.reached(_target(demo, kept.target), _authorities(kept.ca_file)) as channel:
        device = terminal_device.TerminalDevice(kept, channel)
        prompt = _waiting(device, challenge, wait)
        if prompt.number_wanted and approve and not number:
            raise Problem("the number that is shown where you log in must be given")
        state = device.answer(prompt, approve=approve, number="".join(number.split()))
    if as_json:
        dump({"challenge": prompt.challenge_id, "state": state})
    else:
        say(f"{_described(prompt)}: {state}")
    if state != ("approved" if approve else "denied"):
        raise typer.Exit(1)


def _waiting(device: Any, challenge: str, wait: float) -> "challenges_pb2.PromptForDevice":
    """Return the prompt that is meant: the one named, or the only one there is."""
    import grpc

    stream = device.listen(timeout=wait)
    found: list[challenges_pb2.PromptForDevice] = []
    expected = 1
    try:
        for event in stream:
            if event.WhichOneof("event") == "listening":
                expected = max(1, event.listening.waiting)
            elif event.WhichOneof("event") == "prompt":
                found.append(event.prompt)
                if event.prompt.challenge_id == challenge:
                    found = found[-1:]
                    break
                if len(found) >= expected and not challenge:
                    break
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
    finally:
        stream.cancel()
    if not found or challenge not in ("", found[0].challenge_id):
        raise Problem("nothing waits to be answered")
    if len(found) > 1:
        waiting = "".join(f"\n  {prompt.challenge_id}: {_described(prompt)}" for prompt in found)
        raise Problem(f"several prompts wait; say which with --challenge:{waiting}")
    return found[0]


def _ask_and_answer(device: Any, prompt: "challenges_pb2.PromptForDevice") -> None:
    wanted = "Number shown where you log in" if prompt.number_wanted else "y to approve"
    typed = ask(f"{wanted}, or n to deny")
    approve = typed.lower() not in ("n", "no")
    say(device.answer(prompt, approve=approve, number=typed if prompt.number_wanted else ""))


def _described(prompt: "challenges_pb2.PromptForDevice") -> str:
    """Return in one line what the prompt is about, with nothing in it that a terminal would obey."""
    shown = json.loads(prompt.shown)
    parts = [str(shown[name]) for name in ("application", "account", "address") if name in shown]
    parts += [f"{name} {value}" for name, value in shown.get("transaction", {}).items()]
    return "".join(letter if letter.isprintable() else "?" for letter in ", ".join(parts))


def _view(event: "challenges_pb2.WatchDeviceResponse") -> dict[str, Any]:
    match event.WhichOneof("event"):
        case "listening":
            return {"event": "listening", "waiting": event.listening.waiting}
        case "prompt":
            return {
                "event": "prompt",
                "challenge": event.prompt.challenge_id,
                "number_wanted": event.prompt.number_wanted,
                **json.loads(event.prompt.shown),
            }
    return {"event": "withdrawn", "challenge": event.withdrawn.challenge_id}


def _path(file: Path | None, demo: Path | None) -> Path:
    if file is not None:
        return file
    if demo is None:
        raise typer.BadParameter("--file must be given")
    return demo / "device.json"


def _target(demo: Path | None, target: str) -> str:
    if demo is None:
        return target
    from cofactor_server.demo import read

    return read(demo).grpc


def _authorities(ca_file: str) -> Path | None:
    return Path(ca_file) if ca_file else None
