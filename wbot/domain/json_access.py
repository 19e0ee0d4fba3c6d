"""Reading JSON that others wrote: any value may be absent, of another type, or absurd.

A getter returns None (or an empty container) for a value it cannot use; only `decoded` raises.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, TypeAlias

import msgspec

from wbot.domain.errors import MalformedError

JsonObject: TypeAlias = dict[str, Any]

ID_LENGTH_MAX = 512
"""Characters; a longer text is not an id."""

DEPTH_MAX = 100
"""Levels of nesting that are kept as they are; real webhooks have about ten."""

MAPPINGS_MAX = 1_000
"""Objects of one list that are read; Meta's longest lists have some hundred."""

_INTEGER_MAX = 2**63 - 1
_EXPONENT_MAX = 30
_BITS_MAX = 1_024
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _accept(_value: Any) -> None:
    """The default check, for small texts."""


def decoded(data: bytes, check: Callable[[Any], None] = _accept) -> Any:
    """The value of a JSON text, cleaned; what `json.loads` accepts is JSON.

    `check` gets the value before the slow part and may raise. Raises MalformedError for anything
    that is not JSON.
    """
    return decoded_with_loss(data, check)[0]


def decoded_with_loss(data: bytes, check: Callable[[Any], None] = _accept) -> tuple[Any, bool]:
    """The same, and whether cleaning may have changed it."""
    try:
        value, is_standard = _parsed(data)
        check(value)
        if is_standard and not _needs_cleaning(data, value):
            return value, False
        return cleaned(value), True
    except (ValueError, RecursionError) as error:
        raise MalformedError("not JSON") from error


def _parsed(data: bytes) -> tuple[Any, bool]:
    """The value, and whether it is standard JSON."""
    try:
        return msgspec.json.decode(data), True
    except (ValueError, RecursionError):
        # Lone surrogates, NaN, huge numbers, a byte order mark, UTF-16: Python accepts them.
        return json.loads(data), False


def _needs_cleaning(data: bytes, value: Any) -> bool:
    # msgspec lets no lone surrogate through, so only these two can be left to clean.
    may_be_deep = data.count(b"{") + data.count(b"[") > DEPTH_MAX
    return rb"\u0000" in data or (may_be_deep and _is_deep(value))


def _is_deep(value: Any) -> bool:
    """Whether it is nested deeper than DEPTH_MAX; level by level, ten times as fast as cleaning."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH_MAX):
        level = [
            part
            for whole in level
            for part in (whole.values() if isinstance(whole, dict) else whole)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def cleaned(value: Any, depth_max: int = DEPTH_MAX) -> Any:
    """The value as SQLite and UTF-8 can store it: no U+0000, U+FFFD for lone surrogates.

    What is nested deeper than `depth_max` becomes its own JSON text, so that encoding the value
    later, from a deeper stack, cannot overflow it.
    """
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value.replace("\0", ""))
    if not isinstance(value, dict | list):
        return value
    if depth_max == 0:
        return json.dumps(value)
    if isinstance(value, list):
        return [cleaned(item, depth_max - 1) for item in value]
    names = {key: cleaned(key) for key in value}
    # A key that was clean from the start is not overwritten by one that only now looks like it.
    return {
        name: cleaned(value[key], depth_max - 1)
        for key, name in names.items()
        if key == name or name not in value
    }


def mapping(source: Mapping[str, Any], key: str) -> JsonObject:
    """The object under the key, else an empty one."""
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def items(source: Mapping[str, Any], key: str) -> list[Any]:
    """The list under the key, else an empty one."""
    value = source.get(key)
    return value if isinstance(value, list) else []


def dicts(values: list[Any]) -> Iterator[JsonObject]:
    """The objects of a list."""
    return (value for value in values if isinstance(value, dict))


def mappings(source: Mapping[str, Any], key: str) -> list[JsonObject]:
    """The first MAPPINGS_MAX objects of a list; anything else in the list is skipped."""
    return list(islice(dicts(items(source, key)), MAPPINGS_MAX))


def text(source: Mapping[str, Any], *keys: str) -> str | None:
    """The first of the keys that holds words, or a whole number as text; empty text is None."""
    for key in keys:
        value = source.get(key)
        if isinstance(value, str):
            if value:
                return value
        elif _is_printable_integer(value):
            return str(value)
    return None


def _is_printable_integer(value: Any) -> bool:
    # Python prints no integer beyond 4,300 digits.
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return is_integer and value.bit_length() <= _BITS_MAX


def identifier(source: Mapping[str, Any], *keys: str) -> str | None:
    """The first of the keys that holds what can be an id: neither blank nor over-long."""
    for key in keys:
        value = text(source, key)
        if value is not None and len(value) <= ID_LENGTH_MAX and not value.isspace():
            return value
    return None


def flag(source: Mapping[str, Any], key: str) -> bool:
    """Whether the key holds JSON's true."""
    return source.get(key) is True


def decimal(source: Mapping[str, Any], key: str) -> Decimal | None:
    """A number however it was written: int, float or string; finite, and of a size to print."""
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except (ValueError, ArithmeticError):
        return None
    is_usable = number.is_finite() and abs(number.adjusted()) <= _EXPONENT_MAX
    return number if is_usable else None


def integer(source: Mapping[str, Any], key: str) -> int | None:
    """A whole number that SQLite can store (64 bits)."""
    number = decimal(source, key)
    if number is None or number != int(number) or abs(number) > _INTEGER_MAX:
        return None
    return int(number)


def real(source: Mapping[str, Any], key: str) -> float | None:
    """A number as a float, as `decimal` reads it."""
    number = decimal(source, key)
    return None if number is None else float(number)


def instant(source: Mapping[str, Any], key: str) -> datetime | None:
    """The instant of a Unix time in seconds."""
    seconds = integer(source, key)
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
