"""The ledger for other programs: a CSV file of every transfer, a journal of what was posted."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence

from wbot.domain.escaping import in_csv, in_journal, on_one_line
from wbot.domain.ledger import reference_of
from wbot.domain.money import currency_of, format_amount
from wbot.storage import ledger_queries
from wbot.storage.ledger_queries import Account, Selection, Transfer
from wbot.storage.tx import Tx

COLUMNS = (
    "transfer",
    "created_at",
    "business",
    "kind",
    "state",
    "amount",
    "currency",
    "from",
    "to",
    "memo",
    "reverses",
    "message_id",
    "cause",
)
_INDENT = "    "

# In an account's name: what separates its parts, ends it, begins a comment, or marks our suffix.
_UNSAFE = re.compile(r"[:;#|]|\s\s+|[^\S ]")


def csv_lines(tx: Tx, selection: Selection) -> Iterator[str]:
    """The lines of the file, the header first: each transfer once, as it stands now."""
    yield _csv_line(COLUMNS)
    accounts = ledger_queries.accounts(tx, selection.business_id)
    names = _names(accounts)
    for transfer in ledger_queries.transfers(tx, selection):
        yield _csv_line(
            (
                reference_of(transfer.id),
                transfer.created_at,
                transfer.business_id,
                transfer.kind,
                transfer.state,
                format_amount(transfer.amount_minor, currency_of(transfer.currency)),
                transfer.currency,
                names[transfer.debit_account_id],
                _payee(transfer, accounts, names),
                transfer.memo or "",
                "" if transfer.target_id is None else reference_of(transfer.target_id),
                transfer.message_id or "",
                transfer.cause,
            )
        )


def hledger_lines(tx: Tx, selection: Selection) -> Iterator[str]:
    """The lines of a journal: one transaction a transfer, under the date (UTC) of its posting."""
    yield "decimal-mark ."
    names = _names(ledger_queries.accounts(tx, selection.business_id))
    for postings in ledger_queries.posted(tx, selection):
        yield ""
        yield _description(postings[0])
        currency = currency_of(postings[0].currency)
        for posting in postings:
            amount = format_amount(posting.amount_minor, currency)
            yield f"{_INDENT}{names[posting.account_id]}  {amount} {currency.code}"


def _payee(transfer: Transfer, accounts: Mapping[int, Account], names: Mapping[int, str]) -> str:
    account = accounts.get(transfer.credit_account_id or 0)
    # Refused before there was an account, or to an unknown number: the payee as written.
    is_unknown_number = (
        account is not None and transfer.kind == "transfer" and account.kind == "business"
    )
    if account is None or is_unknown_number:
        return transfer.payee or ""
    return names[account.id]


def _csv_line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([in_csv(cell) for cell in cells])
    return out.getvalue()


def _description(row: ledger_queries.Posting) -> str:
    words = f"{row.created_at[:10]} {reference_of(row.id)} {row.kind}"
    if row.target_id is not None:
        words += f" of {reference_of(row.target_id)}"
    memo = in_journal(row.memo or "")
    return f"{words}: {memo}" if memo else words


def _names(accounts: Mapping[int, Account]) -> dict[int, str]:
    return {number: _name(account) for number, account in accounts.items()}


def _name(account: Account) -> str:
    """What other programs call the account; no two accounts share a name."""
    if account.payee is not None:
        owner, payee = _safe(account.customer, account), _safe(account.payee, account)
        return f"payees:{account.business_id}:{owner}:{payee}"
    if account.customer is not None:
        return f"customers:{account.business_id}:{_safe(account.customer, account)}"
    return f"business:{account.business_id}"


def _safe(text: str | None, account: Account) -> str:
    # A changed name gets the account's number, or two names could become one.
    safe = _UNSAFE.sub("_", on_one_line(text or "")).strip()
    return safe if safe == text else f"{safe}#{account.id}"
