"""wbot serve: the service in the foreground."""

import asyncio
import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from wbot.app import SERVICE_KEY, build_app, serving
from wbot.commands.console import find_database, load_configuration
from wbot.domain.errors import ConfigurationError
from wbot.ingress.limits import raise_open_files_limit
from wbot.logs import get_log, reopen_logs, start_logs, stop_logs
from wbot.settings import Settings, read_settings, unknown_variables, variable_of
from wbot.storage.files import open_private

STOP_MAX_S = 9.0
"""Seconds from the signal to the end of the process, at the latest."""
FLUSH_S = 1.0
"""Seconds for the last log lines after everything else has ended."""
SWITCH_INTERVAL_S = 0.0002
"""Python's default of 5 ms would delay every statement of the database's thread by that."""

OTHERS_MASK = 0o077
"""All files the service writes, rotated logs too, are private to its user."""


@click.command()
@click.option("--create", "creates", is_flag=True, help="Create the database if there is none.")
def serve(*, creates: bool) -> None:
    """Run the service in the foreground until SIGTERM or Ctrl-C.

    SIGHUP opens the log file again.
    """
    os.umask(OTHERS_MASK)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    configuration = load_configuration(warns=False)
    settings = read_settings(configuration.variables)
    app = build_app(settings, configuration.variables, creates=creates)
    find_database(configuration, creates=creates)
    log_to_stdout(settings)
    for sentence in unknown_variables(configuration.variables):
        get_log().warning("configuration.unknown", warning=sentence)
    run(lambda: _serve(app, settings))


def log_to_stdout(settings: Settings) -> None:
    """Raises ConfigurationError where the log file cannot be written."""
    if settings.log_file is not None:
        _make_log_file(settings.log_file)
    start_logs(
        level=settings.log_level,
        style=settings.log_format,
        stream=sys.stdout,
        file=settings.log_file,
    )
    # Also after the last traceback; a stalled reader of stdout does not delay the exit.
    atexit.register(stop_logs, FLUSH_S)


def _make_log_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(open_private(path, os.O_WRONLY | os.O_APPEND))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The log file {path} cannot be written: {getattr(error, 'strerror', error)}; "
            f"name another one with {variable_of('log_file')}, or none."
        ) from error


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to completion, on uvloop where available."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    raise_open_files_limit()
    factory = None
    if sys.platform == "linux":
        import uvloop  # noqa: PLC0415  Linux only

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _serve(app: Any, settings: Settings) -> None:
    stop = stop_signal()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reopen_logs)
    async with serving(app, settings.host, settings.port) as port:
        log, supervisor = app[SERVICE_KEY].log, app[SERVICE_KEY].supervisor
        log.info("service.started", host=settings.host, port=port, database=str(settings.database))
        supervisor.ready()
        await stop.wait()
        supervisor.stopping()
        log.info("service.stopping")
        _end_by_force(STOP_MAX_S)
    log.info("service.stopped")


def _end_by_force(seconds: float) -> None:
    """Exit in time even if a thread hangs (a DNS lookup, say): everything is already on disk."""
    timer = threading.Timer(seconds, os._exit, args=(0,))
    timer.daemon = True
    timer.start()
