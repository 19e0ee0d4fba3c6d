"""Whatever customers, models and Meta wrote, no command prints a control of a terminal."""

import json
import re
from pathlib import Path

import pytest
from cli_harness import Wbot
from db_factories import NOW, SHOP, end_message, make_message
from payment_factories import ALICE, Paying

from wbot.domain.states import MessageState
from wbot.storage import businesses, errors, journal, ledger
from wbot.storage.database import connect, transaction
from wbot.storage.journal import Effect

HOSTILE = "Jo\x1b[2J\x1b]0;x\x07\x9b31m\r\x08\N{RIGHT-TO-LEFT OVERRIDE}hn\N{LINE SEPARATOR}\x85"
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    """A database whose every text from outside is hostile."""
    made = Wbot(tmp_path, monkeypatch, capsys)
    made.add_business("cafe")
    connection = connect(made.database)
    with transaction(connection) as tx:
        businesses.add(tx, SHOP, NOW)
        alice = Paying(tx)
        tx.execute("UPDATE customers SET name = ?", (f"{HOSTILE}\nforged",))
        alice.pay(HOSTILE, 20_00, HOSTILE)
        ledger.record(tx, alice.movement("John", 1_00, HOSTILE), NOW)
        conversation_id = make_message(tx, alice.customer_id, "wamid.1")
        body = json.dumps({"type": "text", "text": {"body": HOSTILE}})
        tx.execute("UPDATE messages SET content = ?", (body,))
        effect = Effect(
            tool=HOSTILE, arguments=HOSTILE, result=HOSTILE, receipt=HOSTILE, transfer_id=2
        )
        journal.add_effect(tx, "wamid.1", effect, NOW)
        end_message(tx, "wamid.1", state=MessageState.FAILED, reason=HOSTILE, now=NOW)
        errors.add(
            tx,
            f"{HOSTILE}\nforged",
            now=NOW,
            business_id=SHOP.id,
            conversation_id=conversation_id,
            message_id="wamid.1",
        )
    connection.close()
    return made


@pytest.mark.parametrize(
    "command",
    [
        ("ledger", "statement", "shop", ALICE),
        ("ledger", "balance", "shop", ALICE),
        ("ledger", "verify"),
        ("ledger", "export"),
        ("ledger", "export", "--format", "hledger"),
        ("ledger", "reverse", "T2"),
        ("customer", "list", "shop"),
        ("customer", "show", "shop", ALICE),
        ("payee", "add", "shop", ALICE, "Jo\N{RIGHT-TO-LEFT OVERRIDE}hn"),
        ("errors", "list"),
        ("errors", "show", "1"),
        ("why", "wamid.1"),
        ("why", ALICE),
        ("why", HOSTILE),
        ("business", "list"),
        ("business", "show", HOSTILE),
        ("ledger", "deposit", "shop", ALICE, "5", "--memo", HOSTILE),
        ("ledger", "deposit", "shop", HOSTILE, "5"),
        ("ledger", "deposit", "shop", ALICE, HOSTILE),
        ("errors", "retry", HOSTILE),
    ],
    ids=" ".join,
)
def test_no_control_reaches_the_terminal(wbot: Wbot, command: tuple[str, ...]) -> None:
    for options in ((), ("--json",)):
        ran = wbot(*command, *options)
        assert not UNSAFE.search(ran.out)
        assert not UNSAFE.search(ran.err)
        assert not re.search("^forged", ran.out, re.MULTILINE)
        if options and ran.code == 0:
            json.loads(ran.out)
