"""Double entry stays consistent: against a reference, repeated requests, and edits to the file."""

import sqlite3
from collections.abc import Iterator

import msgspec
import pytest
from db_factories import NOW, SHOP, available, give, make_customer, make_message, make_tx
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wbot.domain.business import Business
from wbot.domain.errors import RefusedError
from wbot.domain.ledger import (
    Balance,
    Cause,
    CauseKind,
    Entry,
    TransferKind,
    TransferState,
    reference_of,
    transfer_id_of,
)
from wbot.domain.payees import folded_name, phone_digits
from wbot.domain.policy import Refusal, withdrawal_refusal
from wbot.storage import (
    accounts,
    customers,
    invariants,
    journal,
    ledger,
    ledger_history,
    migrations,
    payees,
)
from wbot.storage.database import transaction
from wbot.storage.journal import Effect
from wbot.storage.ledger import Movement

ALICE, BOB = "15550101001", "15550101002"
CURRENCIES = {"shop": "USD", "euro": "EUR", "yen": "JPY"}
OTHERS = [
    Business(
        id=name, name=name, phone_number_id=f"{name}1", access_token="env:T", currency_code=code
    )
    for name, code in CURRENCIES.items()
    if name != "shop"
]


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    connection = make_tx(*OTHERS)
    yield connection
    connection.close()


def called(key: str) -> Cause:
    return Cause(CauseKind.OPERATOR, key)


def paying(
    tx: sqlite3.Connection, customer_id: int, credit_account_id: int | None, **changes: object
) -> Movement:
    """A transfer of 5.00 from a customer of The Shop."""
    transfers = tx.execute("SELECT count(*) FROM transfers").fetchone()[0]
    movement = Movement(
        business_id=SHOP.id,
        kind=TransferKind.TRANSFER,
        debit_account_id=accounts.of_customer(tx, SHOP.id, customer_id),
        credit_account_id=credit_account_id,
        amount_minor=500,
        currency="USD",
        cause=called(f"message {transfers}"),
    )
    return msgspec.structs.replace(movement, **changes)


def to_customer(tx: sqlite3.Connection, customer_id: int) -> int:
    return accounts.of_customer(tx, SHOP.id, customer_id)


def to_payee(tx: sqlite3.Connection, customer_id: int, name: str) -> int:
    return accounts.of_payee(tx, SHOP.id, customer_id, name, NOW)


# Against a reference ---------------------------------------------------------------------------


class Made(msgspec.Struct):
    """A transfer as the reference records it."""

    id: int
    kind: TransferKind
    debit: int
    credit: int | None
    amount: int
    business: str
    cause: Cause
    is_refused: bool
    is_reversed: bool = False

    @property
    def state(self) -> TransferState:
        if self.is_refused:
            return TransferState.REFUSED
        return TransferState.REVERSED if self.is_reversed else TransferState.POSTED


AMOUNTS = st.integers(min_value=1, max_value=1_000) | st.integers(min_value=1, max_value=10**15 - 1)
BUSINESSES = st.sampled_from(sorted(CURRENCIES))
PEOPLE = st.integers(min_value=0, max_value=2)
PAYEES = st.sampled_from(["John", " john ", "JOHN", "Jo", "Landlord"])


class Books(RuleBasedStateMachine):
    """Money moving in any order; the reference is a dictionary of balances and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.tx = make_tx(*OTHERS)
        self.made: list[Made] = []
        self.balances: dict[int, int] = {}
        self.people: dict[str, list[int]] = {}

    @initialize()
    def people_come(self) -> None:
        for business in CURRENCIES:
            self.people[business] = [
                customers.resolve(
                    self.tx, business, phone=f"1555010000{n}", user_id=None, name=None, now=NOW
                ).customer_id
                for n in range(3)
            ]

    def teardown(self) -> None:
        self.tx.close()

    @rule(business=BUSINESSES, who=PEOPLE, amount=AMOUNTS)
    def money_comes(self, business: str, who: int, amount: int) -> None:
        own = self._account(business, who)
        outside = accounts.of_business(self.tx, business)
        self._record(TransferKind.DEPOSIT, business, outside, own, amount)

    @rule(business=BUSINESSES, who=PEOPLE, amount=AMOUNTS)
    def money_goes(self, business: str, who: int, amount: int) -> None:
        own = self._account(business, who)
        outside = accounts.of_business(self.tx, business)
        self._record(TransferKind.WITHDRAWAL, business, own, outside, amount)

    @rule(business=BUSINESSES, who=PEOPLE, whom=PEOPLE, amount=AMOUNTS)
    def a_customer_is_paid(self, business: str, who: int, whom: int, amount: int) -> None:
        if who != whom:
            own, other = self._account(business, who), self._account(business, whom)
            self._record(TransferKind.TRANSFER, business, own, other, amount)

    @rule(business=BUSINESSES, who=PEOPLE, name=PAYEES, amount=AMOUNTS)
    def a_payee_is_paid(self, business: str, who: int, name: str, amount: int) -> None:
        customer_id = self.people[business][who]
        payee = accounts.of_payee(self.tx, business, customer_id, name, NOW)
        own = self._account(business, who)
        self._record(TransferKind.TRANSFER, business, own, payee, amount)

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def something_is_reversed(self, data: st.DataObject) -> None:
        target = data.draw(st.sampled_from(self.made))
        cause = called(f"reversal {len(self.made)}")
        is_allowed = target.state is TransferState.POSTED and (
            target.kind is not TransferKind.REVERSAL
        )
        try:
            with transaction(self.tx):
                transfer_id = ledger.reverse(self.tx, target.id, cause, NOW)
        except RefusedError:
            assert not is_allowed
            return
        assert is_allowed
        assert target.credit is not None
        target.is_reversed = True
        self._moved(
            Made(
                id=transfer_id,
                kind=TransferKind.REVERSAL,
                debit=target.credit,
                credit=target.debit,
                amount=target.amount,
                business=target.business,
                cause=cause,
                is_refused=False,
            )
        )

    @precondition(lambda self: self.made)
    @rule(data=st.data(), amount=AMOUNTS)
    def a_cause_comes_again(self, data: st.DataObject, amount: int) -> None:
        first = data.draw(st.sampled_from(self.made))
        again = Movement(
            business_id=first.business,
            kind=first.kind,
            debit_account_id=first.debit,
            credit_account_id=accounts.of_business(self.tx, first.business),
            amount_minor=amount,
            currency=CURRENCIES[first.business],
            cause=first.cause,
            refusal="any",
        )
        found = ledger.by_cause(self.tx, first.cause)
        assert found is not None
        assert found.id == first.id
        with pytest.raises(sqlite3.IntegrityError), transaction(self.tx):
            ledger.record(self.tx, again, NOW)

    def _account(self, business: str, who: int) -> int:
        return accounts.of_customer(self.tx, business, self.people[business][who])

    def _record(
        self, kind: TransferKind, business: str, debit: int, credit: int, amount: int
    ) -> None:
        is_outside = kind is TransferKind.DEPOSIT
        is_refused = not is_outside and amount > self.balances.get(debit, 0)
        refusal = None if is_outside else withdrawal_refusal(amount, self._balance(debit))
        assert (refusal is not None) == is_refused
        cause = called(f"record {len(self.made)}")
        movement = Movement(
            business_id=business,
            kind=kind,
            debit_account_id=debit,
            credit_account_id=None if is_refused else credit,
            amount_minor=amount,
            currency=CURRENCIES[business],
            cause=cause,
            refusal=refusal,
        )
        with transaction(self.tx):
            transfer_id = ledger.record(self.tx, movement, NOW)
        self._moved(
            Made(
                id=transfer_id,
                kind=kind,
                debit=debit,
                credit=None if is_refused else credit,
                amount=amount,
                business=business,
                cause=cause,
                is_refused=is_refused,
            )
        )

    def _moved(self, made: Made) -> None:
        assert made.id == len(self.made) + 1
        self.made.append(made)
        if not made.is_refused and made.credit is not None:
            self.balances[made.debit] = self.balances.get(made.debit, 0) - made.amount
            self.balances[made.credit] = self.balances.get(made.credit, 0) + made.amount

    def _balance(self, account_id: int) -> Balance:
        return accounts.balance(self.tx, account_id)

    @invariant()
    def every_balance_is_the_reference_s(self) -> None:
        for row in self.tx.execute("SELECT id FROM accounts").fetchall():
            expected = Balance(self.balances.get(row["id"], 0), 0)
            assert self._balance(row["id"]) == expected

    @invariant()
    def nothing_comes_from_nowhere(self) -> None:
        sums = self.tx.execute(
            "SELECT coalesce(sum(p.amount_minor), 0) FROM accounts a "
            "LEFT JOIN postings p ON p.account_id = a.id GROUP BY a.business_id"
        ).fetchall()
        assert all(row[0] == 0 for row in sums)

    @invariant()
    def the_books_are_right_but_for_what_a_reversal_overdrew(self) -> None:
        kinds = dict(self.tx.execute("SELECT id, kind FROM accounts").fetchall())
        overdrawn = {
            f"Account {account} is overdrawn: {minor} minor units are available."
            for account, minor in self.balances.items()
            if minor < 0 and kinds[account] != "business"
        }
        assert set(invariants.breaches(self.tx)) == overdrawn

    @invariant()
    def every_statement_shows_what_happened(self) -> None:
        for row in self.tx.execute("SELECT id FROM accounts").fetchall():
            account = row["id"]
            expected = [
                (made.id, made.kind, made.state, made.amount, made.credit == account)
                for made in reversed(self.made)
                if account in {made.debit, made.credit}
            ]
            shown = [
                (one.transfer_id, one.kind, one.state, one.amount_minor, one.is_incoming)
                for one in ledger_history.entries(self.tx, account, 1_000)
            ]
            assert shown == expected


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


# Immutability and repeats ----------------------------------------------------------------------


@pytest.fixture
def busy(tx: sqlite3.Connection) -> sqlite3.Connection:
    """A ledger with a deposit, transfers, a refusal and a reversal: T1 to T5."""
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    give(tx, alice, 10_000)
    ledger.record(tx, paying(tx, alice, to_customer(tx, bob)), NOW)
    ledger.record(tx, paying(tx, alice, to_payee(tx, alice, "John"), payee="John", memo="?"), NOW)
    ledger.record(tx, paying(tx, alice, None, refusal="insufficient_funds"), NOW)
    ledger.reverse(tx, 3, called("cancel"), NOW)
    assert invariants.breaches(tx) == []
    return tx


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount_minor = 1 WHERE id = 2",
        "UPDATE transfers SET cause_key = cause_key",
        "UPDATE postings SET amount_minor = -amount_minor",
        "DELETE FROM transfers WHERE id = 5",
        "DELETE FROM postings",
        "INSERT OR REPLACE INTO postings VALUES (2, 2, -400)",
        "UPDATE accounts SET customer_id = 9 WHERE customer_id = 1",
        "DELETE FROM accounts WHERE id = 1",
        "INSERT OR REPLACE INTO transfers SELECT * FROM transfers WHERE id = 2",
    ],
)
def test_the_ledger_cannot_be_changed(busy: sqlite3.Connection, statement: str) -> None:
    busy.execute("PRAGMA foreign_keys = OFF")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        busy.execute(statement)
    assert invariants.breaches(busy) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE transfers SET amount_minor = 400 WHERE id = 2", "postings of T2 do not match"),
        ("UPDATE transfers SET amount_minor = 400 WHERE id = 4", "T4 does not continue"),
        ("UPDATE transfers SET kind = 'deposit' WHERE id = 2", "T2 does not continue"),
        ("UPDATE transfers SET credit_account_id = 1 WHERE id = 2", "T2 does not continue"),
        ("UPDATE transfers SET cause_key = 'other' WHERE id = 4", "T4 does not continue"),
        ("UPDATE transfers SET created_at = '2020' WHERE id = 1", "T1 does not continue"),
        ("UPDATE transfers SET refusal = 'x' WHERE id = 4", "T4 does not continue"),
        ("UPDATE transfers SET currency = 'EUR' WHERE id = 2", "T2 does not continue"),
        ("UPDATE transfers SET target_id = 2 WHERE id = 5", "T5 does not continue"),
        ("UPDATE transfers SET id = 9 WHERE id = 5", "T9 does not continue"),
        ("DELETE FROM transfers WHERE id = 4", "T5 does not continue"),
        ("DELETE FROM transfers WHERE id = 5", "T5"),
        ("DELETE FROM postings WHERE transfer_id = 2", "postings of T2 do not match"),
        ("UPDATE postings SET amount_minor = 9 WHERE transfer_id = 2 AND amount_minor > 0", "T2"),
        ("UPDATE postings SET amount_minor = -amount_minor WHERE transfer_id = 2", "Account"),
        ("INSERT INTO postings VALUES (4, 1, 5), (4, 2, -5)", "T4 has postings"),
        ("UPDATE balances SET posted_minor = posted_minor + 1 WHERE account_id = 2", "Account 2"),
        ("DELETE FROM balances WHERE account_id = 2", "Account 2"),
    ],
)
def test_a_row_changed_by_hand_is_found(
    busy: sqlite3.Connection, statement: str, found: str
) -> None:
    busy.execute("PRAGMA foreign_keys = OFF")
    for table in ("transfers", "postings"):
        busy.execute(f"DROP TRIGGER {table}_are_not_edited")
        busy.execute(f"DROP TRIGGER {table}_are_not_deleted")
    busy.execute(statement)
    assert found in " ".join(invariants.breaches(busy))


def test_an_amount_changed_on_both_sides_is_still_found(busy: sqlite3.Connection) -> None:
    """Editing a transfer together with its postings and balances still breaks the chain."""
    for table in ("transfers", "postings"):
        busy.execute(f"DROP TRIGGER {table}_are_not_edited")
    busy.execute("UPDATE transfers SET amount_minor = 100 WHERE id = 2")
    busy.execute("UPDATE postings SET amount_minor = amount_minor / 5 WHERE transfer_id = 2")
    busy.execute(
        "UPDATE balances SET posted_minor = (SELECT sum(amount_minor) FROM postings p "
        "WHERE p.account_id = balances.account_id)"
    )
    assert invariants.breaches(busy)[0] == "T2 does not continue the chain: it was changed by hand."


def test_a_person_s_words_can_be_erased_without_a_breach(busy: sqlite3.Connection) -> None:
    busy.execute("UPDATE transfer_texts SET payee = NULL, memo = NULL")
    busy.execute("DELETE FROM transfer_texts")
    assert invariants.breaches(busy) == []


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (4, "no posted transfer T4"),
        (5, "T5 is itself a reversal"),
        (3, "T3 is already reversed"),
        (99, "no posted transfer T99"),
    ],
)
def test_what_cannot_be_reversed_is_refused_and_nothing_moves(
    busy: sqlite3.Connection, target: int, sentence: str
) -> None:
    before = busy.execute("SELECT * FROM balances").fetchall()
    with pytest.raises(RefusedError, match=sentence):
        ledger.reverse(busy, target, called("again"), NOW)
    assert busy.execute("SELECT * FROM balances").fetchall() == before


def test_a_transfer_is_reversed_once_even_where_the_rule_is_passed_by(
    busy: sqlite3.Connection,
) -> None:
    row = ledger.by_id(busy, 5)
    assert row is not None
    twice = Movement(
        business_id="shop",
        kind=TransferKind.REVERSAL,
        debit_account_id=row.debit_account_id,
        credit_account_id=row.to_account_id,
        amount_minor=500,
        currency="USD",
        cause=called("by hand"),
        target_id=3,
    )
    with pytest.raises(sqlite3.IntegrityError):
        ledger.record(busy, twice, NOW)


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_a_transfer_moves_more_than_nothing(tx: sqlite3.Connection, amount_minor: int) -> None:
    alice = make_customer(tx, ALICE)
    movement = paying(tx, alice, to_payee(tx, alice, "John"), amount_minor=amount_minor)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.record(tx, movement, NOW)


def test_no_customer_pays_themselves(tx: sqlite3.Connection) -> None:
    alice = make_customer(tx, ALICE)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.record(tx, paying(tx, alice, to_customer(tx, alice)), NOW)


# Identity --------------------------------------------------------------------------------------


def test_accounts_are_opened_once(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    own = accounts.of_customer(tx, SHOP.id, alice)
    assert accounts.of_customer(tx, SHOP.id, alice) == own
    assert accounts.of_customer(tx, SHOP.id, bob) != own
    outside = accounts.of_business(tx, SHOP.id)
    assert accounts.of_business(tx, SHOP.id) == outside
    assert accounts.of_business(tx, "euro") != outside
    assert accounts.by_id(tx, own).currency == "USD"


def test_a_payee_is_one_person_however_it_is_spelled_and_private(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    spellings = ["John Smith", "john smith", " JOHN  SMITH", "Ｊｏｈｎ Smith"]
    same = {to_payee(tx, alice, name) for name in spellings}
    assert len(same) == 1
    assert to_payee(tx, bob, "John Smith") not in same
    assert accounts.payee_name(tx, alice, "JOHN SMITH") == spellings[-1]
    payees.learn(tx, alice, to_payee(tx, alice, "John Smith"), NOW)
    to_payee(tx, alice, "JOHN SMITH")  # a known payee keeps the name it is known by
    assert accounts.payee_name(tx, alice, "JOHN SMITH") == "John Smith"
    assert accounts.payee_name(tx, bob, "JOHN SMITH") == "John Smith"
    assert accounts.payee_name(tx, alice, "Jane") == "Jane"


def entries_of(tx: sqlite3.Connection, customer_id: int, limit: int = 10) -> list[Entry]:
    return ledger_history.entries(tx, to_customer(tx, customer_id), limit)


def test_each_side_is_shown_the_other_one(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE, "Alice A."), make_customer(tx, BOB, "Bob B.")
    give(tx, alice, 10_000)
    ledger.record(tx, paying(tx, alice, to_customer(tx, bob), payee=f"+{BOB}"), NOW)
    ledger.record(tx, paying(tx, alice, to_payee(tx, alice, "John"), payee="John"), NOW)
    ledger.record(tx, paying(tx, alice, None, payee="Jane", refusal="x"), NOW)
    assert [one.counterparty for one in entries_of(tx, alice)] == [
        "Jane",
        "John",
        "Bob B.",
        "The Shop",
    ]
    assert [one.counterparty for one in entries_of(tx, bob)] == ["Alice A."]


def test_no_customer_is_shown_what_was_refused_to_another(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    ledger.record(tx, paying(tx, alice, to_customer(tx, bob), refusal="x"), NOW)
    assert [one.state for one in entries_of(tx, alice)] == [TransferState.REFUSED]
    assert entries_of(tx, bob) == []


def test_a_receiver_is_not_shown_their_own_number_as_the_sender(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    give(tx, alice, 10_000)
    ledger.record(tx, paying(tx, alice, to_customer(tx, bob), payee=f"+{BOB}"), NOW)
    assert entries_of(tx, alice)[0].counterparty == f"+{BOB}"
    assert entries_of(tx, bob)[0].counterparty == "another customer"


def test_a_profile_s_name_cannot_forge_a_line_of_the_ledger(tx: sqlite3.Connection) -> None:
    name = "Mallory\n\N{RECEIPT} Available: $9,999.00\N{RIGHT-TO-LEFT OVERRIDE}"
    mallory, bob = make_customer(tx, ALICE, name), make_customer(tx, BOB)
    give(tx, mallory, 10_000)
    ledger.record(tx, paying(tx, mallory, to_customer(tx, bob)), NOW)
    assert entries_of(tx, bob)[0].counterparty == "Mallory Available: $9,999.00"


def test_a_statement_is_cut_and_names_the_message(tx: sqlite3.Connection) -> None:
    alice = make_customer(tx, ALICE)
    make_message(tx, alice, "wamid.1")
    give(tx, alice, 10_000)
    for name in ("John", "Jane"):
        ledger.record(tx, paying(tx, alice, to_payee(tx, alice, name), memo=f"for {name}"), NOW)
    effect = Effect(tool="transfer", arguments="", result="{}", receipt=None, transfer_id=3)
    journal.add_effect(tx, "wamid.1", effect, NOW)
    (latest,) = entries_of(tx, alice, 1)
    assert (latest.reference, latest.counterparty, latest.memo) == ("T3", "Jane", "for Jane")
    assert latest.message_id == "wamid.1"
    assert [one.transfer_id for one in entries_of(tx, alice)] == [3, 2, 1]


def test_an_entry_is_seen_by_those_who_have_a_part_in_it(tx: sqlite3.Connection) -> None:
    alice, bob, carol = (make_customer(tx, f"1555010100{n}") for n in (1, 2, 3))
    give(tx, alice, 10_000)
    ledger.record(tx, paying(tx, alice, to_customer(tx, bob)), NOW)
    seen = [ledger_history.entry(tx, to_customer(tx, who), 2) for who in (alice, bob, carol)]
    assert [one and (one.is_incoming, one.is_to_customer) for one in seen] == [
        (False, True),
        (True, True),
        None,
    ]


def test_the_latest_outgoing_is_a_transfer_made_or_refused(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    assert ledger_history.latest_outgoing(tx, to_customer(tx, alice)) is None
    give(tx, alice, 10_000)
    ledger.record(tx, paying(tx, alice, to_customer(tx, bob)), NOW)
    ledger.record(tx, paying(tx, bob, to_customer(tx, alice), amount_minor=100), NOW)
    latest = ledger_history.latest_outgoing(tx, to_customer(tx, alice))
    assert latest is not None
    assert latest.transfer_id == 2
    ledger.record(tx, paying(tx, alice, None, refusal=Refusal.INSUFFICIENT_FUNDS), NOW)
    latest = ledger_history.latest_outgoing(tx, to_customer(tx, alice))
    assert latest is not None
    assert (latest.transfer_id, latest.state) == (4, TransferState.REFUSED)


def test_a_business_knows_whether_it_ever_had_a_transfer(tx: sqlite3.Connection) -> None:
    assert not ledger.has_transfers(tx, SHOP.id)
    alice = make_customer(tx, ALICE)
    give(tx, alice, 1)
    assert ledger.has_transfers(tx, SHOP.id)
    assert not ledger.has_transfers(tx, "euro")
    assert available(tx, alice) == 1


# Text from customers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "transfer_id"),
    [
        ("T12", 12),
        ("t12", 12),
        (" T 12 ", 12),
        ("12", 12),
        ("T0012", 12),
        ("T" + "9" * 18, int("9" * 18)),
        ("T" + "9" * 19, None),
        ("", None),
        ("T", None),
        ("T-12", None),
        ("T12.0", None),
        ("the last one", None),
        ("T12; T13", None),
    ],
)
def test_a_reference_is_read_as_people_write_it(text: str, transfer_id: int | None) -> None:
    assert transfer_id_of(text) == transfer_id


def test_a_reference_is_read_back() -> None:
    assert transfer_id_of(reference_of(12)) == 12


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("15550101002", "15550101002"),
        ("+1 (555) 010-1002", "15550101002"),
        (" +1.555.010.1002 ", "15550101002"),
        ("12345", "12345"),
        ("1234", None),
        ("1" * 20, "1" * 20),
        ("1" * 21, None),
        ("John", None),
        ("John 15550101002", None),
        ("++15550101002", None),
        ("-15550101002", None),
        ("١٢٣٤٥٦", "123456"),
        ("＋１５５５０１０１００２", "15550101002"),
        ("1555\u200b0101002", "15550101002"),
        ("", None),
    ],
)
def test_a_number_is_distinguished_from_a_name(text: str, digits: str | None) -> None:
    assert phone_digits(text) == digits


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("John", "JOHN", True),
        (" John  Smith ", "john smith", True),
        ("Straße", "STRASSE", True),
        ("Ｊｏｈｎ", "john", True),
        ("José", "Jose\N{COMBINING ACUTE ACCENT}", True),
        ("José", "Jose", False),
        ("John", "Joan", False),
    ],
)
def test_names_are_compared_as_people_do(one: str, other: str, *, are_same: bool) -> None:
    assert (folded_name(one) == folded_name(other)) == are_same


TOOTHLESS = """
CREATE TRIGGER postings_are_not_edited BEFORE UPDATE ON postings WHEN 0
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
"""


@pytest.mark.parametrize("replacement", ["", TOOTHLESS])
def test_a_removed_or_weakened_guard_is_found(busy: sqlite3.Connection, replacement: str) -> None:
    busy.execute("DROP TRIGGER postings_are_not_edited")
    busy.execute(replacement)
    assert invariants.breaches(busy) == [
        "The schema's guard postings_are_not_edited is missing or another one."
    ]


def test_an_end_cut_off_is_found(busy: sqlite3.Connection) -> None:
    ledger.record(busy, paying(busy, 1, None, refusal="insufficient_funds"), NOW)
    guard = migrations.triggers()["transfers_are_not_deleted"]
    busy.execute("DROP TRIGGER transfers_are_not_deleted")
    busy.execute("DELETE FROM transfers WHERE id = 6")
    busy.execute(guard)
    assert invariants.breaches(busy) == ["The ledger once had T6, and ends before it."]
