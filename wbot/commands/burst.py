"""wbot burst: many customers write at once; how fast and how correctly they are answered."""

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import Progress

from wbot.admin.preflight import WEBHOOK_PATH
from wbot.clock import Clock
from wbot.commands.console import (
    counted,
    json_option,
    load_settings,
    print_facts,
    print_json,
    reading,
)
from wbot.commands.loopback import BUSINESS, database_at, loopback
from wbot.commands.serve import run
from wbot.domain.errors import ConfigurationError, RefusedError
from wbot.settings import require
from wbot.simulator.burst import BurstReport
from wbot.simulator.burst import burst as send_burst
from wbot.storage import businesses


@click.command()
@click.option("--users", default=20, show_default=True, type=click.IntRange(1, 5000), metavar="N")
@click.option(
    "--messages", default=10, show_default=True, type=click.IntRange(1, 1000), metavar="N"
)
@click.option(
    "--target", help="Webhook URL of a running service; default: a new one, started for this."
)
@click.option("--phone-number-id", help="With --target: the number to write to.")
@click.option("--yes", "is_agreed", is_flag=True, help="With --target: do not ask first.")
@json_option
def burst(
    *,
    users: int,
    messages: int,
    target: str | None,
    phone_number_id: str | None,
    is_agreed: bool,
    as_json: bool,
) -> None:
    """Send USERS x MESSAGES signed webhooks at once and report how they were answered.

    Without --target it starts a service with a fresh database and a simulated WhatsApp, so that
    replies, their order and duplicates are checked too. With --target only acknowledgements are
    visible, since the replies go to that service's Graph API; that service keeps the messages as
    real ones, so this asks first, or needs --yes.
    """
    if target is None and phone_number_id is not None:
        raise click.UsageError("--phone-number-id is only used together with --target.")
    options_for_target = None if target is None else _target_options(target, phone_number_id)
    if options_for_target is not None and not is_agreed:
        _ask(options_for_target["target_url"], users * messages)
    reports: list[BurstReport] = []
    bar = Console(stderr=True)
    with (
        database_at(None) as path,
        Progress(transient=True, console=bar, disable=not bar.is_terminal) as progress,
    ):
        task = progress.add_task("Sending", total=users * messages)
        options: dict[str, Any] = {
            "users": users,
            "messages": messages,
            "clock": Clock(),
            "on_progress": lambda: progress.advance(task),
        }
        if options_for_target is None:
            run(lambda: _against_new_service(path, options, reports))
        else:
            run(lambda: _against_target(options | options_for_target, reports))
    report = reports[0].to_dict()
    if as_json:
        print_json(report)
    else:
        _show(report)
    _judge(report, None if options_for_target is None else options_for_target["target_url"])


def _ask(target: str | None, number: int) -> None:
    """Ask for a yes at the terminal; raises ConfigurationError if there is no terminal."""
    consequence = (
        f"{target} will keep {counted(number, 'simulated message')} as real ones, ask its model "
        "and send its replies"
    )
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{consequence}; add --yes if you want that.")
    click.confirm(f"{consequence}. Continue?", abort=True, err=True)


def _judge(report: dict[str, Any], target: str | None) -> None:
    if target is not None and not report["acknowledged"]:
        raise RefusedError(
            f"Nothing was acknowledged: check that a service answers at {target} and has the same "
            "WBOT_APP_SECRET; `wbot serve` starts one."
        )
    if report["errors"] or report["duplicate_replies"] or report["out_of_order"]:
        raise RefusedError("The burst was not answered as promised; see the report.")


async def _against_new_service(
    path: Path, options: dict[str, Any], reports: list[BurstReport]
) -> None:
    async with loopback(path) as running:
        reports.append(
            await send_burst(
                target_url=running.webhook_url,
                app_secret=running.app_secret,
                phone_number_id=BUSINESS.phone_number_id,
                simulator=running.simulator,
                **options,
            )
        )


async def _against_target(options: dict[str, Any], reports: list[BurstReport]) -> None:
    reports.append(await send_burst(**options))


def _target_options(target: str, phone_number_id: str | None) -> dict[str, Any]:
    settings, _ = load_settings()
    require(settings, "app_secret")
    if not target.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"The target {target!r} is not a web address, such as "
            "http://127.0.0.1:5000/api/webhook."
        )
    if phone_number_id is None:
        with reading() as tx:
            known = businesses.every(tx)
        if not known:
            raise ConfigurationError("Name the number to write to with --phone-number-id.")
        phone_number_id = known[0].phone_number_id
    return {
        "target_url": _webhook_of(target),
        "app_secret": settings.app_secret,
        "phone_number_id": phone_number_id,
    }


def _webhook_of(target: str) -> str:
    """The address itself, or the webhook of a service that is named without a path."""
    parts = urlsplit(target)
    return parts._replace(path=WEBHOOK_PATH).geturl() if parts.path in ("", "/") else target


def _show(report: dict[str, Any]) -> None:
    counts = ("sent", "acknowledged", "replied", "duplicate_replies", "out_of_order", "errors")
    shown = [(name.replace("_", " "), _figure(report[name])) for name in counts]
    for name, label in (("ack_ms", "acknowledged in ms"), ("reply_ms", "replied in ms")):
        times = report[name]
        if times is not None and times["max"] is not None:
            figures = "  ".join(f"{key} {_figure(value)}" for key, value in times.items())
            shown.append((label, figures))
    print_facts(shown)


def _figure(value: float | None) -> str:
    if value is None:
        return "not seen from here"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
