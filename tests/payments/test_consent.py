"""Money that waits for the customer's own confirmation: by a button or a word, in time, once."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import ALICE, BOB, WAIT_S, MakeWorld, deposit, make_simulator, writing
from db_factories import allow_change
from payment_chat import Chat, button, calls, change, chatting, pause, pay, titles_of

from wbot.admin import customer_merge, ledger_adjustments, message_timeline
from wbot.clock import Clock, to_text
from wbot.domain.confirmations import BODY_LENGTH_MAX
from wbot.domain.errors import RefusedError
from wbot.domain.receipts import MARK
from wbot.domain.states import PromptOutcome
from wbot.payments import answers, consent
from wbot.payments.hold_expiry import LOOK_EVERY_S
from wbot.simulator.faults.plan import Endpoint, slow
from wbot.storage import businesses, messages

SOON_S = consent.EXPIRY_GRACE_S + 2 * LOOK_EVERY_S


@pytest.fixture
def path(database_path: Path) -> Path:
    """A shop that asks before every transfer, where Alice has $100 and Bob $1."""
    change(database_path)
    deposit(database_path, ALICE, 10_000)
    deposit(database_path, BOB, 100)
    return database_path


@pytest.fixture
async def chat(make_world: MakeWorld, path: Path) -> AsyncIterator[Chat]:
    async with chatting(make_world, path) as chat:
        yield chat


# The question ----------------------------------------------------------------------------------


async def test_a_transfer_waits_for_the_button_and_then_posts(chat: Chat) -> None:
    question = await chat.say("Transfer $20 to John")
    assert question.text == (
        f"Please confirm:\n{MARK} $20.00 to “John”, outside: "
        f"paid out by The Shop (T3), a new payee\n"
        "Nothing is sent until you confirm. Valid for 10 minutes."
    )
    titles = [button(question, answer)["title"] for answer in ("yes", "no")]
    assert titles == ["Confirm", "Cancel"]
    assert chat.balance() == (10_000, 2_000)
    assert (await chat.say("balance")).text.startswith(f"{MARK} Available: $80.00. Held: $20.00.")
    receipt = await chat.tap(question, "yes")
    assert (
        receipt.text
        == f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3). Available: $80.00."
    )
    assert chat.balance() == (8_000, 0)
    assert chat.phases() == ["pending", "post"]
    again = await chat.say("Transfer $20 to John")
    assert (
        f"{MARK} $20.00 to “John”, outside: paid out by The Shop (T5)\n" in again.text
    )  # known since the first one has posted


@pytest.mark.parametrize("name", ["J0hn", "Jóhn", "Joh n", "J-ohn"])
async def test_the_question_says_that_a_new_name_looks_like_a_known_payee(
    chat: Chat, name: str
) -> None:
    answers = [calls(pay("20", "John")), calls(pay("30", name))]
    chat.simulator.responder = lambda _: answers.pop(0)
    await chat.tap(await chat.say("Transfer $20 to John"), "yes")
    question = await chat.say("Transfer $30 to John")
    alike = "a new payee, looks like your payee “John”, but is written differently"
    assert alike in question.text


async def test_a_name_of_mixed_alphabets_is_refused_with_whom_it_looks_like(chat: Chat) -> None:
    await chat.tap(await chat.say("Transfer $20 to John"), "yes")
    refused = await chat.say("Transfer $30 to J\u043ehn")
    assert "looks like your payee “John”, but is written differently" in refused.text
    assert chat.balance() == (8_000, 0)


async def test_the_model_is_not_asked_again_and_says_nothing(chat: Chat) -> None:
    chat.simulator.responder = lambda _: calls(pay("20", "John"), pay("30", "Mary"))
    question = await chat.say("Pay John 20 and Mary 30")
    assert len(chat.simulator.completions) == 1
    assert question.text == (
        f"Please confirm:\n{MARK} $20.00 to “John”, outside: "
        f"paid out by The Shop (T3), a new payee\n"
        f"{MARK} $30.00 to “Mary”, outside: "
        f"paid out by The Shop (T4), a new payee\n{MARK} Together $50.00\n"
        "Nothing is sent until you confirm. Valid for 10 minutes."
    )
    receipts = await chat.tap(question, "yes")
    assert receipts.text == (
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3). Available: $50.00.\n"
        f"{MARK} Sent $30.00 to “Mary”, outside: paid out by The Shop (T4). Available: $50.00."
    )
    assert chat.balance() == (5_000, 0)


async def test_five_are_asked_about_at_once_and_the_sixth_is_refused(chat: Chat) -> None:
    names = ["John", "Mary", "Ann", "Peter", "Paul", "Zoe"]
    chat.simulator.responder = lambda _: calls(("balance", {}), *[pay("1", one) for one in names])
    question = await chat.say("Pay everybody 1")
    assert question.text.startswith(f"{MARK} Not sent: $1.00 to “Zoe”. One message can ask for 5 ")
    assert f"\n{MARK} Available: $95.00." not in question.text
    assert f"\n{MARK} Available: $100.00.\n" in question.text  # as it was when it was read
    assert question.text.count("a new payee") == 5
    assert len(question.text) <= BODY_LENGTH_MAX
    assert chat.balance() == (10_000, 500)


async def test_what_does_not_fit_above_the_question_is_counted(chat: Chat) -> None:
    long = [f"{letter * 24}" for letter in "ABCDE"]
    tools = [pay(amount, one) for amount in ("200", "300", "1") for one in long]
    answers = [calls(*tools[:8]), calls(*tools[8:])]
    chat.simulator.responder = lambda _: answers.pop(0)
    question = await chat.say("Pay everybody")
    assert len(question.text) <= BODY_LENGTH_MAX
    assert f"{MARK} And " in question.text
    assert question.text.count("a new payee") == 5


async def test_what_was_only_read_makes_room_for_what_was_done(chat: Chat) -> None:
    change(chat.path, confirm_above_minor=100)
    name = "John " + "n" * 19
    small = [pay(f"0.{number:02}", name) for number in range(1, 11)]
    chat.simulator.responder = lambda _: calls(*small)
    await chat.say("Pay John a little, often")
    await chat.say("Pay John a little, often, again")
    tools = [("statement", {"limit": 20}), pay("0.50", "Mallory"), pay("5", name)]
    chat.simulator.responder = lambda _: calls(*tools)
    question = await chat.say("Pay John 5")
    assert question.text.startswith(f"{MARK} Sent $0.50 to “Mallory”")
    assert f"{MARK} And " in question.text


async def test_below_the_threshold_no_customer_is_asked(chat: Chat) -> None:
    change(chat.path, confirm_above_minor=2_000)
    await chat.say("hello")
    assert (await chat.say("Transfer $20 to John")).type == "text"
    assert (await chat.say("Transfer $20.01 to John")).type == "interactive"
    assert chat.phases() == ["posted", "pending"]


# Its answer ------------------------------------------------------------------------------------


async def test_a_cancel_button_frees_the_money(chat: Chat) -> None:
    question = await chat.say("Transfer $20 to John")
    reply = await chat.tap(question, "no")
    assert reply.text == (
        f"{MARK} Cancelled T3: $20.00 to “John” will not be sent. Available: $100.00."
    )
    assert chat.balance() == (10_000, 0)
    assert (await chat.tap(question, "yes")).text == answers.CONFIRMATION_ENDED[PromptOutcome.NO]
    assert chat.phases() == ["pending", "void"]


async def test_a_second_tap_sends_nothing(chat: Chat) -> None:
    question = await chat.say("Transfer $20 to John")
    await chat.tap(question, "yes")
    assert (await chat.tap(question, "yes")).text == answers.CONFIRMATION_ENDED[PromptOutcome.YES]
    assert (await chat.tap(question, "no")).text == answers.CONFIRMATION_ENDED[PromptOutcome.YES]
    assert chat.balance() == (8_000, 0)


async def test_an_older_question_is_not_the_newer_one(chat: Chat) -> None:
    old = await chat.say("Transfer $20 to John")
    await chat.tap(old, "yes")
    await chat.say("Transfer $30 to Mary")
    assert (await chat.tap(old, "yes")).text == answers.CONFIRMATION_ENDED[PromptOutcome.YES]
    assert chat.balance() == (8_000, 3_000)


async def test_no_customer_confirms_for_another(chat: Chat) -> None:
    question = await chat.say("Transfer $20 to John")
    assert (await chat.tap(question, "yes", BOB)).text == answers.NOT_ASKED
    assert chat.balance() == (10_000, 2_000)


@pytest.mark.parametrize("button_id", ["confirm:0000000000000000:yes", "confirm:1:yes"])
async def test_a_forged_button_does_nothing(chat: Chat, button_id: str) -> None:
    question = await chat.say("Transfer $20 to John")
    reply = await chat.next_reply(ALICE, chat.touch_id(button_id, "Confirm", question))
    assert reply.text == answers.NOT_ASKED
    assert chat.balance() == (10_000, 2_000)


@pytest.mark.parametrize("word", ["Yes", "yes please!", "  CONFIRM. ", "\uff59\uff45\uff53"])
async def test_a_plain_yes_is_the_button_of_the_last_thing_sent(chat: Chat, word: str) -> None:
    await chat.say("Transfer $20 to John")
    receipt = await chat.say(word)
    assert (
        receipt.text
        == f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3). Available: $80.00."
    )
    assert len(chat.simulator.completions) == 1


async def test_a_plain_no_frees_the_money(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    assert (await chat.say("No, thanks")).type == "text"
    assert chat.phases() == ["pending"]  # with a comma it is no plain no: the model reads it
    question = await chat.say("Transfer $30 to Mary")
    assert question.type == "interactive"
    assert "Cancelled T4: $30.00" in (await chat.say("no")).text
    assert chat.balance() == (10_000, 2_000)


async def test_a_yes_after_the_model_has_spoken_goes_to_the_model(chat: Chat) -> None:
    """It may answer what the model asked, and the model can ask anything."""
    await chat.say("Transfer $20 to John")
    chat.simulator.responder = lambda _: "Shall I show you the weather?"
    await chat.say("hello")
    await chat.say("yes")
    assert len(chat.simulator.completions) == 3
    assert chat.balance() == (10_000, 2_000)


async def test_a_notice_in_between_does_not_stop_a_yes(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    asked = await chat.say(f"Transfer $1 to +{ALICE.phone}", BOB)
    await chat.next_reply(ALICE, chat.tap(asked, "yes", BOB))
    assert "received $1.00" in chat.simulator.replies_to(ALICE)[-1].text
    assert (await chat.say("yes")).text.startswith(
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3)"
    )
    assert chat.phases() == ["pending", "pending", "post", "post"]


@pytest.mark.parametrize("kind", ["sticker", "image", "location", "voice", "edit"])
async def test_what_is_declined_in_between_does_not_stop_a_yes(chat: Chat, kind: str) -> None:
    await chat.say("Transfer $20 to John")
    await chat.simulator.send_inbound(ALICE, "reaction", sent_at=chat.clock.now())
    sent = chat.simulator.send_inbound(ALICE, kind, sent_at=chat.clock.now())
    assert (await chat.next_reply(ALICE, sent)).text.startswith("Sorry, I cannot ")
    assert (await chat.say("yes")).text.startswith(
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3)"
    )


async def test_the_answer_to_one_question_leaves_a_plain_yes_for_the_other(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    second = await chat.say("Transfer $30 to Mary")
    which = await chat.say("yes")
    assert which.text == (
        "I have asked you more than one thing, so nothing was done. What is your “yes” for?\n"
        f"{MARK} $20.00 to “John”, outside: paid out by The Shop (T3), a new payee\n"
        f"{MARK} $30.00 to “Mary”, outside: paid out by The Shop (T4), a new payee"
    )
    assert titles_of(which) == ["1. T3 $20.00", "2. T4 $30.00"]
    assert "What is your “no” for?" in (await chat.say("no")).text
    assert chat.balance() == (10_000, 5_000)
    await chat.tap(second, "no")
    assert (await chat.say("yes")).text.startswith(
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3)"
    )
    assert chat.balance() == (8_000, 0)


async def test_a_button_of_which_one_answers_the_question_it_names(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    await chat.say("Transfer $30 to Mary")
    which = await chat.say("yes")
    reply = which.payload["interactive"]["action"]["buttons"][1]["reply"]
    done = await chat.next_reply(ALICE, chat.touch_id(reply["id"], reply["title"], which))
    assert done.text.startswith(f"{MARK} Sent $30.00 to “Mary”, outside: paid out by The Shop (T4)")
    assert chat.balance() == (7_000, 2_000)


async def test_a_yes_counts_for_the_question_that_was_there_when_it_was_written(
    chat: Chat,
) -> None:
    await chat.say("Transfer $20 to John")
    pause(chat.path, is_paused=True)
    await chat.simulator.say(ALICE, "Transfer $30 to Mary", sent_at=chat.clock.now())
    await chat.simulator.say(ALICE, "yes", sent_at=chat.clock.now())
    await chat.simulator.wait_until_quiet(timeout_s=WAIT_S)
    pause(chat.path, is_paused=False)
    await chat.simulator.wait_for_reply_to(ALICE, after=2, timeout_s=WAIT_S)
    await chat.simulator.wait_until_quiet(timeout_s=WAIT_S)
    assert chat.balance() == (8_000, 3_000)


async def test_a_yes_that_quotes_answers_what_it_quotes(chat: Chat) -> None:
    first = await chat.say("Transfer $20 to John")
    second = await chat.say("Transfer $30 to Mary")
    assert "Cancelled T3" in (await chat.say_quoting("no", first)).text
    # The other question is open alone, and yet is not what this yes is about.
    assert (await chat.say_quoting("yes", first)).text == answers.CONFIRMATION_ENDED[
        PromptOutcome.NO
    ]
    assert chat.balance() == (10_000, 3_000)
    chat.simulator.responder = lambda _: "Shall I show you the weather?"
    weather = await chat.say("hello")
    await chat.say_quoting("yes", weather)
    assert chat.balance() == (10_000, 3_000)
    receipt = await chat.say_quoting("yes", second)
    assert receipt.text.startswith(
        f"{MARK} Sent $30.00 to “Mary”, outside: paid out by The Shop (T4)"
    )


async def test_a_yes_that_quotes_another_customers_question_does_nothing(chat: Chat) -> None:
    asked = await chat.say("Transfer $20 to John")
    await chat.say_quoting("yes", asked, BOB)
    assert chat.balance() == (10_000, 2_000)


@pytest.mark.parametrize("mark", ["forwarded", "frequently_forwarded"])
@pytest.mark.parametrize("value", [True, "true", 1])
async def test_a_forwarded_yes_does_not_count(chat: Chat, mark: str, value: Any) -> None:
    await chat.say("Transfer $20 to John")
    content = {"type": "text", "text": {"body": "yes"}, "context": {mark: value}}
    await chat.next_reply(ALICE, chat.simulator.send_inbound(ALICE, content))
    assert chat.balance() == (10_000, 2_000)


async def test_a_yes_after_the_time_gets_an_explanation(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    chat.clock.ahead_s = 600 + SOON_S
    await chat.until_phase("expire")
    assert (await chat.say("yes")).text.endswith(answers.CONFIRMATION_ENDED[PromptOutcome.EXPIRED])
    assert len(chat.simulator.completions) == 1
    assert chat.balance() == (10_000, 0)


async def test_a_yes_written_before_the_question_goes_to_the_model_however_late_it_comes(
    chat: Chat,
) -> None:
    await chat.say("Transfer $20 to John")
    written_at = chat.clock.now() - timedelta(seconds=10)
    await chat.next_reply(ALICE, chat.simulator.say(ALICE, "yes", sent_at=written_at))
    assert chat.balance() == (10_000, 2_000)


async def test_a_yes_to_a_question_that_was_never_delivered_goes_to_the_model(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    with writing(chat.path) as tx:
        for state in ("delivered", "read"):
            allow_change(tx, "reply", state, "failed")
        tx.execute("UPDATE outbox SET state = 'failed'")
    await chat.say("yes")
    assert chat.balance() == (10_000, 2_000)


async def test_a_yes_from_before_the_question_was_out_goes_to_the_model(chat: Chat) -> None:
    chat.simulator.faults.add(Endpoint.MODEL, slow(0.5, answer_after_s=0.5))
    await chat.simulator.say(ALICE, "Transfer $20 to John")
    await chat.simulator.say(ALICE, "yes")
    await chat.simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
    assert chat.balance() == (10_000, 2_000)


async def test_cancel_voids_every_pending_transfer(chat: Chat) -> None:
    first = await chat.say("Transfer $20 to John")
    await chat.say("Transfer $30 to Mary")
    reply = await chat.say("Cancel that")
    assert reply.text.startswith(
        f"{MARK} Cancelled T3: $20.00 to “John” will not be sent. Available: $100.00.\n"
        f"{MARK} Cancelled T4: $30.00 to “Mary” will not be sent. Available: $100.00."
    )
    assert (await chat.tap(first, "yes")).text == answers.CONFIRMATION_ENDED[PromptOutcome.NO]
    assert chat.balance() == (10_000, 0)


async def test_one_of_several_is_cancelled_by_its_reference(chat: Chat) -> None:
    chat.simulator.responder = lambda _: calls(pay("20", "John"), pay("30", "Mary"))
    question = await chat.say("Pay John 20 and Mary 30")
    chat.simulator.responder = None
    assert "Cancelled T3" in (await chat.say("Cancel T3")).text
    assert chat.balance() == (10_000, 3_000)
    assert (await chat.tap(question, "yes")).text.startswith(
        f"{MARK} Sent $30.00 to “Mary”, outside: paid out by The Shop (T4)"
    )
    assert chat.balance() == (7_000, 0)


# Expiry ----------------------------------------------------------------------------------------


async def test_a_hold_expires_by_itself_and_the_customer_hears_of_it_once(chat: Chat) -> None:
    question = await chat.say("Transfer $20 to John")
    chat.clock.ahead_s = 600 + SOON_S
    await chat.until_phase("expire")
    assert chat.balance() == (10_000, 0)
    late = await chat.tap(question, "yes")
    assert late.text == (
        f"{MARK} Not sent: $20.00 to “John” (T3) was not confirmed in time. Available: $100.00."
        f"\n\n{answers.CONFIRMATION_ENDED[PromptOutcome.EXPIRED]}"
    )
    assert (await chat.tap(question, "yes")).text == answers.CONFIRMATION_ENDED[
        PromptOutcome.EXPIRED
    ]
    assert chat.balance() == (10_000, 0)


async def test_a_tap_counts_by_when_it_came_however_late_its_turn_is(chat: Chat) -> None:
    """Paused until the tap is stale: the hold waits for it, and the yes counts."""
    question = await chat.say("Transfer $20 to John")
    pause(chat.path, is_paused=True)
    chat.clock.ahead_s = 590
    await chat.touch(question, "yes")
    await chat.simulator.wait_until_quiet(timeout_s=WAIT_S)
    chat.clock.ahead_s = 3_600
    with writing(chat.path) as tx:
        assert consent.expire_due(tx, to_text(chat.clock.now())) == 0
    seen = len(chat.simulator.replies_to(ALICE))
    pause(chat.path, is_paused=False)
    reply = await chat.simulator.wait_for_reply_to(ALICE, after=seen, timeout_s=WAIT_S)
    assert (
        reply.text
        == f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3). Available: $80.00."
    )


async def test_a_tap_that_came_too_late_ends_the_hold_itself(chat: Chat) -> None:
    """An unhandled earlier message delays the expiry; the late tap is still late."""
    question = await chat.say("Transfer $20 to John")
    pause(chat.path, is_paused=True)
    await chat.simulator.say(ALICE, "hello", sent_at=chat.clock.now())
    await chat.simulator.wait_until_quiet(timeout_s=WAIT_S)
    chat.clock.ahead_s = 601
    await chat.touch(question, "yes")
    await chat.simulator.wait_until_quiet(timeout_s=WAIT_S)
    seen = len(chat.simulator.replies_to(ALICE))
    pause(chat.path, is_paused=False)
    reply = await chat.simulator.wait_for_reply_to(ALICE, after=seen + 1, timeout_s=WAIT_S)
    texts = [send.text for send in chat.simulator.replies_to(ALICE)[seen:]]
    assert answers.CONFIRMATION_ENDED[PromptOutcome.EXPIRED] in reply.text
    assert sum("was not confirmed in time" in text for text in texts) == 1
    assert chat.balance() == (10_000, 0)


async def test_a_late_tap_leaves_the_hold_to_one_that_came_in_time(chat: Chat) -> None:
    """By WhatsApp's clock the late one was written first, so its turn comes first."""
    question = await chat.say("Transfer $20 to John")
    pause(chat.path, is_paused=True)
    chat.clock.ahead_s = 590
    await chat.touch(question, "yes")
    await chat.simulator.wait_until_quiet(timeout_s=WAIT_S)
    chat.clock.ahead_s = 601
    await chat.touch(question, "no")
    await chat.simulator.wait_until_quiet(timeout_s=WAIT_S)
    with writing(chat.path) as tx:
        tx.execute("UPDATE messages SET sort_at = '2020' WHERE number = 3")
    seen = len(chat.simulator.replies_to(ALICE))
    pause(chat.path, is_paused=False)
    await chat.simulator.wait_for_reply_to(ALICE, after=seen + 1, timeout_s=WAIT_S)
    texts = [send.text for send in chat.simulator.replies_to(ALICE)[seen:]]
    assert texts == [
        answers.TOO_LATE,
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3). Available: $80.00.",
    ]


# To another customer ---------------------------------------------------------------------------


async def test_a_customer_who_is_paid_is_notified_while_their_window_is_open(chat: Chat) -> None:
    await chat.say("hello", BOB)
    question = await chat.say(f"Transfer $20 to +{BOB.phone}")
    assert f"$20.00 to “+{BOB.phone}”, gets it at once (T3), a new payee" in question.text
    assert "(T3" not in (await chat.say("statement", BOB)).text
    seen = len(chat.simulator.replies_to(BOB))
    await chat.tap(question, "yes")
    notice = await chat.simulator.wait_for_reply_to(BOB, after=seen, timeout_s=WAIT_S)
    assert notice.text == (
        f"{MARK} You have received $20.00 from another customer (T3). Available: $21.00."
    )
    assert "+$20.00  another customer (T3)" in (await chat.say("statement", BOB)).text
    cancelled = await chat.say("Cancel that")
    assert "another customer's account; please ask us" in cancelled.text


async def test_a_contact_card_names_whom_to_pay(chat: Chat) -> None:
    phones = [{"phone": "+1 555 010 1002", "wa_id": BOB.phone}]
    card = {"name": {"formatted_name": "Bob\nB."}, "phones": phones}
    content = {"type": "contacts", "contacts": [card]}
    asked = await chat.next_reply(ALICE, chat.simulator.send_inbound(ALICE, content))
    assert asked.text == (
        f"“Bob B” is +{BOB.phone} from now on: “Send 5 to Bob B” pays them.\n\n"
        f"What should I send there? For example: “Send 20 to +{BOB.phone}”."
    )
    said = chat.simulator.completions[-1]["messages"][-1]
    assert said == {"role": "user", "content": f"Contact card: Bob B., +{BOB.phone}"}
    question = await chat.say(f"Send 20 to +{BOB.phone}")
    await chat.tap(question, "yes")
    assert chat.balance() == (8_000, 0)
    history = [line["content"] for line in chat.simulator.completions[-1]["messages"]]
    assert f"Contact card: Bob B., +{BOB.phone}" in history


async def test_a_customer_out_of_reach_is_paid_in_silence(chat: Chat) -> None:
    """They wrote in a group, which does not allow a direct reply to them."""
    content = {"type": "text", "text": {"body": "hello"}, "group_id": "group.1"}
    await chat.simulator.send_inbound(BOB, content)
    await chat.simulator.wait_until_quiet(timeout_s=WAIT_S)
    question = await chat.say(f"Transfer $20 to +{BOB.phone}")
    await chat.tap(question, "yes")
    assert chat.simulator.replies_to(BOB) == ()
    assert chat.world.rows("SELECT count(*) AS n FROM outbox WHERE message_id IS NULL") == [
        {"n": 0}
    ]


# Afterwards ------------------------------------------------------------------------------------


def stages_shown(path: Path, number: int) -> list[str]:
    """The money and question stages that `wbot why` shows for Alice's n-th message."""
    with writing(path) as tx:
        row = tx.execute("SELECT message_id FROM messages WHERE number = ?", (number,)).fetchone()
        stages = message_timeline.build_timeline(tx, row[0], to_text(Clock().now())).stages
    kinds = {"ledger", "asked", "asked_ended"}
    return [re.sub(r"wamid\S+|20\S+Z", "…", one.detail) for one in stages if one.stage in kinds]


async def test_both_transfers_are_shown_afterwards(chat: Chat) -> None:
    question = await chat.say("Transfer $20 to John")
    await chat.tap(question, "yes")
    assert stages_shown(chat.path, 1) == [
        "T3: 20.00 USD to John, posted",
        "the customer to confirm, until …",
        "confirmed by message …",
    ]
    assert stages_shown(chat.path, 2) == ["T4: 20.00 USD, posting T3"]


async def test_the_ledger_names_the_transfer_not_its_ends(chat: Chat) -> None:
    question = await chat.say("Transfer $20 to John")
    await chat.tap(question, "yes")
    reply = await chat.say("Cancel T3")
    assert "Cancelled T3: $20.00 to “John” is back." in reply.text
    assert "no such transfer" in (await chat.say("Cancel T4")).text
    with writing(chat.path) as tx, pytest.raises(RefusedError, match="T3 is already reversed"):
        ledger_adjustments.reverse(tx, "T3", to_text(Clock().now()))
    assert chat.balance() == (10_000, 0)


async def test_a_later_revision_reports_the_current_state(chat: Chat) -> None:
    change(chat.path, confirm_above_minor=10_000)
    await chat.say("Transfer $20 to John")
    await chat.say("Cancel that")
    with writing(chat.path) as tx:
        first = tx.execute("SELECT message_id FROM messages WHERE number = 1").fetchone()[0]
        messages.requeue(tx, first, to_text(Clock().now()))
    again = await chat.simulator.wait_for_reply_to(ALICE, after=2, timeout_s=WAIT_S)
    assert again.text == f"{MARK} Cancelled T3: $20.00 to “John” is back. Available: $100.00."


async def test_a_later_revision_reports_its_own_cancel_once(chat: Chat) -> None:
    change(chat.path, confirm_above_minor=10_000)
    answers = [
        calls(pay("20", "John"), ("cancel", {}), pay("30", "Mary")),
        {"choices": [{"message": {"role": "assistant", "content": "Done."}}]},
    ]
    chat.simulator.responder = lambda _: answers.pop(0)
    first = await chat.say("Transfer $20 to John, no, $30 to Mary")
    with writing(chat.path) as tx:
        message_id = tx.execute("SELECT message_id FROM messages").fetchone()[0]
        messages.requeue(tx, message_id, to_text(Clock().now()))
    again = await chat.simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
    assert first.text == f"{again.text}\n\nDone."
    assert again.text.count("Cancelled T3") == 1


async def test_an_operator_reverses_what_reached_a_customer_and_nothing_that_waits(
    chat: Chat,
) -> None:
    question = await chat.say(f"Transfer $20 to +{BOB.phone}")
    now = to_text(Clock().now())
    with writing(chat.path) as tx, pytest.raises(RefusedError, match="waits for its customer"):
        ledger_adjustments.reverse(tx, "T3", now)
    people = {"from_text": str(BOB.phone), "into_text": str(ALICE.phone)}
    with writing(chat.path) as tx, pytest.raises(RefusedError, match="is on hold"):
        customer_merge.merge(tx, businesses.required(tx, "shop"), **people, now=now)
    await chat.tap(question, "yes")
    with writing(chat.path) as tx:
        ledger_adjustments.reverse(tx, "T3", now)
    assert chat.balance() == (10_000, 0)


# Crashes ---------------------------------------------------------------------------------------


def undo_the_close(path: Path, *, attempts: int) -> None:
    """Undo the reply to the first message, as if the process had died just before writing it."""
    with writing(path) as tx:
        allow_change(tx, "message", "answered", "begun")
        tx.execute(
            "UPDATE messages SET state = 'begun', attempts = ?, revision = 0 WHERE number = 1",
            (attempts,),
        )
        tx.execute("DELETE FROM statuses")
        tx.execute("DELETE FROM send_attempts")
        tx.execute("DELETE FROM outbox")


async def test_a_failure_after_a_hold_still_asks(make_world: MakeWorld, path: Path) -> None:
    """The process dies at each attempt after the call: the reply is the question, no error text."""
    async with chatting(make_world, path) as chat:
        chat.simulator.responder = lambda _: calls(pay("20", "John"))
        question = await chat.say("Transfer $20 to John")
        undo_the_close(path, attempts=5)
    simulator = make_simulator()
    async with make_world(simulator=simulator) as world:
        again = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert again.payload["interactive"] == question.payload["interactive"]
        found = world.rows("SELECT state, reason FROM messages WHERE number = 1")
        assert found == [{"state": "failed", "reason": "The process ended during every attempt."}]


async def test_a_turn_that_died_as_it_asked_keeps_the_lines_of_all_its_rounds(
    make_world: MakeWorld, path: Path
) -> None:
    change(path, confirm_above_minor=2_000)
    answers = [calls(("cancel", {})), calls(pay("10", "John"), pay("30", "Mary"))]
    async with chatting(make_world, path) as chat:
        chat.simulator.responder = lambda _: answers.pop(0)
        question = await chat.say("Transfer $10 to John and $30 to Mary")
        undo_the_close(path, attempts=1)
    simulator = make_simulator()
    async with make_world(simulator=simulator):
        again = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert again.payload["interactive"] == question.payload["interactive"]
        assert "Nothing cancelled." in again.text
        assert "Sent $10.00 to “John”" in again.text
