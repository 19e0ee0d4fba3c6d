"""The ledger exported for other programs: CSV, and a journal tested with the real programs."""

import csv
import io
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from cli_harness import Wbot
from conftest import ALICE as CUSTOMER
from conftest import WAIT_S, MakeWorld, deposit, writing
from db_factories import NOW, SHOP, make_customer, make_tx
from hypothesis import given, settings
from hypothesis import strategies as st
from payment_factories import ALICE, Paying

from wbot.admin import ledger_adjustments, ledger_export
from wbot.admin.ledger_adjustments import Order
from wbot.admin.ledger_export import COLUMNS, csv_lines, hledger_lines
from wbot.domain import money
from wbot.domain.business import Business, Policy
from wbot.domain.ledger import Cause, CauseKind, Phase, TransferKind
from wbot.domain.money import currency_of, format_amount
from wbot.storage import accounts, businesses, invariants, ledger, ledger_queries
from wbot.storage.database import connect, transaction
from wbot.storage.ledger_queries import Selection

EVERYTHING = Selection()
LARGEST_MINOR = 10**money.MINOR_DIGITS_MAX - 1


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    made = Wbot(tmp_path, monkeypatch, capsys)
    made.add_business()
    return made


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    made = make_tx()
    yield made
    made.close()


def exported(tx: sqlite3.Connection, selection: Selection = EVERYTHING) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("\n".join(csv_lines(tx, selection)))))


# The CSV file -----------------------------------------------------------------------------------


def test_the_csv_export_has_every_transfer(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "100", "--memo", '=1+1, "quoted"', "--key", "k")
    assert wbot("ledger", "withdraw", "shop", ALICE, "500").code == 1
    wbot.done("ledger", "withdraw", "shop", ALICE, "5")
    wbot.done("ledger", "reverse", "T3")
    text = wbot.done("ledger", "export")
    assert text.splitlines()[0] == ",".join(COLUMNS)
    rows = list(csv.DictReader(io.StringIO(text)))
    shown = ("transfer", "kind", "state", "amount", "reverses")
    assert [tuple(row[name] for name in shown) for row in rows] == [
        ("T1", "deposit", "posted", "100.00", ""),
        ("T2", "withdrawal", "refused", "500.00", ""),
        ("T3", "withdrawal", "reversed", "5.00", ""),
        ("T4", "reversal", "posted", "5.00", "T3"),
    ]
    first = rows[0]
    assert (first["from"], first["to"]) == ("business:shop", f"customers:shop:{ALICE}")
    assert first["cause"] == "operator:shop/deposit/key:k"
    # A spreadsheet would run what begins with an equals sign.
    assert first["memo"] == '\'=1+1, "quoted"'


def test_an_export_can_be_of_one_business(wbot: Wbot) -> None:
    wbot.add_business("cafe", "--currency", "JPY")
    wbot.done("ledger", "deposit", "shop", ALICE, "1")
    wbot.done("ledger", "deposit", "cafe", ALICE, "300")
    one = wbot.done("ledger", "export", "--business", "cafe")
    assert [row["amount"] for row in csv.DictReader(io.StringIO(one))] == ["300"]
    journal = wbot.done("ledger", "export", "--format", "hledger", "--business", "cafe")
    assert f"    customers:cafe:{ALICE}  300 JPY" in journal.splitlines()
    assert "shop" not in journal
    assert len(wbot.done("ledger", "export").splitlines()) == 3


def test_a_two_phase_transfer_is_one_line_with_its_state(tx: sqlite3.Connection) -> None:
    alice = Paying(tx)
    for ending in (Phase.POST, Phase.VOID, Phase.EXPIRE):
        alice.resolve(alice.hold("John", 10_00, "rent"), ending)
    alice.hold("John", 10_00)
    alice.reverse(alice.posted("John", 10_00))
    shown = ("transfer", "kind", "state", "memo", "reverses")
    assert [tuple(row[name] for name in shown) for row in exported(tx)] == [
        ("T1", "deposit", "posted", "", ""),
        ("T2", "transfer", "posted", "rent", ""),
        ("T4", "transfer", "void", "rent", ""),
        ("T6", "transfer", "void", "rent", ""),
        ("T8", "transfer", "pending", "", ""),
        ("T9", "transfer", "reversed", "", ""),
        ("T11", "reversal", "posted", "", "T9"),
    ]


def test_payees_reach_the_export_under_names_of_their_own(tx: sqlite3.Connection) -> None:
    alice = Paying(tx)
    names = ("John", "a:b", "a;b", "a_b", "x" * 60)
    numbers = {}
    for name in names:
        alice.pay(name, 1)
        account = accounts.of_payee(tx, SHOP.id, alice.customer_id, name, NOW)
        numbers[name] = account
    assert [row["to"].removeprefix(f"payees:shop:{ALICE}:") for row in exported(tx)[1:]] == [
        "John",
        f"a_b#{numbers['a:b']}",
        f"a_b#{numbers['a;b']}",
        "a_b",
        "x" * 60,
    ]


@pytest.mark.parametrize("sign", [*"=+-@\t＝＋－＠"])
def test_no_cell_of_customer_text_is_a_formula(tx: sqlite3.Connection, sign: str) -> None:
    alice = Paying(tx)
    alice.pay("John", 1, f"{sign}HYPERLINK(1)")
    alice.pay("John", 1, f" {sign}1")
    alice.pay("John", 1, f"5 {sign} 2")
    shown = " " if sign == "\t" else sign
    assert [row["memo"] for row in exported(tx)[1:]] == [
        f"'{shown}HYPERLINK(1)",
        f"' {shown}1",
        f"5 {shown} 2",
    ]


def test_a_refusal_without_a_payee_account_keeps_the_customers_words(
    tx: sqlite3.Connection,
) -> None:
    alice = make_customer(tx, ALICE)
    movement = ledger.Movement(
        business_id=SHOP.id,
        kind=TransferKind.TRANSFER,
        debit_account_id=accounts.of_customer(tx, SHOP.id, alice),
        credit_account_id=None,
        amount_minor=100,
        currency="USD",
        cause=Cause(CauseKind.CALL, "m"),
        refusal="insufficient_funds",
        payee="+cmd",
    )
    ledger.record(tx, movement, NOW)
    row = exported(tx)[0]
    assert (row["state"], row["to"], row["cause"]) == ("refused", "'+cmd", "call:m")
    assert len(parsed(hledger_lines(tx, EVERYTHING))) == 0


# Periods ----------------------------------------------------------------------------------------

LATE, EARLY = "T23:59:59.999999Z", "T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("since", "until", "asked_for", "posted"),
    [
        (None, None, ["T1", "T2", "T3", "T4"], ["T1", "T2", "T3", "T4"]),
        ("2026-11-24", None, ["T2", "T3", "T4"], ["T2", "T3", "T4"]),
        ("2026-11-25", None, ["T4"], ["T3", "T4"]),
        ("2026-11-24", "2026-11-24", ["T2", "T3"], ["T2"]),
        ("2026-11-25", "2026-11-25", ["T4"], ["T3", "T4"]),
        (None, "2026-11-23", ["T1"], ["T1"]),
        ("2027-01-01", None, [], []),
        (None, "9999-12-31", ["T1", "T2", "T3", "T4"], ["T1", "T2", "T3", "T4"]),
    ],
)
def test_a_period_has_its_first_and_its_last_day(
    tx: sqlite3.Connection,
    since: str | None,
    until: str | None,
    asked_for: list[str],
    posted: list[str],
) -> None:
    """T3 is requested in the last moment of the 24th, and posted in the first of the 25th."""
    alice = Paying(tx)
    alice.pay("John", 1_00, at=f"2026-11-24{EARLY}")
    held = alice.hold("John", 2_00, at=f"2026-11-24{LATE}")
    selection = Selection(business_id="shop", since=since, until=until)
    alice.pay("John", 4_00, at=f"2026-11-25{EARLY}")
    alice.resolve(held, Phase.POST, at=f"2026-11-25{EARLY}")
    assert [row["transfer"] for row in exported(tx, selection)] == asked_for
    journal = parsed(hledger_lines(tx, selection))
    assert sorted(words.split()[1] for words, _ in journal) == posted


def test_the_command_exports_a_period_of_a_business(wbot: Wbot) -> None:
    connection = connect(wbot.database)
    with transaction(connection) as tx:
        alice = Paying(tx)
        alice.pay("John", 20_00, "one", at=f"2026-11-30{LATE}")
        alice.pay("John", 30_00, "two", at=f"2026-12-01{EARLY}")
    connection.close()
    november = ("--business", "shop", "--since", "2026-11-24", "--until", "2026-11-30")
    rows = list(csv.DictReader(io.StringIO(wbot.done("ledger", "export", *november))))
    assert [row["memo"] for row in rows] == ["one"]
    journal = wbot.done("ledger", "export", "--format", "hledger", *november)
    assert [line for line in journal.splitlines() if line.startswith("2026")] == [
        "2026-11-30 T2 transfer: one"
    ]
    said = " ".join(wbot.done("ledger", "export", "--help").split())
    assert "To the end of this day, inclusive" in said


# The journal ------------------------------------------------------------------------------------

Journal = list[tuple[str, list[tuple[str, str]]]]


def parsed(lines: Iterable[str]) -> Journal:
    """The transactions of a journal: description, and account and amount of each posting."""
    text = "\n".join(lines)
    head, *blocks = text.split("\n\n")
    assert head == "decimal-mark ."
    journal: Journal = []
    for block in blocks:
        description, *postings = block.split("\n")
        split = [tuple(re.split(r"\s{2,}", line.strip())) for line in postings]
        assert all(len(parts) == 2 for parts in split)
        journal.append((description, [(parts[0], parts[1]) for parts in split]))
    return journal


def amounts(postings: list[tuple[str, str]]) -> list[int]:
    return [int(re.sub(r"\D", "", one)) * (-1 if "-" in one else 1) for _, one in postings]


def test_a_two_phase_transfer_has_its_own_name_and_the_date_of_its_posting(
    tx: sqlite3.Connection,
) -> None:
    alice = Paying(tx)
    first = alice.hold("John", 20_00, "rent", at=f"2026-11-24{LATE}")
    alice.resolve(alice.hold("Jane", 5_00, "never"), Phase.VOID)
    alice.hold("Jane", 5_00, "not yet")
    alice.resolve(first, Phase.POST, at=f"2026-11-25{EARLY}")
    direct = alice.pay("Jane", 7_00, "lunch", at=f"2026-11-25{EARLY}")
    alice.reverse(first, at=f"2026-11-26{EARLY}")
    alice.reverse(direct, at=f"2026-11-26{EARLY}")
    own, john = f"customers:shop:{ALICE}", f"payees:shop:{ALICE}:John"
    journal = parsed(hledger_lines(tx, EVERYTHING))
    assert journal[1] == (
        "2026-11-25 T2 transfer: rent",
        [(own, "-20.00 USD"), (john, "20.00 USD")],
    )
    assert [words for words, _ in journal] == [
        "2026-11-23 T1 deposit",
        "2026-11-25 T2 transfer: rent",
        "2026-11-25 T7 transfer: lunch",
        "2026-11-26 T8 reversal of T2",
        "2026-11-26 T9 reversal of T7",
    ]


def test_a_memo_is_words_and_no_syntax_of_the_journal(tx: sqlite3.Connection) -> None:
    Paying(tx).pay("John", 1, " one ; two | three  four\N{NO-BREAK SPACE}\tfive\n")
    described = parsed(hledger_lines(tx, EVERYTHING))[1][0]
    assert described == "2026-11-23 T2 transfer: one , two / three four five"


async def test_what_a_customer_confirms_is_exported_under_the_number_they_read(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, CUSTOMER, 100_00)
    with writing(database_path) as tx:
        asking = msgspec.structs.replace(businesses.required(tx, "shop"), policy=Policy())
        businesses.change(tx, asking)
    async with make_world() as world:
        question = await world.ask(CUSTOMER, "Transfer $20 to John for rent")
        assert "(T2)" in question
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert "(T2)" in await world.ask(CUSTOMER, "Yes")
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
    connection = connect(database_path)
    described = [words for words, _ in parsed(hledger_lines(connection, EVERYTHING))]
    row = exported(connection)[1]
    asked_by = connection.execute("SELECT message_id FROM messages ORDER BY number").fetchone()
    connection.close()
    assert described[1].partition(" ")[2].startswith("T2 transfer")
    assert [row[name] for name in ("transfer", "state", "message_id")] == [
        "T2",
        "posted",
        asked_by["message_id"],
    ]
    assert len(described) == 2


def test_no_control_leaves_with_the_export(tx: sqlite3.Connection) -> None:
    alice = Paying(tx)
    words = "\x1b]0;x\x07\x9b31mJo\N{RIGHT-TO-LEFT OVERRIDE}hn\n2026-11-23 T9 forged"
    alice.pay(words, 1, words)
    for lines in (csv_lines(tx, EVERYTHING), hledger_lines(tx, EVERYTHING)):
        text = "\n".join(lines)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        assert not re.search("^2026-11-23 T9", text, re.MULTILINE)


people_write = st.text(max_size=70)


def storable(text: str) -> str:
    """The text as it arrives from outside: no lone surrogate, no U+0000."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


@settings(max_examples=60, deadline=None)
@given(names=st.lists(people_write, max_size=4), memo=people_write)
def test_every_journal_balances_whatever_people_write(names: list[str], memo: str) -> None:
    tx = make_tx()
    alice = Paying(tx)
    payees = set()
    for place, name in enumerate(names):
        movement = alice.movement(storable(name), 100 + place, storable(memo))
        payees.add(movement.credit_account_id)
        ledger.record(tx, movement, NOW)
    journal = parsed(hledger_lines(tx, EVERYTHING))
    tx.close()
    assert len(journal) == 1 + len(names)
    assert all(sum(amounts(postings)) == 0 for _, postings in journal)
    assert all(re.match(r"2026-11-23 T\d+ [a-z]+(: [^;|]+)?$", words) for words, _ in journal)
    credited = {postings[1][0] for _, postings in journal[1:]}
    assert len(credited) == len(payees)
    for name in credited:
        assert name.startswith(f"payees:shop:{ALICE}:")
        assert name.count(":") == 3
        assert ";" not in name


# The real programs ------------------------------------------------------------------------------

Figures = dict[tuple[str, str], int]


def ours(tx: sqlite3.Connection) -> Figures:
    """The balance of each account by exported name and currency, including held money."""
    names = ledger_export._names(ledger_queries.accounts(tx))
    rows = tx.execute(
        "SELECT a.id, a.currency, b.posted_minor FROM balances b JOIN accounts a "
        "ON a.id = b.account_id WHERE b.posted_minor <> 0"
    ).fetchall()
    return {(names[number], currency): minor for number, currency, minor in rows}


def run(*command: str, journal: str) -> str:
    """Run a program on a journal that it must accept without a warning; returns its output."""
    ran = subprocess.run(
        command,
        input=journal.encode(),
        capture_output=True,
        check=False,
        timeout=60,
        env={"LC_ALL": "C.UTF-8"},
    )
    assert (ran.returncode, ran.stderr.decode()) == (0, "")
    return ran.stdout.decode()


def minor_of(amount: str, code: str) -> int:
    sign, digits = (-1, amount[1:]) if amount.startswith("-") else (1, amount)
    # A program may drop decimals that are zeros; we never write such an amount.
    whole, _, decimals = digits.partition(".")
    exponent = currency_of(code).exponent
    assert len(decimals) <= exponent
    return sign * int(whole + decimals.ljust(exponent, "0"))


def hledger(journal: str) -> Figures:
    program = str(shutil.which("hledger"))
    run(program, "-f", "-", "check", journal=journal)
    asked = ("balance", "--flat", "--no-total", "--layout=bare", "-O", "csv")
    out = run(program, "-f", "-", *asked, journal=journal)
    rows = csv.DictReader(io.StringIO(out, newline=""))
    return {
        (row["account"], row["commodity"]): minor_of(row["balance"], row["commodity"])
        for row in rows
    }


def ledger_cli(journal: str) -> Figures:
    program = str(shutil.which("ledger"))
    asked = (
        "balance",
        "--flat",
        "--no-total",
        "--balance-format",
        "%(account)\t%(display_total)\n",
    )
    out = run(program, "--init-file", "/dev/null", "-f", "-", *asked, journal=journal)
    found: Figures = {}
    for line in out.removesuffix("\n").split("\n"):
        account, _, total = line.partition("\t")
        amount, code = total.split(" ")
        found[account, code] = minor_of(amount, code)
    return found


programs = pytest.mark.parametrize(
    "program",
    [
        pytest.param(
            read,
            id=name,
            marks=pytest.mark.skipif(
                shutil.which(name) is None, reason=f"the program {name} is not installed"
            ),
        )
        for name, read in (("hledger", hledger), ("ledger", ledger_cli))
    ],
)
Program = Callable[[str], Figures]


def journal_of(tx: sqlite3.Connection, selection: Selection = EVERYTHING) -> str:
    return "\n".join([*hledger_lines(tx, selection), ""])


@programs
def test_the_program_agrees_about_every_kind_of_transfer(
    tx: sqlite3.Connection, program: Program
) -> None:
    alice = Paying(tx)
    for ending in (Phase.POST, Phase.VOID, Phase.EXPIRE):
        alice.resolve(alice.hold("John", 10_01, "rent"), ending)
    alice.hold("John", 10_00, "waits")
    alice.reverse(alice.pay("Jane", 5_05, "lunch"))
    alice.reverse(alice.posted("Jim", 3_03))
    ledger_adjustments.withdraw(tx, SHOP, Order(customer=ALICE, amount="0.07", memo="Cash"), NOW)
    assert invariants.breaches(tx) == []
    found = program(journal_of(tx))
    assert found == ours(tx)
    assert found[f"customers:shop:{ALICE}", "USD"] == 989_92
    assert found[f"payees:shop:{ALICE}:John", "USD"] == 10_01


@programs
def test_the_program_reads_every_currency_with_its_decimals(program: Program) -> None:
    codes = sorted(money._CURRENCIES)
    tx = make_tx(*(business_in(code) for code in codes))
    for code in codes:
        one = 10 ** currency_of(code).exponent
        for minor in (1, 7 * one, 1_250 * one, LARGEST_MINOR):
            amount = format_amount(minor, currency_of(code))
            order = Order(customer=ALICE, amount=amount)
            ledger_adjustments.deposit(tx, business_in(code), order, NOW)
    found = program(journal_of(tx))
    assert found == ours(tx)
    assert len(found) == 2 * len(codes)
    assert found[f"customers:in-JPY:{ALICE}", "JPY"] == LARGEST_MINOR + 1 + 7 + 1_250
    assert found[f"customers:in-KWD:{ALICE}", "KWD"] == LARGEST_MINOR + 1 + 7_000 + 1_250_000
    tx.close()


def business_in(code: str) -> Business:
    return Business(
        id=f"in-{code}",
        name=code,
        phone_number_id=code,
        access_token="env:TOKEN",
        currency_code=code,
    )


@programs
def test_the_program_reads_a_journal_of_each_period(
    tx: sqlite3.Connection, program: Program
) -> None:
    alice = Paying(tx)
    for day in range(1, 6):
        alice.resolve(alice.hold("John", day, at=f"2026-12-0{day}{EARLY}"), Phase.POST)
        alice.pay("Jane", 10 * day, at=f"2026-12-0{day}{LATE}")
    whole: Figures = {}
    for since, until in ((None, "2026-12-02"), ("2026-12-03", "2026-12-03"), ("2026-12-04", None)):
        for key, minor in program(journal_of(tx, Selection(since=since, until=until))).items():
            whole[key] = whole.get(key, 0) + minor
    assert whole == ours(tx)


# What either program takes for something else, wherever it may stand.
SYNTAX = (
    *(
        "(x)",
        "[x]",
        "(",
        ")",
        "[",
        "]",
        "<x>",
        "* ",
        "! ",
        "*",
        "!",
        ";",
        " ; ",
        "|",
        "#",
        "%",
        "&",
    ),
    *(
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\N{NO-BREAK SPACE}",
        "\N{IDEOGRAPHIC SPACE}",
        "\N{LINE SEPARATOR}",
    ),
    *("a:b", ":", "::", ":tag:", "key: value", "key:: 1", "date:2020-01-01", "[2020-01-01]"),
    *("2026-11-23", "2026/11/23=", "5", "5 USD", "-5.00 USD", "$5", "1,000", "1.000,50", "007"),
    *("@ 5 EUR", "@@", "{5}", "{{5}}", "=", "= 5", "==*", "~ monthly", "P", "D", "Y2020", "N"),
    *("include /etc/passwd", "account x", "alias a=b", "comment", "end", "!include", "@include"),
    *("USD", "JPY", "EUR", '"', '"x y"', "'", "\\", "\\n", "/", "/re/", "^", "$", "?", "..", "é"),
    *(
        "e\N{COMBINING ACUTE ACCENT}",
        "ß",
        "日本",
        "عربى",
        "\N{RIGHT-TO-LEFT OVERRIDE}",
        "🧾",
        "👩‍👩‍👧",
    ),
    # Colours, a window's title, a cleared screen, the same in one byte; marks of direction.
    *("\x1b[31m", "\x1b]0;x\x07", "\x1b[2J", "\x9b31m", "\x08", "\r", "\v", "\x85"),
    *("\N{LEFT-TO-RIGHT ISOLATE}", "\N{RIGHT-TO-LEFT MARK}", "\N{ARABIC LETTER MARK}"),
    *("\N{ZERO WIDTH SPACE}", "\N{WORD JOINER}", "\N{ZERO WIDTH NO-BREAK SPACE}", "\ufffe", "\x7f"),
)
pieces = st.sampled_from(SYNTAX) | st.text(max_size=8)
hostile = st.lists(pieces, max_size=5).map("".join).map(storable)


@programs
@settings(max_examples=25, deadline=None)
@given(words=st.lists(st.tuples(hostile, hostile), min_size=1, max_size=40))
def test_no_name_and_no_memo_breaks_the_program(
    program: Program, words: list[tuple[str, str]]
) -> None:
    """One call reads many of them, so that an effect of one name on another shows as well."""
    tx = make_tx()
    alice = Paying(tx)
    for place, (name, memo) in enumerate(words):
        movement = alice.movement(name, 1 + place, memo)
        ledger.record(tx, movement, NOW)
    assert program(journal_of(tx)) == ours(tx)
    tx.close()


@programs
def test_each_piece_of_syntax_is_a_name_like_any_other(
    tx: sqlite3.Connection, program: Program
) -> None:
    alice = Paying(tx)
    for place, piece in enumerate(SYNTAX):
        for shape in ("{}", "{}x", "x{}", "x {} y", "({})", "[{}]"):
            words = shape.format(piece)
            ledger.record(tx, alice.movement(words, 1 + place, words), NOW)
    assert program(journal_of(tx)) == ours(tx)


def test_a_journal_that_is_wrong_is_noticed(tx: sqlite3.Connection) -> None:
    """The comparison can fail: a posting that is off by one, a different account name."""
    alice = Paying(tx)
    alice.pay("John", 5_00)
    for name, read in (("hledger", hledger), ("ledger", ledger_cli)):
        if shutil.which(name) is None:
            continue
        with pytest.raises(AssertionError):
            read(journal_of(tx).replace("  5.00 USD", "  5.01 USD"))
        assert read(journal_of(tx).replace(":John", ":(John)")) != ours(tx)
