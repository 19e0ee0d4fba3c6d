"""No float near money: not in a type, an expression, a format, a statement or a column.

mypy keeps an int from becoming a float unnoticed, so where nothing makes or declares one there is
none. What has no type of its own, the rows of the database, is checked by its columns.
"""

import ast
import importlib
import pkgutil
import re
import sqlite3
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from db_factories import make_tx

import wbot

HOUSE = Path(wbot.__file__).parent
SOURCES = {
    path.relative_to(HOUSE).as_posix(): path.read_text("utf-8") for path in HOUSE.rglob("*.py")
}
MONEY_BY_NAME = re.compile(
    r"domain/(money|ledger|policy|receipts|business|business_settings|policy_summary)\.py"
    r"|storage/(accounts|ledger|ledger_history|ledger_queries|payees)\.py"
    r"|payments/\w+\.py"
    r"|turns/(toolbox|tools/\w+)\.py"
    r"|admin/(ledger_adjustments|customer_merge|ledger_export)\.py"
    r"|commands/ledger\.py"
)
# Any other module that handles minor units or currencies is near money as well.
MONEY_BY_CONTENT = re.compile(r"_minor\b|wbot\.domain\.money|import money\b")
# It shows the seconds that each stage of a message took, and quotes formatted amounts.
DURATIONS = {"admin/message_timeline.py"}
MONEY = sorted(
    file
    for file, source in SOURCES.items()
    if MONEY_BY_NAME.fullmatch(file) or (MONEY_BY_CONTENT.search(source) and file not in DURATIONS)
)

# Sources ----------------------------------------------------------------------------------------

FLOAT_NAMES = {"float", "complex", "truediv", "itruediv", "__truediv__", "fsum", "float64"}
FLOAT_MODULES = {"math", "cmath", "statistics", "numpy"}
SECONDS = re.compile(r"_m?s$", re.IGNORECASE)
FLOAT_FORMAT = re.compile(r"[eEfFgG%]$")
PERCENT_FORMAT = re.compile(r"%[-+ #0-9.*]*[eEfFgG]")
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|WHERE|CASE)\b")
FLOAT_SQL = re.compile(
    r"\b(real|float|double|numeric)\b|\b(avg|total|round|julianday)\s*\(|\d\.\d|\s/\s",
    re.IGNORECASE,
)


def floats_in(source: str) -> list[str]:
    """Every place in a source that makes a float, declares one, or formats a number as one."""
    tree = ast.parse(source)
    return [ast.unparse(node) for node in _walked(tree) if _is_float(node)]


def _walked(node: ast.AST) -> Iterator[ast.AST]:
    """The node and its descendants, except durations: a name that ends in seconds is not money."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            is_duration = bool(SECONDS.search(name))
        case ast.arg(arg=name):
            is_duration = bool(SECONDS.search(name))
        case _:
            is_duration = False
    if not is_duration:
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _walked(child)


def _is_float(node: ast.AST) -> bool:  # noqa: PLR0911  a table of what a float looks like
    match node:
        case ast.Constant(value=float() | complex()):
            return True
        case ast.Constant(value=str(text)):
            # An annotation in quotes is a string as well; so is a statement.
            return text in FLOAT_NAMES or bool(SQL.search(text) and FLOAT_SQL.search(text))
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
            return name in FLOAT_NAMES or name.split(".")[0] in FLOAT_MODULES
        case ast.ImportFrom(module=str(module)):
            return module.split(".")[0] in FLOAT_MODULES
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return True
        case ast.BinOp(op=ast.Pow(), right=ast.UnaryOp(op=ast.USub())):
            return True
        case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str(text))):
            return bool(PERCENT_FORMAT.search(text))
        case ast.FormattedValue(format_spec=ast.JoinedStr() as spec):
            return bool(FLOAT_FORMAT.search(ast.unparse(spec)[:-1]))
        case _:
            return False


@pytest.mark.parametrize("file", MONEY)
def test_a_source_near_money_makes_no_float(file: str) -> None:
    assert floats_in(SOURCES[file]) == []


def test_the_walk_reaches_every_source_of_the_rule() -> None:
    """Each name in the rule is an existing file; otherwise a moved one would drop out unnoticed."""
    assert len([file for file in MONEY if MONEY_BY_NAME.fullmatch(file)]) >= 20
    for file in ("domain/money.py", "storage/ledger.py", "turns/tools/transfer.py"):
        assert file in MONEY
    assert "commands/business.py" in MONEY
    assert "outbound/rate_limit.py" not in MONEY


@pytest.mark.parametrize(
    "planted",
    [
        "amount_minor = 1.5",
        "amount_minor = 1e9",
        "amount_minor = 2j",
        "FEES = 2.0",
        "def fee(minor: int, *, wait_s: float = 0, share: float = 0) -> int: ...",
        "wait_s = 2.0\nshare = 2.0",
        "amount_minor = minor / 100",
        "amount_minor /= 100",
        "amount_minor = minor * 10 ** -2",
        "amount_minor = float(text)",
        "read = float",
        "amount_minor: float = 0",
        "amount_minor: 'float' = 0",
        "def fee(minor: int) -> float: ...",
        "def fee(minor: int, share: float | None = None) -> int: ...",
        "def fee(minor: int, share: 'float') -> int: ...",
        "class Fee:\n    share: list[float]",
        "import math",
        "from math import floor",
        "import numpy as np",
        "from operator import truediv",
        "import operator\noperator.truediv(minor, 100)",
        "minor.__truediv__(100)",
        "text = f'{minor:.2f}'",
        "text = f'{minor:{width}.2f}'",
        "text = '%.2f' % minor",
        "q = 'SELECT sum(amount_minor) / 100 FROM postings'",
        "q = 'SELECT amount_minor * 0.01 FROM postings'",
        "q = 'SELECT CAST(amount_minor AS REAL) FROM postings'",
        "q = 'SELECT total(amount_minor) FROM postings'",
        "q = f'SELECT avg(amount_minor) FROM {table}'",
    ],
)
def test_a_planted_float_is_found(planted: str) -> None:
    assert floats_in(planted)


@pytest.mark.parametrize(
    "honest",
    [
        "amount_minor = minor // 100",
        "whole, rest = divmod(minor, 10**exponent)",
        "text = f'{whole:,}{rest:02}'",
        "values = json.loads(text, parse_float=str)",
        "word = 'a real float, in words'",
        "q = 'SELECT sum(amount_minor) FROM postings'",
        "path = 'm/transfer/T1'",
        "EXPIRY_GRACE_S = 2.0",
        "def expire(*, grace_s: float) -> int: ...",
    ],
)
def test_whole_numbers_are_left_alone(honest: str) -> None:
    assert floats_in(honest) == []


# Structs ----------------------------------------------------------------------------------------


def structs() -> Iterator[type[msgspec.Struct]]:
    """Every struct of wbot, wherever it is defined."""
    for module in pkgutil.walk_packages(wbot.__path__, "wbot."):
        found = vars(importlib.import_module(module.name)).values()
        for one in found:
            is_struct = isinstance(one, type) and issubclass(one, msgspec.Struct)
            if is_struct and one.__module__ == module.name:
                yield one


def leaves(hint: Any) -> set[Any]:
    """The plain types in an annotation."""
    if typing.get_origin(hint) is Annotated:
        return leaves(hint.__origin__)
    # The arguments of a Callable come as a list.
    parts = hint if isinstance(hint, list) else typing.get_args(hint)
    if parts or isinstance(hint, list):
        return set().union(*map(leaves, parts))
    return {hint}


def wrong_fields(struct: type[msgspec.Struct], *, is_near_money: bool) -> list[str]:
    """Fields of a type that money must not have: minor units are int, written amounts are text."""
    found = []
    for name, hint in typing.get_type_hints(struct, include_extras=True).items():
        kinds = leaves(hint) - {type(None)}
        if name.endswith("_minor"):
            is_wrong = kinds != {int}
        elif name == "amount":
            is_wrong = kinds != {str}
        else:
            is_wrong = is_near_money and bool(kinds & {float, complex}) and not SECONDS.search(name)
        if is_wrong:
            found.append(f"{struct.__name__}.{name}")
    return found


def test_a_struct_carries_money_as_whole_numbers() -> None:
    walked = {}
    for struct in structs():
        file = f"{struct.__module__.removeprefix('wbot.').replace('.', '/')}.py"
        is_near_money = file in MONEY
        walked[struct.__name__] = wrong_fields(struct, is_near_money=is_near_money)
    assert [field for fields in walked.values() for field in fields] == []
    assert {"Policy", "Balance", "Entry", "Movement", "Order", "Transfer"} <= set(walked)


@pytest.mark.parametrize(
    "hint",
    [
        float,
        float | None,
        int | float,
        list[float],
        Annotated[float, msgspec.Meta(gt=0)],
        str,
        bool,
    ],
)
def test_a_planted_field_of_another_type_is_found(hint: Any) -> None:
    planted = msgspec.defstruct("Fee", [("share_minor", hint)])
    assert wrong_fields(planted, is_near_money=False) == ["Fee.share_minor"]


@pytest.mark.parametrize(("name", "hint"), [("amount", float), ("amount", int), ("share", float)])
def test_a_planted_amount_or_fraction_is_found(name: str, hint: Any) -> None:
    planted = msgspec.defstruct("Fee", [(name, hint)])
    assert wrong_fields(planted, is_near_money=True) == [f"Fee.{name}"]


# Columns ----------------------------------------------------------------------------------------


def wrong_columns(tx: sqlite3.Connection) -> list[str]:
    """Columns of minor units that are not declared as integers."""
    tables = tx.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [
        f"{table}.{column['name']}"
        for (table,) in tables
        for column in tx.execute(f"PRAGMA table_info({table})").fetchall()
        if column["name"].endswith("_minor") and column["type"] != "INTEGER"
    ]


def test_the_schema_keeps_minor_units_as_integers() -> None:
    tx = make_tx()
    assert wrong_columns(tx) == []
    tx.execute("CREATE TABLE fees (share_minor REAL, least_minor, most_minor INTEGER)")
    assert wrong_columns(tx) == ["fees.share_minor", "fees.least_minor"]
    tx.close()
