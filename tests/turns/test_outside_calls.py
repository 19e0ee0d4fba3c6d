"""Calls to another system: once by their key, whatever dies in between, and never claimed done."""

import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from conftest import ALICE, WAIT_S, Ahead, MakeWorld, World, make_simulator, query, writing
from outside_target import OutsideCue, Step, order_tool
from test_failing_model import first_failure
from test_turns import completion
from torture.preparation import free_port, make_database, make_outside, variables
from torture.processes import Service, ServiceProcess

from wbot.admin import reprocessing
from wbot.clock import Clock
from wbot.simulator.simulator import serve
from wbot.turns import toolbox
from wbot.turns.finish import INCOMPLETE

ORDER = ("order", {"item": "tea"})


class Backend:
    """The team's own system: acts once per key, and answers an error while it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.requests: dict[str, list[bytes]] = defaultdict(list)
        self.acts: list[bytes] = []
        """What was done, in order."""
        self.before_act: Callable[[bytes], None] = lambda _order: None
        self.after_act: Callable[[bytes], None] = lambda _order: None

    async def order(self, request: web.Request) -> web.Response:
        key, order = request.headers["Idempotency-Key"], await request.read()
        is_new = key not in self.requests
        self.requests[key].append(order)
        self.before_act(order)
        if is_new:
            self.acts.append(order)
        self.after_act(order)
        return web.json_response({"number": len(self.acts)}, status=self.status)


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend()
    app = web.Application()
    app.router.add_post("/order", backend.order)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    backend.url = f"http://{host}:{port}/order"
    yield backend
    await runner.cleanup()


def item_of(messages: list[dict[str, Any]]) -> tuple[str, int]:
    """What the last user message orders, and how many tool results follow it."""
    place = max(n for n, one in enumerate(messages) if one["role"] == "user")
    results = sum(one["role"] == "tool" for one in messages[place:])
    return str(messages[place]["content"]).removeprefix("order "), results


# A process that dies around the call ------------------------------------------------------------

BEFORE_ACT, AFTER_ACT, AFTER_CLOSE = "before it acts", "after it acted", "after close"
DEATHS = (
    *(step for step in Step if step is not Step.NONE),
    BEFORE_ACT,
    AFTER_ACT,
    AFTER_CLOSE,
)


async def test_whenever_the_process_dies_the_backend_acts_once_and_the_customer_is_told_once(
    tmp_path: Path, backend: Backend
) -> None:
    database, port = tmp_path / "wbot.db", free_port()
    make_database(database, payers=[ALICE], given_minor=100)
    simulator = make_outside([ALICE], seed=1, clock=Clock())
    simulator.webhook_url = f"http://127.0.0.1:{port}/api/webhook"
    running: list[ServiceProcess] = []

    def dies(death: str, item: str) -> None:
        number = len(running) - 1
        if number < len(DEATHS) and (DEATHS[number], str(number)) == (death, item):
            running[-1].kill(death)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        item, results = item_of(request["messages"])
        if results:
            dies(AFTER_CLOSE, item)
            return completion(f"Ordered {item}.")
        return completion(None, ("order", {"item": item}))

    simulator.responder = answer
    backend.before_act = lambda order: dies(BEFORE_ACT, item_in(order))
    backend.after_act = lambda order: dies(AFTER_ACT, item_in(order))
    async with (
        serve(simulator) as outside,
        dying(variables(database, outside=outside, port=port), port, tmp_path) as service,
    ):
        for number, death in enumerate(DEATHS):
            step = death if isinstance(death, Step) else Step.NONE
            cue = OutsideCue(url=backend.url, step=step, item=str(number))
            running.append(await service.start(cue))
            assert await service.opened(running[-1])
            await simulator.say(ALICE, f"order {number}")
            assert await running[-1].over(WAIT_S), death
        running.append(await service.start(OutsideCue(url=backend.url)))
        assert await service.opened(running[-1])
        told = await simulator.wait_for_reply_to(ALICE, after=len(DEATHS) - 1, timeout_s=WAIT_S)
    assert {process.exit_code for process in running[:-1]} == {-signal.SIGKILL}
    assert told.text == f"Ordered {len(DEATHS) - 1}."
    items = [str(number) for number in range(len(DEATHS))]
    assert [reply.text for reply in simulator.replies_to(ALICE)] == [
        f"Ordered {item}." for item in items
    ]
    assert [item_in(order) for order in backend.acts] == items
    assert all(len(set(sent)) == 1 for sent in backend.requests.values())
    repeated = {item_in(sent[0]) for sent in backend.requests.values() if len(sent) > 1}
    deaths_after_sending = {Step.AFTER_CALL, Step.CLOSE_UNCOMMITTED, BEFORE_ACT, AFTER_ACT}
    assert repeated == {str(DEATHS.index(death)) for death in deaths_after_sending}
    calls = query(database, "SELECT state, count(*) AS n FROM outside_calls GROUP BY state")
    assert calls == [{"state": "done", "n": len(DEATHS)}]


def item_in(order: bytes) -> str:
    return order.decode().split('"')[3]


@asynccontextmanager
async def dying(settings: dict[str, str], port: int, folder: Path) -> AsyncIterator[Service]:
    service = Service(
        variables=settings,
        port=port,
        folder=folder,
        is_warm=True,
        clock=Clock(),
        module="turns.outside_target",
    )
    try:
        yield service
    finally:
        await service.stop()


# A backend that does not answer -----------------------------------------------------------------


@pytest.fixture
def tool(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(toolbox.OUTSIDE_TOOLS, "order", order_tool(backend.url))


def ordering(text: str = "It is ordered.", *calls: tuple[str, dict[str, Any]]) -> Any:
    """A model that makes the calls and then says that all is done."""
    made = calls or (ORDER,)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        _, results = item_of(request["messages"])
        return completion(text) if results else completion(None, *made)

    return answer


async def calls_of(world: World) -> list[dict[str, Any]]:
    return world.rows("SELECT key, state, attempts FROM outside_calls")


@pytest.mark.usefixtures("tool")
async def test_a_call_without_an_answer_is_never_claimed_and_keeps_its_key_for_the_operator(
    make_world: MakeWorld, backend: Backend
) -> None:
    simulator = make_simulator()
    simulator.responder = ordering()
    backend.status = 503
    async with make_world(simulator=simulator, variables={"WBOT_MAX_ATTEMPTS": "1"}) as world:
        assert await world.ask(ALICE, "order tea") == INCOMPLETE
        (call,) = await calls_of(world)
        assert (call["state"], call["attempts"]) == ("unknown", 1)
        (error,) = world.rows("SELECT id, error_message FROM processing_errors")
        assert error["error_message"] == (
            "The backend answered HTTP 503. It is unknown whether order has acted; "
            f"its key is {call['key']}."
        )
        backend.status = 200
        with writing(world.service.settings.database) as tx:
            reprocessing.retry(tx, error["id"], now=Clock().now(), stale_after_s=900.0)
        reply = await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert reply.text == "It is ordered."
        assert await calls_of(world) == [{**call, "state": "done", "attempts": 2}]
        assert list(backend.requests) == [call["key"]]
        assert len(set(backend.requests[call["key"]])) == 1


@pytest.mark.usefixtures("tool")
async def test_a_call_without_an_answer_is_made_again_within_the_attempts(
    make_world: MakeWorld, backend: Backend
) -> None:
    simulator, clock = make_simulator(), Ahead()
    simulator.responder = ordering()
    backend.status = 503
    async with make_world(simulator=simulator, clock=clock) as world:
        await simulator.say(ALICE, "order tea")
        await first_failure(world)
        backend.status = 200
        clock.ahead_s = 60.0
        reply = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert reply.text == "It is ordered."
        assert [len(sent) for sent in backend.requests.values()] == [2]
        assert len(simulator.completions) == 2  # the model's answer was not asked for again


@pytest.mark.usefixtures("tool")
async def test_an_open_call_of_a_message_that_became_stale_is_not_asked_about(
    make_world: MakeWorld, backend: Backend
) -> None:
    """A no to "Still do it?" could not take back what the backend may have done."""
    simulator, clock = make_simulator(), Ahead()
    simulator.responder = ordering()
    backend.status = 503
    async with make_world(simulator=simulator, clock=clock) as world:
        await simulator.say(ALICE, "order tea")
        await first_failure(world)
        clock.ahead_s = 2_000.0
        reply = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert reply.text == INCOMPLETE
        assert [one["state"] for one in await calls_of(world)] == ["unknown"]


@pytest.mark.usefixtures("tool")
async def test_the_same_call_in_one_message_is_made_once_and_a_bad_one_never(
    make_world: MakeWorld, backend: Backend
) -> None:
    simulator = make_simulator()
    simulator.responder = ordering("Done.", ORDER, ORDER, ("order", {"no": "item"}))
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "order tea twice") == "Done."
        results = [
            m["content"] for m in simulator.completions[-1]["messages"] if m["role"] == "tool"
        ]
        assert [len(sent) for sent in backend.requests.values()] == [1]
        assert '"repeated"' not in results[0]
        assert '"repeated"' in results[1]
        assert "do not fit" in results[2]
        # What a backend answers is another's words: no payment of this turn goes without a yes.
        assert world.rows("SELECT foreign_words FROM messages") == [{"foreign_words": "read"}]


def test_production_has_no_such_tool() -> None:
    assert toolbox.OUTSIDE_TOOLS == {}
