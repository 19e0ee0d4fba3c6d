"""No statement reads more as the tables grow: its plan, with and without statistics."""

import ast
import importlib
import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from db_factories import make_tx

import wbot
from wbot.storage import migrations

HOUSE = Path(wbot.__file__).parent
SMALL_TABLES = {
    *("businesses", "installation", "restorations", "model_dialects"),
    *("schema_version", "sqlite_master", "sqlite_sequence"),
}
"""One row per business, restore, model or migration; every other table grows with customers."""

OPEN_WORK = {
    "messages_unfinished": "messages whose turn has not ended",
    "messages_in_line": "messages whose turn has not ended",
    "outbox_unsettled": "replies whose fate is open",
    "outbox_in_line": "replies whose fate is open",
    "attempts_open": "sends under way",
    "prompts_open": "questions under way",
}
"""Partial indexes of pending work only: reading one completely is the work itself."""

READS_ALL = {
    "storage/ledger_queries.py": {
        "counts": "`wbot ledger verify` says how much it has checked",
        "transfers": "`wbot ledger export` prints the whole ledger",
        "posted": "`wbot ledger export` prints the whole ledger",
        "accounts": "`wbot ledger export` names every account",
    },
    "storage/errors.py": {
        "count": "`wbot errors list` says how many there are",
        "every": "the latest rows, from the end of the primary key",
    },
    "storage/outbox_queries.py": {
        "latest_quotable": "the latest rows, from the end of the primary key"
    },
    "storage/ledger.py": {
        "record": "one row, from the end of the primary key",
        "open_everywhere": "a restored copy voids every open hold, once",
    },
    "storage/undelivered.py": {"mark_all_told": "a restored copy ends all that is open, once"},
    "storage/restorations.py": {
        "mark": "one row, from the end of the primary key",
        "lost_messages": "`wbot restore --accept` counts what the replaced database has more",
        "lost_batches": "the same, of exported payouts",
    },
}
"""Functions that may scan a growing table, with the reason."""

READS_ALL_GUARDS = {"transfers_continue_the_chain": "one row, from the end of the primary key"}

NO_STATEMENTS = {"storage/migrations.py": "it runs the schema's own text, once a database"}

SCALE = 1_000
"""How much larger the tables are in the second planning than in the measurement."""


class Statement(msgspec.Struct, frozen=True):
    file: str
    function: str
    sql: str


class Unreadable(msgspec.Struct, frozen=True):
    file: str
    function: str
    argument: str


def sources() -> Iterator[str]:
    for path in sorted(HOUSE.rglob("*.py")):
        file = path.relative_to(HOUSE).as_posix()
        if not file.startswith("simulator/") and file not in NO_STATEMENTS:
            yield file


@cache
def found() -> tuple[Statement | Unreadable, ...]:
    return tuple(one for file in sources() for one in statements_of(file))


def statements_of(file: str) -> Iterator[Statement | Unreadable]:
    text = (HOUSE / file).read_text("utf-8")
    if ".execute" not in text:
        return
    module = importlib.import_module(f"wbot.{file.removesuffix('.py').replace('/', '.')}")
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            names = local_texts(module, function)
            for argument in executed(function):
                sql = value_of(module, argument, names)
                if sql is None:
                    yield Unreadable(file, function.name, ast.unparse(argument))
                elif re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH)\b", sql):
                    yield Statement(file, function.name, sql)


def executed(function: ast.AST) -> Iterator[ast.expr]:
    """The first argument of every call of execute or executemany."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in {"execute", "executemany"} and node.args:
                yield node.args[0]
            assert node.func.attr != "executescript", "a script's statements cannot be separated"


def local_texts(module: ModuleType, function: ast.AST) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = value_of(module, node.value, names)
            if text is not None:
                names[node.targets[0].id] = text
    return names


def value_of(module: ModuleType, node: ast.expr, names: dict[str, str]) -> str | None:
    """The text that an expression of names and literals yields; None for any other."""
    literal = ast.Constant | ast.JoinedStr | ast.FormattedValue | ast.BinOp | ast.Add
    parts = ast.Name | ast.Attribute | ast.Load
    if not all(isinstance(part, literal | parts) for part in ast.walk(node)):
        return None
    code = compile(ast.Expression(node), module.__name__, "eval")
    try:
        value = eval(code, vars(module), names)  # noqa: S307  names and literals of our own source
    except (NameError, AttributeError):
        return None
    return value if isinstance(value, str) else None


def plan_of(tx: sqlite3.Connection, sql: str) -> list[str]:
    explained = f"EXPLAIN QUERY PLAN {sql}"
    names = set(re.findall(r":(\w+)", re.sub(r"'[^']*'", "", sql)))
    values: dict[str, None] | list[None] = dict.fromkeys(names)
    if not names:
        values = [None] * (len(set(re.findall(r"\?\d", sql))) or sql.count("?"))
    return [row["detail"] for row in tx.execute(explained, values).fetchall()]


def scans(tx: sqlite3.Connection, sql: str) -> list[str]:
    """The lines of the plan that scan a table, except small and open ones."""
    tables = {
        alias or name: name
        for name, alias in re.findall(
            r"(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)"
            r"(?:\s+(?:AS\s+)?(?!WHERE|SET|ON|ORDER|GROUP)(\w+))?",
            sql,
        )
    }
    bad = []
    for line in plan_of(tx, sql):
        if "AUTOMATIC" in line or "BLOOM" in line:
            bad.append(line)
        match = re.match(r"SCAN (?:CONSTANT ROW|(\w+))(?: USING (?:COVERING )?INDEX (\w+))?", line)
        if match is None or match[1] is None:
            continue
        name = tables.get(match[1], match[1])
        is_table = tx.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        if is_table and name not in SMALL_TABLES and match[2] not in OPEN_WORK:
            bad.append(line)
    return bad


def plain() -> sqlite3.Connection:
    return make_tx()


def large() -> sqlite3.Connection:
    """With the statistics of large tables, as an operator's ANALYZE leaves them."""
    tx = make_tx()
    tx.execute("ANALYZE")
    tx.execute("DELETE FROM sqlite_stat1")
    indexes = tx.execute(
        "SELECT m.name, m.tbl_name, m.sql FROM sqlite_master m WHERE m.type = 'index'"
    ).fetchall()
    for index in indexes:
        columns = tx.execute(f"PRAGMA index_info({index['name']})").fetchall()
        is_small = index["tbl_name"] in SMALL_TABLES
        rows = 3 if is_small else 3 if index["name"] in OPEN_WORK else 1_000 * SCALE
        spread = [str(max(1, min(rows, 10) // (place + 1))) for place in range(len(columns))]
        tx.execute(
            "INSERT INTO sqlite_stat1 VALUES (?, ?, ?)",
            (index["tbl_name"], index["name"], " ".join([str(rows), *spread])),
        )
    tx.execute("ANALYZE sqlite_master")  # reads them
    return tx


def allowed(one: Statement) -> bool:
    return one.function in READS_ALL.get(one.file, {})


def test_every_statement_can_be_read_from_the_source() -> None:
    """An unreadable statement cannot be checked: it must be literals and names of constants."""
    assert [one for one in found() if isinstance(one, Unreadable)] == []
    assert len(found()) > 150


@pytest.mark.parametrize("make", [plain, large])
def test_no_statement_scans_a_table_that_grows(make: object) -> None:
    assert callable(make)
    tx = make()
    bad = [
        (one.file, one.function, lines)
        for one in found()
        if isinstance(one, Statement) and not allowed(one) and (lines := scans(tx, one.sql))
    ]
    assert bad == []


@pytest.mark.parametrize("make", [plain, large])
def test_no_guard_of_the_schema_scans_a_table_that_grows(make: object) -> None:
    assert callable(make)
    tx = make()
    bad = []
    for name, text in migrations.triggers().items():
        condition = re.search(r"\bWHEN (.*)\bBEGIN SELECT RAISE", text, re.DOTALL)
        if condition is not None and name not in READS_ALL_GUARDS:
            sql = re.sub(r"(NEW|OLD)\.\w+", "?", f"SELECT 1 WHERE {condition[1]}")
            bad += [(name, line) for line in scans(tx, sql)]
    assert bad == []


def test_the_reasons_are_about_functions_that_are_there() -> None:
    there = {(one.file, one.function) for one in found()}
    named = {(file, name) for file, names in READS_ALL.items() for name in names}
    assert named <= there


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM messages WHERE type = 'text'",
        "UPDATE outbox SET error = NULL WHERE wamid IS NOT NULL AND error IS NOT NULL",
        "SELECT 1 FROM transfers p WHERE p.target_id = 1 AND p.phase = 'post'",
        "SELECT m.type, count(*) FROM messages AS m GROUP BY m.type",
        "DELETE FROM conversations WHERE id = 1",
    ],
)
def test_a_statement_that_would_scan_is_noticed(sql: str) -> None:
    assert scans(make_tx(), sql) != []
