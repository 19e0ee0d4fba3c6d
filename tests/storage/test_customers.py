"""Who a sender is: by user id first, then by number, and never another customer."""

import sqlite3
from collections.abc import Iterator

import pytest
from db_factories import NOW, SHOP, after, make_tx
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wbot.domain.business import Business
from wbot.storage import customers
from wbot.storage.customers import Identity

OTHER_SHOP = Business(
    id="other",
    name="Other",
    phone_number_id="106500000000002",
    access_token="env:T",
    currency_code="EUR",
)
# Ada is known by number and user id, Ben by a number only, Cid by a user id only.
ADA, BEN, CID, NOBODY = "Ada", "Ben", "Cid", "a new customer"
ADAS_PHONE, BENS_PHONE, NEW_PHONE = "15550101001", "15550101002", "15550101009"
ADAS_ID, CIDS_ID, NEW_ID = "US.ada1", "US.cid1", "US.new1"


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    connection = make_tx(OTHER_SHOP)
    yield connection
    connection.close()


def resolve(
    tx: sqlite3.Connection,
    phone: str | None,
    user_id: str | None,
    *,
    business_id: str = SHOP.id,
    name: str | None = None,
) -> Identity:
    return customers.resolve(tx, business_id, phone=phone, user_id=user_id, name=name, now=NOW)


def in_use(tx: sqlite3.Connection, customer_id: int) -> set[str]:
    return {a.value for a in customers.aliases(tx, customer_id) if a.retired_at is None}


@pytest.mark.parametrize("plus", ["", "+"])
@pytest.mark.parametrize(
    ("phone", "user_id", "who", "known_by", "warns"),
    [
        (None, NEW_ID, NOBODY, {NEW_ID}, False),
        (None, ADAS_ID, ADA, {ADAS_PHONE, ADAS_ID}, False),
        (None, CIDS_ID, CID, {CIDS_ID}, False),
        (NEW_PHONE, None, NOBODY, {NEW_PHONE}, False),
        (NEW_PHONE, NEW_ID, NOBODY, {NEW_PHONE, NEW_ID}, False),
        (NEW_PHONE, ADAS_ID, ADA, {ADAS_PHONE, ADAS_ID}, True),
        (NEW_PHONE, CIDS_ID, CID, {NEW_PHONE, CIDS_ID}, False),
        (ADAS_PHONE, None, ADA, {ADAS_PHONE, ADAS_ID}, False),
        (ADAS_PHONE, NEW_ID, NOBODY, {ADAS_PHONE, NEW_ID}, True),
        (ADAS_PHONE, ADAS_ID, ADA, {ADAS_PHONE, ADAS_ID}, False),
        (ADAS_PHONE, CIDS_ID, CID, {CIDS_ID}, True),
        (BENS_PHONE, None, BEN, {BENS_PHONE}, False),
        (BENS_PHONE, NEW_ID, BEN, {BENS_PHONE, NEW_ID}, False),
        (BENS_PHONE, ADAS_ID, ADA, {ADAS_PHONE, ADAS_ID}, True),
        (BENS_PHONE, CIDS_ID, CID, {CIDS_ID}, True),
    ],
)
def test_a_sender_is_found_by_their_ids(
    tx: sqlite3.Connection,
    *,
    plus: str,
    phone: str | None,
    user_id: str | None,
    who: str,
    known_by: set[str],
    warns: bool,
) -> None:
    """Every combination; a leading plus is not part of a number."""
    people = {
        resolve(tx, ADAS_PHONE, ADAS_ID).customer_id: ADA,
        resolve(tx, BENS_PHONE, None).customer_id: BEN,
        resolve(tx, None, CIDS_ID).customer_id: CID,
    }
    identity = resolve(tx, phone and plus + phone, user_id)
    assert people.get(identity.customer_id, NOBODY) == who
    assert in_use(tx, identity.customer_id) == known_by
    assert (identity.warning is not None) == warns
    again = resolve(tx, phone, user_id)
    assert again.customer_id == identity.customer_id
    assert tx.execute("SELECT count(*) FROM customers").fetchone()[0] == 3 + (who == NOBODY)


def test_a_recycled_number_is_retired_with_its_date(tx: sqlite3.Connection) -> None:
    ada = resolve(tx, ADAS_PHONE, ADAS_ID).customer_id
    heir = customers.resolve(
        tx, SHOP.id, phone=ADAS_PHONE, user_id=NEW_ID, name=None, now=after(60)
    )
    adas = {alias.value: alias.retired_at for alias in customers.aliases(tx, ada)}
    assert adas == {ADAS_PHONE: after(60), ADAS_ID: None}
    assert resolve(tx, ADAS_PHONE, None).customer_id == heir.customer_id
    assert resolve(tx, NEW_PHONE, ADAS_ID).warning is None
    assert in_use(tx, ada) == {ADAS_ID, NEW_PHONE}


def test_two_businesses_never_share_a_customer(tx: sqlite3.Connection) -> None:
    here = resolve(tx, ADAS_PHONE, ADAS_ID).customer_id
    there = resolve(tx, ADAS_PHONE, ADAS_ID, business_id="other").customer_id
    assert here != there
    assert customers.find(tx, SHOP.id, ADAS_PHONE) == here
    assert customers.find(tx, "other", ADAS_ID) == there


def test_the_name_is_the_one_the_profile_showed_last(tx: sqlite3.Connection) -> None:
    ada = resolve(tx, ADAS_PHONE, ADAS_ID).customer_id
    assert customers.name_of(tx, ada) is None
    for given, shown in (("Ada", "Ada"), (None, "Ada"), ("", "Ada"), ("Ada L.", "Ada L.")):
        resolve(tx, ADAS_PHONE, None, name=given)
        assert customers.name_of(tx, ada) == shown


@pytest.mark.parametrize("alias", [ADAS_PHONE, f"+{ADAS_PHONE}", ADAS_ID])
def test_an_operator_finds_a_customer_by_any_alias_in_use(
    tx: sqlite3.Connection, alias: str
) -> None:
    ada = resolve(tx, f"+{ADAS_PHONE}", ADAS_ID).customer_id
    assert customers.find(tx, SHOP.id, alias) == ada
    assert customers.find(tx, "other", alias) is None


def test_a_customer_has_one_conversation(tx: sqlite3.Connection) -> None:
    ada, ben = resolve(tx, ADAS_PHONE, None).customer_id, resolve(tx, BENS_PHONE, None).customer_id
    conversations = [customers.conversation_of(tx, SHOP.id, who, NOW) for who in (ada, ben, ada)]
    assert conversations[0] == conversations[2] != conversations[1]
    assert customers.of_conversation(tx, conversations[1]) == ben


PHONES = st.sampled_from([f"1555010{n:04}" for n in range(4)])
USER_IDS = st.sampled_from([f"US.{n}" for n in range(4)])
PLUS = st.sampled_from(["", "+"])


class People(RuleBasedStateMachine):
    """Senders with any ids in any order, against two dictionaries of the owner of each id."""

    def __init__(self) -> None:
        super().__init__()
        self.tx = make_tx()
        self.by_phone: dict[str, int] = {}
        self.by_user_id: dict[str, int] = {}
        self.seen: dict[int, list[tuple[str, str]]] = {}

    def teardown(self) -> None:
        self.tx.close()

    @rule(phone=PHONES, plus=PLUS)
    def a_number_writes(self, phone: str, plus: str) -> None:
        customer_id = resolve(self.tx, plus + phone, None).customer_id
        assert customer_id == self.by_phone.get(phone, customer_id)
        if phone not in self.by_phone:
            self._is_new(customer_id)
            self.by_phone[phone] = customer_id

    @rule(user_id=USER_IDS)
    def a_user_id_writes(self, user_id: str) -> None:
        customer_id = resolve(self.tx, None, user_id).customer_id
        assert customer_id == self.by_user_id.get(user_id, customer_id)
        if user_id not in self.by_user_id:
            self._is_new(customer_id)
            self.by_user_id[user_id] = customer_id

    @rule(phone=PHONES, user_id=USER_IDS, plus=PLUS)
    def both_write(self, phone: str, user_id: str, plus: str) -> None:
        customer_id = resolve(self.tx, plus + phone, user_id).customer_id
        holder = self.by_phone.get(phone)
        if user_id in self.by_user_id:
            assert customer_id == self.by_user_id[user_id]
            if holder is None and customer_id not in self.by_phone.values():
                self.by_phone[phone] = customer_id
            return
        if holder is None or holder in self.by_user_id.values():
            self._is_new(customer_id)
        else:
            assert customer_id == holder
        self.by_phone[phone] = self.by_user_id[user_id] = customer_id

    @rule(phone=PHONES, new_phone=PHONES, user_id=USER_IDS | st.none())
    def a_number_is_changed(self, phone: str, new_phone: str, user_id: str | None) -> None:
        customer_id = self.by_phone.get(phone)
        if customer_id is None:
            return
        warning = customers.change_identity(
            self.tx, customer_id, phone=new_phone, user_id=user_id, now=NOW
        )
        owners = {self.by_phone.get(new_phone), self.by_user_id.get(user_id or "")}
        assert (warning is not None) == bool(owners - {None, customer_id})
        if warning is None:
            self._moves(self.by_phone, customer_id, new_phone)
            self._moves(self.by_user_id, customer_id, user_id)

    def _moves(self, ids: dict[str, int], customer_id: int, new: str | None) -> None:
        for old in [value for value, owner in ids.items() if owner == customer_id]:
            del ids[old]
        if new is not None:
            ids[new] = customer_id

    def _is_new(self, customer_id: int) -> None:
        assert customer_id not in self.seen

    @invariant()
    def aliases_in_use_are_those_of_the_reference(self) -> None:
        rows = self.tx.execute(
            "SELECT kind, value, customer_id FROM customer_aliases WHERE retired_at IS NULL"
        ).fetchall()
        by_kind = {
            kind: {row["value"]: row["customer_id"] for row in rows if row["kind"] == kind}
            for kind in ("phone", "user_id")
        }
        assert by_kind == {"phone": self.by_phone, "user_id": self.by_user_id}
        assert len(rows) == len(self.by_phone) + len(self.by_user_id)

    @invariant()
    def no_alias_ever_changes_its_customer(self) -> None:
        now = {
            int(row["id"]): [(a.kind, a.value) for a in customers.aliases(self.tx, row["id"])]
            for row in self.tx.execute("SELECT id FROM customers").fetchall()
        }
        for customer_id, before in self.seen.items():
            assert now[customer_id][: len(before)] == before
        self.seen = now


TestPeople = People.TestCase
TestPeople.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
