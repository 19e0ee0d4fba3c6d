"""wbot serve: the service in the foreground."""

import asyncio
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import click

from wbot.app import SERVICE_KEY, build_app, serving
from wbot.commands.console import load_settings
from wbot.logs import configure_logs
from wbot.settings import Settings

STOP_MAX_S = 9.0
"""Seconds from the signal to the end of the process, at the latest."""
SWITCH_INTERVAL_S = 0.0002
"""Python's own 5 ms would be what each statement of the database's thread waits on a busy loop."""


@click.command()
def serve() -> None:
    """Run the service in the foreground until SIGTERM or Ctrl-C."""
    settings, variables = load_settings()
    _allow_open_files()
    app = build_app(settings, variables)
    log_to_stdout(settings)
    run(lambda: _serve(app, settings))


def _allow_open_files() -> None:
    """Take what the system allows: each turn that waits for a model is an open connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def log_to_stdout(settings: Settings) -> None:
    configure_logs(level=settings.log_level, style=settings.log_format, file=settings.log_file)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to the end on uvloop where there is one."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    factory = None
    if sys.platform == "linux":
        import uvloop  # noqa: PLC0415  only there

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
    async with serving(app, settings.host, settings.port) as port:
        log = app[SERVICE_KEY].log
        log.info("service.started", host=settings.host, port=port, database=str(settings.database))
        await stop.wait()
        log.info("service.stopping")
        _end_by_force(STOP_MAX_S)
    log.info("service.stopped")


def _end_by_force(seconds: float) -> None:
    """Be gone in time whatever hangs, a resolver's thread for one: all that counts is on disk."""
    timer = threading.Timer(seconds, os._exit, args=(0,))
    timer.daemon = True
    timer.start()
