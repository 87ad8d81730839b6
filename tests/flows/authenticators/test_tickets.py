"""Enrollment by ticket, from the operator's word to the next login, over both edges."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from cofactor_server.domain.authenticators.tickets import STRICT_TICKET_LIFE, TICKET_LIFE, NewTicket
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.foundation.events import EventName, NoticeName
from cofactor_server.errors import DeliveryFailed, FactorDisabled, InvalidRequest, TooManyMessages
from cofactor_server.seams import MINUTE, SECOND
from cofactor_server.services.transactions.refusals import Missing

from tests.support.flows.api import Api, Enrollment, GrpcApi, MfaRequired, Refused, RestApi, Tokens
from tests.support.flows.attacks import names, rows
from tests.support.flows.phones import Shop, phone_shop
from tests.support.flows.steps import ALICE, a, enrolled, logged_in_to_mfa, reason, refusal, shop
from tests.support.flows.ticketed import NUMBER, Holder, holder, with_app
from tests.support.world import ISSUER, World
from tests.unit.factors.security_key import SecurityKey

ALL = frozenset({"totp", "sms", "voice", "email", "push", "webauthn", "recovery-code"})
MAIL = "alice@mail.example.com"
PROFILE = "alice@profile.example.com"


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": ALL}


@pytest.fixture
async def phones(world: World) -> AsyncIterator[Shop]:
    async with phone_shop(world) as opened:
        yield opened


async def issued(world: World, **given: Any) -> str:
    """Create Alice, and return the ticket she gets."""
    user = await world.user()
    return (await world.app.ticket_office.issue(Caller(), "olga", NewTicket(user.id, **given))).ticket


@pytest.mark.requirement("S36")
async def test_a_user_who_was_reset_enrolls_by_ticket_and_logs_in(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    await world.app.operators.reset_mfa("default", ALICE)
    locked_out = await logged_in_to_mfa(api, client)
    (user,) = [user for user, _ in await world.app.operators.users()]

    secret, outcome = await with_app(world, await holder(api, world, user))
    world.clock.advance(30)
    login = await logged_in_to_mfa(api, client)
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(secret)))

    assert (locked_out.wants, locked_out.types) == ("enroll", ())
    assert outcome.confirmed
    assert tokens.access_token
    (code,) = outcome.recovery_codes
    again = await logged_in_to_mfa(api, client)
    assert a(Tokens, await api.recovery(client, again.mfa_token, code)).recovery_code


async def test_a_ticket_tells_what_it_is_for_as_often_as_it_is_asked(api: Api, world: World) -> None:
    held = Holder(api, await issued(world))

    offers = [await held.offer() for _ in range(3)]

    assert {(offer.issuer, offer.user) for offer in offers} == {("Example", "al****@example.test")}
    assert offers[0].factors == ("otp", "sms", "voice", "push", "webauthn")  # mail only where a ticket names it
    assert (await with_app(world, held))[1].confirmed


@pytest.mark.parametrize(
    ("kinds", "factors"),
    [(("totp",), ("otp",)), (("sms", "voice"), ("sms", "voice")), (("email",), ("email",))],
    ids=["otp", "phone", "email"],
)
async def test_a_ticket_for_a_factor_is_for_no_other(
    api: Api, world: World, kinds: tuple[str, ...], factors: tuple[str, ...]
) -> None:
    held = Holder(api, await issued(world, kinds=frozenset(kinds)))
    others = {"otp", "sms", "email", "push", "webauthn"} - set(factors)

    assert (await held.offer()).factors == factors
    for other in sorted(others):
        address = {"sms": NUMBER, "email": MAIL}.get(other, "")
        assert await reason(held.begin(other, to=address)) == "FACTOR_DISABLED"


@pytest.mark.parametrize(
    ("factor", "kind", "to", "masked"),
    [
        ("sms", "sms", NUMBER, "XXXXXXXXX8750"),
        ("voice", "voice", NUMBER, "XXXXXXXXX8750"),
        ("email", "email", MAIL, ""),
    ],
)
async def test_a_code_that_was_sent_confirms(
    api: Api, world: World, factor: str, kind: str, to: str, masked: str
) -> None:
    held = Holder(api, await issued(world, kinds=frozenset({kind})))

    begun = await held.begin(factor, to=to)
    outcome = await held.confirm(begun, world.outbox.sent[-1].code)

    assert (world.outbox.sent[-1].channel, world.outbox.sent[-1].to) == (kind, to)
    assert begun.masked_address == masked or (not masked and begun.masked_address.startswith("alic"))
    assert bool(begun.risk_notice) is (kind != "email")
    assert (outcome.confirmed, len(outcome.recovery_codes)) == (True, 1)


async def test_a_security_key_confirms(api: Api, world: World) -> None:
    client = await shop(world)
    held, key = Holder(api, await issued(world)), SecurityKey()

    begun = await held.begin("webauthn", name="Blue key")
    outcome = await held.confirm(begun, credential=key.take(begun.options))

    assert outcome.confirmed
    login = await logged_in_to_mfa(api, client)
    challenge = await api.challenge(client, login.mfa_token, types=["webauthn"])
    signed = await api.webauthn(client, login.mfa_token, challenge.oob_code, key.take(challenge.public_key))
    assert a(Tokens, signed).access_token


async def test_a_security_key_has_one_try(api: Api, world: World) -> None:
    held, stranger = Holder(api, await issued(world)), SecurityKey(origin="https://evil.example")
    begun = await held.begin("webauthn")

    assert await reason(held.confirm(begun, credential=stranger.take(begun.options))) == "INVALID_PUBLIC_KEY_CREDENTIAL"
    assert await reason(held.confirm(begun, credential=SecurityKey().take(begun.options))) == "ENROLLMENT_GONE"
    again = await held.begin("webauthn")
    assert (await held.confirm(again, credential=SecurityKey().take(again.options))).confirmed


async def test_a_device_confirms_by_pairing_and_whoever_waits_is_told_once(
    api: Api, world: World, phones: Shop
) -> None:
    held = Holder(api, await issued(world))
    begun = await held.begin("push")
    before = await held.confirm(begun)

    await phones.phone(Enrollment(barcode_uri=begun.barcode_uri)).pair()
    world.clock.advance(5)
    after = await held.confirm(begun)

    assert (before.confirmed, before.poll_interval, begun.poll_interval) == (False, 5, 5)
    assert (after.confirmed, len(after.recovery_codes)) == (True, 1)
    assert await reason(held.confirm(begun)) == "TICKET_INVALID"
    assert await reason(held.begin()) == "TICKET_INVALID"


@pytest.mark.requirement("S136")
async def test_whoever_asks_too_soon_whether_a_device_has_paired_is_slowed_down(api: Api, world: World) -> None:
    held = Holder(api, await issued(world))
    begun = await held.begin("push")
    await held.confirm(begun)

    too_soon = await refusal(held.confirm(begun))

    assert (too_soon.reason, too_soon.retry_after) == ("SLOW_DOWN", 10)


@pytest.mark.requirement("S136")
async def test_retries_of_a_confirmation_that_came_too_soon_slow_it_down_once(api: Api, world: World) -> None:
    held = Holder(api, await issued(world))
    begun = await held.begin("push")
    await held.confirm(begun)

    said = []
    for seconds in (0, 0.3, 0.9, 1.0):
        world.clock.advance(seconds)
        said.append((await refusal(held.confirm(begun))).retry_after)
    world.clock.advance(1)

    assert said == [10, 10, 9, 8]
    assert (await refusal(held.confirm(begun))).retry_after == 15


async def test_a_ticket_gets_a_recovery_code_only_for_who_has_none(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    (user,) = [user for user, _ in await world.app.operators.users()]

    _, outcome = await with_app(world, await holder(api, world, user, several=True))

    assert (outcome.confirmed, outcome.recovery_codes) == (True, ())


async def test_a_ticket_for_a_first_authenticator_is_for_no_second(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    (user,) = [user for user, _ in await world.app.operators.users()]
    held = await holder(api, world, user)

    assert await reason(held.offer()) == "ALREADY_ENROLLED"
    assert await reason(held.begin()) == "ALREADY_ENROLLED"


async def test_wrong_codes_cost_no_ticket(api: Api, world: World) -> None:
    held = Holder(api, await issued(world))
    begun = await held.begin()
    nearly = world.otp(begun.secret, steps=4)

    refused = await refusal(held.confirm(begun, nearly))

    assert (refused.reason, refused.metadata.get("hint")) == ("INVALID_OTP", "check_clock")
    assert (await held.confirm(begun, world.otp(begun.secret))).confirmed


@pytest.mark.requirement("S8")
async def test_a_code_that_was_sent_is_good_for_five_minutes(api: Api, world: World) -> None:
    held = Holder(api, await issued(world))
    begun = await held.begin("sms", to=NUMBER)

    world.clock.advance(5 * 60)

    assert await reason(held.confirm(begun, world.outbox.sent[-1].code)) == "ENROLLMENT_GONE"


async def test_of_what_waits_the_sixth_replaces_the_oldest(api: Api, world: World) -> None:
    held = Holder(api, await issued(world))
    begun = []
    for _ in range(6):
        begun.append(await held.begin())
        world.clock.advance(1)

    assert await reason(held.confirm(begun[0], world.otp(begun[0].secret))) == "ENROLLMENT_GONE"
    assert (await held.confirm(begun[1], world.otp(begun[1].secret))).confirmed


@pytest.mark.requirement("S36")
@pytest.mark.parametrize(
    ("given", "life"),
    [
        ({"kinds": ALL}, TICKET_LIFE),
        ({"kinds": frozenset({"totp", "recovery-code"}), "strict": True}, STRICT_TICKET_LIFE),
    ],
    ids=["compatible", "strict"],
)
async def test_a_ticket_is_good_until_its_time_is_over(
    api: Api, world: World, given: dict[str, Any], life: int
) -> None:
    held = Holder(api, await issued(world))
    world.clock.advance(life // SECOND - 1)
    begun = await held.begin()
    still_good = await held.offer()

    world.clock.advance(1)

    assert still_good.user
    assert life in (5 * 24 * 60 * MINUTE, 10 * MINUTE)
    assert await reason(held.offer()) == "TICKET_INVALID"
    assert await reason(held.begin()) == "TICKET_INVALID"
    assert await reason(held.confirm(begun, world.otp(begun.secret))) == "TICKET_INVALID"


@pytest.mark.requirement("S33", "S35")
async def test_the_record_says_who_issued_a_ticket_and_the_user_is_told_of_what_was_added(
    api: Api, world: World
) -> None:
    user = await world.user(email=PROFILE, email_verified=True)

    await with_app(world, await holder(api, world, user, kinds=["totp"]))
    await world.app.notices.send_due()

    recorded = await names(world, "events")
    assert {EventName.TICKET_ISSUED, EventName.AUTHENTICATOR_ADDED} <= set(recorded)
    (event,) = await rows(world, "events", name=EventName.TICKET_ISSUED)
    assert event.details == '{"operator": "olga", "kinds": "totp"}'
    assert [(m.to, m.notice) for m in world.outbox.sent] == [(PROFILE, NoticeName.AUTHENTICATOR_ADDED)]


async def test_a_ticket_goes_by_mail_where_that_is_wanted(api: Api, world: World) -> None:
    user = await world.user(email=PROFILE, email_verified=True)

    told = await world.app.ticket_office.issue(
        Caller(), "olga", NewTicket(user.id, send_mail=True, languages=("de-AT",))
    )

    (letter,) = world.outbox.sent
    assert (letter.channel, letter.to, letter.link, letter.languages) == ("email", PROFILE, told.url, ("de-AT",))
    assert told.url == f"{ISSUER}mfa/enrollment?ticket={told.ticket}"
    assert (await Holder(api, told.ticket).offer()).user


async def test_a_letter_that_was_not_sent_leaves_no_ticket(world: World) -> None:
    user = await world.user(email=PROFILE, email_verified=True)
    world.outbox.down.add("email")

    with pytest.raises(DeliveryFailed):
        await world.app.ticket_office.issue(Caller(), "olga", NewTicket(user.id, send_mail=True))

    assert await rows(world, "tickets") == []


async def test_an_operator_hears_why_there_is_no_ticket(world: World) -> None:
    office, user = world.app.ticket_office, await world.user()

    with pytest.raises(Missing):
        await office.issue(Caller(), "olga", NewTicket("usr_nobody"))
    for kinds in ({"hotp"}, {"recovery-code"}, {"totp", "nonsense"}):
        with pytest.raises(FactorDisabled):
            await office.issue(Caller(), "olga", NewTicket(user.id, frozenset(kinds)))
    with pytest.raises(InvalidRequest):  # there is no address
        await office.issue(Caller(), "olga", NewTicket(user.id, send_mail=True))
    with pytest.raises(InvalidRequest):
        await office.issue(Caller(), "olga", NewTicket(user.id, send_mail=True, email="nonsense"))
    for _ in range(20):
        await office.issue(Caller(), "olga", NewTicket(user.id, send_mail=True, email=MAIL))
    with pytest.raises(TooManyMessages):
        await office.issue(Caller(), "olga", NewTicket(user.id, send_mail=True, email=MAIL))


async def test_no_ticket_goes_to_a_profiles_address_that_nobody_verified(world: World) -> None:
    user = await world.user(email=PROFILE)
    office = world.app.ticket_office

    with pytest.raises(InvalidRequest):
        await office.issue(Caller(), "olga", NewTicket(user.id, send_mail=True))
    assert await rows(world, "tickets") == []
    await office.issue(Caller(), "olga", NewTicket(user.id, send_mail=True, email=PROFILE))

    (letter,) = world.outbox.sent
    assert letter.to == PROFILE


@pytest.mark.requirement("S36")
@pytest.mark.parametrize("given", [{"kinds": frozenset({"totp"}), "strict": True}], ids=["strict"])
async def test_the_strict_profile_sends_no_ticket_by_mail(world: World, given: dict[str, Any]) -> None:
    user = await world.user(email=PROFILE)

    with pytest.raises(InvalidRequest):
        await world.app.ticket_office.issue(Caller(), "olga", NewTicket(user.id, send_mail=True))

    assert world.outbox.sent == []


async def test_whoever_reset_at_login_needs_no_ticket(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)

    await world.app.operators.reset_mfa("default", ALICE, enroll_at_login=True)

    assert a(MfaRequired, await logged_in_to_mfa(api, client)).types


async def test_what_is_no_factor_of_the_page_is_refused(rest_api: RestApi, world: World) -> None:
    held = Holder(rest_api, await issued(world))

    assert await reason(held.begin("duo")) == "AUTHENTICATOR_TYPE_UNSUPPORTED"
    assert await reason(held.begin("sms")) == "PHONE_NUMBER_INVALID"
    begun = await held.begin("webauthn")
    assert await reason(held.confirm(begun, "123456")) == "MISSING_PARAMETER"
    with pytest.raises(Refused) as caught:
        await Holder(rest_api, "").offer()
    assert caught.value.reason == "MISSING_PARAMETER"


async def test_recovery_codes_are_not_enrolled_by_ticket(grpc_api: GrpcApi, world: World) -> None:
    held = Holder(grpc_api, await issued(world, several=True))

    assert await reason(held.begin("recovery_code")) == "FACTOR_DISABLED"
