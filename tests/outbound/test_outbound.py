"""The outbox sender: what is sent, once and in order, whatever the Graph API does."""

import asyncio
from pathlib import Path

import pytest
from conftest import (
    ALICE,
    BOB,
    WAIT_S,
    Ahead,
    MakeWorld,
    World,
    deposit,
    make_simulator,
    writing,
)
from db_factories import allow_change

from wbot.domain.receipts import MARK
from wbot.simulator.faults.plan import Endpoint, dropped, garbled, refused, repeated
from wbot.turns.finish import MISSED


async def test_every_send_carries_its_attempt_and_a_number_with_its_plus(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        await world.ask(ALICE, "hello")
        send = world.simulator.sends[0]
        installation = world.rows("SELECT id FROM installation")[0]["id"]
        attempt = world.rows("SELECT id FROM send_attempts")[0]["id"]
        assert send.payload["to"] == f"+{ALICE.phone}"
        assert send.opaque == f"wbot:{installation}:{attempt}"


async def test_a_text_over_4096_characters_is_split_at_sentences_in_order(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    sentences = [
        f"This is sentence number {number} of a very long answer." for number in range(200)
    ]
    simulator.responder = lambda _: " ".join(sentences)
    async with make_world(simulator=simulator):
        await simulator.say(ALICE, "tell me everything")
        await simulator.wait_for_sends(3, timeout_s=WAIT_S)
        texts = [send.text for send in simulator.sends]
        assert all(len(text) <= 4096 and text.endswith(".") for text in texts)
        assert " ".join(texts) == " ".join(sentences)


@pytest.mark.parametrize("code", [131000, 131016, 130429])
async def test_a_refusal_that_passes_is_sent_again(make_world: MakeWorld, code: int) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.SEND, refused(400, code))
    async with make_world(simulator=simulator) as world:
        await world.ask(ALICE, "hello")
        outcomes = [row["outcome"] for row in world.rows("SELECT outcome FROM send_attempts")]
        assert outcomes[0] == "refused"
        assert len(simulator.sends) == 1


async def test_a_send_refused_for_good_is_recorded_and_the_conversation_goes_on(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.SEND, refused(400, 131026, "Message undeliverable"))
    async with make_world(simulator=simulator) as world:
        await simulator.say(ALICE, "first")
        await simulator.say(ALICE, "second")
        await simulator.wait_for_sends(1, timeout_s=WAIT_S)
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        states = [row["state"] for row in world.rows("SELECT state FROM outbox ORDER BY id")]
        assert states == ["failed", "read"]
        assert "131026" in world.rows("SELECT * FROM processing_errors")[0]["error_message"]


async def test_a_lost_response_is_settled_by_the_status_and_not_sent_again(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.SEND, dropped(acts=True))
    async with make_world(simulator=simulator) as world:
        await world.ask(ALICE, "hello")
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert await world.ask(ALICE, "and now?")
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert len(simulator.sends) == 2
        attempts = world.rows("SELECT outcome FROM send_attempts ORDER BY id")
        assert attempts[0] == {"outcome": "unknown"}
        wamids = [row["wamid"] for row in world.rows("SELECT wamid FROM outbox ORDER BY id")]
        assert wamids == [send.wamid for send in simulator.sends]


async def test_a_send_without_a_status_is_repeated_after_the_grace(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.SEND, dropped(acts=False), garbled(status=502))
    async with make_world(simulator=simulator, variables={"WBOT_UNKNOWN_GRACE": "0.2"}) as world:
        await world.ask(ALICE, "hello")
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        outcomes = [row["outcome"] for row in world.rows("SELECT outcome FROM send_attempts")]
        assert outcomes == ["unknown", "unknown", "accepted"]
        assert len(simulator.sends) == 1


async def test_a_refused_token_stops_the_business_and_turns_health_red(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    simulator.faults.always(Endpoint.SEND, refused(401, 190, "token expired"))
    async with make_world(simulator=simulator) as world:
        await simulator.say(ALICE, "hello")
        assert "190" in (await world.health_of(503))["reasons"][0]
        assert world.rows("SELECT * FROM processing_errors") == []
        assert world.rows("SELECT state, attempts FROM outbox") == [
            {"state": "waiting", "attempts": 0}
        ]


async def test_statuses_three_times_and_out_of_order_only_raise_the_state(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator(status_delays_s=(0.1, 0.05, 0.0))
    simulator.faults.always(Endpoint.STATUS, repeated(3, at_once=True))
    async with make_world(simulator=simulator) as world:
        await world.ask(BOB, "hello")
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert world.rows("SELECT state FROM outbox") == [{"state": "read"}]
        assert len(world.rows("SELECT * FROM statuses")) == 3


async def test_a_failed_status_is_recorded_for_the_operator(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.faults.always(Endpoint.STATUS, refused(400, 131047, "Re-engagement message"))
    async with make_world(simulator=simulator) as world:
        await world.ask(BOB, "hello")
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert world.rows("SELECT state FROM outbox") == [{"state": "failed"}]
        assert "131047" in world.rows("SELECT * FROM processing_errors")[0]["error_message"]


async def leave_an_attempt_open(world: World) -> None:
    """A conversation whose first reply is being sent, as far as the database says."""
    with writing(world.service.settings.database) as tx:
        tx.execute("UPDATE businesses SET status = 'paused'")
    await world.simulator.say(ALICE, "hello")
    await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
    with writing(world.service.settings.database) as tx:
        tx.execute("UPDATE businesses SET status = 'active'")
        allow_change(tx, "reply", "", "sending")
        tx.execute(
            "INSERT INTO outbox (business_id, conversation_id, cause, payload, reply_phone, "
            "state, attempts, created_at) SELECT 'shop', id, 'lost', "
            """'{"type": "text", "body": "lost and found"}', ?, """
            "'sending', 1, created_at FROM conversations",
            (ALICE.phone,),
        )
        tx.execute(
            "INSERT INTO send_attempts (outbox_id, number, opened_at) "
            "SELECT id, 1, created_at FROM outbox"
        )


async def test_an_attempt_whose_end_was_never_stored_blocks_nothing(make_world: MakeWorld) -> None:
    """It counts as unknown, and after the grace period its reply is sent."""
    async with make_world(variables={"WBOT_UNKNOWN_GRACE": "0.2"}) as world:
        await leave_an_attempt_open(world)
        await world.simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert world.simulator.replies_to(ALICE)[0].text == "lost and found"
        outcomes = world.rows("SELECT outcome FROM send_attempts ORDER BY id LIMIT 2")
        assert [row["outcome"] for row in outcomes] == ["unknown", "accepted"]


async def test_an_attempt_whose_end_was_never_stored_has_the_whole_grace(
    make_world: MakeWorld,
) -> None:
    """The next wake-up of its conversation used to send it again at once."""
    clock = Ahead()
    async with make_world(variables={"WBOT_UNKNOWN_GRACE": "60"}, clock=clock) as world:
        await leave_an_attempt_open(world)
        clock.ahead_s = 3600.0  # the port opened long ago
        notify = world.service.sender.notify
        notify(1, "shop")
        async with asyncio.timeout(WAIT_S):
            while world.rows("SELECT state FROM outbox WHERE id = 1") != [{"state": "unknown"}]:  # noqa: ASYNC110  no event to wait for
                await asyncio.sleep(0.01)
        notify(1, "shop")
        await world.ask(BOB, "hello")  # served after it
        assert world.rows("SELECT count(*) AS attempts FROM send_attempts WHERE outbox_id = 1") == [
            {"attempts": 1}
        ]


async def test_a_token_that_no_header_can_carry_holds_the_business_and_nothing_else(
    make_world: MakeWorld, database_path: Path
) -> None:
    with writing(database_path) as tx:
        tx.execute("UPDATE businesses SET access_token = 'two' || char(10) || 'lines'")
    async with make_world() as world:
        await world.simulator.say(ALICE, "hello")
        reasons = (await world.health_of(503))["reasons"]
        assert "contains spaces or other characters" in reasons[0]
        assert world.rows("SELECT * FROM processing_errors") == []


@pytest.mark.parametrize("code", [131000, 131016, 80007, 131056])
async def test_a_status_that_says_it_failed_for_now_sends_the_reply_again(
    make_world: MakeWorld, code: int
) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.STATUS, refused(400, code))
    async with make_world(simulator=simulator) as world:
        await world.ask(ALICE, "hello")
        await simulator.wait_for_sends(2, timeout_s=WAIT_S)
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert [send.text for send in simulator.sends] == [simulator.sends[0].text] * 2
        assert world.rows("SELECT state FROM outbox") == [{"state": "read"}]
        assert world.rows("SELECT * FROM processing_errors") == []


@pytest.mark.parametrize("code", [131031, 131042, 368, 190])
async def test_a_status_about_the_account_holds_its_replies_until_it_is_back(
    make_world: MakeWorld, code: int
) -> None:
    """Each send is accepted and fails afterwards: an accepted one does not end it."""
    simulator, clock = make_simulator(), Ahead()
    simulator.faults.always(Endpoint.STATUS, refused(400, code))
    async with make_world(simulator=simulator, clock=clock) as world:
        await world.ask(ALICE, "hello")
        assert str(code) in (await world.health_of(503))["reasons"][0]
        await simulator.say(BOB, "hello")
        clock.ahead_s += 31
        await world.service.notify_unfinished()
        await simulator.wait_for_sends(2, timeout_s=WAIT_S)  # one reply tests it
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert (await world.health_of(503))["reasons"]
        simulator.faults.clear()
        for sends in (3, 4):
            clock.ahead_s += 31
            await world.service.notify_unfinished()
            await simulator.wait_for_sends(sends, timeout_s=WAIT_S)
            await simulator.wait_until_quiet(timeout_s=WAIT_S)
        await world.health_of(200)
        states = [row["state"] for row in world.rows("SELECT state FROM outbox ORDER BY id")]
        assert states == ["read", "read"]
        assert world.rows("SELECT * FROM processing_errors") == []


OUTSIDE = "outside: paid out by The Shop"


@pytest.mark.parametrize(
    ("transfers", "told"),
    [
        (True, f"{MISSED}\n{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2)."),
        (False, ""),
    ],
)
async def test_what_could_not_be_delivered_is_told_with_the_next_reply(
    make_world: MakeWorld, database_path: Path, transfers: bool, told: str
) -> None:
    deposit(database_path, ALICE, 10_000)
    simulator = make_simulator()
    simulator.faults.add(Endpoint.STATUS, refused(400, 131026, "Message undeliverable"))
    async with make_world(simulator=simulator, variables={"WBOT_MODEL": "offline"}) as world:
        await world.ask(ALICE, "Transfer $20 to John" if transfers else "hello")
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert world.rows("SELECT state FROM outbox") == [{"state": "failed"}]
        assert (await world.ask(ALICE, "hello again")).startswith(told)
        assert MISSED not in await world.ask(ALICE, "and now?")


@pytest.mark.parametrize(
    "message", ["API calls from the server require an appsecret_proof argument"]
)
async def test_a_call_that_meta_refuses_as_such_blocks_the_business(
    make_world: MakeWorld, message: str
) -> None:
    simulator = make_simulator()
    simulator.faults.always(Endpoint.SEND, refused(400, 100, message))
    async with make_world(simulator=simulator) as world:
        await simulator.say(ALICE, "hello")
        assert "code 100" in (await world.health_of(503))["reasons"][0]
        assert world.rows("SELECT * FROM processing_errors") == []


async def test_an_outage_of_meta_is_shown_while_it_lasts(make_world: MakeWorld) -> None:
    simulator, clock = make_simulator(), Ahead()
    simulator.faults.always(Endpoint.SEND, refused(500, 131016))
    async with make_world(simulator=simulator, clock=clock) as world:
        await simulator.say(ALICE, "hello")
        while not (report := await world.health_of(200))["warnings"]:
            pass
        assert "131016" in report["warnings"][0]
        clock.ahead_s += 75
        assert "131016" in (await world.health_of(503))["reasons"][0]
        simulator.faults.clear()
        clock.ahead_s += 75
        await world.service.notify_unfinished()
        await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert (await world.health_of(200))["warnings"] == []
