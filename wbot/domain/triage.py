"""What the service does about a message: answer it, decline it politely, or keep silent."""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from wbot.domain.messages import (
    ButtonReply,
    Contacts,
    Content,
    Edit,
    FlowReply,
    ListReply,
    Location,
    Media,
    Order,
    Reaction,
    RequestWelcome,
    Revoke,
    System,
    TemplateButton,
    Text,
    Unknown,
    Unsupported,
    is_placeholder,
    text_of,
)
from wbot.domain.names import has_visible

_MEDIA_UNAVAILABLE_CODE = 131052
"""WhatsApp could not fetch the file; Meta's advice is to ask for it again."""


class SilenceReason(StrEnum):
    """Why a message gets no reply."""

    GROUP = "group"
    EMPTY_TEXT = "empty_text"
    REACTION = "reaction"
    SYSTEM = "system"
    REQUEST_WELCOME = "request_welcome"
    REVOKED = "revoked"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


class Answer(msgspec.Struct, frozen=True):
    """A turn for the words the customer said."""

    text: str


class Decline(msgspec.Struct, frozen=True):
    """One polite sentence that names the kind of message not handled yet."""

    sentence: str


class Silence(msgspec.Struct, frozen=True):
    """No reply, and the recorded reason."""

    reason: SilenceReason


Handling: TypeAlias = Answer | Decline | Silence

NO_WORDS = "Sorry, I see no words in your message, so please tell me in words what you need."

_THIS_KIND = "this kind of message"

_KIND_NAMES = {
    "image": "pictures",
    "video": "videos",
    "audio": "audio files",
    "document": "documents",
    "sticker": "stickers",
    "location": "locations",
    "contacts": "contact cards",
    "order": "catalogue orders",
    "interactive": _THIS_KIND,
    "button": _THIS_KIND,
}
"""By message type: what customers send on purpose, and would wait in vain for a reply to."""

_CONTENT_NAMES: dict[type[Location | Order | FlowReply], str] = {
    Location: _KIND_NAMES["location"],
    Order: _KIND_NAMES["order"],
    FlowReply: "forms",
}

_PERSONS_KIND_NAMES = {"gif": "GIFs", "poll_creation": "polls", "group_invite": "group invitations"}
"""By `unsupported.type`: what only a person's phone can send, never another business's bot."""

_SILENCE_REASONS: dict[type[Reaction | System | RequestWelcome | Revoke], SilenceReason] = {
    # A thumbs-up is not a yes: money is confirmed in words or by a button.
    Reaction: SilenceReason.REACTION,
    # It is about the customer, not from the customer.
    System: SilenceReason.SYSTEM,
    # The customer has said nothing yet, and Meta calls the feature unreliable.
    RequestWelcome: SilenceReason.REQUEST_WELCOME,
    # Deleting a message does not reverse a transfer, and asking why would be rude.
    Revoke: SilenceReason.REVOKED,
}


def handling_of(content: Content, group_id: str | None = None) -> Handling:
    """What to do about a message with this content; `group_id` where it was said in a group."""
    # An answer would go to the sender alone, or to people who are not the customer.
    return Silence(SilenceReason.GROUP) if group_id is not None else _handling_of(content)


def _handling_of(content: Content) -> Handling:
    match content:
        case Text() | ButtonReply() | ListReply() | TemplateButton() | Contacts():
            return _words(text_of(content) or "")
        case Media() | Location() | Order() | FlowReply():
            return _decline(_kind_name(content))
        case Edit():
            return _decline_edit()
        case Unsupported():
            return _unsupported(content)
        case Unknown(type=kind):
            return _unknown(kind)
        case _:
            return Silence(_SILENCE_REASONS[type(content)])


def _words(words: str) -> Handling:
    # Without words nothing was asked: the model would invent a question.
    if not words:
        return Silence(SilenceReason.EMPTY_TEXT)
    return Answer(words) if has_visible(words) else Decline(NO_WORDS)


def _kind_name(content: Media | Location | Order | FlowReply) -> str:
    if isinstance(content, Media):
        return "voice notes" if content.is_voice else _KIND_NAMES[content.kind]
    return _CONTENT_NAMES[type(content)]


def _unsupported(content: Unsupported) -> Handling:
    if is_placeholder(content) or content.has_code(_MEDIA_UNAVAILABLE_CODE):
        return Decline("Sorry, your message did not reach me, so please send it again.")
    # On a plain number this is how an edit comes. Silence would let the customer believe that the
    # amount was changed.
    if content.kind == "edit":
        return _decline_edit()
    # Another business's bot appears as `unsupported` too, and would answer our sentence without
    # end. So only what a bot cannot send gets one.
    if content.kind in _PERSONS_KIND_NAMES:
        return _decline(_PERSONS_KIND_NAMES[content.kind])
    return Silence(SilenceReason.UNSUPPORTED)


def _unknown(kind: str) -> Handling:
    # A customer who sent a picture waits for a reply, even if its body never came.
    if kind in _KIND_NAMES:
        return _decline(_KIND_NAMES[kind])
    if kind == "edit":
        return _decline_edit()
    # A future type of Meta's may not be from a person at all.
    return Silence(SilenceReason.EMPTY_TEXT if kind == "text" else SilenceReason.UNKNOWN)


def _decline(kind_name: str) -> Decline:
    return Decline(
        f"Sorry, I cannot read {kind_name} yet, so please tell me in words what you need.",
    )


def _decline_edit() -> Decline:
    # An edited amount must not change money silently: the first wording may have been acted upon.
    return Decline(
        "Sorry, I cannot follow edited messages, so please send the change as a new message.",
    )
