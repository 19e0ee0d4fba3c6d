"""A known number with another user id: one is held for the operator, a wave keeps its accounts."""

import sqlite3
from pathlib import Path

import pytest
from cli_harness import Wbot
from conftest import ALICE, MakeWorld, deposit, make_simulator, writing
from db_factories import NOW, SHOP, after, available, give, make_tx
from test_field_numbers import came

from wbot.admin import conflict_resolution, customer_merge
from wbot.simulator.people import SimulatedCustomer
from wbot.storage import conflicts, customers
from wbot.turns.turn import HELD

OTHER = SimulatedCustomer("Other", ALICE.phone, "US.9001")


def known(tx: sqlite3.Connection, number: int) -> int:
    phone, user_id = f"1555010200{number}", f"US.{number}"
    found = customers.resolve(tx, SHOP.id, phone=phone, user_id=user_id, name=None, now=NOW)
    give(tx, found.customer_id, 5_000)
    return found.customer_id


def test_a_single_one_is_a_new_person_held_for_the_operator() -> None:
    tx = make_tx()
    former = known(tx, 1)
    came(tx, "15550102001", "wamid.1", from_user_id="US.999")
    (conflict,) = conflicts.every(tx, SHOP.id)
    assert conflict.former_id == former
    told = tx.execute("SELECT error_message FROM processing_errors").fetchone()[0]
    assert f"wbot customer trust shop C{conflict.customer_id}" in told
    assert conflicts.release(tx, conflict.customer_id)
    assert conflicts.every(tx, SHOP.id) == []


def test_many_within_hours_keep_their_accounts() -> None:
    tx = make_tx()
    people = [known(tx, number) for number in range(5)]
    for number in range(5):
        came(tx, f"1555010200{number}", f"wamid.{number}", from_user_id=f"US.new{number}")
    assert len(conflicts.every(tx, SHOP.id)) == conflicts.WAVE_MAX
    assert customers.find_sender(tx, SHOP.id, phone=None, user_id="US.new4") == people[4]


def test_an_operator_says_that_user_ids_are_new() -> None:
    tx = make_tx()
    first, second = known(tx, 1), known(tx, 2)
    came(tx, "15550102001", "wamid.1", from_user_id="US.new1")
    assert conflict_resolution.take_as_same(tx, SHOP, NOW) == (0, 1)  # its message waits
    tx.execute("UPDATE messages SET state = 'begun'")
    tx.execute("UPDATE messages SET state = 'answered'")
    assert conflict_resolution.take_as_same(tx, SHOP, after(1)) == (1, 0)
    came(tx, "15550102002", "wamid.2", from_user_id="US.new2")
    for customer_id, user_id in ((first, "US.new1"), (second, "US.new2")):
        found = customers.find_sender(tx, SHOP.id, phone=None, user_id=user_id)
        assert found == customer_id
        assert available(tx, customer_id) == 5_000
    assert conflicts.every(tx, SHOP.id) == []


def test_a_merge_ends_the_conflict() -> None:
    tx = make_tx()
    former = known(tx, 1)
    came(tx, "15550102001", "wamid.1", from_user_id="US.new1")
    (conflict,) = conflicts.every(tx, SHOP.id)
    tx.execute("UPDATE messages SET state = 'begun'")
    tx.execute("UPDATE messages SET state = 'answered'")
    pair = {"from_text": f"C{conflict.customer_id}", "into_text": f"C{former}"}
    customer_merge.merge(tx, SHOP, **pair, now=NOW)
    assert conflicts.every(tx, SHOP.id) == []


async def test_the_customer_is_told_that_a_person_looks_at_it(
    make_world: MakeWorld, database_path: Path
) -> None:
    with writing(database_path) as tx:
        customers.resolve(tx, "shop", phone=ALICE.phone, user_id=ALICE.user_id, name=None, now=NOW)
    deposit(database_path, ALICE, 5_000)
    simulator = make_simulator(customers=[OTHER])
    async with make_world(simulator=simulator, variables={"WBOT_MODEL": "offline"}) as world:
        answer = await world.ask(OTHER, "What's my balance?")
        assert HELD in answer
        assert "$0.00" not in answer


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wbot = Wbot(tmp_path, monkeypatch, capsys)
    wbot.add_business("shop")
    assert wbot.json("customer", "conflicts", "shop") == {"conflicts": []}
    assert "no conflicts" in wbot.done("customer", "conflicts", "shop")
    assert wbot.json("business", "rekeyed", "shop") == {"business": "shop", "merged": 0, "left": 0}
    wbot.done("ledger", "deposit", "shop", "+15550101001", "5")
    assert "already trusted" in wbot.done("customer", "trust", "shop", "+15550101001")
