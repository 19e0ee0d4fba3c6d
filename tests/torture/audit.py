"""The books against a ledger of the torture's own: true replies, effects once, balances exact."""

from collections import Counter
from collections.abc import Iterator

import msgspec
from stored import SHOP

from torture.evidence import Evidence, Kept
from torture.reference import Account
from wbot.storage import customers, ledger

MADE = """
SELECT substr(cause_key, 1, instr(cause_key, '/') - 1) AS message_id, kind FROM transfers
WHERE cause_kind = 'call' AND phase = 'posted'
"""


class Breach(msgspec.Struct, frozen=True):
    """A promise not kept; `kind` is a row of the table."""

    kind: str
    what: str
    message_id: str | None = None


def audited(evidence: Evidence, kept: Kept) -> tuple[list[Breach], int]:
    """Every breach that concerns money, and how many minor units the balances are off by."""
    audit = _Audit(evidence, kept)
    breaches = [*audit.untrue_replies(), *audit.doubled_effects()]
    off_minor = audit.off_minor()
    if off_minor:
        breaches.append(Breach("ledger off", f"the balances are off by {off_minor} minor units"))
    breaches += [Breach("ledger off", what) for what in ledger.breaches(kept.tx)]
    damage = kept.rows("PRAGMA integrity_check")[0][0]
    if damage != "ok":
        breaches.append(Breach("ledger off", f"the file is damaged: {damage}"))
    return breaches, off_minor


class _Audit:
    def __init__(self, evidence: Evidence, kept: Kept) -> None:
        self._kept = kept
        self._receivers = {str(one.phone) for one in evidence.receivers}
        self._accounts = {str(one.phone): Account(evidence.given_minor) for one in evidence.payers}
        self._accounts |= {phone: Account(0) for phone in self._receivers}
        self._made: dict[str, int] = {}
        """By message, the payments and cancellations it should have made."""
        handled = [ask for ask in evidence.asks if kept.replies[ask.message_id]]
        self._handled = sorted(handled, key=lambda one: kept.replies[one.message_id][0].outbox_id)

    def untrue_replies(self) -> Iterator[Breach]:
        """Each customer's messages again, in the order of handling, in the torture's own ledger."""
        for ask in self._handled:
            account = self._accounts[str(ask.customer.phone)]
            before = account.effects
            text = self._kept.replies[ask.message_id][0].text
            expected = account.differs(ask, text)
            self._made[ask.message_id] = account.effects - before
            if expected is not None:
                what = f"says {text!r}, not {expected!r}"
                yield Breach("replies untrue", what, ask.message_id)

    def doubled_effects(self) -> Iterator[Breach]:
        """As many transfers and reversals as each message asks for; after the replay above."""
        found = Counter(row["message_id"] for row in self._kept.rows(MADE))
        for message_id in sorted(found.keys() | self._made.keys()):
            expected = self._made.get(message_id, 0)
            if found[message_id] != expected:
                kind = "effects doubled" if found[message_id] > expected else "lost"
                what = f"moved money {found[message_id]} times, not {expected}"
                yield Breach(kind, what, message_id)

    def off_minor(self) -> int:
        """Between what everybody should have and what they have, by postings and by balances."""
        for account in list(self._accounts.values()):
            for phone, amount_minor in account.presents.items():
                self._accounts[phone.removeprefix("+")].available_minor += amount_minor
        return sum(self._off_minor(phone, one) for phone, one in self._accounts.items())

    def _off_minor(self, phone: str, account: Account) -> int:
        customer_id = customers.find_by_phone(self._kept.tx, SHOP.id, phone)
        found = customer_id and ledger.find_account(self._kept.tx, customer_id)
        if not found:
            return account.available_minor
        posted: int = self._kept.rows(
            "SELECT coalesce(sum(amount_minor), 0) FROM postings WHERE account_id = ?", found
        )[0][0]
        told = ledger.balance(self._kept.tx, found).available_minor
        return abs(posted - account.available_minor) + abs(told - account.available_minor)
