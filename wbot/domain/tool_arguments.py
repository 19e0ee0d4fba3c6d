"""The arguments of a tool call, as models write them: wrapped, fenced, encoded twice."""

import ast
import json
import re
from typing import Any

from wbot.domain.errors import MalformedError

UNWRAPPED_MAX = 4
"""Wrappings around one object; more of them are no accident."""

_FENCE = re.compile(r"\s*```[\w-]*\s*\n?(?P<body>.*?)\n?\s*```\s*", re.DOTALL)
_WHOLE = re.compile(r"\.0+$")
_WRAPPERS = {"arguments", "parameters", "params", "args", "input", "kwargs"}


def read_arguments(text: str) -> dict[str, Any]:
    """The one object that the text holds; raises MalformedError.

    Numbers become text, whole ones without decimals: an amount never passes through a float.
    """
    value: Any = text.strip() or "{}"
    for _ in range(UNWRAPPED_MAX):
        if isinstance(value, str):
            value = _decoded(value)
        elif isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict) and (inner := _wrapped(value)) is not None:
            value = inner
        else:
            break
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedError("The arguments are not one JSON object.")
    return value


def _wrapped(value: dict[str, Any]) -> Any:
    """What a single key such as "parameters" holds, where that is an object or its text."""
    if len(value) != 1:
        return None
    key, inner = next(iter(value.items()))
    return inner if key in _WRAPPERS and isinstance(inner, dict | str) else None


def _decoded(text: str) -> Any:
    fenced = _FENCE.fullmatch(text)
    body = fenced["body"] if fenced else text
    try:
        return json.loads(body or "{}", parse_float=_number, parse_int=str)
    except (ValueError, RecursionError) as error:
        return _python(body, error)


def _python(text: str, error: Exception) -> dict[str, Any]:
    """A dictionary of texts as Python prints it, which some models do."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = None
    if isinstance(value, dict) and all(isinstance(one, str | None) for one in value.values()):
        return value
    raise MalformedError(f"The arguments are not JSON: {error}.") from error


def _number(text: str) -> str:
    return _WHOLE.sub("", text)
