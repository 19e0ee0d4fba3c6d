"""Parses a message object into its content: pure, lenient, and it never raises."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from wbot.domain import json_access
from wbot.domain.errors import MalformedError
from wbot.domain.json_access import JsonObject
from wbot.domain.messages import (
    ButtonReply,
    Card,
    Contacts,
    Content,
    Context,
    Edit,
    FlowReply,
    ListReply,
    Location,
    Media,
    MediaKind,
    MetaError,
    Order,
    Phone,
    Reaction,
    RequestWelcome,
    Revoke,
    System,
    TemplateButton,
    Text,
    Unknown,
    Unsupported,
)


def type_of(raw: Mapping[str, Any]) -> str:
    """The message's type; where it names none, the body it has."""
    named = json_access.identifier(raw, "type")
    return named or next((kind for kind in _READERS if raw.get(kind)), "missing")


def content_of(raw: Mapping[str, Any]) -> Content:
    """The content of a message object, also one read back from storage; never raises."""
    kind = type_of(raw)
    reader = _READERS.get(kind)
    content = reader(raw) if reader else None
    return Unknown(kind) if content is None else content


def errors_of(raw: Mapping[str, Any]) -> tuple[MetaError, ...]:
    """The errors of a message, status or value."""
    return tuple(MetaError.of(error) for error in json_access.mappings(raw, "errors"))


def context_of(raw: Mapping[str, Any]) -> Context | None:
    """The context of a message, None where it has none."""
    context = json_access.mapping(raw, "context")
    if not context:
        return None
    return Context(
        message_id=json_access.identifier(context, "id", "message_id"),
        is_forwarded=_is_marked(context, "forwarded"),
        is_frequently_forwarded=_is_marked(context, "frequently_forwarded"),
    )


def _is_marked(context: JsonObject, key: str) -> bool:
    # An odd mark is a mark all the same: taken for none, somebody else's words would be a yes.
    return str(context.get(key) or "").strip().lower() not in {"", "false", "0", "no"}


def _text(raw: Mapping[str, Any]) -> Text | None:
    body = json_access.mapping(raw, "text")
    words = json_access.text(body, "body")
    return Text(words or "") if words or body.get("body") == "" else None


def _media(raw: Mapping[str, Any], kind: MediaKind) -> Media | None:
    body = json_access.mapping(raw, kind)
    if not body:
        return None
    return Media(
        kind=kind,
        id=json_access.identifier(body, "id"),
        mime_type=json_access.text(body, "mime_type"),
        sha256=json_access.text(body, "sha256"),
        url=json_access.text(body, "url", "link"),
        caption=json_access.text(body, "caption"),
        filename=json_access.text(body, "filename"),
        is_voice=json_access.flag(body, "voice"),
        is_animated=json_access.flag(body, "animated"),
    )


def _location(raw: Mapping[str, Any]) -> Location | None:
    body = json_access.mapping(raw, "location")
    latitude, longitude = json_access.real(body, "latitude"), json_access.real(body, "longitude")
    if latitude is None or longitude is None:
        return None
    return Location(
        latitude=latitude,
        longitude=longitude,
        name=json_access.text(body, "name"),
        address=json_access.text(body, "address"),
        url=json_access.text(body, "url"),
    )


def _contacts(raw: Mapping[str, Any]) -> Contacts | None:
    cards = tuple(_card(card) for card in json_access.mappings(raw, "contacts"))
    return Contacts(cards, json_access.text(raw, "origin")) if cards else None


def _card(raw: JsonObject) -> Card:
    name = json_access.mapping(raw, "name")
    phones = tuple(
        Phone(
            json_access.text(p, "phone"),
            json_access.identifier(p, "wa_id"),
            json_access.text(p, "type"),
        )
        for p in json_access.mappings(raw, "phones")
    )
    return Card(json_access.text(name, "formatted_name", "first_name"), phones, raw)


def _interactive(raw: Mapping[str, Any]) -> ButtonReply | ListReply | FlowReply | None:
    body = json_access.mapping(raw, "interactive")
    reply = json_access.mapping(body, kind := json_access.text(body, "type") or "")
    title = json_access.text(reply, "title")
    if kind == "nfm_reply" and reply:
        return _flow_reply(reply)
    if kind == "button_reply" and title:
        return ButtonReply(json_access.text(reply, "id"), title)
    if kind == "list_reply" and title:
        return ListReply(
            json_access.text(reply, "id"), title, json_access.text(reply, "description")
        )
    return None


def _flow_reply(reply: JsonObject) -> FlowReply:
    inner = json_access.text(reply, "response_json") or "null"
    try:
        response = json_access.decoded(inner.encode("utf-8", "surrogatepass"))
    except MalformedError:
        response = None
    is_object = isinstance(response, dict)
    return FlowReply(
        name=json_access.text(reply, "name"),
        body=json_access.text(reply, "body"),
        response=response if is_object else None,
        flow_token=json_access.text(response, "flow_token") if is_object else None,
    )


def _button(raw: Mapping[str, Any]) -> TemplateButton | None:
    body = json_access.mapping(raw, "button")
    words = json_access.text(body, "text")
    return TemplateButton(words, json_access.text(body, "payload")) if words else None


def _reaction(raw: Mapping[str, Any]) -> Reaction | None:
    body = json_access.mapping(raw, "reaction")
    wamid = json_access.identifier(body, "message_id")
    return Reaction(wamid, json_access.text(body, "emoji")) if wamid else None


def _order(raw: Mapping[str, Any]) -> Order | None:
    return Order() if json_access.mapping(raw, "order") else None


def _system(raw: Mapping[str, Any]) -> System | None:
    body = json_access.mapping(raw, "system")
    if not body:
        return None
    return System(
        event=json_access.text(body, "type"),
        body=json_access.text(body, "body"),
        phone=json_access.identifier(body, "wa_id", "new_wa_id"),
        user_id=json_access.identifier(body, "user_id"),
        previous_user_id=json_access.identifier(body, "previous_user_id"),
        identity_hash=json_access.text(json_access.mapping(raw, "identity"), "hash"),
    )


def _unsupported(raw: Mapping[str, Any]) -> Unsupported:
    return Unsupported(
        json_access.text(json_access.mapping(raw, "unsupported"), "type"), errors_of(raw)
    )


def _edit(raw: Mapping[str, Any]) -> Edit | None:
    body = json_access.mapping(raw, "edit")
    message = json_access.mapping(body, "message")
    if not body:
        return None
    # Meta sends no edit of an edit, and following one could recurse without end.
    is_nested = type_of(message) == "edit"
    content = Unknown("edit") if is_nested else content_of(message)
    return Edit(content, context_of(message))


def _revoke(raw: Mapping[str, Any]) -> Revoke | None:
    return Revoke() if json_access.mapping(raw, "revoke") else None


_READERS: dict[str, Callable[[Mapping[str, Any]], Content | None]] = {
    "text": _text,
    **{kind.value: partial(_media, kind=kind) for kind in MediaKind},
    "location": _location,
    "contacts": _contacts,
    "interactive": _interactive,
    "button": _button,
    "reaction": _reaction,
    "order": _order,
    "system": _system,
    "request_welcome": lambda _: RequestWelcome(),
    "unsupported": _unsupported,
    "unknown": _unsupported,
    "edit": _edit,
    "revoke": _revoke,
}
