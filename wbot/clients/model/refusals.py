"""What an endpoint says when it refuses a request, whatever the shape of its error."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from wbot.clients.model.failures import Cleaner, passed_on
from wbot.domain import json_access

DEPTH_MAX = 8
"""Levels of errors within errors: a router's around its provider's."""
SENTENCE_LENGTH_MAX = 4_000


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One refused request; `sentence` is the endpoint's own, cleaned."""

    status: int
    sentence: str = ""
    code: str = ""

    @property
    def words(self) -> str:
        return self.sentence.lower()


def refusal_of(status: int, body: Any, cleaned: Cleaner = str) -> Refusal:
    """The refusal that a response's decoded body is, without what it quotes of the prompt."""
    sentence = " ".join(dict.fromkeys(_sentences(body, DEPTH_MAX)))
    return Refusal(
        status=status, sentence=cleaned(sentence[:SENTENCE_LENGTH_MAX]), code=_code(body) or ""
    )


def error_within(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """The error object inside an answer with status 200, at the top or in its first choice."""
    if answer.get("error"):
        return {"error": answer["error"]}
    choice = next(iter(json_access.mappings(answer, "choices")), {})
    return {"error": choice["error"]} if choice.get("error") else None


def _sentences(value: Any, depth: int) -> Iterator[str]:
    """Every sentence of an error, outermost first, each with the place that it names."""
    if isinstance(value, str):
        yield from _inner(value, depth)
    elif isinstance(value, list) and depth:
        for item in value[:10]:
            yield from _sentences(item, depth - 1)
    elif isinstance(value, dict) and depth:
        place = ".".join(str(part) for part in json_access.items(value, "loc"))
        yield from (part for part in (place, json_access.text(value, "param") or "") if part)
        for key in ("message", "msg", "detail", "error", "errors", "metadata", "raw", "details"):
            if value.get(key):
                yield from _sentences(value[key], depth - 1)


def _inner(text: str, depth: int) -> Iterator[str]:
    """A provider's error that a router passes on as text, else the text itself."""
    error = passed_on(text) if depth else None
    if error is None:
        yield text
    else:
        yield from _sentences(error, depth - 1)


def _code(body: Any) -> str | None:
    if isinstance(body, list):
        body = next((item for item in body if isinstance(item, dict)), {})
    if not isinstance(body, dict):
        return None
    error = json_access.mapping(body, "error") or body
    return json_access.text(error, "code") or json_access.text(body, "code")
