"""A webhook's body read into messages, statuses and notices: nothing in it is lost.

Anything unexpected below the envelope becomes a Notice and does not affect what is beside it.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeAlias

import msgspec

from wbot.domain import json_access
from wbot.domain.content import content_of, errors_of, type_of
from wbot.domain.errors import MalformedError, OversizedError
from wbot.domain.json_access import JsonObject
from wbot.domain.messages import TEST_MESSAGE_ID, Echo, Inbound, Notice, NoticeReason, Status
from wbot.inbound.sender_ids import Contacts, Identity, identity_of

UPDATES_MAX = 10_000
"""Messages, statuses and notices of one body; Meta documents 1,000."""

ECHOES = "smb_message_echoes"
"""The field of what the owner writes from the phone, where it shares the number with the API."""

Piece: TypeAlias = Inbound | Status | Notice | Echo

_Shapes: TypeAlias = dict[str, type | tuple[type, ...]]

# The keys that are read, by where they stand; other keys there become notices.
_ENVELOPE_SHAPES: _Shapes = {"object": str, "entry": list}
_ENTRY_SHAPES: _Shapes = {"id": (str, int), "time": (str, int, float), "changes": list}
_CHANGE_SHAPES: _Shapes = {"field": (str, int), "value": object}
_METADATA_SHAPES: _Shapes = {"phone_number_id": (str, int), "display_phone_number": (str, int)}
_VALUE_SHAPES: _Shapes = {
    "messaging_product": str,
    "metadata": dict,
    "contacts": list,
    "messages": list,
    "statuses": list,
}
_ECHOES_SHAPES: _Shapes = {
    "messaging_product": str,
    "metadata": dict,
    "contacts": list,
    "message_echoes": list,
}
_STATUS_SHAPES: _Shapes = {
    **dict.fromkeys(("id", "status", "biz_opaque_callback_data"), str),
    **dict.fromkeys(("timestamp", "recipient_id"), (str, int)),
    **dict.fromkeys(("recipient_type", "recipient_user_id", "parent_user_id"), str),
    **dict.fromkeys(("parent_recipient_user_id", "recipient_parent_user_id"), str),
    **dict.fromkeys(("recipient_participant_id", "participant_recipient_id"), str),
    **dict.fromkeys(("recipient_participant_user_id", "recipient_participant_parent_user_id"), str),
    **dict.fromkeys(("conversation", "pricing"), dict),
}
_CONTACT_SHAPES: _Shapes = {
    "profile": dict,
    "wa_id": (str, int),
    **dict.fromkeys(("user_id", "parent_user_id", "identity_key_hash"), str),
}
_PROFILE_SHAPES: _Shapes = dict.fromkeys(("name", "username", "country_code"), str)


class Payload(msgspec.Struct, frozen=True):
    """What one webhook says, each kind in the order of the document."""

    messages: tuple[Inbound, ...]
    statuses: tuple[Status, ...]
    notices: tuple[Notice, ...]
    needs_body: bool
    """Whether the body says what the rows of these pieces will not hold."""
    echoes: tuple[Echo, ...] = ()


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where in the document a piece stands; copied into each piece."""

    field: str = ""
    account_id: str | None = None
    phone_number_id: str | None = None
    business_number: str | None = None

    def notice(self, reason: NoticeReason, raw: Any, event: str | None = None) -> Notice:
        return Notice(
            reason=reason,
            raw=raw,
            event=event,
            field=self.field,
            phone_number_id=self.phone_number_id,
        )


_NOWHERE = _Place()


def parse_payload(body: bytes) -> Payload:
    """The body's pieces; raises MalformedError for what is not JSON or not a WhatsApp envelope.

    Raises OversizedError where there are more than UPDATES_MAX, before they are all made.
    """
    envelope, is_changed = json_access.decoded_with_loss(body, _check)
    pieces = tuple(islice(_of_envelope(envelope), UPDATES_MAX + 1))
    if len(pieces) > UPDATES_MAX:
        raise _too_many()
    return Payload(
        messages=tuple(piece for piece in pieces if isinstance(piece, Inbound)),
        statuses=tuple(piece for piece in pieces if isinstance(piece, Status)),
        notices=tuple(piece for piece in pieces if isinstance(piece, Notice)),
        echoes=tuple(piece for piece in pieces if isinstance(piece, Echo)),
        needs_body=is_changed
        or any(_is_beyond_rows(piece) for piece in pieces)
        or any(_is_odd_contact(contact) for contact in _contacts(envelope)),
    )


def _is_beyond_rows(piece: Piece) -> bool:
    """Whether the piece has no row, or its row leaves something out that is not just repeated."""
    match piece:
        case Inbound(message_id=message_id):
            return message_id == TEST_MESSAGE_ID
        case Status(raw=raw, occurred_at=occurred_at):
            is_undated = occurred_at is None and "timestamp" in raw
            return is_undated or _has_odd(raw, _STATUS_SHAPES)  # also the errors of a failure
        case Notice() | Echo():
            return True


def _contacts(envelope: JsonObject) -> Iterator[JsonObject]:
    for entry in json_access.dicts(envelope["entry"]):
        for change in json_access.dicts(json_access.items(entry, "changes")):
            value = json_access.mapping(change, "value")
            yield from json_access.dicts(json_access.items(value, "contacts"))


def _is_odd_contact(contact: JsonObject) -> bool:
    return _has_odd(contact, _CONTACT_SHAPES) or _has_odd(
        json_access.mapping(contact, "profile"), _PROFILE_SHAPES
    )


def _check(value: Any) -> None:
    """Raise for what is not an envelope, or has too many updates by the lengths of its lists."""
    if not _is_envelope(value):
        raise MalformedError("not a WhatsApp webhook")
    updates = 0
    for entry in value["entry"]:
        changes = json_access.items(entry, "changes") if isinstance(entry, dict) else []
        for change in changes or [None]:
            updates += _length(change)
            if updates > UPDATES_MAX:
                raise _too_many()


def _length(change: Any) -> int:
    """The least number of updates in the change."""
    value = json_access.mapping(change, "value") if isinstance(change, dict) else {}
    # A contact that only repeats another is not an update, but checking each takes as long.
    if len(json_access.items(value, "contacts")) > UPDATES_MAX:
        raise _too_many()
    lists = ("messages", "statuses", "message_echoes")
    return sum(len(json_access.items(value, name)) for name in lists) or 1


def _too_many() -> OversizedError:
    return OversizedError(f"of more than {UPDATES_MAX:,} updates")


def _is_envelope(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("object") == "whatsapp_business_account"
        and isinstance(value.get("entry"), list)
    )


def _of_envelope(envelope: JsonObject) -> Iterator[Piece]:
    yield from _beside(envelope, _ENVELOPE_SHAPES, _NOWHERE)
    for entry in envelope["entry"]:
        yield from _or_empty(_of_entry(entry), entry, _NOWHERE)


def _of_entry(entry: Any) -> Iterator[Piece]:
    if not isinstance(entry, dict):
        yield _NOWHERE.notice(NoticeReason.MISSHAPEN, entry, "entry")
        return
    yield from _beside(entry, _ENTRY_SHAPES, _NOWHERE)
    for change in json_access.items(entry, "changes"):
        if isinstance(change, dict):
            place = _place_of(entry, change)
            yield from _or_empty(_of_change(change, place), change, place)
        else:
            yield _NOWHERE.notice(NoticeReason.MISSHAPEN, change, "changes")


def _of_change(change: JsonObject, place: _Place) -> Iterator[Piece]:
    value = change.get("value")
    yield from _beside(change, _CHANGE_SHAPES, place)
    if change.get("field") == ECHOES and isinstance(value, dict):
        yield from _of_echoes(value, place)
    elif change.get("field") not in (None, "", "messages"):
        event = json_access.text(value, "event") if isinstance(value, dict) else None
        yield place.notice(NoticeReason.FIELD, value, event)
    elif isinstance(value, dict):
        yield from _of_value(value, place)
    elif not _is_nothing(value):
        yield place.notice(NoticeReason.MISSHAPEN, value, "value")


def _of_echoes(value: JsonObject, place: _Place) -> Iterator[Piece]:
    yield from _beside(value, _ECHOES_SHAPES, place)
    for raw in json_access.items(value, "message_echoes"):
        yield _of_echo(raw, place)


def _of_echo(raw: Any, place: _Place) -> Echo | Notice:
    message_id = json_access.identifier(raw, "id") if isinstance(raw, dict) else None
    if message_id is None:
        return place.notice(NoticeReason.NO_ID, raw, "message_echoes")
    customer = identity_of(raw, "to", "to_user_id")
    return Echo(
        message_id=message_id,
        type=type_of(raw),
        raw=raw,
        phone_number_id=place.phone_number_id,
        phone=customer.phone,
        user_id=customer.user_id,
        sent_at=json_access.instant(raw, "timestamp"),
    )


def _place_of(entry: JsonObject, change: JsonObject) -> _Place:
    metadata = json_access.mapping(json_access.mapping(change, "value"), "metadata")
    return _Place(
        field=json_access.text(change, "field") or "",
        account_id=json_access.identifier(entry, "id"),
        phone_number_id=json_access.text(metadata, "phone_number_id"),
        business_number=json_access.text(metadata, "display_phone_number"),
    )


def _of_value(value: JsonObject, place: _Place) -> Iterator[Piece]:
    contacts = Contacts(json_access.items(value, "contacts"))
    yield from _beside(json_access.mapping(value, "metadata"), _METADATA_SHAPES, place)
    yield from _beside(value, _VALUE_SHAPES, place)
    for raw in json_access.items(value, "messages"):
        yield _of_message(raw, place, contacts)
    for raw in json_access.items(value, "statuses"):
        yield _of_status(raw, place, contacts)
    for contact in contacts.unmatched():
        yield place.notice(NoticeReason.CONTACT, contact, "contacts")


def _of_message(raw: Any, place: _Place, contacts: Contacts) -> Inbound | Notice:
    if not isinstance(raw, dict):
        return place.notice(NoticeReason.MISSHAPEN, raw, "messages")
    message_id = json_access.identifier(raw, "id")
    if message_id is None:
        return place.notice(NoticeReason.NO_ID, raw, "messages")
    kind = type_of(raw)
    sender = identity_of(raw, "from", "from_user_id")
    # A system message is about a customer; the contact may be another message's sender.
    is_only = sender.is_unknown and kind != "system"
    contact = contacts.only() if is_only else contacts.match(sender)
    known = identity_of(contact or {}, "wa_id", "user_id")
    return Inbound(
        message_id=message_id,
        type=kind,
        content=content_of(raw),
        raw=raw,
        account_id=place.account_id,
        phone_number_id=place.phone_number_id,
        business_number=place.business_number,
        phone=sender.phone or known.phone,
        user_id=sender.user_id or known.user_id,
        name=json_access.text(json_access.mapping(contact or {}, "profile"), "name"),
        group_id=json_access.text(raw, "group_id"),
        sent_at=json_access.instant(raw, "timestamp"),
    )


def _of_status(raw: Any, place: _Place, contacts: Contacts) -> Status | Notice:
    if not isinstance(raw, dict):
        return place.notice(NoticeReason.MISSHAPEN, raw, "statuses")
    wamid = json_access.identifier(raw, "id")
    if wamid is None:
        return place.notice(NoticeReason.NO_ID, raw, "statuses")
    status = json_access.identifier(raw, "status")
    if status is None:
        return place.notice(NoticeReason.NO_STATUS, raw, "statuses")
    _match_recipient(raw, contacts)
    return Status(
        wamid=wamid,
        status=status.lower(),
        raw=raw,
        phone_number_id=place.phone_number_id,
        occurred_at=json_access.instant(raw, "timestamp"),
        participant=json_access.identifier(raw, *_PARTICIPANT_KEYS),
        opaque=json_access.text(raw, "biz_opaque_callback_data"),
        pricing=_pricing(raw),
        errors=errors_of(raw),
    )


_PARTICIPANT_KEYS = (
    "recipient_participant_id",
    "participant_recipient_id",
    "recipient_participant_user_id",
)


def _pricing(raw: JsonObject) -> JsonObject | None:
    # In groups it stands inside the conversation.
    nested = json_access.mapping(json_access.mapping(raw, "conversation"), "pricing")
    return json_access.mapping(raw, "pricing") or nested or None


def _match_recipient(raw: JsonObject, contacts: Contacts) -> None:
    """So that the recipient's contact does not become a notice."""
    recipient = identity_of(raw, "recipient_id", "recipient_user_id")
    user_id = json_access.identifier(raw, "recipient_participant_user_id")
    participant = Identity(json_access.identifier(raw, *_PARTICIPANT_KEYS), user_id)
    if contacts.match(recipient) is None:
        contacts.match(participant)


def _beside(source: JsonObject, shapes: _Shapes, place: _Place) -> Iterator[Notice]:
    for key, part in source.items():
        if _is_odd(key, part, shapes):
            reason = NoticeReason.MISSHAPEN if key in shapes else NoticeReason.BESIDE
            yield place.notice(reason, part, key)


def _has_odd(source: JsonObject, shapes: _Shapes) -> bool:
    return any(_is_odd(key, part, shapes) for key, part in source.items())


def _is_odd(key: str, part: Any, shapes: _Shapes) -> bool:
    return not (isinstance(part, shapes.get(key, ())) or _is_nothing(part))


def _is_nothing(part: Any) -> bool:
    return part is None or part in ("", [], {})


def _or_empty(pieces: Iterator[Piece], whole: Any, place: _Place) -> Iterator[Piece]:
    first = next(pieces, None)
    yield place.notice(NoticeReason.EMPTY, whole) if first is None else first
    yield from pieces
