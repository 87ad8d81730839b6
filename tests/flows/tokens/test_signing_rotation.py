"""Signing keys that are replaced while tokens are about."""

import pytest
from cofactor_server.seams import MINUTE
from cofactor_server.services.upkeep.signing_keys import RotationUnderWay

from tests.support.flows.api import Api
from tests.support.flows.steps import enrolled, logged_in, read, shop
from tests.support.world import World

DAY = 86_400


async def kids(api: Api) -> set[str]:
    return {key["kid"] for key in await api.keys()}


@pytest.mark.requirement("S158")
async def test_tokens_of_the_old_key_verify_until_they_expire_and_the_new_one_is_published_first(
    api: Api, world: World
) -> None:
    client, upkeep, rotation = await shop(world), world.app.upkeep, world.app.signing_rotation
    user = await enrolled(api, world, client)
    old = await kids(api)

    rotated = await rotation.rotate(60 * MINUTE)
    await upkeep.follow_keys()
    before = (await logged_in(api, world, client, user)).access_token
    published = await kids(api)
    world.clock.advance(3_600)
    after = (await logged_in(api, world, client, user)).access_token
    world.clock.advance(DAY - 3_600 - 120)
    header, _ = await read(api, before)
    still_active = await api.introspect(client, before)
    world.clock.advance(3_600 + 700)
    await upkeep.follow_keys()

    assert published == old | set(rotated.kids)
    assert header["kid"] in old
    assert still_active["active"]
    assert (await read(api, after))[0]["kid"] in rotated.kids
    assert await kids(api) == set(rotated.kids)


@pytest.mark.requirement("S158")
async def test_a_second_rotation_waits_for_the_first(world: World) -> None:
    rotation = world.app.signing_rotation
    with pytest.raises(ValueError, match="15 minutes"):
        await rotation.rotate(14 * MINUTE)
    await rotation.rotate(15 * MINUTE)
    with pytest.raises(RotationUnderWay):
        await rotation.rotate(15 * MINUTE)
    world.clock.advance(15 * 60)
    await rotation.rotate(15 * MINUTE)


async def test_after_a_leak_what_was_signed_before_is_refused_at_once(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)

    replaced = await world.app.signing_rotation.replace()
    await world.app.upkeep.follow_keys()

    assert await kids(api) == set(replaced.kids)
    assert not (await api.introspect(client, user.tokens.access_token))["active"]
    await read(api, (await logged_in(api, world, client, user)).access_token)


async def test_private_keys_of_the_past_are_deleted(world: World) -> None:
    await world.app.signing_rotation.replace()
    world.clock.advance(16 * 60)
    await world.app.upkeep.prune()
    assert len(await world.app.signing_rotation.keys()) == 2
