"""Security decision 21: what happens to an account is recorded, and what its user should hear of is a notice."""

from collections import Counter

import pytest
from cofactor_server.domain.foundation.events import EventName, NoticeName

from tests.support.flows.api import Api
from tests.support.flows.attacks import add_mailed, challenged, names, outcome, rows, wrong
from tests.support.flows.steps import ALICE, enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import World


async def since(world: World, table: str, before: Counter[str]) -> set[str]:
    """Return what is new in a table since then."""
    return set(Counter(await names(world, table)) - before)


@pytest.mark.requirement("S35", "S100")
async def test_each_thing_that_happens_to_an_account_is_recorded_and_the_user_is_told_of_changes(
    api: Api, world: World
) -> None:
    client = await shop(world)
    said: dict[str, tuple[set[str], set[str]]] = {}
    counted: dict[str, Counter[str]] = {"events": Counter(), "notices": Counter()}

    async def note(what: str) -> None:
        new = {table: await since(world, table, before) for table, before in counted.items()}
        said[what] = (new["events"], new["notices"])
        for table in counted:
            counted[table] = Counter(await names(world, table))

    alice = await enrolled(api, world, client)
    await note("enroll")
    bearer = await mfa_access_token(api, world, client, alice)
    await note("log in")
    app = (await api.list(bearer))[0].id
    await api.rename(bearer, app, "Mine")
    await note("rename")
    login = await logged_in_to_mfa(api, client)
    await outcome(api.otp(client, login.mfa_token, wrong(world, alice.secret)))
    await note("fail")
    await api.recovery(client, login.mfa_token, alice.recovery_code)
    await note("recover")
    phone = await add_mailed(api, world, client, alice)
    await note("add")
    await challenged(api, client, (await logged_in_to_mfa(api, client)).mfa_token, phone)
    await note("challenge")
    bearer = await mfa_access_token(api, world, client, alice)
    await note("log in again")
    await api.remove(bearer, phone)
    await note("remove")
    await api.revoke(client, bearer)
    await note("revoke")
    await world.app.operators.reset_mfa("default", ALICE)
    await note("reset")

    e, n = EventName, NoticeName
    assert said == {
        "enroll": ({e.AUTHENTICATOR_ENROLLING, e.AUTHENTICATOR_ADDED, e.LOGIN_COMPLETED}, {n.AUTHENTICATOR_ADDED}),
        "log in": ({e.LOGIN_COMPLETED}, set()),
        "rename": ({e.AUTHENTICATOR_RENAMED}, set()),
        "fail": ({e.PROOF_REFUSED}, set()),
        "recover": ({e.RECOVERY_CODE_USED, e.LOGIN_COMPLETED}, {n.RECOVERY_CODE_USED}),
        "add": (
            {e.AUTHENTICATOR_ENROLLING, e.CHALLENGE_CREATED, e.AUTHENTICATOR_ADDED, e.LOGIN_COMPLETED},
            {n.AUTHENTICATOR_ADDED},
        ),
        "challenge": ({e.CHALLENGE_CREATED}, set()),
        "log in again": ({e.LOGIN_COMPLETED}, set()),
        "remove": ({e.AUTHENTICATOR_REMOVED}, {n.AUTHENTICATOR_REMOVED}),
        "revoke": ({e.TOKEN_REVOKED}, set()),
        "reset": ({e.MFA_RESET}, {n.MFA_RESET}),
    }


async def test_no_record_holds_what_somebody_typed_or_was_shown(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    code = wrong(world, alice.secret)
    await outcome(api.otp(client, login.mfa_token, code))
    await api.recovery(client, login.mfa_token, alice.recovery_code)

    written = repr([await rows(world, table) for table in ("events", "notices")])

    for secret in (
        alice.secret,
        alice.recovery_code,
        code,
        login.mfa_token,
        client[1] or "",
        alice.tokens.access_token,
    ):
        assert secret
        assert secret not in written
