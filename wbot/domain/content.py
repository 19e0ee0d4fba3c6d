"""The reading of a message object into its content: pure, total, and lenient about everything."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from wbot.domain import lenient
from wbot.domain.errors import MalformedError
from wbot.domain.lenient import JsonObject
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
    OrderItem,
    Phone,
    Product,
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
    named = lenient.identifier(raw, "type")
    return named or next((kind for kind in _READERS if raw.get(kind)), "missing")


def content_of(raw: Mapping[str, Any]) -> Content:
    """The content of a message object, also one read back from storage; never raises."""
    kind = type_of(raw)
    reader = _READERS.get(kind)
    content = reader(raw) if reader else None
    return Unknown(kind) if content is None else content


def errors_of(raw: Mapping[str, Any]) -> tuple[MetaError, ...]:
    """The errors of a message, status or value."""
    return tuple(MetaError.of(error) for error in lenient.mappings(raw, "errors"))


def context_of(raw: Mapping[str, Any]) -> Context | None:
    """The context of a message, None where it has none."""
    context = lenient.mapping(raw, "context")
    if not context:
        return None
    product = lenient.mapping(context, "referred_product")
    return Context(
        message_id=lenient.identifier(context, "id", "message_id"),
        sender=lenient.text(context, "from"),
        is_forwarded=_is_marked(context, "forwarded"),
        is_frequently_forwarded=_is_marked(context, "frequently_forwarded"),
        product=_product(product) if product else None,
    )


def _is_marked(context: JsonObject, key: str) -> bool:
    # An odd mark is a mark all the same: taken for none, somebody else's words would be a yes.
    return str(context.get(key) or "").strip().lower() not in {"", "false", "0", "no"}


def _product(raw: JsonObject) -> Product:
    return Product(lenient.text(raw, "catalog_id"), lenient.text(raw, "product_retailer_id"))


def _text(raw: Mapping[str, Any]) -> Text | None:
    body = lenient.mapping(raw, "text")
    words = lenient.text(body, "body")
    return Text(words or "") if words or body.get("body") == "" else None


def _media(raw: Mapping[str, Any], kind: MediaKind) -> Media | None:
    body = lenient.mapping(raw, kind)
    if not body:
        return None
    return Media(
        kind=kind,
        id=lenient.identifier(body, "id"),
        mime_type=lenient.text(body, "mime_type"),
        sha256=lenient.text(body, "sha256"),
        url=lenient.text(body, "url", "link"),
        caption=lenient.text(body, "caption"),
        filename=lenient.text(body, "filename"),
        is_voice=lenient.flag(body, "voice"),
        is_animated=lenient.flag(body, "animated"),
    )


def _location(raw: Mapping[str, Any]) -> Location | None:
    body = lenient.mapping(raw, "location")
    latitude, longitude = lenient.real(body, "latitude"), lenient.real(body, "longitude")
    if latitude is None or longitude is None:
        return None
    return Location(
        latitude=latitude,
        longitude=longitude,
        name=lenient.text(body, "name"),
        address=lenient.text(body, "address"),
        url=lenient.text(body, "url"),
    )


def _contacts(raw: Mapping[str, Any]) -> Contacts | None:
    cards = tuple(_card(card) for card in lenient.mappings(raw, "contacts"))
    return Contacts(cards, lenient.text(raw, "origin")) if cards else None


def _card(raw: JsonObject) -> Card:
    name = lenient.mapping(raw, "name")
    phones = tuple(
        Phone(lenient.text(p, "phone"), lenient.identifier(p, "wa_id"), lenient.text(p, "type"))
        for p in lenient.mappings(raw, "phones")
    )
    return Card(lenient.text(name, "formatted_name", "first_name"), phones, raw)


def _interactive(raw: Mapping[str, Any]) -> ButtonReply | ListReply | FlowReply | None:
    body = lenient.mapping(raw, "interactive")
    reply = lenient.mapping(body, kind := lenient.text(body, "type") or "")
    title = lenient.text(reply, "title")
    if kind == "nfm_reply" and reply:
        return _flow_reply(reply)
    if kind == "button_reply" and title:
        return ButtonReply(lenient.text(reply, "id"), title)
    if kind == "list_reply" and title:
        return ListReply(lenient.text(reply, "id"), title, lenient.text(reply, "description"))
    return None


def _flow_reply(reply: JsonObject) -> FlowReply:
    inner = lenient.text(reply, "response_json") or "null"
    try:
        response = lenient.decoded(inner.encode("utf-8", "surrogatepass"))
    except MalformedError:
        response = None
    is_object = isinstance(response, dict)
    return FlowReply(
        name=lenient.text(reply, "name"),
        body=lenient.text(reply, "body"),
        response=response if is_object else None,
        flow_token=lenient.text(response, "flow_token") if is_object else None,
    )


def _button(raw: Mapping[str, Any]) -> TemplateButton | None:
    body = lenient.mapping(raw, "button")
    words = lenient.text(body, "text")
    return TemplateButton(words, lenient.text(body, "payload")) if words else None


def _reaction(raw: Mapping[str, Any]) -> Reaction | None:
    body = lenient.mapping(raw, "reaction")
    wamid = lenient.identifier(body, "message_id")
    return Reaction(wamid, lenient.text(body, "emoji")) if wamid else None


def _order(raw: Mapping[str, Any]) -> Order | None:
    body = lenient.mapping(raw, "order")
    if not body:
        return None
    items = tuple(_order_item(item) for item in lenient.mappings(body, "product_items"))
    return Order(lenient.text(body, "catalog_id"), lenient.text(body, "text"), items)


def _order_item(raw: JsonObject) -> OrderItem:
    return OrderItem(
        retailer_id=lenient.text(raw, "product_retailer_id"),
        quantity=lenient.integer(raw, "quantity"),
        price=lenient.decimal(raw, "item_price"),
        currency=lenient.text(raw, "currency"),
    )


def _system(raw: Mapping[str, Any]) -> System | None:
    body = lenient.mapping(raw, "system")
    if not body:
        return None
    return System(
        event=lenient.text(body, "type"),
        body=lenient.text(body, "body"),
        phone=lenient.identifier(body, "wa_id", "new_wa_id"),
        user_id=lenient.identifier(body, "user_id"),
        parent_user_id=lenient.identifier(body, "parent_user_id"),
        previous_user_id=lenient.identifier(body, "previous_user_id"),
        previous_parent_user_id=lenient.identifier(body, "previous_parent_user_id"),
        identity_hash=lenient.text(lenient.mapping(raw, "identity"), "hash"),
    )


def _unsupported(raw: Mapping[str, Any]) -> Unsupported:
    return Unsupported(lenient.text(lenient.mapping(raw, "unsupported"), "type"), errors_of(raw))


def _edit(raw: Mapping[str, Any]) -> Edit | None:
    body = lenient.mapping(raw, "edit")
    message = lenient.mapping(body, "message")
    if not body:
        return None
    # An edit of an edit occurs nowhere, and following it would have no end.
    is_nested = type_of(message) == "edit"
    content = Unknown("edit") if is_nested else content_of(message)
    return Edit(lenient.identifier(body, "original_message_id"), content, context_of(message))


def _revoke(raw: Mapping[str, Any]) -> Revoke | None:
    body = lenient.mapping(raw, "revoke")
    return Revoke(lenient.identifier(body, "original_message_id")) if body else None


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
