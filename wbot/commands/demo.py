"""wbot demo: the whole thing on loopback, with a phone page and no account."""

import sys
import webbrowser
from pathlib import Path

import click

from wbot.commands.loopback import Loopback, database_at, loopback
from wbot.commands.serve import run, stop_signal

MODEL_DELAY_S = 0.6
"""About what a small model takes, so that the typing dots are seen."""


@click.command()
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port of the phone page; 0 takes any free one.",
)
@click.option("--no-browser", is_flag=True, help="Only print the page's address.")
@click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the demo in this file; a temporary one by default.",
)
def demo(*, port: int, no_browser: bool, database: Path | None) -> None:
    """Try wbot on this machine: service, simulated WhatsApp and a phone in the browser."""
    with database_at(database) as path:
        run(lambda: _demo(path, port=port, opens_browser=not no_browser and sys.stdout.isatty()))


async def _demo(path: Path, *, port: int, opens_browser: bool) -> None:
    stop = stop_signal()
    async with loopback(path, page_port=port, model_delay_s=MODEL_DELAY_S) as running:
        _introduce(running, path)
        if opens_browser:
            webbrowser.open(running.page_url)
        await stop.wait()


def _introduce(running: Loopback, path: Path) -> None:
    click.echo(f"The phones:  {running.page_url}/")
    click.echo(f"The service: {running.service_url}/health")
    click.echo(f"The books:   WBOT_DATABASE={path} wbot ledger verify")
    click.echo("Everybody starts with $500.00. Stop with Ctrl-C.")
