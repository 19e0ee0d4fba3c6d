"""Which payee a customer means: compared names, look-alikes, numbers, and two of one name."""

import sqlite3
from collections.abc import Iterator

import pytest
from db_factories import NOW, SHOP, give, make_customer, make_message, make_tx

from wbot.domain.errors import MalformedError
from wbot.domain.payees import begun_by, check_name, folded_name
from wbot.storage import accounts, customers, payees


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("John", "Jo\u200bhn", True),
        ("John", "\ufeffJohn\u2060", True),
        ("John", "Jo\u00adhn", True),
        ("John", "Jo\u034fhn\ufe0f", True),
        ("John", "J\U000e0061\U000e0100ohn\U000e007f", True),  # tags and variation selectors
        ("John", "\N{FULLWIDTH LATIN CAPITAL LETTER J}ohn", True),
        ("John", "J\u043ehn", False),  # Cyrillic o
        ("John", "John\u0301", False),
        ("Ann", "Αnn", False),  # Greek capital alpha
    ],
)
def test_invisible_characters_make_no_other_name(one: str, other: str, *, are_same: bool) -> None:
    assert (folded_name(one) == folded_name(other)) is are_same


@pytest.mark.parametrize(
    "name",
    [
        "John",
        "José Ñandú",
        "Иван Петров",
        "山田 たろう",
        "O'Neil",
        "Mary-Ann 2nd",
        "محمد",
        "ᎠᎡᎢ",
        "x1",
    ],
)
def test_real_names_are_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("J\u043ehn", "mixes letters"),
        ("Αnn Smith", "mixes letters"),
        ("42", "neither a name"),
        ("١٢", "neither a name"),
        ("$$$", "neither a name"),
        ("👍", "neither a name"),
        ("+1555O101002", "neither a name"),
    ],
)
def test_an_impossible_payee_is_refused(name: str, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        check_name(name)


def test_the_beginning_of_a_name_is_distinguished_from_the_whole() -> None:
    known = ["john smith", "john doe", "johnny", "mary"]
    assert begun_by("john", known) == ["john smith", "john doe"]
    assert begun_by("mary", known) == []
    assert begun_by("jo", known) == []


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    connection = make_tx()
    yield connection
    connection.close()


def test_a_payee_is_known_once_learnt_and_to_its_customer_alone(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, "15550101001"), make_customer(tx, "15550101002")
    account = accounts.of_payee(tx, SHOP.id, alice, "John", NOW)
    assert not payees.is_known(tx, alice, "John")
    assert payees.names_paid(tx, alice) == {}
    payees.learn(tx, alice, account, NOW)
    assert payees.is_known(tx, alice, "JOHN")
    assert payees.is_known_account(tx, alice, account)
    assert not payees.is_known(tx, bob, "John")


def test_a_merge_keeps_the_payees_of_both(tx: sqlite3.Connection) -> None:
    alice, bob, carol = (make_customer(tx, f"1555010100{n}") for n in (1, 2, 3))
    own = {who: accounts.of_customer(tx, SHOP.id, who) for who in (alice, bob, carol)}
    payees.learn(tx, alice, own[carol], NOW)
    payees.learn(tx, carol, own[alice], NOW)
    payees.learn(tx, alice, own[bob], NOW)
    payees.hand_over(tx, alice, bob)
    assert payees.is_known_customer(tx, bob, carol)
    assert payees.is_known_customer(tx, carol, bob)
    assert not payees.is_known_customer(tx, bob, bob)


def test_a_mere_proposal_does_not_hide_a_payee_known_before_a_merge(
    tx: sqlite3.Connection,
) -> None:
    alice, bob = make_customer(tx, "15550101001"), make_customer(tx, "15550101002")
    known = accounts.of_payee(tx, SHOP.id, alice, "John", NOW)
    payees.learn(tx, alice, known, NOW)
    accounts.of_payee(tx, SHOP.id, bob, "JOHN", NOW)
    payees.hand_over(tx, alice, bob)
    assert payees.is_known(tx, bob, "John")


def test_a_customer_who_wrote_lately_is_reached_at_the_same_address(tx: sqlite3.Connection) -> None:
    alice = make_customer(tx, "15550101001")
    give(tx, alice, 1)
    assert customers.reachable_since(tx, alice, "2026-11-23") is None
    conversation_id = make_message(tx, alice, "wamid.1")
    address = customers.reachable_since(tx, alice, "2026-11-23")
    assert address == customers.Address(conversation_id, "15550101001", None)
    assert customers.reachable_since(tx, alice, NOW) is None
