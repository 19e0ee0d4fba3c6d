"""The recent past of a conversation, cut to what a prompt can hold."""

from collections.abc import Sequence
from typing import Literal

import msgspec

LINES_MAX = 20
CHARACTERS_MAX = 6_000


class ChatMessage(msgspec.Struct, frozen=True):
    """One thing said in a conversation, oldest first wherever there are several."""

    role: Literal["user", "assistant"]
    text: str
    is_foreign: bool = False
    """Whether it holds what another person wrote, see domain/foreign.py."""


def fit(
    lines: Sequence[ChatMessage],
    *,
    lines_max: int = LINES_MAX,
    characters_max: int = CHARACTERS_MAX,
) -> tuple[ChatMessage, ...]:
    """The newest lines within both limits; a line is kept whole or not at all."""
    kept: list[ChatMessage] = []
    characters = 0
    for line in reversed(lines):
        characters += len(line.text)
        if len(kept) == lines_max or characters > characters_max:
            break
        kept.append(line)
    return tuple(reversed(kept))
