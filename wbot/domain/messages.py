"""What Meta sends, as typed values: inbound messages, statuses, and notices of the rest.

Forms and their oddities: cloud-api.md 2. What has no field stays in `raw`.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Self, TypeAlias

import msgspec

from wbot.domain import json_access
from wbot.domain.json_access import JsonObject

TEST_MESSAGE_ID = "ABGGFlA5Fpa"
"""The id of every message that the Test button of Meta's dashboard sends."""

PLACEHOLDER_CODE = 131060
"""The body is not available yet; the real one may follow under the same id."""

CODE_LIMIT = 10_000_000
"""Meta's codes have up to seven digits."""

_LETTERS = str.maketrans("0123456789", "ghijklmnop")
_LOG_ID = re.compile("[a-p]{16}")

_USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")


def is_user_id(identity: str) -> bool:
    """Whether this is a business-scoped user id, so that it must never be taken for a number."""
    return _USER_ID.fullmatch(identity) is not None


def log_id_of(message_id: str) -> str:
    """A message id as logs name it: WhatsApp's own holds the customer's number, in Base64.

    Letters alone, so that it can never be taken for a number.
    """
    digest = hashlib.sha256(message_id.encode("utf-8", "replace")).hexdigest()
    return digest[:16].translate(_LETTERS)


def is_log_id(text: str) -> bool:
    """Whether the text has the form of `log_id_of`."""
    return _LOG_ID.fullmatch(text) is not None


def meta_code(error: Mapping[str, Any]) -> int | None:
    """The code of an error object; what has more digits than a code could be a phone number."""
    code = json_access.integer(error, "code")
    return None if code is None or abs(code) >= CODE_LIMIT else code


class MetaError(msgspec.Struct, frozen=True):
    """One item of an `errors` list; decisions branch on `code`, people read `details`."""

    code: int | None = None
    title: str | None = None
    message: str | None = None
    details: str | None = None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        data = json_access.mapping(raw, "error_data")
        return cls(
            code=meta_code(raw),
            title=json_access.text(raw, "title"),
            message=json_access.text(raw, "message"),
            # Older bodies have the details beside the code, some have text for `error_data`.
            details=json_access.text(data, "details")
            or json_access.text(raw, "details", "error_data"),
        )


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a message refers to; a forwarded one names no message."""

    message_id: str | None = None
    is_forwarded: bool = False
    is_frequently_forwarded: bool = False


class Text(msgspec.Struct, frozen=True):
    """Words, exactly as written; possibly none."""

    body: str


class MediaKind(StrEnum):
    """The kinds of file a message can carry."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    STICKER = "sticker"


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """A file; `sha256` is base64 here but hex in the media endpoint, `url` expires in minutes."""

    kind: MediaKind
    id: str | None = None
    mime_type: str | None = None
    sha256: str | None = None
    url: str | None = None
    caption: str | None = None
    filename: str | None = None
    is_voice: bool = False
    is_animated: bool = False


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A place, in degrees."""

    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None
    url: str | None = None


class Phone(msgspec.Struct, frozen=True):
    """A number on a contact card; `wa_id` where it is on WhatsApp."""

    number: str | None
    wa_id: str | None
    kind: str | None


class Card(msgspec.Struct, frozen=True):
    """One contact card; `raw` has its e-mail and postal addresses and the like."""

    name: str | None
    phones: tuple[Phone, ...]
    raw: JsonObject


class Contacts(msgspec.Struct, frozen=True):
    """Contact cards; `origin` is `contact_request` where we asked for the customer's own."""

    cards: tuple[Card, ...]
    origin: str | None


class ButtonReply(msgspec.Struct, frozen=True):
    """A tap on a reply button of ours."""

    id: str | None
    title: str


class ListReply(msgspec.Struct, frozen=True):
    """A choice from a list of ours."""

    id: str | None
    title: str
    description: str | None


class FlowReply(msgspec.Struct, frozen=True, kw_only=True):
    """A filled-in form; `response` is None where its inner JSON is not an object."""

    name: str | None
    body: str | None
    response: JsonObject | None
    flow_token: str | None


class TemplateButton(msgspec.Struct, frozen=True):
    """A tap on a quick-reply button of a template."""

    text: str
    payload: str | None


class Reaction(msgspec.Struct, frozen=True):
    """An emoji on one of our messages; None means it was removed."""

    wamid: str
    emoji: str | None


class Order(msgspec.Struct, frozen=True):
    """A basket from the catalogue."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's identity changed; the ids are the new ones, unless they say previous."""

    event: str | None
    body: str | None = None
    phone: str | None = None
    user_id: str | None = None
    previous_user_id: str | None = None
    identity_hash: str | None = None


class RequestWelcome(msgspec.Struct, frozen=True):
    """A customer opened the chat for the first time and said nothing yet."""


class Unsupported(msgspec.Struct, frozen=True):
    """Something WhatsApp does not pass on; `kind` says what it was, if Meta does."""

    kind: str | None
    errors: tuple[MetaError, ...]

    def has_code(self, *codes: int) -> bool:
        return any(error.code in codes for error in self.errors)


class Edit(msgspec.Struct, frozen=True):
    """A new wording of an earlier message."""

    content: "Content"
    context: Context | None


class Revoke(msgspec.Struct, frozen=True):
    """The customer deleted an earlier message."""


class Unknown(msgspec.Struct, frozen=True):
    """An unknown type, or a known one whose body is missing or malformed."""

    type: str


Content: TypeAlias = (
    Text
    | Media
    | Location
    | Contacts
    | ButtonReply
    | ListReply
    | FlowReply
    | TemplateButton
    | Reaction
    | Order
    | System
    | RequestWelcome
    | Unsupported
    | Edit
    | Revoke
    | Unknown
)


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a customer, or about one; its sender is unknown without `phone` and `user_id`.

    `phone` is exactly as Meta gave it. `raw` is the message object, cleaned.
    """

    message_id: str
    type: str
    content: Content
    raw: JsonObject
    account_id: str | None = None
    """The WhatsApp Business Account that the number is in."""
    phone_number_id: str | None = None
    business_number: str | None = None
    """The business's own number, as WhatsApp writes it."""
    phone: str | None = None
    user_id: str | None = None
    name: str | None = None
    group_id: str | None = None
    sent_at: datetime | None = None


class Echo(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner wrote from the phone, to the customer with `phone` or `user_id`."""

    message_id: str
    type: str
    raw: JsonObject
    phone_number_id: str | None = None
    phone: str | None = None
    user_id: str | None = None
    sent_at: datetime | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message we sent; `status` is Meta's word in lower case, known or not."""

    wamid: str
    status: str
    raw: JsonObject
    phone_number_id: str | None = None
    occurred_at: datetime | None = None
    participant: str | None = None
    opaque: str | None = None
    pricing: JsonObject | None = None
    errors: tuple[MetaError, ...] = ()


class NoticeReason(StrEnum):
    """Why a part of a webhook is stored without being a message or a status."""

    FIELD = "field"
    """A field other than `messages`."""
    BESIDE = "beside"
    """It stood beside the messages and statuses: errors, calls, unknown keys."""
    CONTACT = "contact"
    """A contact that no message or status refers to."""
    NO_ID = "no_id"
    """A message or status without a usable id."""
    NO_STATUS = "no_status"
    """A status without its `status`."""
    MISSHAPEN = "misshapen"
    """Of another type than is expected there."""
    EMPTY = "empty"
    """An entry or change that holds nothing."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a webhook that is neither a message nor a status.

    `field` is empty where the change named none; `event` is what the value calls its event, or the
    key under which `raw` stood.
    """

    field: str
    reason: NoticeReason
    raw: Any
    event: str | None = None
    phone_number_id: str | None = None


def text_of(content: Content) -> str | None:
    """What the customer said in words, or by a contact card; None for everything else."""
    match content:
        case Text(body=words) | TemplateButton(text=words):
            return words
        case ButtonReply(title=words) | ListReply(title=words):
            return words
        case Contacts(cards=cards):
            return "\n".join(_words_of(card) for card in cards)
        case _:
            return None


def _words_of(card: Card) -> str:
    # A payment finds the customer by WhatsApp's form of the number; a line break could make one
    # card look like two.
    numbers = [f"+{p.wa_id.lstrip('+')}" if p.wa_id else p.number for p in card.phones]
    parts = [part for part in (card.name, *numbers) if part]
    return " ".join(f"Contact card: {', '.join(parts) or 'empty'}".split())


def is_placeholder(content: Content) -> bool:
    """Whether the real body may still follow under this message's id."""
    return isinstance(content, Unsupported) and content.has_code(PLACEHOLDER_CODE)
