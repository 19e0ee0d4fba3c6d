"""wbot check: whether everything the service needs is in place, and what to fix."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wbot.admin import host_checks, preflight
from wbot.admin.preflight import Check, Subject
from wbot.app import check_settings
from wbot.clock import from_text, to_text
from wbot.commands.console import (
    WORDS,
    cell_of,
    counted,
    fail,
    json_option,
    load_configuration,
    load_settings,
    print_json,
    print_rich,
    reading,
    writing,
)
from wbot.domain.errors import ConfigurationError, StorageError
from wbot.monitoring.health import DISK_BYTES_FREE_MIN
from wbot.settings import Settings
from wbot.storage import model_dialects
from wbot.storage.files import files_of


class _Known(msgspec.Struct, frozen=True):
    """The businesses to check, and the texts that answers could quote."""

    subjects: Sequence[Subject] = ()
    quotable: Sequence[str] = ()


@click.command()
@click.option("--offline", "is_offline", is_flag=True, help="Make no request outside this machine.")
@click.option("--model", "other_model", type=WORDS, help="Try this model before you switch to it.")
@click.option(
    "--relearn", is_flag=True, help="Forget what was learned of the model endpoint, and learn anew."
)
@json_option
def check(*, is_offline: bool, other_model: str | None, relearn: bool, as_json: bool) -> None:
    """Check that everything the service needs is in place.

    Configuration, database, Graph API and model (which is asked to call a harmless tool): one line
    each, with the fix. Exits 0 when all is
    well (warnings, marked !, included), 1 when a failure may be temporary, 2 when the
    configuration, a token or the database must be fixed first.
    """
    settings, variables = load_settings()
    if is_offline and (other_model or relearn):
        raise ConfigurationError("--offline asks no model; leave it out.")
    configuration = _configuration(settings)
    database, stored, known = _database(settings, variables)
    if relearn and database.ok:
        with writing() as tx:
            model_dialects.forget_all(tx)
    memory = _Memory() if database.ok else None
    private = preflight.private(_files(settings))
    found = [
        configuration,
        database,
        private,
        *_host(settings, known, is_offline=is_offline),
        *stored,
        *_outside(settings, known, is_offline=is_offline, memory=memory, other_model=other_model),
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


def _host(settings: Settings, known: _Known, *, is_offline: bool) -> list[Check]:
    found = [
        host_checks.disk(settings.database, least_bytes=DISK_BYTES_FREE_MIN),
        *host_checks.secret_files(one.business for one in known.subjects),
    ]
    if not is_offline:
        asked = host_checks.clock(settings.graph_url, timeout_s=settings.api_timeout)
        found.append(asyncio.run(asked))
    return found


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
            stored, subjects = preflight.stored(tx, variables)
            known = _Known(subjects, preflight.quotable(tx))
    except (ConfigurationError, StorageError) as error:
        return preflight.failed(name, str(error)), [], _Known()
    return preflight.passed(name, f"{settings.database.absolute()} opens"), stored, known


class _Memory:
    """What was learned of the endpoint, in the database that a running service uses too."""

    async def recall(self, endpoint: str, model: str) -> tuple[str, datetime] | None:
        with reading() as tx:
            found = model_dialects.find(tx, endpoint, model)
        return None if found is None else (found[0], from_text(found[1]))

    async def keep(self, endpoint: str, model: str, dialect: str, at: datetime) -> None:
        with writing() as tx:
            model_dialects.keep(tx, endpoint, model, dialect=dialect, now=to_text(at))

    async def forget(self, endpoint: str, model: str) -> None:
        with writing() as tx:
            model_dialects.forget(tx, endpoint, model)


def _outside(
    settings: Settings,
    known: _Known,
    *,
    is_offline: bool,
    memory: _Memory | None,
    other_model: str | None,
) -> list[Check]:
    if is_offline:
        return [
            preflight.warned("outside", "not checked (--offline): Graph API and model endpoint")
        ]
    # The spinner shows on a terminal only; stdout is for the result.
    with Console(stderr=True).status("Asking the Graph API and the model endpoint"):
        return asyncio.run(
            preflight.outside(
                settings,
                known.subjects,
                known.quotable,
                memory=memory,
                other_model=other_model,
            )
        )


def _json(one: Check) -> dict[str, str | bool]:
    return {name: msgspec.to_builtins(getattr(one, name)) for name in ("check", "ok", "detail")}


def _print(found: Sequence[Check]) -> None:
    table = Table("", "", "", box=None, pad_edge=False, show_header=False)
    for one in found:
        table.add_row(_mark(one), one.check, cell_of(one.detail))
    print_rich(table)


def _mark(one: Check) -> Text:
    if not one.ok:
        return Text("✗", style="bold red")
    return Text("!", style="bold yellow") if one.is_warning else Text("✓", style="bold green")
