"""Structured logs: one JSON line per event, without message text, full numbers or secrets."""

import json
import logging
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import msgspec
import structlog

from wbot.domain.messages import log_id_of
from wbot.domain.redaction import redacted
from wbot.log_output import Destination, Event, Output, Pipe, RotatingFile

Log = structlog.typing.FilteringBoundLogger

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
    line_of = _line_of(is_console=_is_console(style, out))

    def put(event: Event) -> None:
        try:
            print(line_of(event), file=out, flush=True)
        except (OSError, ValueError):
            return  # closed: a log that nobody can read must not end the command

    _configure(level, put)


def start_logs(*, level: str, style: str, stream: TextIO, file: Path | None) -> None:
    """Send every event to the stream and, where given, a rotating file, without ever waiting.

    Each has a thread of its own. Raises OSError where the file cannot be opened.
    """
    destinations: list[tuple[Destination, bool]] = [
        (Pipe(stream.fileno()), _is_console(style, stream))
    ]
    if file is not None:
        destinations.append((RotatingFile(file), False))
    outputs = [_output(one, is_console=is_console) for one, is_console in destinations]
    _Shared.outputs = outputs

    def put(event: Event) -> None:
        for output in outputs:
            output.put(event)

    _configure(level, put)
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
    log: Log = structlog.get_logger()
    return log


def shortened(identifier: str | None) -> str | None:
    """A phone number or user id fit for a log line: its last four characters."""
    return None if identifier is None else f"…{identifier[-4:]}"


class _Sink:
    """What structlog writes to: an event of any level goes the same way."""

    def __init__(self, put: Callable[[Event], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = put


class _Foreign(logging.Handler):
    """Records of other loggers: the event is a text from outside, and so is its exception."""

    def __init__(self, put: Callable[[Event], None]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        event: Event = {"message": _message_of(record), "event": f"{record.name}.logged"}
        if record.exc_info:
            event["exception"] = logging.Formatter().formatException(record.exc_info)
        self._put(_stamped(event, record.levelname.lower()))


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # its arguments do not fit its text
        return str(record.msg)


def _stamped(event: Event, level: str) -> Event:
    for step in _STAMPS:
        event = step(None, level, event)
    return event


_STAMPS: Sequence[Callable[[Any, str, Event], Any]] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def _configure(level: str, put: Callable[[Event], None]) -> None:
    logging.basicConfig(handlers=[_Foreign(put)], level=level.upper(), force=True)
    # These log requests, bodies and headers on their own: texts, whole numbers and tokens.
    for name in ("openai", "httpx2", "httpcore2", "aiosqlite", "asyncio", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            *_STAMPS,
            structlog.processors.format_exc_info,  # here, to release the frames
            _as_argument,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda: _Sink(put),
        cache_logger_on_first_use=True,
    )


def _as_argument(_logger: Any, _method: str, event: Event) -> Any:
    return (event,), {}


def _is_console(style: str, stream: TextIO) -> bool:
    return style == "console" or (not style and stream.isatty())


def _output(destination: Destination, *, is_console: bool) -> Output:
    line_of = _line_of(is_console=is_console)

    def lost_line(count: int) -> str:
        return line_of(_stamped({"event": "logs.dropped", "count": count}, "warning"))

    return Output(destination, line_of=line_of, lost_line=lost_line)


def _log_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    get_log().critical("service.crashed", exc_info=(kind, error, trace))


def _line_of(*, is_console: bool) -> Callable[[Event], str]:
    if not is_console:
        return lambda event: _json(_cleaned(event))
    # Its prettier way shows every frame's variables: texts and tokens among them.
    render = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return lambda event: str(render(None, "", _cleaned(event)))


def _json(event: Event) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except (ValueError, OverflowError):  # half a surrogate pair, or a very large number
        return json.dumps(event, ensure_ascii=False, default=repr)


def _cleaned(event: Event) -> Event:
    quotable = tuple(event.get("quotable", ()))
    secrets = tuple(_Shared.secrets)
    return {
        key: _cleaned_value(key, value, secrets, quotable) if isinstance(value, str) else value
        for key, value in event.items()
        if key != "quotable"
    }


def _cleaned_value(key: str, value: str, secrets: Sequence[str], quotable: Sequence[str]) -> str:
    if key in OURS:
        return value
    if key in IDS:
        return log_id_of(value)
    if key != "exception":
        return redacted(value, secrets=secrets, messages=quotable)
    return redacted(
        value[-EXCEPTION_LENGTH_MAX:],
        secrets=secrets,
        messages=quotable,
        length_max=EXCEPTION_LENGTH_MAX,
    )
