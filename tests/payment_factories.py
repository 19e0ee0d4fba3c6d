"""A customer with money who pays by name, immediately or in two phases, straight in the ledger."""

import sqlite3

import msgspec
from db_factories import NOW, SHOP, give, make_customer

from wbot.domain.ledger import Cause, CauseKind, Phase, TransferKind
from wbot.storage import accounts, ledger
from wbot.storage.ledger import Movement

ALICE = "15550101001"


class Paying:
    """Alice of The Shop, or another customer, with 1,000.00."""

    def __init__(self, tx: sqlite3.Connection, phone: str = ALICE) -> None:
        self.tx = tx
        self.phone = phone
        self.customer_id = make_customer(tx, phone)
        give(tx, self.customer_id, 1_000_00)
        self.account = accounts.of_customer(tx, SHOP.id, self.customer_id)
        self._causes = 0

    def movement(self, payee: str, minor: int, memo: str | None = None) -> Movement:
        """A payment to be posted at once, initiated by an operator and not by a message."""
        account = accounts.of_payee(self.tx, SHOP.id, self.customer_id, payee, NOW)
        return Movement(
            business_id=SHOP.id,
            kind=TransferKind.TRANSFER,
            debit_account_id=self.account,
            credit_account_id=account,
            amount_minor=minor,
            currency=SHOP.currency_code,
            cause=self._cause(),
            payee=payee,
            memo=memo,
        )

    def pay(self, payee: str, minor: int, memo: str | None = None, at: str = NOW) -> int:
        """A transfer that is posted at once."""
        return ledger.record(self.tx, self.movement(payee, minor, memo), at)

    def hold(self, payee: str, minor: int, memo: str | None = None, at: str = NOW) -> int:
        """A pending transfer."""
        movement = msgspec.structs.replace(self.movement(payee, minor, memo), phase=Phase.PENDING)
        return ledger.record(self.tx, movement, at)

    def resolve(self, transfer_id: int, phase: Phase, at: str = NOW) -> int:
        """End a pending transfer; returns the row that ends it."""
        return ledger.resolve(self.tx, transfer_id, phase, cause=self._cause(), now=at)

    def posted(self, payee: str, minor: int, memo: str | None = None) -> int:
        """A pending transfer that its customer has confirmed."""
        transfer_id = self.hold(payee, minor, memo)
        self.resolve(transfer_id, Phase.POST)
        return transfer_id

    def reverse(self, transfer_id: int, at: str = NOW) -> int:
        """Reverse a posted transfer."""
        return ledger.reverse(self.tx, transfer_id, self._cause(), at)

    def _cause(self) -> Cause:
        self._causes += 1
        return Cause(CauseKind.OPERATOR, f"paying:{self.phone}:{self._causes}")
