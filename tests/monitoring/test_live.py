"""/live: 200 while the process runs its loop, whatever /health says."""

from conftest import MakeWorld


async def test_live_is_200_while_health_is_503(make_world: MakeWorld) -> None:
    async with make_world() as world:
        world.service.settings.database.unlink()
        await world.health_of(503)
        async with world.session.get(f"{world.url}/live") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "live"})
