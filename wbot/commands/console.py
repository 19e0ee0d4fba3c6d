"""What every command shares: settings, the database, JSON or tables, and plain errors."""

import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from wbot.clock import Clock
from wbot.domain.errors import ConfigurationError
from wbot.settings import Settings, environment, read_settings
from wbot.storage import migrations
from wbot.storage.database import connect
from wbot.storage.lock import locked

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


def load_settings() -> tuple[Settings, dict[str, str]]:
    """The settings, and the variables they were read from; raises ConfigurationError."""
    variables = environment()
    return read_settings(variables), variables


def now() -> datetime:
    return Clock().now()


@contextmanager
def open_database() -> Iterator[sqlite3.Connection]:
    """The configured database, brought up to date unless a service has it in use.

    Raises ConfigurationError where it cannot be used or is of another schema than a running one.
    """
    path = load_settings()[0].database
    _migrate_if_needed(path)
    connection = connect(path)
    try:
        yield connection
    finally:
        connection.close()


def _migrate_if_needed(path: Path) -> None:
    if path.exists():
        connection = connect(path)
        try:
            if not migrations.pending(connection):
                return
        finally:
            connection.close()
    with locked(path):
        connection = connect(path)
        try:
            migrations.migrate(connection, path, now())
        finally:
            connection.close()


def print_json(value: Any) -> None:
    """The command's whole stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """A table that fits the terminal, or a sentence where there is nothing to show."""
    if not rows:
        click.echo(empty)
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=not sys.stdout.isatty()).print(table)


def fail(sentence: str) -> None:
    """One plain sentence on stderr, for an operation that failed."""
    click.echo(f"wbot: {sentence}", err=True)
    raise SystemExit(1)


def required(value: str | None, sentence: str) -> str:
    """The value; raises ConfigurationError with the sentence where it is missing."""
    if not value:
        raise ConfigurationError(sentence)
    return value
