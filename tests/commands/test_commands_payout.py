"""wbot payout: list, export, settle and void, as an operator's script calls them."""

import csv
import io
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli_harness import Wbot
from payment_factories import ALICE, Paying

from wbot.storage.database import connect, transaction


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    made = Wbot(tmp_path, monkeypatch, capsys)
    made.add_business("shop", "--cancel-window", "900")
    with closing(connect(made.database)) as connection, transaction(connection) as tx:
        assert isinstance(tx, sqlite3.Connection)
        alice = Paying(tx)
        alice.pay("John", 20_00)  # of 2026-11-23, long past its window
        alice.pay("Mary", 30_00)
        alice.pay("John", 5_00)
    return made


def test_a_payout_from_list_to_settlement(wbot: Wbot) -> None:
    owed = wbot.json("payout", "list", "shop")
    assert owed["owed"] == [
        {"payee": "P1", "name": "John", "customer": ALICE, "owed": "25.00", "ready": "25.00"},
        {"payee": "P2", "name": "Mary", "customer": ALICE, "owed": "30.00", "ready": "30.00"},
    ]
    assert owed["batches"] == []
    rows = list(csv.DictReader(io.StringIO(wbot.done("payout", "export", "shop"))))
    assert rows == [
        {
            "batch": "B1",
            "payee": payee,
            "name": name,
            "customer": ALICE,
            "amount": amount,
            "currency": "USD",
            "transfers": transfers,
        }
        for payee, name, amount, transfers in (
            ("P1", "John", "25.00", "T2 T4"),
            ("P2", "Mary", "30.00", "T3"),
        )
    ]
    again = wbot("payout", "export", "shop")
    assert (again.code, again.out) == (0, "")
    assert "Nothing is owed that shop can pay out yet" in again.err
    assert wbot.json("payout", "export", "shop")["batch"] is None
    assert wbot.done("payout", "settle", "B1", "--payee", "P1", "--key", "bank-7") == (
        "B1: 25.00 USD paid out (1 payee).\n"
    )
    assert wbot.done("payout", "settle", "b1", "--payee", "1", "--key", "bank-7") == (
        "Already done under this key. B1: 25.00 USD paid out (1 payee).\n"
    )
    void = wbot.json("payout", "void", "B1", "--key", "back-1")
    assert (void["state"], void["total"], void["repeated"]) == ("void", "30.00", False)
    assert wbot.json("ledger", "balance", "shop", ALICE)["available"] == "975.00"
    assert wbot.json("ledger", "verify")["ok"] is True
    (batch,) = wbot.json("payout", "list", "shop")["batches"]
    assert [(one["payee"], one["state"]) for one in batch["payouts"]] == [
        ("P1", "settled"),
        ("P2", "void"),
    ]
    assert "P1" in wbot.done("payout", "list", "shop")
    exported = wbot.done("ledger", "export")
    assert ",payout,posted,25.00,USD," in exported
    assert "payout" in wbot.done("ledger", "export", "--format", "hledger")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["list", "shoop"], 2, "There is no business 'shoop'"),
        (["export", "shoop"], 2, "There is no business 'shoop'"),
        (["settle", "B1"], 2, "--key"),
        (["void", "B1", "--key", " "], 2, "A key has 1 to 200 characters."),
        (["settle", "first", "--key", "k"], 2, "'first' is not a batch"),
        (["settle", "B1", "--payee", "John", "--key", "k"], 2, "'John' is not a payee"),
        (["settle", "B9", "--key", "k"], 1, "There is no batch B9."),
        (["void", "B1", "--payee", "P9", "--key", "k"], 1, "B1 pays nothing to P9."),
    ],
)
def test_what_cannot_be_done_gets_one_sentence(
    wbot: Wbot, arguments: list[str], code: int, sentence: str
) -> None:
    wbot.done("payout", "export", "shop")
    ran = wbot("payout", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_a_formula_in_a_name_is_text_in_the_file(wbot: Wbot) -> None:
    with closing(connect(wbot.database)) as connection, transaction(connection) as tx:
        tx.execute("UPDATE payees SET name = '=1+1' WHERE id = 1")
    assert "'=1+1" in wbot.done("payout", "export", "shop")


def test_nothing_owed_is_said(tmp_path: Path, wbot: Wbot) -> None:
    wbot.add_business("other")
    assert wbot.done("payout", "list", "other") == (
        "Nothing is owed to payees outside that is in no batch.\n"
    )
