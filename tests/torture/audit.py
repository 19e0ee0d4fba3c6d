"""The ledger against a reference: true replies, effects once, exact balances."""

from collections import Counter, defaultdict
from collections.abc import Iterator

import msgspec
from db_factories import SHOP

from torture.asks import Ask
from torture.evidence import Evidence, Kept, Reply
from torture.reference import Account
from wbot.domain.receipts import MARK
from wbot.storage import accounts, customers, invariants

NOT_REACHED = "These messages did not reach you earlier:\n"
"""What stands before the receipts of replies that WhatsApp refused or could not deliver."""

MADE = """
SELECT substr(cause_key, 1, instr(cause_key, '/') - 1) AS message_id, kind FROM transfers
WHERE cause_kind = 'call' AND phase = 'posted'
"""


class Breach(msgspec.Struct, frozen=True):
    """A broken promise; `kind` is a row of the table."""

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
    breaches += [Breach("ledger off", what) for what in invariants.breaches(kept.tx)]
    damage = kept.rows("PRAGMA integrity_check")[0][0]
    if damage != "ok":
        breaches.append(Breach("ledger off", f"the file is damaged: {damage}"))
    return breaches, off_minor


class _Audit:
    def __init__(self, evidence: Evidence, kept: Kept) -> None:
        self._kept = kept
        self._people = {one.name: one for one in (*evidence.payers, *evidence.receivers)}
        self._people |= {ask.customer.name: ask.becomes or ask.customer for ask in evidence.asks}
        """By name, each customer with their latest ids."""
        self._accounts = {name: Account(0) for name in self._people}
        self._accounts |= {one.name: Account(evidence.given_minor) for one in evidence.payers}
        self._missed: defaultdict[str, list[Reply]] = defaultdict(list)
        """By name, replies with receipts that reached nobody, and that no later reply tells of."""
        self._made: Counter[str] = Counter()
        """By message, the payments and cancellations it should have made."""
        self._said = sorted(
            ((reply, ask) for ask in evidence.asks for reply in kept.replies[ask.message_id]),
            key=lambda one: one[0].outbox_id,
        )

    def untrue_replies(self) -> Iterator[Breach]:
        """Replay each customer's messages, in the order of handling, in the reference ledger."""
        for reply, ask in self._said:
            account = self._accounts[ask.customer.name]
            before = account.effects
            is_last = reply is self._kept.replies[ask.message_id][-1]
            told, own = self._without_told(reply, ask)
            expected = account.differs(ask, own, is_last=is_last, told=told)
            self._made[ask.message_id] += account.effects - before
            if expected is not None:
                what = f"says {reply.text!r}, not {expected!r}"
                yield Breach("replies untrue", what, ask.message_id)

    def _without_told(self, reply: Reply, ask: Ask) -> tuple[list[str], str]:
        """What a reply says of earlier ones that really reached nobody, and the rest of it.

        Each is told of once, oldest first; one whose failure is not known yet is left out.
        """
        missed = self._missed[ask.customer.name]
        told: list[str] = []
        own = reply.text
        if own.startswith(NOT_REACHED):
            lines = own.split("\n")[1:]
            for earlier in list(missed):
                new = [line for line in receipts_in(earlier) if line not in told]
                if lines[: len(new)] == new:
                    missed.remove(earlier)
                    told, lines = told + new, lines[len(new) :]
            if told:  # else the words are untrue, and stay
                own = "\n".join(lines).removeprefix("\n")
        if self._kept.reached_nobody(reply) and receipts_in(reply):
            missed.append(reply)
        return told, own

    def doubled_effects(self) -> Iterator[Breach]:
        """As many transfers and reversals as each message asks for; after the replay above."""
        found = Counter(row["message_id"] for row in self._kept.rows(MADE))
        for message_id in sorted(found.keys() | self._made.keys()):
            expected = self._made[message_id]
            if found[message_id] != expected:
                kind = "effects doubled" if found[message_id] > expected else "lost"
                what = f"moved money {found[message_id]} times, not {expected}"
                yield Breach(kind, what, message_id)

    def off_minor(self) -> int:
        """Between expected and actual money of all customers, by postings and by balances."""
        names = {f"+{one.phone}": name for name, one in self._people.items()}
        for account in list(self._accounts.values()):
            for phone, amount_minor in account.presents.items():
                self._accounts[names[phone]].available_minor += amount_minor
        return sum(self._off_minor(name, one) for name, one in self._accounts.items())

    def _off_minor(self, name: str, account: Account) -> int:
        person = self._people[name]
        customer_id = customers.find_sender(
            self._kept.tx, SHOP.id, phone=person.phone, user_id=person.user_id
        )
        found = customer_id and accounts.find(self._kept.tx, customer_id)
        if not found:
            return account.available_minor
        posted: int = self._kept.rows(
            "SELECT coalesce(sum(amount_minor), 0) FROM postings WHERE account_id = ?", found
        )[0][0]
        stored = accounts.balance(self._kept.tx, found).available_minor
        return abs(posted - account.available_minor) + abs(stored - account.available_minor)


def receipts_in(reply: Reply) -> list[str]:
    """Its lines about money, which a later reply repeats if it reached nobody."""
    return [line for line in reply.text.split("\n") if line.startswith(MARK)]
