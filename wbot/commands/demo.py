"""wbot demo: service and simulator on loopback, with phones in the browser, without an account."""

import asyncio
import shlex
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import click

from wbot.clock import Clock
from wbot.commands.loopback import (
    FIRST_DEPOSIT,
    PEOPLE,
    SOURCE,
    START_S,
    Loopback,
    database_at,
    loopback,
)
from wbot.commands.proof import Proof
from wbot.commands.serve import run, stop_signal
from wbot.domain.errors import WbotError
from wbot.keyed_worker import cancel_and_wait

FIRST_PORT = 8765
PORTS_TRIED = 20
MODEL_DELAY_S = 1.5
"""A typical model's time: the typing dots show, and there is time to kill the service."""
SEND_DELAY_S = 0.4
"""A typical Graph API response time: the phone shows the message before that."""


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help=f"Port of the phones' page; default: the first free one from {FIRST_PORT}.",
)
@click.option("--no-browser", is_flag=True, help="Only print the page's address.")
@click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the demo's data in this file; default: a temporary one.",
)
def demo(*, port: int | None, no_browser: bool, database: Path | None) -> None:
    """Try wbot on this machine: service, simulated WhatsApp and phones in the browser."""
    ports = (*range(FIRST_PORT, FIRST_PORT + PORTS_TRIED), 0) if port is None else (port,)
    with database_at(database) as path:
        run(lambda: _demo(path, ports, opens_browser=not no_browser and sys.stdout.isatty()))


async def _demo(path: Path, ports: Sequence[int], *, opens_browser: bool) -> None:
    stop = stop_signal()
    async with loopback(
        path, page_ports=ports, model_delay_s=MODEL_DELAY_S, send_delay_s=SEND_DELAY_S
    ) as running:
        # Meta repeats webhooks; here it always does, to show that it changes nothing.
        running.simulator.cause_trouble("webhooks", wanted=True)
        for person in PEOPLE:  # opens the 24-hour window, so that they are notified of payments
            await running.simulator.send_inbound(person, "request_welcome")
        await running.simulator.wait_until_quiet(timeout_s=START_S)
        proof = Proof(running, path, Clock())
        _introduce(running, path, ports)
        if opens_browser:
            webbrowser.open(running.page_url)
        await _until_stopped(proof, stop)


async def _until_stopped(proof: Proof, stop: asyncio.Event) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            background_tasks = [
                tasks.create_task(one()) for one in (proof.keep_running, proof.watch)
            ]
            await stop.wait()
            await cancel_and_wait(background_tasks)
    except* WbotError as failed:
        raise failed.exceptions[0] from failed


def _introduce(running: Loopback, path: Path, ports: Sequence[int]) -> None:
    alice = f"+{PEOPLE[0].phone}"
    wbot = _command(path)
    click.echo(f"The phones:  {running.page_url}/")
    if len(ports) > 1 and not running.page_url.endswith(f":{FIRST_PORT}"):
        click.echo(f"             (port {FIRST_PORT} is taken by another program)")
    click.echo(f"The service: {running.service.url}/health")
    click.echo()
    click.echo(
        f"Every customer starts with ${FIRST_DEPOSIT}. Every webhook is delivered three times."
    )
    click.echo("Look inside from another terminal:")
    for words, arguments in (
        ("what happened to Alice's latest message", f"why {alice}"),
        ("what Alice has", f"ledger balance {running.business_id} {alice}"),
        ("whether the books are right", "ledger verify"),
    ):
        click.echo(f"\n  # {words}\n  {wbot} {arguments}")
    click.echo("\nStop with Ctrl-C.")


def _command(database: Path) -> str:
    """The shell command that runs wbot on this database from any folder."""
    variable = f"WBOT_DATABASE={shlex.quote(str(database))}"
    python = Path(sys.executable)
    if getattr(sys, "frozen", False):
        return f"{variable} {shlex.quote(str(python))}"
    script = python.with_name("wbot")
    if script.exists():
        return f"{variable} {shlex.quote(str(script))}"
    return f"cd {shlex.quote(str(SOURCE))} && {variable} {shlex.quote(str(python))} -m wbot"
