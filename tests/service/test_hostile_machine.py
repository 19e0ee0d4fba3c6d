"""Any calls, taps, words and waits in any order: the ledger matches the reference ledger.

The functions of a turn run on a database in memory. Each piece of work may be lost to a crash and
repeated. Outcomes, refusals, states and balances must match to the minor unit.
"""

import json
import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial
from random import Random
from typing import Any, TypeVar

import msgspec
import pytest
from db_factories import STARTED_AT, after, make_tx
from hostile import attacks
from hostile.attacks import NAMES, OTHER_WRITINGS, STRANGE_NAMES, UNREADABLE_AMOUNTS, Aim, Proposed
from hostile.crowd import NEARLY
from hostile.reference import Bank, Decision, Payee, Payment, Rules, payee_of
from hostile.world import SHOPS, Shop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wbot.admin import ledger_adjustments
from wbot.clients.model import ToolCall
from wbot.clock import later
from wbot.domain.states import MessageState
from wbot.inbound.intake import record
from wbot.inbound.webhook_parser import parse_payload
from wbot.payments import answers, consent
from wbot.payments.context import PaymentContext
from wbot.simulator.people import SimulatedCustomer
from wbot.simulator.webhooks.bodies import body_of, message_update
from wbot.simulator.webhooks.wire import to_wire
from wbot.storage import accounts, customers, invariants, journal, ledger, messages, outbox
from wbot.turns import finish, toolbox
from wbot.turns.finish import Ending

PHONES = ("15550101001", "15550101002", "15550101003")
PEOPLE = {phone: SimulatedCustomer(f"c{phone[-1]}", phone) for phone in PHONES}
NARROW = Rules(
    currency="EUR",
    confirm_above=20,
    daily_total=9_000,
    daily_count=3,
    overdraft=1_000,
    cancel_window_s=5,
    hold_ttl_s=3,
)
"""Low limits, which are reached at once."""
NARROW_SHOP = msgspec.structs.replace(SHOPS[1], rules=NARROW)
GRACE_S = 2
SENTENCES = {
    "confirmed": "already",
    "cancelled": "was cancelled",
    "expired": "not confirmed in time",
}
"""The reply to each answer that comes too late, by how its question ended."""
YES, NO = ("yes", "Yes please!", "CONFIRM"), ("no", "No, thanks"[:2], "nope.")

WHO = st.sampled_from(PHONES)
MINOR = st.sampled_from((1, 19, 20, 21, 999, 1_000, 1_001, 5_000, 5_001, 20_000, 20_001))
NUMBERS = (PHONES[0], f"+{PHONES[1]}", "+1 (555) 010-1003", "+15559990000")
WRITTEN = (*NAMES[:4], *(write("John") for write in OTHER_WRITINGS))
TO = st.sampled_from((*WRITTEN, *NUMBERS, *WRITTEN, *NUMBERS, *STRANGE_NAMES))
ALL, MORE = "all there is", "a unit more"
AMOUNT = st.one_of(MINOR, MINOR, st.sampled_from((ALL, MORE, *UNREADABLE_AMOUNTS[:4])))
TRANSFER = st.tuples(st.just("transfer"), AMOUNT, TO)
CANCEL = st.tuples(st.just("cancel"), st.sampled_from((None, None, "", " ", *range(4, 12))))
CALLS = st.lists(st.one_of(TRANSFER, TRANSFER, TRANSFER, CANCEL), min_size=1, max_size=8)
SECONDS = st.sampled_from((*(0,) * 12, *(1,) * 4, 2, 3, 5, 7, 21, 901, 40_000, 86_400))
ANSWER = st.sampled_from(("yes", "yes", "no"))

Result = TypeVar("Result")


class Question(msgspec.Struct):
    """A question to a customer, as the buttons and the clock have it."""

    who: str
    numbers: tuple[int, ...]
    expires: float
    outcome: str | None = None
    is_told: bool = False
    """Its customer was notified of its expiry."""


class Machine(RuleBasedStateMachine):
    """Three customers of one business, a model that proposes anything, and a clock."""

    tx: sqlite3.Connection

    @initialize(shop=st.sampled_from((*SHOPS, NARROW_SHOP)))
    def open(self, shop: Shop) -> None:
        self.shop = shop
        self.tx = make_tx(shop.business)
        self.bank = Bank(shop.rules, PHONES)
        self.now = 0.0
        self.said = 0
        self.crashes = False
        self.questions: dict[str, Question] = {}
        self.spoken: dict[str, int] = dict.fromkeys(PHONES, 0)
        """By customer, the outbox row of the model's last text."""
        self.conversations: dict[str, int] = {}
        self.ids: dict[str, int] = {}
        for phone in PHONES:
            found = customers.resolve(
                self.tx, shop.id, phone=phone, user_id=None, name=None, now=after(0)
            )
            self.ids[phone] = found.customer_id
            self.conversations[phone] = customers.conversation_of(
                self.tx, shop.id, found.customer_id, after(0)
            )
            self.deposit(phone, 30_000)

    def teardown(self) -> None:
        if hasattr(self, "tx"):
            self.tx.close()

    # What happens ------------------------------------------------------------------------------

    @rule(who=WHO, minor=MINOR)
    def deposit(self, who: str, minor: int) -> None:
        self.said += 1
        amount = attacks.plain_amount(minor, self.shop.rules.exponent)
        order = ledger_adjustments.Order(customer=who, amount=amount, key=f"given.{self.said}")
        self._work(
            lambda: ledger_adjustments.deposit(self.tx, self.shop.business, order, after(self.now))
        )
        self.bank.give(who, minor)

    @rule(who=WHO, calls=CALLS, crashes=st.booleans())
    def ask(self, who: str, calls: list[tuple[Any, ...]], crashes: bool) -> None:
        self.crashes = crashes
        self._turn(who, [partial(self._proposed, who, *call) for call in calls])

    @rule(who=WHO, seed=st.integers(0, 2**32), crashes=st.booleans())
    def ask_a_wild_model(self, who: str, seed: int, crashes: bool) -> None:
        self.crashes = crashes
        aim = Aim(
            exponent=self.shop.rules.exponent,
            code=self.shop.rules.currency,
            own_phone=who,
            phones=PHONES,
            references=[f"T{number}" for number in self.bank.payments],
        )
        self._turn(who, [partial(lambda one: one, one) for one in attacks.calls(Random(seed), aim)])

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), answer=ANSWER, waits=SECONDS)
    def tap(self, data: st.DataObject, answer: str, waits: int) -> None:
        """Tap the latest question, as the customer it was sent to."""
        token = data.draw(st.sampled_from(list(self.questions)[-2:]))
        self._tap(self.questions[token].who, token, answer, waits=waits)

    @precondition(lambda self: self.questions)
    @rule(who=WHO, data=st.data(), answer=ANSWER, waits=SECONDS)
    def tap_any(self, who: str, data: st.DataObject, answer: str, waits: int) -> None:
        """Tap any customer's question, old or new, or one that never existed."""
        latest = list(self.questions)[-1:]
        token = data.draw(st.sampled_from([*latest * 4, *self.questions, "0123456789abcdef"]))
        self._tap(who, token, answer, waits=waits)

    @precondition(lambda self: self.questions)
    @rule(who=WHO, answer=ANSWER)
    def tap_for_another(self, who: str, answer: str) -> None:
        others = [token for token, question in self.questions.items() if question.who != who]
        for token in others[-1:]:
            self._tap(who, token, answer, waits=0)

    @precondition(lambda self: self.questions)
    @rule(answer=ANSWER, late=st.sampled_from((0, 0, 1)), waits=st.sampled_from((0, 2, 3)))
    def tap_at_the_last_moment(self, answer: str, late: int, waits: int) -> None:
        token, question = list(self.questions.items())[-1]
        self._pass(max(0.0, question.expires + late - self.now), waiting=None)
        self._tap(question.who, token, answer, waits=waits)

    @rule(
        who=WHO,
        word=st.sampled_from((*YES, *YES, *NO, *NEARLY)),
        waits=SECONDS,
        ago=st.sampled_from((0, 0, 0, 1, 60)),
        is_reached=st.booleans(),
    )
    def say(self, who: str, word: str, waits: int, ago: int, is_reached: bool) -> None:
        """Written this many seconds ago, and delivered now."""
        if is_reached:
            self.reach(who)
        self._answer(who, {"type": "text", "text": {"body": word}}, waits=waits, ago=ago)

    @rule(
        who=WHO,
        minor=MINOR,
        word=st.sampled_from((*YES, *NO)),
        waits=SECONDS,
        ago=st.sampled_from((0, 0, 0, 1, 60)),
        is_reached=st.booleans(),
    )
    def ask_and_say(
        self, *, who: str, minor: int, word: str, waits: int, ago: int, is_reached: bool
    ) -> None:
        self.ask(who, [("transfer", minor, "John")], crashes=self.crashes)
        self.say(who, word, waits, ago, is_reached)

    @rule(who=WHO)
    def reach(self, who: str) -> None:
        """WhatsApp has accepted everything that was to be sent to this customer."""
        rows = self.tx.execute(
            "SELECT id FROM outbox WHERE conversation_id = ? AND accepted_at IS NULL",
            (self.conversations[who],),
        ).fetchall()
        for row in rows:
            outbox.accept(self.tx, row["id"], f"wamid.out.{row['id']}", after(self.now))

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        self._pass(seconds, waiting=None)

    @precondition(lambda self: self.questions)
    @rule(answer=ANSWER)
    def tap_in_time_behind_one_that_is_late(self, answer: str) -> None:
        """The late one was written first, and so is handled first."""
        token, question = list(self.questions.items())[-1]
        content, in_time = _tapped(token, answer), self.now
        self._receive(question.who, content)
        self._pass(max(0.0, question.expires + 1 - self.now), waiting=(question.who, in_time))
        self._receive(question.who, content, written_s=in_time - self.now - 1)
        self._settle(question.who, content, self.now, written=in_time, waiting=in_time)
        self._settle(question.who, content, in_time, written=in_time)

    def _tap(self, who: str, token: str, answer: str, *, waits: int) -> None:
        self._answer(who, _tapped(token, answer), waits=waits)

    # What must be so after each of them ----------------------------------------------------------

    @invariant()
    def money_is_where_the_reference_says(self) -> None:
        if not hasattr(self, "tx"):
            return
        for phone in PHONES:
            balance = accounts.balance(self.tx, self._account(phone))
            assert balance.posted_minor == self.bank.posted[phone]
            assert balance.held_minor == self.bank.held(phone)
            assert self.bank.available(phone) >= -self.shop.rules.overdraft
        states = {
            payment.number: "void" if payment.state == "expired" else payment.state
            for payment in self.bank.payments.values()
        }
        found = {number: ledger.required(self.tx, number).state for number in states}
        assert found == states
        assert invariants.breaches(self.tx) == []

    # How -----------------------------------------------------------------------------------------

    def _account(self, phone: str) -> int:
        return accounts.of_customer(self.tx, self.shop.id, self.ids[phone])

    def _work(self, work: Callable[[], Result]) -> Result:
        """Run one piece of work; with crashes, it is lost the first time."""
        if self.crashes:
            self.tx.execute("SAVEPOINT piece")
            work()
            self.tx.execute("ROLLBACK TO piece")
            self.tx.execute("RELEASE piece")
        return work()

    def _instant(self) -> datetime:
        return later(STARTED_AT, self.now)

    def _receive(self, who: str, content: dict[str, Any], *, written_s: float = 0) -> str:
        """Receive a webhook, twice with crashes; it was written this many seconds from now."""
        self.said += 1
        message_id = f"wamid.{self.said}"
        update = message_update(
            self.shop.outside,
            PEOPLE[who],
            content,
            message_id=message_id,
            sent_at=later(self._instant(), written_s),
        )
        body = to_wire(body_of([update]))
        for _ in range(2 if self.crashes else 1):
            record(
                self.tx, parse_payload(body), body=body, now=self._instant(), installation="test"
            )
        return message_id

    def _begin(self, who: str) -> tuple[messages.StoredMessage, journal.Claim]:
        message = messages.next_of(self.tx, self.conversations[who])
        assert message is not None
        claim = journal.claim_conversation(
            self.tx, message.conversation_id, message.message_id, after(self.now)
        )
        return message, claim

    def _close(
        self, message: messages.StoredMessage, claim: journal.Claim, ending: Ending
    ) -> dict[str, Any]:
        """Close the turn; returns the last part of the reply."""
        now = after(self.now)
        self._work(lambda: finish.close(self.tx, message, claim, ending=ending, now=now))
        row = self.tx.execute(
            "SELECT id, payload FROM outbox WHERE message_id = ? ORDER BY id DESC",
            (message.message_id,),
        ).fetchone()
        payload: dict[str, Any] = json.loads(row["payload"])
        who = next(one for one, its in self.conversations.items() if its == message.conversation_id)
        if ending.is_by_model and payload["type"] == "text":
            self.spoken[who] = row["id"]
        for question in self.questions.values():
            if question.who == who and question.outcome == "expired":
                question.is_told = True
        return payload

    def _pass(self, seconds: float, *, waiting: tuple[str, float] | None) -> None:
        """Advance the clock and run the expiry; `waiting` is who wrote when, with no turn yet."""
        self.now += seconds
        self._work(lambda: consent.expire_due(self.tx, after(self.now)))
        for question in self.questions.values():
            has_answer = waiting and waiting[0] == question.who and waiting[1] <= question.expires
            if question.expires + GRACE_S <= self.now and not has_answer:
                self._expire(question)

    def _expire(self, question: Question) -> None:
        if question.outcome is None:
            self._end(question, "expired", "expired")

    def _end(self, question: Question, outcome: str, state: str) -> None:
        question.outcome = outcome
        for number in question.numbers:
            if self.bank.payments[number].state == "pending":
                self.bank.end(number, state, self.now)

    # A message that the model answers ------------------------------------------------------------

    def _proposed(self, who: str, tool: str, *given: Any) -> Proposed:
        if tool == "cancel":
            reference = f"T{given[0]}" if isinstance(given[0], int) else given[0]
            arguments = {} if reference is None else {"transfer": reference}
            return Proposed("cancel", json.dumps(arguments), reference=reference, is_readable=True)
        amount, to = given
        limit = self.bank.available(who) + self.shop.rules.overdraft
        amount = {ALL: max(limit, 1), MORE: limit + 1}.get(amount, amount)
        minor = amount if isinstance(amount, int) else None
        written = amount if minor is None else attacks.plain_amount(minor, self.shop.rules.exponent)
        arguments = {"amount": written, "to": to}
        return Proposed("transfer", json.dumps(arguments), minor, to, is_readable=True)

    def _turn(self, who: str, calls: list[Callable[[], Proposed]]) -> None:
        message_id = self._receive(who, {"type": "text", "text": {"body": "Hello"}})
        message, claim = self._begin(who)
        done: dict[Any, dict[str, Any]] = {}
        self.has_read_others = False
        for propose in calls:
            proposed = propose()
            customer = PaymentContext(
                business=self.shop.business,
                customer_id=self.ids[who],
                message_id=message_id,
                now=after(self.now),
            )
            call = ToolCall("call_1", proposed.tool, proposed.arguments)
            step = self._work(lambda: toolbox.call(self.tx, customer, call))  # noqa: B023  now
            self._compare(who, message_id, proposed, json.loads(step.result), done)
            self.has_read_others |= "written by another customer" in step.result
        ending = Ending(state=MessageState.ANSWERED, words="Done.", is_by_model=True)
        self._expect_question(who, message_id, self._close(message, claim, ending))

    def _compare(
        self,
        who: str,
        message_id: str,
        proposed: Proposed,
        result: dict[str, Any],
        done: dict[Any, dict[str, Any]],
    ) -> None:
        """Compare the result of a call with the reference's result of the same call."""
        if proposed.tool == "cancel":
            key: Any = "cancel"
        elif proposed.tool == "transfer" and proposed.is_readable:
            key = (proposed.amount_minor, payee_of(proposed.to or ""))
        else:
            assert "state" not in result
            return
        if key in done:
            assert result == {**done[key], "repeated": result["repeated"]}
        elif proposed.tool == "cancel":
            done[key] = result
            self._compare_cancel(who, proposed, result)
        elif self._compare_transfer(who, message_id, proposed, result) != "unread":
            done[key] = result

    def _compare_transfer(
        self, who: str, message_id: str, proposed: Proposed, result: dict[str, Any]
    ) -> str:
        decision = Decision("unread")
        if proposed.amount_minor is not None:
            decision = self.bank.decide(
                who,
                message_id,
                proposed.amount_minor,
                proposed.to or "",
                self.now,
                is_foreign=self.has_read_others,
            )
        if decision.outcome == "unread":
            assert not result["ok"]
            assert "state" not in result
            return "unread"
        assert (result["state"], result.get("refusal", "")) == (decision.outcome, decision.reason)
        self.bank.made(
            Payment(
                number=int(result["transfer"][1:]),
                payer=who,
                message=message_id,
                amount=proposed.amount_minor or 0,
                payee=decision.payee,
                at=self.now,
                state=decision.outcome,
                reason=decision.reason,
            )
        )
        return decision.outcome

    def _compare_cancel(self, who: str, proposed: Proposed, result: dict[str, Any]) -> None:
        allowed = self.bank.cancel(who, proposed.reference, self.now)
        match allowed.outcome:
            case "nothing":
                assert (result["ok"], result["refusal"]) == (False, allowed.reason)
            case "voided":
                assert result["transfers"] == [f"T{number}" for number in allowed.numbers]
                for number in allowed.numbers:
                    self.bank.end(number, "void", self.now)
            case _:
                assert (result["state"], result["transfer"]) == (
                    "reversed",
                    f"T{allowed.numbers[0]}",
                )
                self.bank.mirror(allowed.numbers[0])
        for question in self.questions.values():
            states = {self.bank.payments[number].state for number in question.numbers}
            if "pending" not in states:
                question.outcome = question.outcome or "cancelled"

    def _expect_question(self, who: str, message_id: str, payload: dict[str, Any]) -> None:
        """All pending transfers are asked about, and nothing else."""
        numbers = tuple(
            payment.number
            for payment in self.bank.payments.values()
            if payment.message == message_id and payment.state == "pending"
        )
        assert (payload["type"] == "prompt") is bool(numbers)
        if numbers:
            text = payload["body"]
            assert all(f" (T{number})" in text for number in numbers)
            asked = text.partition("Please confirm:")[2]
            assert asked.count(" (T") == len(numbers)
            button = payload["buttons"][0]["id"]
            token = button.split(":")[1]
            expires = self.now + self.shop.rules.hold_ttl_s
            self.questions[token] = Question(who, numbers, expires)

    # A message that code answers -----------------------------------------------------------------

    def _answer(self, who: str, content: dict[str, Any], *, waits: int, ago: int = 0) -> None:
        """A tap or a plain word, which waits this long for its turn."""
        received = self.now
        self._receive(who, content, written_s=-ago)
        self._pass(waits, waiting=(who, received))
        if waits:
            self.reach(who)  # too late for the word that waited
        self._settle(who, content, received, written=received - ago)

    def _settle(
        self,
        who: str,
        content: dict[str, Any],
        received: float,
        *,
        written: float,
        waiting: float | None = None,
    ) -> None:
        """The turn of an answer; `waiting` is when another of theirs, still queued, arrived."""
        message, claim = self._begin(who)
        taps = answers.decisions_in(self.tx, message)
        assert {(tap.token, tap.is_yes) for tap in taps} == self._meant(who, content, written)
        if len(taps) != 1:
            ending = Ending(state=MessageState.ANSWERED, words="Sorry?", is_by_model=not taps)
            self._close(message, claim, ending)
            return
        tap = taps[0]
        settled = self._work(
            lambda: answers.settle(
                self.tx,
                message,
                decision=tap,
                business=self.shop.business,
                now=after(self.now),
            )
        )
        question = self.questions.get(tap.token)
        if question and waiting is not None and waiting <= question.expires < received:
            assert (settled.receipts, "too late" in settled.words) == ((), question.outcome is None)
        else:
            self._compare_settled(who, tap.token, received, settled, is_yes=tap.is_yes)
        ending = Ending(state=MessageState.ANSWERED, receipts=settled.receipts, words=settled.words)
        assert self._close(message, claim, ending)["type"] == "text"

    def _meant(self, who: str, content: dict[str, Any], written: float) -> set[tuple[str, bool]]:
        """The tokens that a message can refer to, with the answer it gives."""
        if content["type"] == "interactive":
            _, token, answer = content["interactive"]["button_reply"]["id"].split(":")
            return {(token, answer == "yes")}
        word = content["text"]["body"]
        if word in NEARLY:
            return set()
        seen = self._seen(who, written)
        open_ = {token for token, one in seen.items() if one.outcome is None}
        return {(token, word in YES) for token in open_ or seen}

    def _seen(self, who: str, written: float) -> dict[str, Question]:
        """Questions that the customer may have seen: open, or ended without notice."""
        rows = self.tx.execute(
            "SELECT payload FROM outbox WHERE conversation_id = ? AND accepted_at <= ? AND id > ?",
            (self.conversations[who], after(written), self.spoken[who]),
        ).fetchall()
        said = " ".join(row["payload"] for row in rows)
        return {
            token: one
            for token, one in self.questions.items()
            if f"confirm:{token}:" in said
            and (one.outcome is None or (one.outcome == "expired" and not one.is_told))
        }

    def _compare_settled(
        self, who: str, token: str, received: float, settled: answers.Settled, *, is_yes: bool
    ) -> None:
        question = self.questions.get(token)
        if question is None or question.who != who:
            assert not settled.receipts
            assert "not about anything" in settled.words
            return
        if question.outcome is None and received > question.expires:
            self._expire(question)
        if question.outcome is not None:
            assert not settled.receipts
            assert SENTENCES[question.outcome] in settled.words
            return
        held = [n for n in question.numbers if self.bank.payments[n].state == "pending"]
        assert len(settled.receipts) == len(held)
        question.outcome = "confirmed" if is_yes else "cancelled"
        for number, receipt in zip(held, settled.receipts, strict=True):
            reason = self.bank.at_yes(number, self.now) if is_yes else ""
            end = "Cancelled " if not is_yes else "Not sent: " if reason else "Sent "
            assert end in receipt
            assert bool(reason) or f"T{number}" in receipt
            self.bank.end(number, "posted" if is_yes and not reason else "void", self.now, reason)


def _tapped(token: str, answer: str) -> dict[str, Any]:
    reply = {"id": f"confirm:{token}:{answer}", "title": answer}
    return {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": reply}}


# Enough to shrink a failure within a few seconds.
pytestmark = pytest.mark.timeout(400)

TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_the_reference_knows_what_the_operator_made_known() -> None:
    bank = Bank(SHOPS[3].rules, PHONES)
    bank.give(PHONES[0], 10**6)
    assert bank.decide(PHONES[0], "m", 1, "John", 0.0).reason == "unknown_payee"
    bank.know(PHONES[0], Payee(name="john"), 0.0)
    assert bank.decide(PHONES[0], "m", 1, " JOHN", 0.0).outcome == "posted"
