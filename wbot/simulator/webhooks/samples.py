"""What customers can send: one sample of every inbound kind, as Meta shapes it."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from wbot.simulator.call_log import Send
from wbot.simulator.graph.media import MediaFile, picture, voice_note
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer

_ORIGINAL = "wamid.HBgLMTU1NTAxMDAwMDEVAgASGBQzQTAwMDAwMDAwMDAwMDAwMDAwMAA="

PLAIN: Mapping[str, dict[str, Any]] = {
    "text": {"type": "text", "text": {"body": "Hello"}},
    "location": {
        "type": "location",
        "location": {
            "latitude": 37.7793,
            "longitude": -122.4193,
            "name": "City Hall",
            "address": "1 Main Street",
        },
    },
    "contacts": {
        "type": "contacts",
        "contacts": [
            {
                "name": {"formatted_name": "John Doe", "first_name": "John"},
                "phones": [{"phone": "+1 555 010 0099", "wa_id": "15550100099", "type": "CELL"}],
            }
        ],
        "origin": "other",
    },
    "button_reply": {
        "type": "interactive",
        "interactive": {"type": "button_reply", "button_reply": {"id": "yes", "title": "Yes"}},
    },
    "list_reply": {
        "type": "interactive",
        "interactive": {
            "type": "list_reply",
            "list_reply": {"id": "row-1", "title": "First", "description": "The first row"},
        },
    },
    "flow_reply": {
        "type": "interactive",
        "interactive": {
            "type": "nfm_reply",
            "nfm_reply": {
                "name": "flow",
                "body": "Sent",
                "response_json": json.dumps({"flow_token": "token", "answer": "blue"}),
            },
        },
    },
    "button": {"type": "button", "button": {"payload": "stop", "text": "Stop"}},
    "reaction": {
        "type": "reaction",
        "reaction": {"message_id": _ORIGINAL, "emoji": "\N{THUMBS UP SIGN}"},
    },
    "order": {
        "type": "order",
        "order": {
            "catalog_id": "194836987003835",
            "text": "",
            "product_items": [
                {
                    "product_retailer_id": "tea-100",
                    "quantity": 2,
                    "item_price": 4.5,
                    "currency": "USD",
                }
            ],
        },
    },
    "system": {
        "type": "system",
        "system": {
            "body": "The customer changed their number",
            "wa_id": "15550100098",
            "type": "user_changed_number",
        },
    },
    "request_welcome": {"type": "request_welcome"},
    "unsupported": {
        "type": "unsupported",
        "errors": [
            {
                "code": 131051,
                "title": "Message type unknown",
                "message": "Message type unknown",
                "error_data": {"details": "Message type is currently not supported."},
            }
        ],
        "unsupported": {"type": "poll_creation"},
    },
    "unavailable": {
        "type": "unsupported",
        "errors": [
            {
                "code": 131060,
                "title": "Message unavailable",
                "message": "Message unavailable",
                "error_data": {"details": "This message is currently unavailable."},
            }
        ],
    },
    "unknown": {"type": "unknown"},
    "edit": {
        "type": "edit",
        "edit": {
            "original_message_id": _ORIGINAL,
            "message": {"type": "text", "text": {"body": "Hello again"}},
        },
    },
    "revoke": {"type": "revoke", "revoke": {"original_message_id": _ORIGINAL}},
}


Store = Callable[[bytes, str], tuple[MediaFile, str | None]]
"""Stores an attachment's bytes under their MIME type; gives the file and its download URL."""


class _Attachment(msgspec.Struct, frozen=True):
    type: str
    mime_type: str
    data: Callable[[], bytes]
    fields: dict[str, Any] = {}


def _webp() -> bytes:
    return base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")


def _mp4() -> bytes:
    return b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"


def _pdf() -> bytes:
    return b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


ATTACHMENTS: Mapping[str, _Attachment] = {
    "image": _Attachment("image", "image/png", picture),
    "video": _Attachment("video", "video/mp4", _mp4),
    "audio": _Attachment("audio", "audio/mpeg", lambda: b"ID3\x04\x00\x00", {"voice": False}),
    "voice": _Attachment("audio", "audio/ogg; codecs=opus", voice_note, {"voice": True}),
    "document": _Attachment("document", "application/pdf", _pdf, {"filename": "invoice.pdf"}),
    "sticker": _Attachment("sticker", "image/webp", _webp, {"animated": False}),
}

KINDS = (*PLAIN, *ATTACHMENTS)

_QUOTING = frozenset({"button_reply", "list_reply", "flow_reply", "button"})
"""Kinds that answer a message of the business, and name that message."""


def sample_of(
    kind: str, *, business: SimulatedBusiness, customer: SimulatedCustomer, store: Store
) -> dict[str, Any]:
    """Type, body and context of one message of this kind; raises KeyError for an unknown kind."""
    if kind == "system" and customer.phone is None:
        return _changed_user_id(customer)
    if kind in _QUOTING:
        return PLAIN[kind] | {"context": {"from": business.display_phone_number, "id": _ORIGINAL}}
    if kind in PLAIN:
        return dict(PLAIN[kind])
    attachment = ATTACHMENTS[kind]
    file, url = store(attachment.data(), attachment.mime_type)
    body = {
        "mime_type": file.mime_type,
        "sha256": file.sha256_base64,
        "id": file.id,
    }
    if url is not None:
        body["url"] = url
    return {"type": attachment.type, attachment.type: body | attachment.fields}


def _changed_user_id(customer: SimulatedCustomer) -> dict[str, Any]:
    """A change of number for a customer who hides their number."""
    change = {
        "body": "The customer changed their number",
        "user_id": f"{customer.user_id}9",
        "previous_user_id": customer.user_id,
        "type": "user_changed_user_id",
    }
    return {"type": "system", "system": change}


def tapped(send: Send | None, *, button_id: str, title: str) -> dict[str, Any]:
    """The answer to a tap on a list's row, a template's button or else a reply button."""
    if send is not None and send.type == "template":
        return {"type": "button", "button": {"payload": button_id, "text": title}}
    interactive = send.payload["interactive"] if send and send.type == "interactive" else {}
    reply = {"id": button_id, "title": title}
    if interactive.get("type") != "list":
        return _reply("button_reply", reply)
    for section in interactive["action"]["sections"]:
        for row in section["rows"]:
            if row["id"] == button_id and "description" in row:
                reply["description"] = row["description"]
    return _reply("list_reply", reply)


def _reply(kind: str, reply: dict[str, Any]) -> dict[str, Any]:
    return {"type": "interactive", "interactive": {"type": kind, kind: reply}}
