"""wbot check: whether everything the service needs is in place, and what to fix."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wbot.admin import preflight
from wbot.admin.preflight import Check, Subject
from wbot.app import check_settings
from wbot.commands.console import (
    counted,
    fail,
    json_option,
    load_configuration,
    load_settings,
    now,
    plain,
    print_json,
    print_rich,
    reading,
)
from wbot.domain.errors import ConfigurationError, StorageError
from wbot.settings import Settings
from wbot.storage.files import files_of


class _Known(msgspec.Struct, frozen=True):
    """The businesses to check, and the texts that answers could quote."""

    subjects: Sequence[Subject] = ()
    quotable: Sequence[str] = ()


@click.command()
@click.option("--offline", "is_offline", is_flag=True, help="Make no request outside this machine.")
@json_option
def check(*, is_offline: bool, as_json: bool) -> None:
    """Check that everything the service needs is in place.

    Configuration, database, Graph API and model: one line each, with the fix. Exits 0 when all is
    well (warnings, marked !, included), 1 when a failure may be temporary, 2 when the
    configuration, a token or the database must be fixed first.
    """
    settings, variables = load_settings()
    configuration = _configuration(settings)
    database, stored, known = _database(settings, variables)
    private = preflight.private(_files(settings))
    found = [
        configuration,
        database,
        private,
        *stored,
        *_outside(settings, known, is_offline=is_offline),
    ]
    if as_json:
        print_json([_json(one) for one in found])
    else:
        _print(found)
    failures = [one for one in found if not one.ok]
    if not failures:
        return
    sentence = _summary(failures, is_shown=not as_json)
    is_unusable = not (configuration.ok and database.ok)
    if is_unusable or any(one.is_misconfigured for one in failures):
        raise ConfigurationError(sentence)
    fail(sentence)


def _files(settings: Settings) -> list[Path]:
    others = (load_configuration().file, settings.log_file)
    return [*files_of(settings.database), *(path for path in others if path is not None)]


def _summary(failures: Sequence[Check], *, is_shown: bool) -> str:
    """One sentence about the failures, without repeating what the table shows."""
    if is_shown:
        names = ", ".join(one.check for one in failures)
        return f"{counted(len(failures), 'check')} failed: {names}; see ✗ above for what to do."
    if len(failures) == 1:
        return f"{failures[0].check}: {failures[0].detail.rstrip('.')}."
    return f"{counted(len(failures), 'check')} failed."


def _configuration(settings: Settings) -> Check:
    try:
        check_settings(settings)
    except ConfigurationError as error:
        return preflight.failed("configuration", str(error))
    where = f"{settings.host}:{settings.port}"
    return preflight.passed("configuration", f"complete; the service listens on {where}")


def _database(
    settings: Settings, variables: Mapping[str, str]
) -> tuple[Check, list[Check], _Known]:
    name = "database"
    try:
        with reading() as tx:
            stored, subjects = preflight.stored(tx, variables, now())
            known = _Known(subjects, preflight.quotable(tx))
    except (ConfigurationError, StorageError) as error:
        return preflight.failed(name, str(error)), [], _Known()
    return preflight.passed(name, f"{settings.database.absolute()} opens"), stored, known


def _outside(settings: Settings, known: _Known, *, is_offline: bool) -> list[Check]:
    if is_offline:
        return [
            preflight.warned("outside", "not checked (--offline): Graph API and model endpoint")
        ]
    # The spinner shows on a terminal only; stdout is for the result.
    with Console(stderr=True).status("Asking the Graph API and the model endpoint"):
        return asyncio.run(preflight.outside(settings, known.subjects, known.quotable))


def _json(one: Check) -> dict[str, str | bool]:
    return {name: msgspec.to_builtins(getattr(one, name)) for name in ("check", "ok", "detail")}


def _print(found: Sequence[Check]) -> None:
    table = Table("", "", "", box=None, pad_edge=False, show_header=False)
    for one in found:
        table.add_row(_mark(one), one.check, Text(plain(one.detail), overflow="fold"))
    print_rich(table)


def _mark(one: Check) -> Text:
    if not one.ok:
        return Text("✗", style="bold red")
    return Text("!", style="bold yellow") if one.is_warning else Text("✓", style="bold green")
