"""Who is John: another customer under a number or label, or somebody outside."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from db_factories import NOW, SHOP, available, give, make_customer, make_message, make_tx

from wbot.clients.model import ToolCall
from wbot.domain.business import Business, Policy, ShowPayer
from wbot.domain.labels import Label
from wbot.domain.receipts import MARK
from wbot.payments import consent, labels
from wbot.payments.context import PaymentContext
from wbot.storage import customers, invariants, ledger_history, messages, payees
from wbot.turns import toolbox
from wbot.turns.toolbox import ToolStep

ALICE, BOB, CAROL = "15550101001", "15550101002", "15550101003"
BOB_LABEL = Label("Bob", BOB)


class Shop:
    """Alice has $100.00; Bob and Carol are customers, whose profile names are others."""

    def __init__(self, tx: sqlite3.Connection) -> None:
        self.tx = tx
        self.alice = make_customer(tx, ALICE, "Alice")
        self.bob = make_customer(tx, BOB, "Robert Profile")
        self.carol = make_customer(tx, CAROL, "Carol Profile")
        self.business: Business = SHOP
        self._words: dict[str, str] = {}
        give(tx, self.alice, 100_00)

    def say(self, text: str, *, forwarded: bool = False) -> str:
        """A message of Alice's; its id."""
        message_id = f"wamid.{len(self._words)}"
        self._words[message_id] = "" if forwarded else text
        make_message(self.tx, self.alice, message_id)
        content: dict[str, Any] = {"type": "text", "text": {"body": text}}
        if forwarded:
            content["context"] = {"forwarded": True}
        self.tx.execute(
            "UPDATE messages SET content = ? WHERE message_id = ?",
            (json.dumps(content), message_id),
        )
        return message_id

    def call(self, tool: str, arguments: Any, *, message: str, who: int | None = None) -> ToolStep:
        context = PaymentContext(
            business=self.business,
            customer_id=self.alice if who is None else who,
            message_id=message,
            now=NOW,
            words=self._words[message],
        )
        return toolbox.call(self.tx, context, ToolCall("call_1", tool, json.dumps(arguments)))

    def pay(self, to: str, text: str = "", *, amount: str = "20", forwarded: bool = False) -> str:
        """What Alice reads after a payment, a receipt or the tool's sentence."""
        message = self.say(text or f"Send {amount} to {to}", forwarded=forwarded)
        step = self.call("transfer", {"amount": amount, "to": to}, message=message)
        return step.receipt or str(json.loads(step.result)["error"])

    def statement(self, who: int | None = None) -> str:
        message = self.say("statement")
        return self.call("statement", {"limit": 20}, message=message, who=who).receipt or ""

    def name(self, name: str, number: str) -> str:
        return labels.name(self.tx, self.alice, Label(name, number), now=NOW)

    def card(self, name: str, number: str) -> str:
        return labels.name_by_card(self.tx, self.alice, Label(name, number), now=NOW)


@pytest.fixture
def shop() -> Iterator[Shop]:
    tx = make_tx()
    yield Shop(tx)
    assert invariants.breaches(tx) == []
    tx.close()


def test_somebody_outside_is_paid_out_by_the_business(shop: Shop) -> None:
    assert shop.pay("John") == (
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2). Available: $80.00."
    )
    assert "−$20.00  “John”, outside (T2)" in shop.statement()


def test_a_customer_gets_it_at_once(shop: Shop) -> None:
    assert shop.pay(f"+{BOB}") == (
        f"{MARK} Sent $20.00 to “+{BOB}”, gets it at once (T2). Available: $80.00."
    )
    assert available(shop.tx, shop.bob) == 20_00
    assert f"−$20.00  “+{BOB}” (T2)" in shop.statement()


def test_a_customer_under_a_label_gets_it_at_once(shop: Shop) -> None:
    assert shop.name("Bob", BOB).startswith(f"“Bob” is +{BOB} from now on")
    for name in ("Bob", "bob", "  BOB "):
        assert "to Bob (…1002), gets it at once (T" in shop.pay(name)
    assert available(shop.tx, shop.bob) == 60_00
    assert "−$20.00  Bob (…1002) (T2)" in shop.statement()
    assert payees.names_paid(shop.tx, shop.alice) == {"bob": "Bob"}  # no payee outside was made
    assert shop.tx.execute("SELECT count(*) FROM accounts WHERE kind = 'payee'").fetchone()[0] == 0


def test_a_number_that_was_typed_is_shown_with_its_label(shop: Shop) -> None:
    shop.name("Bob", BOB)
    assert f"to Bob (+{BOB}), gets it at once" in shop.pay("+1 555 010 1002")


def test_the_question_tells_which(shop: Shop) -> None:
    shop.business = msgspec.structs.replace(SHOP, policy=Policy())
    shop.name("Bob", BOB)
    message_id = shop.say("Send 1 to John, 2 to Bob, 3 to +15550101003, 4 to +15550109999")
    for amount, to in (("1", "John"), ("2", "Bob"), ("3", CAROL), ("4", "15550109999")):
        shop.call("transfer", {"amount": amount, "to": to}, message=message_id)
    message = messages.next_of(
        shop.tx, customers.conversation_of(shop.tx, SHOP.id, shop.alice, NOW)
    )
    assert message is not None
    asked = consent.question(shop.tx, message, shop.business, receipts=(), now=NOW)
    body = "" if asked is None else asked.body
    assert "$1.00 to “John”, outside: paid out by The Shop (T2), a new payee" in body
    assert "$2.00 to Bob (…1002), gets it at once (T3), a new payee" in body
    # Whether a number is a customer's stays unsaid until the yes.
    assert f"$3.00 to “+{CAROL}”, gets it at once (T4), a new payee" in body
    assert "$4.00 to “+15550109999”, gets it at once (T5), a new payee" in body


def test_a_label_of_no_customer_s_number_is_refused_like_the_number(shop: Shop) -> None:
    shop.name("Bob", "15550109999")
    assert "No customer here has that number" in shop.pay("Bob")


def test_name_and_number_beside_a_payment_give_a_label_once(shop: Shop) -> None:
    typed = f"Send 20 to Bob +{BOB}"
    assert f"to Bob (+{BOB}), gets it at once" in shop.pay(f"Bob +{BOB}", typed)
    assert "to Bob (…1002), gets it at once" in shop.pay("Bob")


@pytest.mark.parametrize(
    ("text", "forwarded"),
    [("Send 20 to my friend", False), (f"Send 20 to +{BOB}", False), (f"Bob +{BOB}", True)],
)
def test_no_model_can_give_a_label(shop: Shop, text: str, forwarded: bool) -> None:
    receipt = shop.pay(f"Bob +{BOB}", text, forwarded=forwarded)
    assert f"to “+{BOB}”, gets it at once" in receipt  # the number alone counts
    assert payees.number_of(shop.tx, shop.alice, "Bob") is None


def test_a_label_never_goes_to_another_number_by_a_payment(shop: Shop) -> None:
    shop.name("Bob", BOB)
    sentence = shop.pay(f"Bob +{CAROL}", f"Send 20 to Bob +{CAROL}")
    assert sentence == (
        f"Bob (…1002) has another number than +{CAROL}. "
        f"If it has changed, please write: Bob is +{CAROL}"
    )
    assert (available(shop.tx, shop.alice), available(shop.tx, shop.carol)) == (100_00, 0)


def test_only_the_customer_s_own_sentence_changes_a_label_and_it_is_told(shop: Shop) -> None:
    shop.name("Bob", BOB)
    assert "stays …1002; the card has another number" in shop.card("Bob", CAROL)
    assert payees.number_of(shop.tx, shop.alice, "Bob") == BOB
    assert shop.name("Bob", CAROL) == f"“Bob” is +{CAROL} from now on; it was …1002 until now."
    assert "to Bob (…1003)" in shop.pay("Bob")


def test_a_card_does_not_take_the_name_of_a_payee_outside(shop: Shop) -> None:
    shop.pay("John")
    assert "stays the payee outside that you have paid" in shop.card("John", BOB)
    assert "outside: paid out by" in shop.pay("John")
    shop.name("John", BOB)  # but the customer may say so
    assert "to John (…1002), gets it at once" in shop.pay("John")
    assert "“John”, outside (T2)" in shop.statement()


def test_each_customer_has_labels_of_their_own(shop: Shop) -> None:
    shop.name("Bob", BOB)
    give(shop.tx, shop.carol, 50_00)
    message = shop.say("carol's")
    step = shop.call("transfer", {"amount": "5", "to": "Bob"}, message=message, who=shop.carol)
    assert "“Bob”, outside" in (step.receipt or "")


@pytest.mark.parametrize("show", list(ShowPayer))
def test_the_payer_never_reads_the_other_s_profile_name(shop: Shop, show: ShowPayer) -> None:
    shop.business = msgspec.structs.replace(SHOP, show_payer=show)
    shop.name("Bob", BOB)
    shop.pay("Bob")
    shop.pay(f"+{CAROL}")
    shop.tx.execute("UPDATE transfer_texts SET payee = NULL, payee_number = NULL")  # forgotten
    assert "Profile" not in shop.statement()
    shop.pay("Bob")
    assert "Profile" not in shop.statement()


@pytest.mark.parametrize(
    ("show", "shown"),
    [
        (ShowPayer.NONE, "another customer"),
        (ShowPayer.MASKED, "“…1001”"),
        (ShowPayer.NAME, "“Alice”"),
    ],
)
def test_the_receiver_reads_what_the_business_shows(
    shop: Shop, show: ShowPayer, shown: str
) -> None:
    shop.business = msgspec.structs.replace(SHOP, show_payer=show)
    make_message(shop.tx, shop.bob, "wamid.of-bob")
    shop.tx.execute("UPDATE conversations SET last_inbound_at = ?", (NOW,))
    shop.name("Bob", BOB)
    shop.pay("Bob")
    conversation = customers.conversation_of(shop.tx, SHOP.id, shop.bob, NOW)
    (row,) = shop.tx.execute(
        "SELECT payload FROM outbox WHERE conversation_id = ?", (conversation,)
    ).fetchall()
    assert f"You have received $20.00 from {shown} (T2)" in row["payload"]
    assert f"+$20.00  {shown} (T2)" in shop.statement(shop.bob)


def test_what_was_not_paid_does_not_look_like_a_payment(shop: Shop) -> None:
    shop.pay("John", amount="500")
    shop.business = msgspec.structs.replace(SHOP, policy=Policy())
    shop.call("transfer", {"amount": "7", "to": "Mary"}, message=shop.say("Send 7 to Mary"))
    shop.call("cancel", {}, message=shop.say("cancel"))
    lines = shop.statement().splitlines()
    assert "void: ~$7.00~  “Mary”, outside (T3)" in lines[0]
    assert "refused: ~$500.00~  “John” (T2)" in lines[1]
    for line in lines[:2]:
        assert "−$" not in line


def test_times_are_those_of_the_business_and_say_so(shop: Shop) -> None:
    assert shop.pay("John").startswith(f"{MARK} Sent")
    assert f"{MARK} 23 Nov 12:00  −$20.00" in shop.statement()
    assert shop.statement().endswith(f"{MARK} Times: UTC.")
    for change, day, zone in (
        ({"number": "919876543210"}, "23 Nov 17:30", "Asia/Kolkata"),
        ({"timezone": "Pacific/Kiritimati"}, "24 Nov 02:00", "Pacific/Kiritimati"),
    ):
        shop.business = msgspec.structs.replace(SHOP, **change)
        assert f"{MARK} {day}  −$20.00" in shop.statement()
        assert shop.statement().endswith(f"{MARK} Times: {zone}.")


def test_the_ledger_keeps_who_was_meant(shop: Shop) -> None:
    shop.name("Bob", BOB)
    shop.pay("Bob")
    shop.name("Bob", CAROL)
    assert "Bob (…1002) (T2)" in shop.statement()
    assert ledger_history.payee_of(shop.tx, 2).number == BOB
