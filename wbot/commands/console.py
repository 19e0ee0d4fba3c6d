"""Shared by all commands: settings, the database, JSON or tables, and plain errors."""

import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from wbot.clock import Clock
from wbot.domain.errors import ConfigurationError
from wbot.domain.escaping import in_json, on_lines, on_one_line
from wbot.settings import (
    Configuration,
    Settings,
    read_configuration,
    read_settings,
    unknown_variables,
)
from wbot.storage import files, migrations
from wbot.storage.database import Connection, connect, connected, snapshot, transaction
from wbot.storage.lock import check_name, locked
from wbot.storage.tx import Tx

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")

_CONFIGURATION = "wbot.configuration"

PIPED_WIDTH = 100_000
"""Width of a table that is not printed on a terminal, but read by a program or grep."""


class _Words(click.ParamType[str]):
    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        # Input in another encoding arrives as surrogates, which cannot be stored.
        if any(unicodedata.category(c) == "Cs" for c in text):
            self.fail("This is not UTF-8 text.", param, ctx)
        return text


WORDS = _Words()
"""The type of every argument and option that is stored or looked up as text."""


class _Day(click.ParamType[str]):
    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            # Other spellings of ISO 8601 would not compare as text.
            is_day = date.fromisoformat(text).isoformat() == text
        except ValueError:
            is_day = False
        if not is_day:
            self.fail(f"{text[:20]!r} is not a date; write it like 2026-11-23.", param, ctx)
        return text


DAY = _Day()
"""The type of a UTC day; its text sorts by time."""


def _remember(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.find_root().obj = value


config_option = click.Option(
    ["--config"],
    type=click.Path(path_type=Path),
    metavar="FILE",
    expose_value=False,
    is_eager=True,
    callback=_remember,
    help="Read the configuration from FILE; default: ./.env, else /etc/wbot.env.",
)
"""The configuration file; accepted by every command, before its name and after."""


def load_configuration(*, warns: bool = True) -> Configuration:
    """The configuration of the running command, read once; raises ConfigurationError.

    Unknown variables are reported on stderr, unless the caller reports them otherwise.
    """
    root = click.get_current_context().find_root()
    known: Configuration | None = root.meta.get(_CONFIGURATION)
    if known is None:
        known = root.meta[_CONFIGURATION] = read_configuration(root.obj)
        for sentence in unknown_variables(known.variables) if warns else []:
            warn(sentence)
    return known


def use_configuration(configuration: Configuration) -> None:
    """Let the running command use a configuration that is about to be written."""
    click.get_current_context().find_root().meta[_CONFIGURATION] = configuration


def load_settings() -> tuple[Settings, dict[str, str]]:
    """The settings, and the variables they were read from; raises ConfigurationError."""
    variables = load_configuration().variables
    return read_settings(variables), variables


def now() -> datetime:
    return Clock().now()


@contextmanager
def _connected(*, creates: bool = False) -> Iterator[Connection]:
    """The configured database, migrated unless a service is using it.

    With `creates`, a database that was named explicitly is created if there is none. Raises
    ConfigurationError if it cannot be used or a running service uses another schema version.
    """
    with connected(prepared_database(creates=creates)) as connection:
        yield connection


def prepared_database(*, creates: bool = False) -> Path:
    """The path of the configured database, as `_connected` opens it."""
    configuration = load_configuration()
    path = find_database(configuration, creates=creates and configuration.is_database_named)
    _prepare(path, creates=creates)
    return path


@contextmanager
def reading() -> Iterator[Tx]:
    """A snapshot of the configured database, unaffected by what a service writes."""
    with _connected() as connection, snapshot(connection) as tx:
        yield tx


@contextmanager
def writing(*, creates: bool = False) -> Iterator[Tx]:
    """One transaction on the configured database: kept when the block ends, undone by an error."""
    with _connected(creates=creates) as connection, transaction(connection) as tx:
        yield tx


def find_database(configuration: Configuration, *, creates: bool = False) -> Path:
    """The path of the configured database; raises ConfigurationError where there is none.

    A database is created only on request, never because a path was mistyped or a disk is missing.
    """
    path = read_settings(configuration.variables).database.absolute()
    if creates or not files.is_empty(path):
        return path
    what = f"The database {path} is empty" if path.exists() else f"There is no database at {path}"
    raise ConfigurationError(
        f"{what}: {configuration.places}. Name the right one with WBOT_DATABASE or "
        "--config FILE, or create a new one with `wbot serve --create`."
    )


def _prepare(path: Path, *, creates: bool) -> None:
    if not files.is_empty(path):
        check_name(path)
        connection = connect(path)
        try:
            if not migrations.pending(connection):
                return
        finally:
            connection.close()
    with locked(path, creates=creates):
        connection = connect(path)
        try:
            migrations.migrate(connection, path, now(), creates=creates)
        finally:
            connection.close()


def print_json(value: Any) -> None:
    """The command's whole stdout."""
    text = json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
    click.echo(in_json(text))


def say(*lines: str, err: bool = False) -> None:
    """Each text on a line of its own, whoever's words it names; an empty line for none."""
    for line in lines or ("",):
        click.echo(on_one_line(line), err=err)


def print_table(
    columns: Sequence[str | Column], rows: Sequence[Sequence[str]], *, empty: str
) -> None:
    """A table that fits the terminal, or a sentence where there is nothing to show."""
    if not rows:
        say(empty)
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        *cells, last = row  # a line break in any but the last could look like another row
        table.add_row(*[cell_of(on_one_line(cell)) for cell in cells], cell_of(last))
    print_rich(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    table = Table(Column(style="bold"), Column(), box=None, pad_edge=False, show_header=False)
    for name, value in facts:
        table.add_row(name, cell_of(value))
    print_rich(table)


def cell_of(text: str) -> Text:
    """A cell with somebody's text, as it is safe for a terminal."""
    return Text(on_lines(text), overflow="fold")


def print_rich(table: Table) -> None:
    """A table on stdout, as wide as its terminal; no text is interpreted as markup."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    # rich fills the last column up with blanks.
    click.echo("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def right(title: str) -> Column:
    """A column of figures."""
    return Column(title, justify="right", no_wrap=True)


def readable(at: str | None, *, zone: str = " UTC") -> str:
    """A stored instant for people, to the second; a dash where there is none.

    It names its zone, unless the column's title does.
    """
    return "-" if at is None else f"{at[:19].replace('T', ' ')}{zone}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "1 transfer", "2 transfers"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def warn(sentence: str) -> None:
    """One plain sentence on stderr; the command continues."""
    click.echo(f"wbot: {on_one_line(sentence)}", err=True)


def fail(sentence: str) -> NoReturn:
    """One plain sentence on stderr, for an operation that failed."""
    click.echo(f"wbot: {on_one_line(sentence)}", err=True)
    raise SystemExit(1)
