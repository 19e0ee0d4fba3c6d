"""What the Graph API checks in a message before it accepts it: types, limits, required parts."""

from collections.abc import Callable, Mapping
from typing import Any

from wbot.simulator.graph.refusals import bad_parameter, bad_value, missing

Fields = Mapping[str, Any]

TEXT_MAX = 4096
OPAQUE_MAX = 512
CAPTION_MAX = 1024
BODY_MAX = 1024
LIST_BODY_MAX = 4096
HEADER_MAX = FOOTER_MAX = 60
BUTTONS_MAX, BUTTON_ID_MAX, BUTTON_TITLE_MAX = 3, 256, 20
SECTIONS_MAX, ROWS_MAX = 10, 10
SECTION_TITLE_MAX, ROW_ID_MAX, ROW_TITLE_MAX, ROW_DESCRIPTION_MAX = 24, 200, 24, 72

TOP_LEVEL = {
    "messaging_product",
    "recipient_type",
    "to",
    "recipient",
    "type",
    "context",
    "biz_opaque_callback_data",
    "recipient_identity_key_hash",
}


def check_message(payload: Fields) -> str:
    """The type of a message that may be sent; raises GraphError otherwise."""
    if payload.get("messaging_product") != "whatsapp":
        raise bad_parameter("The parameter messaging_product is required.")
    if payload.get("recipient_type", "individual") != "individual":
        raise bad_parameter("Param recipient_type must be one of {individual}")
    message_type = payload.get("type", "text")
    if message_type not in MESSAGE_TYPES:
        raise bad_parameter(f"Param type must be one of {{{', '.join(MESSAGE_TYPES).upper()}}}")
    for name in payload:
        if name not in TOP_LEVEL | {message_type}:
            raise bad_parameter(f"Unexpected key '{name}' on param")
    _check_extras(payload)
    if message_type == "contacts":
        _check_contacts(payload.get("contacts"))
    else:
        _CHECKS[message_type](_fields(payload.get(message_type), message_type))
    return str(message_type)


def _check_extras(payload: Fields) -> None:
    opaque = payload.get("biz_opaque_callback_data", "")
    if not isinstance(opaque, str) or len(opaque) > OPAQUE_MAX:
        raise bad_parameter(
            f"Param biz_opaque_callback_data must be at most {OPAQUE_MAX} characters long."
        )
    if "context" in payload:
        _text(_fields(payload["context"], "context"), "message_id", "context['message_id']", 4096)


def _check_text(content: Fields) -> None:
    for name in content:
        if name not in {"body", "preview_url"}:
            raise bad_parameter(f"Unexpected key '{name}' on param 'text'")
    body = content.get("body")
    if not isinstance(body, str) or not body.strip():
        raise bad_parameter("The parameter text['body'] is required.")
    if len(body) > TEXT_MAX:
        raise bad_parameter(f"Param text['body'] must be at most {TEXT_MAX} characters long.")
    if not isinstance(content.get("preview_url", False), bool):
        raise bad_parameter("Param text['preview_url'] must be a boolean")


def _check_reaction(content: Fields) -> None:
    _text(content, "message_id", "reaction['message_id']", 4096)
    if not isinstance(content.get("emoji", ""), str):
        raise bad_parameter("Param reaction['emoji'] must be a string")


def _check_media(content: Fields) -> None:
    if ("id" in content) == ("link" in content):
        raise bad_parameter("Exactly one of id and link is required for media.")
    value = content.get("id", content.get("link"))
    if not isinstance(value, str) or not value:
        raise bad_value("Media id or link must be a string.")
    if "link" in content and not value.startswith(("http://", "https://")):
        raise bad_value("A media link must begin with http:// or https://.")
    _optional(content, "caption", "caption", CAPTION_MAX)


def _check_location(content: Fields) -> None:
    for name, most in (("latitude", 90.0), ("longitude", 180.0)):
        try:
            degrees = float(content[name])
        except KeyError:
            raise missing(f"location['{name}']") from None
        except (TypeError, ValueError):
            raise bad_value(f"location['{name}'] must be a number.") from None
        if not -most <= degrees <= most:
            raise bad_value(f"location['{name}'] is out of range.")


def _check_contacts(content: Any) -> None:
    if not isinstance(content, list) or not content:
        raise missing("contacts")
    for contact in content:
        name = _fields(_fields(contact, "contacts").get("name"), "contacts['name']")
        _text(name, "formatted_name", "contacts['name']['formatted_name']", 4096)


def _check_template(content: Fields) -> None:
    _text(content, "name", "template['name']", 512)
    language = _fields(content.get("language"), "template['language']")
    _text(language, "code", "template['language']['code']", 20)


def _check_interactive(content: Fields) -> None:
    kind = content.get("type")
    if not isinstance(kind, str) or kind not in _INTERACTIVE:
        known = ", ".join(_INTERACTIVE)
        raise bad_parameter(f"Param interactive['type'] must be one of {{{known}}}")
    body = _fields(content.get("body"), "interactive['body']")
    body_max = LIST_BODY_MAX if kind == "list" else BODY_MAX
    _text(body, "text", "interactive['body']['text']", body_max)
    if "footer" in content:
        footer = _fields(content["footer"], "interactive['footer']")
        _text(footer, "text", "interactive['footer']['text']", FOOTER_MAX)
    if "header" in content:
        _check_header(kind, _fields(content["header"], "interactive['header']"))
    _INTERACTIVE[kind](_fields(content.get("action"), "interactive['action']"))


def _check_header(kind: str, header: Fields) -> None:
    header_type = header.get("type")
    if header_type == "text":
        _text(header, "text", "interactive['header']['text']", HEADER_MAX)
    elif header_type in {"image", "video", "document"} and kind != "list":
        _check_media(_fields(header.get(header_type), f"interactive['header']['{header_type}']"))
    else:
        raise bad_value(f"A {kind} message cannot have this header.")


def _check_buttons(action: Fields) -> None:
    buttons = action.get("buttons")
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= BUTTONS_MAX:
        raise bad_value(f"Button messages have 1 to {BUTTONS_MAX} buttons.")
    replies = []
    for button in buttons:
        fields = _fields(button, "button")
        if fields.get("type") != "reply":
            raise bad_value("The type of a button must be reply.")
        replies.append(_fields(fields.get("reply"), "button['reply']"))
    for reply in replies:
        _text(reply, "id", "Button id", BUTTON_ID_MAX)
        _text(reply, "title", "Button title", BUTTON_TITLE_MAX)
    _unique([reply["id"] for reply in replies], "button ids")
    _unique([reply["title"] for reply in replies], "button titles")


def _check_list(action: Fields) -> None:
    _text(action, "button", "interactive['action']['button']", BUTTON_TITLE_MAX)
    sections = action.get("sections")
    if not isinstance(sections, list) or not 1 <= len(sections) <= SECTIONS_MAX:
        raise bad_value(f"Lists have 1 to {SECTIONS_MAX} sections.")
    rows: list[Fields] = []
    for section in sections:
        fields = _fields(section, "section")
        if len(sections) > 1 or "title" in fields:
            _text(fields, "title", "Section title", SECTION_TITLE_MAX)
        found = fields.get("rows")
        if not isinstance(found, list) or not found:
            raise missing("section['rows']")
        rows.extend(_fields(row, "row") for row in found)
    _check_rows(rows)


def _check_rows(rows: list[Fields]) -> None:
    if len(rows) > ROWS_MAX:
        raise bad_value(f"Lists have at most {ROWS_MAX} rows in all.")
    for row in rows:
        _text(row, "id", "Row id", ROW_ID_MAX)
        _text(row, "title", "Row title", ROW_TITLE_MAX)
        _optional(row, "description", "Row description", ROW_DESCRIPTION_MAX)
    _unique([row["id"] for row in rows], "row ids")


def _check_cta_url(action: Fields) -> None:
    _named("cta_url")(action)
    parameters = _fields(action.get("parameters"), "interactive['action']['parameters']")
    _text(parameters, "display_text", "display_text", BUTTON_TITLE_MAX)
    _text(parameters, "url", "url", 2000)
    if not parameters["url"].startswith(("http://", "https://")):
        raise bad_value("A url must begin with http:// or https://.")


def _check_flow(action: Fields) -> None:
    _named("flow")(action)
    parameters = _fields(action.get("parameters"), "interactive['action']['parameters']")
    _text(parameters, "flow_cta", "flow_cta", BUTTON_TITLE_MAX)


def _named(name: str) -> Callable[[Fields], None]:
    def check(action: Fields) -> None:
        if action.get("name") != name:
            raise bad_value(f"interactive['action']['name'] must be {name}.")

    return check


def _fields(value: Any, path: str) -> Fields:
    if value is None:
        raise missing(path)
    if not isinstance(value, dict):
        raise bad_parameter(f"Param {path} must be a JSON object.")
    return value


def _text(fields: Fields, name: str, path: str, length_max: int) -> None:
    value = fields.get(name)
    if value is None:
        raise missing(path)
    if not isinstance(value, str) or not 1 <= len(value) <= length_max:
        raise bad_value(f"{path} length invalid. Min length: 1, Max length: {length_max}")


def _optional(fields: Fields, name: str, path: str, length_max: int) -> None:
    if name in fields:
        _text(fields, name, path, length_max)


def _unique(values: list[str], what: str) -> None:
    if len(set(values)) != len(values):
        raise bad_value(f"The {what} of one message must differ.")


_INTERACTIVE: Mapping[str, Callable[[Fields], None]] = {
    "button": _check_buttons,
    "list": _check_list,
    "cta_url": _check_cta_url,
    "flow": _check_flow,
    "location_request_message": _named("send_location"),
    "request_contact_info": _named("request_contact_info"),
}
_CHECKS: Mapping[str, Callable[[Fields], None]] = {
    "text": _check_text,
    "reaction": _check_reaction,
    "image": _check_media,
    "video": _check_media,
    "audio": _check_media,
    "document": _check_media,
    "sticker": _check_media,
    "location": _check_location,
    "interactive": _check_interactive,
    "template": _check_template,
}
MESSAGE_TYPES = (*_CHECKS, "contacts")
