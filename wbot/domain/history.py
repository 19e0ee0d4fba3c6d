"""The recent past of a conversation, cut to what a prompt can hold."""

from collections.abc import Sequence
from typing import Literal

import msgspec

LINES_MAX = 20
TOKENS_MAX = 2_000
BYTES_PER_TOKEN = 3
"""A cautious estimate for any script: English needs some four bytes a token, Chinese three."""


class ChatMessage(msgspec.Struct, frozen=True):
    """One thing said in a conversation, oldest first wherever there are several."""

    role: Literal["user", "assistant"]
    text: str
    is_foreign: bool = False
    """Whether it holds what another person wrote, see domain/foreign.py."""


def tokens_of(text: str) -> int:
    """About how many tokens a text is, rather too many than too few."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def fit(
    lines: Sequence[ChatMessage], *, lines_max: int = LINES_MAX, tokens_max: int = TOKENS_MAX
) -> tuple[ChatMessage, ...]:
    """The newest lines within both limits; a line is kept whole or not at all."""
    kept: list[ChatMessage] = []
    tokens = 0
    for line in reversed(lines):
        tokens += tokens_of(line.text)
        if len(kept) == lines_max or tokens > tokens_max:
            break
        kept.append(line)
    return tuple(reversed(kept))


def shorter(lines: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The newer half, rather less; nothing of a single line."""
    return from_customer(lines[(len(lines) + 1) // 2 :])


def from_customer(lines: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The lines from the first of a customer on: an answer to what was cut answers nothing."""
    start = next((place for place, line in enumerate(lines) if line.role == "user"), len(lines))
    return tuple(lines[start:])
