"""What is said to a customer, in a form of our own; only clients/whatsapp.py knows Meta's."""

from typing import TypeAlias

import msgspec


class Button(msgspec.Struct, frozen=True):
    """What the customer may tap: the title they read, and the id that comes back."""

    id: str
    title: str


class Text(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Words alone."""

    body: str

    @property
    def words(self) -> tuple[str, ...]:
        """Everything in it that the customer reads."""
        return (self.body,)


class Prompt(msgspec.Struct, frozen=True, tag_field="type", tag="prompt"):
    """A question with one to three buttons, see domain/prompts.py."""

    body: str
    buttons: tuple[Button, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Everything in it that the customer reads."""
        return (self.body, *(button.title for button in self.buttons))


Outgoing: TypeAlias = Text | Prompt

_DECODER: msgspec.json.Decoder[Outgoing] = msgspec.json.Decoder(Outgoing)


def encoded(said: Outgoing) -> str:
    """As the outbox stores it."""
    return msgspec.json.encode(said).decode()


def decoded(stored: str) -> Outgoing:
    """As the outbox stored it."""
    return _DECODER.decode(stored)
