"""The architecture rules, checked on the source: allowed imports, and reads of the environment."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path

import pytest

import wbot

HOUSE = Path(wbot.__file__).parent
SOURCES = {
    path.relative_to(HOUSE).as_posix(): path.read_text("utf-8") for path in HOUSE.rglob("*.py")
}

# What each layer may import besides itself: lower layers, never one on the same level.
EDGES = {"storage", "clients", "settings", "logs", "clock", "metrics", "keyed_worker", "ingress"}
STAGES = {"inbound", "turns", "outbound", "monitoring", "admin"}
MAY_IMPORT = {
    "domain": set(),
    "clock": {"domain"},
    "settings": {"domain"},
    "logs": {"domain", "log_output"},
    "log_output": set(),
    "metrics": {"domain"},
    "keyed_worker": {"domain"},
    "ingress": {"domain"},
    "storage": {"domain", "clock"},
    "clients": {"domain", "clock"},
    "payments": {"domain", *EDGES},
    **{stage: {"domain", *EDGES, "payments"} for stage in STAGES},
    "app": {"domain", *EDGES, "payments", *STAGES},
    "commands": {"domain", *EDGES, "payments", *STAGES, "app", "simulator"},
    "__main__": {"domain", *EDGES, "commands"},
    "simulator": {"domain", "clock", "ingress", "clients.offline"},
    "": set(),
}
"""The simulator stands for the outside: of wbot it imports only the clock, the interpreter,
the domain's errors and the server."""

FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base", "manager", "service", "misc"}
BANNED_IN_DOMAIN = {
    *("asyncio", "concurrent", "contextvars", "io", "logging", "multiprocessing", "os", "pathlib"),
    *("random", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl"),
    *("subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "warnings"),
}


def part_of(file: str) -> str:
    """The layer a file belongs to: its folder, or its own name at the top level."""
    first = file.split("/", maxsplit=1)[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports_of(source: str) -> Iterator[str]:
    """Every module a source imports, a name of a package counting as its module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name is defined"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden_imports(file: str, source: str) -> list[str]:
    """The imports of the file that its layer does not allow."""
    part = part_of(file)
    allowed = {part, *MAY_IMPORT[part]} - {""}
    found = []
    for module in imports_of(source):
        if not module.startswith("wbot.") or module == "wbot.__version__":
            continue
        name = module.removeprefix("wbot.")
        if not any(name == one or name.startswith(f"{one}.") for one in allowed):
            found.append(module)
    return found


@cache
def names_used(source: str) -> set[str]:
    """Dotted names in a source, qualified by the module they were imported from."""
    tree = ast.parse(source)
    origins: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            origins |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            origins |= {one.asname: one.name for one in node.names if one.asname}
    used = set(origins.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            first, dot, rest = ast.unparse(node).partition(".")
            used.add(origins.get(first, first) + dot + rest)
    return used


def uses(source: str, pattern: str) -> list[str]:
    return sorted(name for name in names_used(source) if re.fullmatch(pattern, name))


ENVIRONMENT = r"os\.(environ|environb|getenv|getenvb|putenv)\b.*"
TIME = (
    r"time\.(time|monotonic|perf_counter|process_time|localtime|gmtime|sleep)(_ns)?"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)"
)
LOOSE_TASKS = r"asyncio\.(create_task|ensure_future)|.*loop(\(\))?\.create_task"


@pytest.mark.parametrize("file", SOURCES)
def test_a_part_imports_only_what_is_below_it(file: str) -> None:
    assert forbidden_imports(file, SOURCES[file]) == []


@pytest.mark.parametrize(
    ("file", "source", "found"),
    [
        ("domain/money.py", "import wbot.storage", ["wbot.storage"]),
        ("domain/money.py", "from wbot.clock import Clock", ["wbot.clock.Clock"]),
        ("storage/ledger.py", "from wbot import settings", ["wbot.settings"]),
        (
            "storage/ledger.py",
            "from wbot.clients.model import Answer",
            ["wbot.clients.model.Answer"],
        ),
        ("turns/turn.py", "from wbot.outbound import sender", ["wbot.outbound.sender"]),
        ("inbound/intake.py", "def f():\n    import wbot.turns.turn", ["wbot.turns.turn"]),
        (
            "simulator/simulator.py",
            "from wbot.clients.whatsapp import Line",
            ["wbot.clients.whatsapp.Line"],
        ),
        ("monitoring/health.py", "import wbot.app", ["wbot.app"]),
        ("app.py", "from wbot.commands import serve", ["wbot.commands.serve"]),
        ("keyed_worker.py", "from wbot.domainless import x", ["wbot.domainless.x"]),
        ("simulator/simulator.py", "from wbot.clients import offline", []),
        ("turns/turn.py", "from wbot.turns.tools import balance\nimport wbot.storage.ledger", []),
        ("monitoring/health.py", "from wbot import __version__", []),
    ],
)
def test_the_import_rule_finds_what_breaks_it(file: str, source: str, found: list[str]) -> None:
    assert forbidden_imports(file, source) == found


def test_only_payments_move_money() -> None:
    """Tools, taps, expiry and operators all ask one layer: a rule stands there, or nowhere."""
    moves = r"ledger\.(record|resolve|reverse)|wbot\.storage\.ledger\.(record|resolve|reverse)"
    movers = {part_of(file) for file, source in SOURCES.items() if uses(source, moves)}
    assert movers == {"payments"}


def test_commands_print_through_one_place() -> None:
    """There the words of customers, models and Meta lose what a terminal would obey."""
    prints = r"click\.(echo|secho)|print|sys\.(stdout|stderr)\.write"
    printers = {
        file
        for file, source in SOURCES.items()
        if part_of(file) in {"commands", "__main__"} and uses(source, prints)
    }
    # These print nobody's words but their own and those of the shell that called them.
    own_words = {f"commands/{name}.py" for name in ("demo", "init", "sample", "sign")}
    assert printers - own_words == {"commands/console.py"}


def test_only_storage_knows_its_engine() -> None:
    """A second engine is a second implementation of one small interface, not fifty files."""
    users = {file for file, source in SOURCES.items() if "sqlite3" in set(imports_of(source))}
    assert {part_of(file) for file in users} == {"storage"}


def calls_of(source: str, receiver: str) -> set[str]:
    """The methods of a name that a source calls."""
    return {
        node.func.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == receiver
    }


@pytest.mark.parametrize("file", SOURCES)
def test_sql_stands_in_storage_behind_one_small_interface(file: str) -> None:
    is_storage = part_of(file) == "storage"
    allowed = {"execute", "executemany"} if is_storage else set()
    assert calls_of(SOURCES[file], "tx") <= allowed
    assert not uses(SOURCES[file], r"(.*\.)?(lastrowid|executescript|total_changes)")


def test_rows_leave_storage_as_structs() -> None:
    """What a caller may read of a row is checked by its type, not by the spelling of a column."""
    for file, source in SOURCES.items():
        if part_of(file) != "storage":
            assert "wbot.storage.tx.Row" not in set(imports_of(source)), file
            continue
        passing = [
            node.name
            for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef)
            and not node.name.startswith("_")
            and node.returns is not None
            and re.search(r"\bRow\b", ast.unparse(node.returns))
        ]
        assert passing == [], file


SQLITE_ONLY = re.compile(
    r"\b(INSERT OR|REPLACE INTO|PRAGMA|VACUUM|julianday|strftime|unixepoch|json_\w+|rowid"
    r"|sqlite_\w+|ifnull|printf|total_changes|GLOB|typeof)\b"
)
MAY_KNOW_SQLITE = {
    "storage/database.py": "how a connection is set up, and when another process has written",
    "storage/copies.py": "copies of a whole file",
    "storage/files.py": "the files of one database, and whether they are still its own",
    "storage/migrations.py": "what a file holds, and a copy of it before an upgrade",
    "storage/invariants.py": "whether the guards and the numbers of the ledger are still there",
    "storage/messages.py": "INSERT OR IGNORE INTO message_ids, which contract and operators name",
}
"""Files with SQL of this engine alone, and why."""


def test_sql_is_what_both_engines_speak() -> None:
    knowing = set()
    for file, source in SOURCES.items():
        if part_of(file) != "storage":
            continue
        texts = [
            node.value
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        if any(SQLITE_ONLY.search(text) for text in texts):
            knowing.add(file)
    assert knowing <= set(MAY_KNOW_SQLITE)


def test_every_part_has_its_place_in_the_rule() -> None:
    assert {part_of(file) for file in SOURCES} == set(MAY_IMPORT)


@pytest.mark.parametrize("file", [file for file in SOURCES if part_of(file) == "domain"])
def test_the_domain_is_pure(file: str) -> None:
    modules = {module.split(".")[0] for module in imports_of(SOURCES[file])}
    assert modules <= set(sys.stdlib_module_names) | {"msgspec", "wbot"}
    assert not modules & BANNED_IN_DOMAIN
    for node in ast.walk(ast.parse(SOURCES[file])):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncWith | ast.AsyncFor)
        assert not (
            isinstance(node, ast.Call) and ast.unparse(node.func) in {"open", "print", "input"}
        )


@pytest.mark.parametrize(
    ("pattern", "home"), [(ENVIRONMENT, "settings.py"), (TIME, "clock.py"), (LOOSE_TASKS, None)]
)
def test_the_world_is_read_in_one_place(pattern: str, home: str | None) -> None:
    """Only settings read the environment, only the clock reads time; every task is in a group."""
    users = {file for file, source in SOURCES.items() if uses(source, pattern)}
    assert users == {home} - {None}


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ("import os\nos.environ['A']", ENVIRONMENT),
        ("import os\nos.environ.get('A')", ENVIRONMENT),
        ("from os import getenv", ENVIRONMENT),
        ("import os as o\no.getenv('A')", ENVIRONMENT),
        ("import time\ntime.time()", TIME),
        ("from time import monotonic as m", TIME),
        ("from datetime import datetime\ndatetime.now()", TIME),
        ("import datetime\ndatetime.datetime.utcnow()", TIME),
        ("import datetime as d\nd.date.today()", TIME),
        ("import asyncio\nasyncio.create_task(f())", LOOSE_TASKS),
        ("import asyncio\nasyncio.get_running_loop().create_task(f())", LOOSE_TASKS),
    ],
)
def test_a_read_of_the_environment_is_found_however_it_is_written(
    source: str, pattern: str
) -> None:
    assert uses(source, pattern)


BODY = r"(.*\.)?request\.(read|text|json|post|multipart|content)\b.*"
LISTENING = r"aiohttp\.web\.(AppRunner|ServerRunner|TCPSite|SockSite|UnixSite|run_app)\b.*"


def test_request_bodies_and_connections_are_accepted_in_one_place() -> None:
    """With limits; an upload to the simulator is read in parts, with the same check first."""
    readers = {file: uses(source, BODY) for file, source in SOURCES.items()}
    readers = {file: names for file, names in readers.items() if names}
    assert set(readers) == {
        "ingress/bodies.py",
        "ingress/connections.py",
        "simulator/graph/lookups.py",
    }
    assert readers["simulator/graph/lookups.py"] == ["request.post"]
    listeners = {file for file, source in SOURCES.items() if uses(source, LISTENING)}
    assert listeners == {"ingress/server.py"}


def test_a_broad_except_stands_only_where_every_failure_ends() -> None:
    """At the turn boundary, around a work item whose error is its caller's, and in the audit.

    And around one log line, so that its failure does not lose the later ones.
    """
    broad = {
        file
        for file, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    }
    assert broad == {
        "inbound/webhook.py",
        "turns/conversation_worker.py",
        "turns/courtesies.py",
        "monitoring/ledger_audit.py",
        "outbound/sender.py",
        "storage/database.py",
        "log_output.py",
    }


@pytest.mark.parametrize("file", SOURCES)
def test_a_module_says_what_it_is(file: str) -> None:
    docstring = ast.get_docstring(ast.parse(SOURCES[file]))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":"))


def test_a_folder_with_source_is_a_package() -> None:
    folders = {path.parent for path in HOUSE.rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").exists()] == []


def test_no_module_is_a_drawer() -> None:
    names = {part for file in SOURCES for part in file.removesuffix(".py").split("/")}
    assert not names & FORBIDDEN_NAMES


def test_migrations_are_numbered_each_once() -> None:
    folder = resources.files("wbot.storage") / "schema"
    names = sorted(file.name for file in folder.iterdir() if file.name != "__pycache__")
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", name) for name in names)
    assert len({name[:4] for name in names}) == len(names)
