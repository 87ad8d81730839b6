"""Factors that prompt, and come from a plugin: the wire of REST enrolls none of them, and challenges them all."""

from dataclasses import dataclass
from typing import Any

import pytest
from cofactor_server.factors.registry import register
from cofactor_server.seams import SystemEntropy

from tests.support.flows.api import Api, Challenge, ClientCredentials, GrpcApi, MfaRequired, Tokens
from tests.support.flows.letter import Letter
from tests.support.flows.steps import (
    MFA_SCOPE,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    read,
    reason,
    refusal,
    second_app,
    shop,
)
from tests.support.world import ISSUER, World

STREET = "1 High Street"
MINUTE = 60


@pytest.fixture
def given() -> dict[str, Any]:
    """Letters are on beside apps."""
    letter = register(Letter(SystemEntropy()))
    return {"factors": (letter,), "kinds": frozenset({"totp", "recovery-code", letter.kind})}


@dataclass
class Alice:
    """Somebody who gets letters and nothing else."""

    client: ClientCredentials
    world: World
    recovery_code: str
    enrolling: str
    """The oob_code of the enrollment."""

    def code(self) -> str:
        """Return what the last letter says."""
        return self.world.outbox.sent[-1].code

    def wrong(self) -> str:
        """Return what no letter says."""
        written = {message.code for message in self.world.outbox.sent}
        return next(code for number in range(100) if (code := f"{number:06d}") not in written)


async def pending(api: GrpcApi, world: World) -> tuple[Alice, MfaRequired]:
    """Return Alice, to whom a letter was sent that confirms her address."""
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    enrollment = await api.enroll(login.mfa_token, "letter", destination=STREET)
    return Alice(client, world, enrollment.recovery_codes[0], enrollment.oob_code), login


@pytest.fixture
async def alice(grpc_api: GrpcApi, world: World) -> Alice:
    """Her address is confirmed."""
    found, login = await pending(grpc_api, world)
    a(Tokens, await grpc_api.oob(found.client, login.mfa_token, found.enrolling, found.code()))
    return found


async def challenged(api: Api, alice: Alice) -> tuple[MfaRequired, Challenge]:
    login = await logged_in_to_mfa(api, alice.client)
    return login, await api.challenge(alice.client, login.mfa_token)


# --- enrollment ---------------------------------------------------------------------------------------------------


async def test_what_can_be_enrolled_names_plugins_too(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await world.user()

    login = await logged_in_to_mfa(grpc_api, client)

    assert (login.wants, login.types) == ("enroll", ("otp", "plugin"))


async def test_enrolling_sends_a_code_to_the_new_address(grpc_api: GrpcApi, world: World) -> None:
    _, login = await pending(grpc_api, world)

    (message,) = world.outbox.sent
    assert (message.channel, message.to) == ("letter", STREET)
    assert [(row.type, row.active, row.name) for row in await grpc_api.list(login.mfa_token)] == [
        ("letter", False, "1 …"),
        ("recovery-code", False, ""),
    ]


async def test_the_code_confirms_the_address(grpc_api: GrpcApi, world: World) -> None:
    alice, login = await pending(grpc_api, world)

    tokens = a(Tokens, await grpc_api.oob(alice.client, login.mfa_token, alice.enrolling, alice.code()))

    _, claims = await read(grpc_api, tokens.access_token)
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:mfa", ["pwd", "otp", "mfa"])
    again = await logged_in_to_mfa(grpc_api, alice.client)
    assert (again.wants, again.types) == ("challenge", ("plugin", "recovery-code"))


async def test_without_the_code_nothing_is_confirmed(api: Api, grpc_api: GrpcApi, world: World) -> None:
    alice, login = await pending(grpc_api, world)

    refused = await refusal(api.oob(alice.client, login.mfa_token, alice.enrolling))

    assert (refused.reason, refused.text) == ("BINDING_CODE_REQUIRED", "binding_code is required")
    assert (await logged_in_to_mfa(api, alice.client)).wants == "enroll"


async def test_a_refused_option_sends_and_stores_nothing(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(grpc_api, client)

    assert await reason(grpc_api.enroll(login.mfa_token, "letter")) == "INVALID_REQUEST"
    assert (world.outbox.sent, list(await grpc_api.list(login.mfa_token))) == ([], [])


@pytest.mark.requirement("S118")
async def test_an_enrolled_user_adds_an_address_by_showing_a_factor_first(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    bearer = await mfa_access_token(grpc_api, world, client, user)

    enrollment = await grpc_api.enroll(bearer, "letter", destination=STREET)
    a(Tokens, await grpc_api.oob(client, bearer, enrollment.oob_code, world.outbox.sent[-1].code))

    login = await logged_in_to_mfa(grpc_api, client)
    assert login.types == ("plugin", "otp", "recovery-code")


async def test_an_app_is_not_confirmed_with_a_code_that_was_sent(grpc_api: GrpcApi, world: World) -> None:
    alice, login = await pending(grpc_api, world)
    await grpc_api.enroll(login.mfa_token)

    assert await reason(grpc_api.otp(alice.client, login.mfa_token, alice.code())) == "INVALID_OTP"


# --- login --------------------------------------------------------------------------------------------------------


async def test_a_challenge_sends_six_digits_that_complete_the_login(api: Api, world: World, alice: Alice) -> None:
    login, challenge = await challenged(api, alice)

    tokens = a(Tokens, await api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.code()))

    assert (challenge.type, challenge.prompts, len(world.outbox.sent)) == ("oob", True, 2)
    assert len(alice.code()) == 6
    assert (await read(api, tokens.access_token))[1]["amr"] == ["pwd", "otp", "mfa"]


async def test_an_oob_code_is_long_and_no_other_challenges(api: Api, world: World, alice: Alice) -> None:
    codes = [(await challenged(api, alice))[1].oob_code for _ in range(3)]

    assert len(set(codes)) == 3
    assert min(map(len, codes)) >= 43


async def test_a_challenge_tells_when_it_expires(grpc_api: GrpcApi, world: World, alice: Alice) -> None:
    _, challenge = await challenged(grpc_api, alice)

    assert challenge.expires_at == pytest.approx(world.clock.now() / 1e6 + 5 * MINUTE)


async def test_a_login_without_the_typed_code_is_told_what_is_missing(api: Api, world: World, alice: Alice) -> None:
    login, challenge = await challenged(api, alice)

    refused = await refusal(api.oob(alice.client, login.mfa_token, challenge.oob_code))

    assert (refused.reason, refused.text) == ("BINDING_CODE_REQUIRED", "binding_code is required")
    a(Tokens, await api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.code()))


async def test_a_wrong_binding_code_leaves_the_challenge_open(api: Api, world: World, alice: Alice) -> None:
    login, challenge = await challenged(api, alice)

    refused = await refusal(api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.wrong()))

    assert (refused.reason, refused.text) == ("INVALID_BINDING_CODE", "Invalid binding_code.")
    a(Tokens, await api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.code()))


@pytest.mark.requirement("S9", "S87", "S140")
async def test_a_challenge_is_redeemed_once(api: Api, world: World, alice: Alice) -> None:
    login, challenge = await challenged(api, alice)
    other = await logged_in_to_mfa(api, alice.client)
    await api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.code())

    same_login = await reason(api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.code()))
    other_login = await reason(api.oob(alice.client, other.mfa_token, challenge.oob_code, alice.code()))

    assert (same_login, other_login) == ("MFA_TOKEN_STALE", "OOB_CODE_MALFORMED")


@pytest.mark.requirement("S115")
async def test_a_second_letter_kills_the_first(api: Api, world: World, alice: Alice) -> None:
    login, first = await challenged(api, alice)
    old = alice.code()
    second = await api.challenge(alice.client, login.mfa_token)

    refused = await refusal(api.oob(alice.client, login.mfa_token, first.oob_code, old))

    assert (refused.reason, refused.text) == ("OOB_CODE_EXPIRED", "oob_code is expired")
    a(Tokens, await api.oob(alice.client, login.mfa_token, second.oob_code, alice.code()))


@pytest.mark.requirement("S95", "S123")
async def test_a_code_answers_its_own_challenge_only(api: Api, world: World, alice: Alice) -> None:
    first_login, first = await challenged(api, alice)
    first_code = alice.code()
    second_login, second = await challenged(api, alice)
    second_code = alice.code()

    crossed = [
        await reason(api.oob(alice.client, second_login.mfa_token, second.oob_code, first_code)),
        await reason(api.oob(alice.client, first_login.mfa_token, first.oob_code, second_code)),
        await reason(api.oob(alice.client, second_login.mfa_token, first.oob_code, first_code)),
    ]

    assert crossed == ["INVALID_BINDING_CODE", "INVALID_BINDING_CODE", "OOB_CODE_MALFORMED"]
    a(Tokens, await api.oob(alice.client, first_login.mfa_token, first.oob_code, first_code))
    a(Tokens, await api.oob(alice.client, second_login.mfa_token, second.oob_code, second_code))


@pytest.mark.requirement("S8", "S112", "S139")
@pytest.mark.parametrize(("seconds", "expected"), [(299, ""), (300, "OOB_CODE_EXPIRED"), (599, "OOB_CODE_EXPIRED")])
async def test_a_letter_is_good_for_five_minutes(
    api: Api, world: World, alice: Alice, seconds: int, expected: str
) -> None:
    login, challenge = await challenged(api, alice)

    world.clock.advance(seconds)

    call = api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.code())
    if expected:
        assert await reason(call) == expected
    else:
        a(Tokens, await call)


@pytest.mark.requirement("S7", "S11", "S96", "S201")
async def test_new_letters_give_no_new_guesses(api: Api, world: World, alice: Alice) -> None:
    login, challenge = await challenged(api, alice)
    refusals = []

    for _ in range(11):
        refusals.append(await refusal(api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.wrong())))
        challenge = await api.challenge(alice.client, login.mfa_token)

    assert [r.reason for r in refusals] == ["INVALID_BINDING_CODE"] * 10 + ["TOO_MANY_FAILED_CODES"]
    assert refusals[-1].retry_after == pytest.approx(6 * MINUTE, abs=1)
    right = await reason(api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.code()))
    assert right == "TOO_MANY_FAILED_CODES"


async def test_a_missing_binding_code_is_no_guess(api: Api, world: World, alice: Alice) -> None:
    login, challenge = await challenged(api, alice)
    for _ in range(12):
        assert await reason(api.oob(alice.client, login.mfa_token, challenge.oob_code)) == "BINDING_CODE_REQUIRED"

    a(Tokens, await api.oob(alice.client, login.mfa_token, challenge.oob_code, alice.code()))


async def test_types_and_ids_pick_among_kinds(grpc_api: GrpcApi, world: World, alice: Alice) -> None:
    client = alice.client
    world.clock.advance(1)
    login = await logged_in_to_mfa(grpc_api, client, scope=MFA_SCOPE, audience=f"{ISSUER}mfa/")
    challenge = await grpc_api.challenge(client, login.mfa_token)
    tokens = await grpc_api.oob(client, login.mfa_token, challenge.oob_code, alice.code())
    bearer = a(Tokens, tokens).access_token
    await second_app(grpc_api, world, client, bearer)
    login = await logged_in_to_mfa(grpc_api, client)
    app, letter, _ = await grpc_api.list(login.mfa_token)

    picked = {
        "anything": await grpc_api.challenge(client, login.mfa_token),
        "oob": await grpc_api.challenge(client, login.mfa_token, types=["oob"]),
        "otp": await grpc_api.challenge(client, login.mfa_token, types=["otp"]),
        "by id": await grpc_api.challenge(client, login.mfa_token, authenticator_id=letter.id),
    }

    assert {name: challenge.authenticator_id for name, challenge in picked.items()} == {
        "anything": app.id,
        "oob": letter.id,
        "otp": app.id,
        "by id": letter.id,
    }
    refused = await refusal(grpc_api.challenge(client, login.mfa_token, types=["otp"], authenticator_id=letter.id))
    assert refused.text == "The user does not support the requested challenge type (otp). Supported type: oob."


async def test_who_gets_letters_only_answers_no_otp_grant(api: Api, world: World, alice: Alice) -> None:
    login, _ = await challenged(api, alice)

    assert await reason(api.otp(alice.client, login.mfa_token, alice.code())) == "CHALLENGE_TYPE_UNSUPPORTED"


async def test_an_oob_code_of_an_enrollment_serves_no_login(api: Api, world: World, alice: Alice) -> None:
    login, _ = await challenged(api, alice)

    assert await reason(api.oob(alice.client, login.mfa_token, alice.enrolling, alice.code())) == "OOB_CODE_MALFORMED"


@pytest.mark.requirement("S117")
async def test_a_recovery_code_stands_in_for_a_letter_that_does_not_come(api: Api, world: World, alice: Alice) -> None:
    login, _ = await challenged(api, alice)

    a(Tokens, await api.recovery(alice.client, login.mfa_token, alice.recovery_code))


async def test_a_letter_for_a_removed_address_opens_nothing(grpc_api: GrpcApi, world: World, alice: Alice) -> None:
    client = alice.client
    waiting, challenge = await challenged(grpc_api, alice)
    late = alice.code()
    login = await logged_in_to_mfa(grpc_api, client, scope=MFA_SCOPE, audience=f"{ISSUER}mfa/")
    bearer = a(Tokens, await grpc_api.recovery(client, login.mfa_token, alice.recovery_code)).access_token
    await grpc_api.remove(bearer, (await grpc_api.list(bearer))[0].id)

    assert await reason(grpc_api.oob(client, waiting.mfa_token, challenge.oob_code, late)) == "OOB_CODE_MALFORMED"


async def test_over_rest_a_plugins_factor_goes_by_its_own_name(api: Api, world: World, alice: Alice) -> None:
    login = await logged_in_to_mfa(api, alice.client)

    (letter, _) = await api.list(login.mfa_token)

    assert (letter.type, letter.id.partition("|")[0], letter.active) == ("letter", "letter", True)
