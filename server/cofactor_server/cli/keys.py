"""`cofactor keys`: the root keys that seal everything else, and the keys that sign tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cofactor_server.cli.output import Json, Problem, counted, dump, instant, say, table

if TYPE_CHECKING:
    from cofactor_server.app import Application
    from cofactor_server.settings import Settings
    from cofactor_server.vault.root_keys import RootKey
    from cofactor_server.vault.signing_keys import SigningKey

app = typer.Typer(no_args_is_help=True, help="Make root keys and signing keys, and put new ones in their place.")


@app.callback()
def _keys() -> None:
    """Root keys and signing keys."""


@app.command()
def generate(
    file: Annotated[Path, typer.Argument(help="The keyring to make; one that exists is left alone.")],
    as_json: Json = False,
) -> None:
    """Make a keyring of one new root key, readable by you only. Keep a copy: without it the database is lost."""
    from cofactor_server.seams import SystemEntropy
    from cofactor_server.vault.keyring import Keyring

    keys = Keyring.generate(SystemEntropy())
    Keyring.write(file, keys)
    if as_json:
        dump({"file": str(file), "active": keys[0].id})
    else:
        say(f"{file}: made with the root key {keys[0].id}. Keep a copy elsewhere; set COFACTOR_KEYRING_FILE={file}")


@app.command()
def rotate(
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare",
            help="Only add the key that is to be active next: for servers that do not share the file, which must all "
            "know it before one of them seals under it.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a new root key active and seal everything that is stored under it, while servers run.

    Killed and begun again it goes on where it was. While a key is `previous` it makes no new one: `keys retire` ends a
    rotation.
    """
    from cofactor_server.cli.opening import within

    if prepare:
        _prepare(as_json=as_json)
        return
    told = within(_rotated)
    if as_json:
        dump(told)
    else:
        new = "new, and active now" if told["new_key"] else "active"
        say(f"{told['active']} is {new}; {told['resealed']} values were sealed again, {told['left']} are left")
    if told["broken"]:
        raise Problem("no key opens what is in " + ", ".join(f"{name} ({n})" for name, n in told["broken"].items()))
    if told["left"]:
        raise Problem("servers without the new key have sealed meanwhile: give it to all of them, and run this again")


def _prepare(*, as_json: bool) -> None:
    from cofactor_server.seams import SystemClock, SystemEntropy
    from cofactor_server.settings import load
    from cofactor_server.vault import root_keys, rotation

    file, now = load().keyring_file, SystemClock().now()
    keys = root_keys.edit(file, lambda keys: rotation.prepared(keys, SystemEntropy(), now))
    (key,) = rotation.in_state(keys, root_keys.RootKeyState.NEXT)
    if as_json:
        dump({"file": str(file), "next": key.id})
    else:
        say(f"{key.id} is next. Give every server this file, and then run `cofactor keys rotate`.")


async def _rotated(application: "Application", settings: "Settings") -> dict[str, Any]:
    from cofactor_server.vault import root_keys, rotation
    from cofactor_server.vault.root_keys import RootKeyState

    c = application.configuration
    totals = await application.rotation.totals()
    before = c.keyring.active_id

    def begun(keys: "list[RootKey]") -> "list[RootKey]":
        under_way = any(key.state is RootKeyState.PREVIOUS for key in keys)
        if under_way or any(totals[key.id] for key in keys if key.state is RootKeyState.RETIRED):
            return keys
        return rotation.promoted(keys, c.entropy, c.clock.now())

    # The file first: whoever meets a value under the new key finds it there.
    root_keys.edit(settings.keyring_file, begun)
    c.keyring.follow()
    with counted("Sealing again") as tell:
        outcome = await application.rotation.reseal(tell)
    return {
        "active": c.keyring.active_id,
        "new_key": c.keyring.active_id != before,
        "resealed": outcome.done,
        "left": outcome.left,
        "broken": dict(outcome.broken),
    }


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List root keys, and how many stored values each has sealed."""
    from cofactor_server.cli.opening import within

    async def found(application: "Application", _: "Settings") -> tuple[Sequence["RootKey"], Any]:
        return application.configuration.keyring.keys, await application.rotation.totals()

    keys, totals = within(found)
    if as_json:
        dump(
            [
                {
                    "id": key.id,
                    "state": key.state,
                    "since": instant(key.since or None) or None,
                    "values": totals[key.id],
                }
                for key in keys
            ]
        )
        return
    table(
        ("key", "state", "since", "values"),
        [(key.id, key.state, instant(key.since or None), str(totals[key.id])) for key in keys],
    )


@app.command()
def retire(
    leaked: Annotated[
        bool,
        typer.Option(
            "--leaked",
            help="At once: logins under way begin again. What is still stored under it opens for `keys rotate` alone.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Let no token of a previous key open any more, once nothing is stored under it and its tokens are over."""
    from cofactor_server.cli.opening import within
    from cofactor_server.vault import root_keys, rotation
    from cofactor_server.vault.root_keys import RootKeyState

    async def retired(application: "Application", settings: "Settings") -> list[str]:
        totals = await application.rotation.totals()
        now, gone = application.configuration.clock.now(), list[str]()

        def change(keys: "list[RootKey]") -> "list[RootKey]":
            previous = rotation.in_state(keys, RootKeyState.PREVIOUS)
            gone.extend(key.id for key in previous)
            if not leaked:
                _check_unused(previous, totals)
                _check_over(previous, now, settings)
            return rotation.retired(keys, now)

        root_keys.edit(settings.keyring_file, change)
        return gone

    gone = within(retired)
    if as_json:
        dump({"retired": gone})
    else:
        say(f"{', '.join(gone)}: retired" if gone else "no key is previous")


@app.command()
def forget(as_json: Json = False) -> None:
    """Take retired keys out of the file. Backups of before need them: keep a copy as long as those."""
    from cofactor_server.cli.opening import within
    from cofactor_server.vault import root_keys, rotation
    from cofactor_server.vault.root_keys import RootKeyState

    async def forgotten(application: "Application", settings: "Settings") -> list[str]:
        totals = await application.rotation.totals()
        gone = list[str]()

        def change(keys: "list[RootKey]") -> "list[RootKey]":
            retired = rotation.in_state(keys, RootKeyState.RETIRED)
            gone.extend(key.id for key in retired)
            _check_unused(retired, totals)
            return rotation.without(keys, retired)

        root_keys.edit(settings.keyring_file, change)
        return gone

    gone = within(forgotten)
    if as_json:
        dump({"forgotten": gone})
    else:
        say(f"{', '.join(gone)}: forgotten" if gone else "no key is retired")


@app.command("rotate-signing")
def rotate_signing(
    notice: Annotated[
        int, typer.Option("--notice", help="Minutes for which the new keys are published before they sign.", min=15)
    ] = 60,
    leaked: Annotated[
        bool,
        typer.Option(
            "--leaked", help="At once: every token that was signed before is refused, and users log in again."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make new keys that sign tokens, while servers run. Tokens of the old ones are good until they expire."""
    from cofactor_server.cli.opening import within
    from cofactor_server.seams import MINUTE
    from cofactor_server.services.upkeep.signing_keys import Rotated, RotationUnderWay

    async def rotated(application: "Application", _: "Settings") -> Rotated:
        rotation = application.signing_rotation
        return await (rotation.replace() if leaked else rotation.rotate(notice * MINUTE))

    try:
        told = within(rotated)
    except RotationUnderWay:
        raise Problem("keys that were made before do not sign yet: see `cofactor keys list-signing`") from None
    if as_json:
        times = {"active_from": instant(told.active_from), "old_until": instant(told.retire_at)}
        dump({"kids": list(told.kids), **times})
        return
    say(f"{', '.join(told.kids)}: published, and signing from {instant(told.active_from)}")
    say(f"the old keys are published until {instant(told.retire_at)}")


@app.command("list-signing")
def list_signing(as_json: Json = False) -> None:
    """List the keys that sign tokens."""
    from cofactor_server.cli.opening import within

    async def found(application: "Application", _: "Settings") -> list[dict[str, Any]]:
        now = application.configuration.clock.now()
        return [_signing_view(key, now) for key in await application.signing_rotation.keys()]

    keys = within(found)
    if as_json:
        dump(keys)
        return
    columns = ("kid", "algorithm", "state", "active_from", "retires")
    table(columns, [tuple(key[name] or "" for name in columns) for key in keys])


def _signing_view(key: "SigningKey", now: int) -> dict[str, Any]:
    state = "next" if key.active_from > now else "active"
    if key.retire_at is not None:
        state = "retired" if key.retire_at <= now else "retiring"
    return {
        "kid": key.kid,
        "algorithm": str(key.algorithm),
        "state": state,
        "active_from": instant(key.active_from),
        "retires": instant(key.retire_at) or None,
    }


def _check_unused(keys: "Sequence[RootKey]", totals: Any) -> None:
    for key in keys:
        if totals[key.id]:
            raise Problem(f"{totals[key.id]} values are still under {key.id}: run `cofactor keys rotate`")


def _check_over(keys: "Sequence[RootKey]", now: int, settings: "Settings") -> None:
    """Refuse to retire a key under which a token or a short code may be sealed that is not over."""
    from cofactor_server.domain.challenges.challenge import CHALLENGE_LIFE
    from cofactor_server.seams import MINUTE

    life = max(settings.deployment().mfa_token_life, CHALLENGE_LIFE) + MINUTE
    for key in keys:
        if (wait := key.since + life - now) > 0:
            raise Problem(
                f"logins under way hold tokens that {key.id} has sealed: in {-(-wait // MINUTE)} minutes they are over"
            )
