"""Structured logs: one JSON line an event, with nobody's words, whole number or secret in it."""

import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Any, TextIO

import structlog

FILE_BYTES_MAX = 50 * 1024 * 1024
FILES_KEPT = 5

Log = structlog.stdlib.BoundLogger


def configure_logs(
    *, level: str, style: str, file: Path | None = None, stream: TextIO | None = None
) -> None:
    """Send every event to the stream (stdout by default) and, where given, a rotating file.

    `style` is `json`, `console`, or empty: console on a terminal, else JSON.
    """
    out = stream or sys.stdout
    is_console = style == "console" or (not style and out.isatty())
    handlers: list[logging.Handler] = [logging.StreamHandler(out)]
    handlers[0].setFormatter(_formatter(is_console=is_console))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        rotating = logging.handlers.RotatingFileHandler(
            file, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT, encoding="utf-8"
        )
        rotating.setFormatter(_formatter(is_console=False))
        handlers.append(rotating)
    logging.basicConfig(handlers=handlers, level=level.upper(), force=True)
    # These log requests, bodies and headers on their own: texts, whole numbers and tokens.
    for name in ("openai", "httpx2", "httpcore2", "aiosqlite", "asyncio", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def get_log() -> Log:
    """The logger everybody uses; bind nothing to it for longer than one call."""
    log: Log = structlog.stdlib.get_logger("wbot")
    return log


def shortened(identifier: str | None) -> str | None:
    """A phone number or user id fit for a log line: its last four characters."""
    return None if identifier is None else f"…{identifier[-4:]}"


def _shared() -> list[Any]:
    return [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(*, is_console: bool) -> logging.Formatter:
    if is_console:
        renderer: list[Any] = [
            # Its prettier way shows every frame's variables: texts and tokens among them.
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        renderer = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
    )
