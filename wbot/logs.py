"""Structured logs: one JSON line per event, without message text, full numbers or secrets."""

import logging
import sys
from collections.abc import Callable, Collection, MutableMapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import structlog

from wbot.domain.messages import log_id_of
from wbot.domain.redaction import redacted
from wbot.log_output import Destination, Output, Pipe, RotatingFile

Log = structlog.stdlib.BoundLogger
Event = MutableMapping[str, Any]

EXCEPTION_LENGTH_MAX = 8_000
IDS = frozenset({"message_id", "wamid"})
"""Keys whose values are WhatsApp's ids: a log names each by its `log_id_of`."""
OURS = frozenset(
    {"event", "level", "timestamp", "business", "customer", "host", "database", "state", "outcome"}
    | {"first", "phone_number_id"}
)
"""Keys whose values are our own text, or the operator's."""


class _Shared:
    """What all loggers of a process have in common, as logging itself has."""

    secrets: Collection[str] = ()
    outputs: Sequence[Output] = ()


def configure_logs(*, level: str, style: str, stream: TextIO | None = None) -> None:
    """Send every event to the stream (stdout by default), at once.

    `style` is `json`, `console`, or empty: console on a terminal, else JSON.
    """
    out = stream or sys.stdout
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(is_console=_is_console(style, out)))
    _configure(level, handler)


def start_logs(*, level: str, style: str, stream: TextIO, file: Path | None) -> None:
    """Send every event to the stream and, where given, a rotating file, without ever waiting.

    Each has a thread of its own. Raises OSError where the file cannot be opened.
    """
    destinations: list[tuple[Destination, bool]] = [
        (Pipe(stream.fileno()), _is_console(style, stream))
    ]
    if file is not None:
        destinations.append((RotatingFile(file), False))
    _Shared.outputs = [_output(one, is_console=is_console) for one, is_console in destinations]
    _configure(level, _Forwarding())
    logging.getLogger("aiohttp.server").addFilter(_without_traceback)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_crash


def _without_traceback(record: logging.LogRecord) -> bool:
    # A stranger's malformed request is worth a short line: with a traceback each, a flood of them
    # would rotate everything else out of the log file.
    error = record.exc_info[1] if record.exc_info else None
    if type(error).__module__ == "aiohttp.http_exceptions":
        record.exc_info, record.exc_text = None, None
    return True


def stop_logs(wait_s: float) -> None:
    """Write what is queued, for at most so many seconds per output."""
    for output in _Shared.outputs:
        output.stop(wait_s)


def reopen_logs() -> None:
    """Open the log file again, after it was moved away."""
    for output in _Shared.outputs:
        output.reopen()


def lines_dropped() -> int:
    """How many lines were not written to one of the outputs since the start."""
    return sum(output.dropped for output in _Shared.outputs)


def keep_from_logs(secrets: Collection[str]) -> None:
    """From now on no line contains one of these; the collection may grow."""
    _Shared.secrets = secrets


def get_log() -> Log:
    """The shared logger; bind nothing to it for longer than one call.

    Text from another system goes under keys of its own, and what it may quote under `quotable`,
    which is not logged.
    """
    log: Log = structlog.stdlib.get_logger("wbot")
    return log


def shortened(identifier: str | None) -> str | None:
    """A phone number or user id fit for a log line: its last four characters."""
    return None if identifier is None else f"…{identifier[-4:]}"


class _Forwarding(logging.Handler):
    """Passes records to the outputs; formats exceptions first, to release their frames."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            record.exc_text = _formatted(record.exc_info)
            record.exc_info = None
        for output in _Shared.outputs:
            output.put(record)


def _configure(level: str, handler: logging.Handler) -> None:
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # These log requests, bodies and headers on their own: texts, whole numbers and tokens.
    for name in ("openai", "httpx2", "httpcore2", "aiosqlite", "asyncio", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _is_console(style: str, stream: TextIO) -> bool:
    return style == "console" or (not style and stream.isatty())


def _output(destination: Destination, *, is_console: bool) -> Output:
    formatter = _formatter(is_console=is_console)
    return Output(destination, line_of=formatter.format, lost_line=_lost_line(formatter))


def _lost_line(formatter: structlog.stdlib.ProcessorFormatter) -> Callable[[int], str]:
    def line(count: int) -> str:
        event: Event = {"event": "logs.dropped", "count": count}
        for step in (*_shared(), *formatter.processors[1:]):
            event = step(None, "warning", event)
        return str(event)

    return line


def _log_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    get_log().critical("service.crashed", exc_info=(kind, error, trace))


def _shared() -> list[Any]:
    return [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(*, is_console: bool) -> structlog.stdlib.ProcessorFormatter:
    if is_console:
        renderer: Any = structlog.dev.ConsoleRenderer(
            # Its prettier way shows every frame's variables: texts and tokens among them.
            exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(), _foreign],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _cleaned,
            renderer,
        ],
    )


def _foreign(_logger: Any, _method: str, event: Event) -> Event:
    """A record of another logger: its event is a text from outside, and so is its exception."""
    record: logging.LogRecord = event["_record"]
    event["message"] = event["event"]
    event["event"] = f"{record.name}.logged"
    exc_info = event.pop("exc_info", None)
    exception = record.exc_text or (exc_info and _formatted(exc_info))
    if exception:
        event["exception"] = exception
    return event


def _cleaned(_logger: Any, _method: str, event: Event) -> Event:
    quotable = tuple(event.pop("quotable", ()))
    secrets = tuple(_Shared.secrets)
    for key, value in event.items():
        if not isinstance(value, str) or key in OURS:
            continue
        if key in IDS:
            event[key] = log_id_of(value)
        elif key == "exception":
            event[key] = redacted(
                value[-EXCEPTION_LENGTH_MAX:],
                secrets=secrets,
                messages=quotable,
                length_max=EXCEPTION_LENGTH_MAX,
            )
        else:
            event[key] = redacted(value, secrets=secrets, messages=quotable)
    return event


def _formatted(exc_info: Any) -> str:
    return logging.Formatter().formatException(exc_info)
