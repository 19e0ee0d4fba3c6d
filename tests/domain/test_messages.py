"""The content of each kind of message, its text, and how it is handled."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain.content import content_of, context_of, errors_of, type_of
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
    is_placeholder,
    is_user_id,
    text_of,
)
from wbot.domain.triage import NO_WORDS, Answer, Decline, Silence, SilenceReason, handling_of

PAYLOADS = Path(__file__).parents[1] / "payloads"
SHA256 = "3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
NOT_SUPPORTED = MetaError(
    code=131051,
    title="Message type unknown",
    message="Message type unknown",
    details="Message type is currently not supported.",
)


def raw_messages(name: str) -> list[dict[str, Any]]:
    body = json.loads((PAYLOADS / f"{name}.json").read_text())
    messages: list[dict[str, Any]] = body["entry"][0]["changes"][0]["value"]["messages"]
    return messages


def contents(name: str) -> list[Content]:
    return [content_of(raw) for raw in raw_messages(name)]


def raw_card(name: str, index: int = 0) -> dict[str, Any]:
    card: dict[str, Any] = raw_messages(name)[0]["contacts"][index]
    return card


CONTENTS: dict[str, list[Content]] = {
    "text": [Text("Transfer $20 to John")],
    "text_empty": [Text(""), Text(" \n"), Unknown("text"), Unknown("text"), Text("500")],
    "image": [
        Media(
            kind=MediaKind.IMAGE,
            id="900000000000001",
            mime_type="image/jpeg",
            sha256=SHA256,
            url="https://media.example/1",
            caption="my receipt",
        )
    ],
    "video": [
        Media(
            kind=MediaKind.VIDEO,
            id="900000000000001",
            mime_type="video/mp4",
            sha256=SHA256,
            caption="look",
        )
    ],
    "audio": [
        Media(kind=MediaKind.AUDIO, id="900000000000001", mime_type="audio/mpeg", sha256=SHA256)
    ],
    "voice_note": [
        Media(
            kind=MediaKind.AUDIO,
            id="900000000000001",
            mime_type="audio/ogg; codecs=opus",
            sha256=SHA256,
            is_voice=True,
        )
    ],
    "document": [
        Media(
            kind=MediaKind.DOCUMENT,
            id="900000000000001",
            mime_type="application/pdf",
            sha256=SHA256,
            caption="June",
            filename="invoice.pdf",
        )
    ],
    "sticker": [
        Media(
            kind=MediaKind.STICKER,
            id="900000000000001",
            mime_type="image/webp",
            sha256=SHA256,
            is_animated=True,
        )
    ],
    "media_odd": [
        Media(kind=MediaKind.IMAGE, id="1"),
        Media(kind=MediaKind.DOCUMENT, id="900000000000001", url="https://media.example/2"),
        Media(kind=MediaKind.AUDIO),
        Unknown("video"),
    ],
    "location": [
        Location(
            latitude=52.5,
            longitude=13.25,
            name="Example Square",
            address="1 Example Square",
            url="https://places.example/1",
        )
    ],
    "locations_odd": [Location(latitude=52.5, longitude=-13.0), Unknown("location")],
    "not_a_number": [Unknown("location"), Text("hi")],
    "contacts": [
        Contacts(
            (
                Card(
                    "Cleo Fiction",
                    (Phone("+1 555 000 2003", "15550002003", "CELL"),),
                    raw_card("contacts"),
                ),
            ),
            None,
        )
    ],
    "contacts_requested": [
        Contacts(
            (Card("Ada", (Phone("15550002001", None, None),), raw_card("contacts_requested")),),
            "contact_request",
        )
    ],
    "contacts_odd": [
        Contacts(
            (Card(None, (Phone(None, None, None),), raw_card("contacts_odd")), Card(None, (), {})),
            None,
        ),
        Unknown("contacts"),
    ],
    "button_reply": [ButtonReply("confirm-7", "Confirm")],
    "list_reply": [ListReply("row-2", "Savings", "The second account")],
    "flow_reply": [
        FlowReply(
            name="flow",
            body="Sent",
            response={"flow_token": "token-1", "rating": "5"},
            flow_token="token-1",
        )
    ],
    "flow_replies_odd": [
        FlowReply(name="flow", body=None, response=None, flow_token=None),
        FlowReply(name=None, body=None, response=None, flow_token=None),
        FlowReply(name="address_message", body=None, response=None, flow_token=None),
        FlowReply(name=None, body="Sent", response=None, flow_token=None),
        FlowReply(name=None, body=None, response={"a": "x\ufffd"}, flow_token=None),
        FlowReply(name=None, body=None, response=None, flow_token=None),
    ],
    "interactive_without_body": [Unknown("interactive")],
    "interactive_unforeseen": [Unknown("interactive")] * 3,
    "template_button": [TemplateButton("My balance", "balance")],
    "template_button_bare": [TemplateButton("My balance", None), Unknown("button")],
    "reaction": [Reaction("wamid.OUT1", "\N{THUMBS UP SIGN}")],
    "reaction_removed": [Reaction("wamid.OUT1", None)] * 2,
    "reactions_odd": [Unknown("reaction"), Reaction("5", None)],
    "order": [Order()],
    "orders_odd": [Order(), Order()],
    "system_changed_number": [
        System(
            event="user_changed_number",
            body="Ada Example changed from 15550002001 to 15550002009",
            phone="15550002009",
            user_id="US.4009ada",
        )
    ],
    "system_legacy_number": [
        System(event="user_changed_number", body="changed", phone="15550002009")
    ],
    "system_changed_user_id": [
        System(
            event="user_changed_user_id",
            body="Ada Example changed",
            user_id="US.4009ada",
            previous_user_id="US.4001ada",
        )
    ],
    "system_identity_changed": [
        System(
            event="customer_identity_changed",
            body="Ada Example changed their security code",
            identity_hash="hash-1",
        )
    ],
    "request_welcome": [RequestWelcome()],
    "unsupported": [Unsupported("hsm", (NOT_SUPPORTED,))],
    "unsupported_placeholder": [
        Unsupported(
            None,
            (
                MetaError(
                    code=131060,
                    title="Message unavailable",
                    details="This message is currently unavailable.",
                ),
            ),
        )
    ],
    "edit": [Edit(Text("Transfer $200 to John"), Context(message_id="wamid.OUT0"))],
    "edits_odd": [
        Edit(Unknown("missing"), None),
        Edit(Unknown("edit"), None),
        Unknown("edit"),
        Unknown("revoke"),
        Revoke(),
    ],
    "revoke": [Revoke()],
    "types": [
        Text("hi"),
        Location(latitude=1.0, longitude=2.0),
        Unknown("missing"),
        Unknown("any"),
        Unknown("foobar"),
        Unknown("template"),
        Unknown("voice"),
        Unknown("text"),
        Unknown("image"),
        Unknown("order"),
        Unknown("system"),
        Unsupported(None, (NOT_SUPPORTED,)),
        Text("hi"),
    ],
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_message_object_is_read_into_its_content(name: str) -> None:
    assert contents(name) == CONTENTS[name]


def test_every_kind_of_content_is_in_the_table() -> None:
    seen = {type(content) for expected in CONTENTS.values() for content in expected}
    assert seen == set(get_args(Content))


@pytest.mark.parametrize(
    ("response_json", "expected"),
    [('{"a": "\ud800"}', {"a": "\ufffd"}), ("[" * 100_000, None), ('{"a": NaN', None)],
)
def test_a_form_s_answers_are_cleaned_like_the_body_around_them(
    response_json: str, expected: dict[str, Any] | None
) -> None:
    reply = {"type": "nfm_reply", "nfm_reply": {"response_json": response_json}}
    content = content_of({"type": "interactive", "interactive": reply})
    assert isinstance(content, FlowReply)
    assert content.response == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", [None]),
        ("text_quoting", [Context(message_id="wamid.OUT1")]),
        ("text_forwarded", [Context(is_forwarded=True), Context(is_frequently_forwarded=True)]),
        ("text_about_product", [Context(message_id="wamid.OUT1")]),
        (
            "contexts_odd",
            [
                None,
                Context(is_forwarded=True),  # an odd mark is a mark all the same
                None,
                Context(),
                Context(message_id="M0"),
            ],
        ),
    ],
)
def test_a_context_may_lack_any_of_its_parts(name: str, expected: list[Context | None]) -> None:
    assert [context_of(raw) for raw in raw_messages(name)] == expected


def test_errors_are_read_from_every_shape_they_have_had() -> None:
    (raw,) = raw_messages("errors_odd")
    assert errors_of(raw) == (
        MetaError(title="no code"),
        MetaError(code=0),
        MetaError(code=131051, details="old place"),
        MetaError(code=1, details="text"),
        MetaError(),
        MetaError(),
    )


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("US.13491208655302741918", True),
        ("US.ENT.11815799212886844830", True),
        ("DE.AbC9", True),
        ("DE." + "a" * 128, True),
        ("DE." + "a" * 129, False),
        ("us.1", False),
        ("US.", False),
        ("US.1\n", False),
        ("USA.1", False),
        ("US.1-2", False),
        ("US.\N{ARABIC-INDIC DIGIT ONE}", False),
        ("15550002001", False),
    ],
)
def test_a_user_id_is_distinguished_from_a_number(identity: str, expected: bool) -> None:
    assert is_user_id(identity) is expected


# --- what was said, and what is done about it


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", ["Transfer $20 to John"]),
        ("text_empty", ["", " \n", None, None, "500"]),
        ("button_reply", ["Confirm"]),
        ("list_reply", ["Savings"]),
        ("template_button", ["My balance"]),
        ("contacts", ["Contact card: Cleo Fiction, +15550002003"]),
        ("contacts_odd", ["Contact card: empty\nContact card: empty", None]),
        ("image", [None]),
        ("edit", [None]),
        ("order", [None]),
        ("reaction", [None]),
    ],
)
def test_words_are_what_the_customer_wrote_or_tapped(name: str, expected: list[str | None]) -> None:
    assert [text_of(content) for content in contents(name)] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unsupported_placeholder", [True]),
        ("unsupported", [False]),
        ("unsupported_bare", [False, False, True, False]),
        ("text", [False]),
    ],
)
def test_only_an_unavailable_message_is_a_placeholder(name: str, expected: list[bool]) -> None:
    assert [is_placeholder(content) for content in contents(name)] == expected


@pytest.mark.parametrize("content", [Text("hi"), ButtonReply(None, "hi"), TemplateButton("hi", "")])
def test_words_are_answered_as_they_are(content: Content) -> None:
    assert handling_of(content) == Answer("hi")


def test_an_empty_text_is_met_with_silence() -> None:
    assert handling_of(Text("")) == Silence(SilenceReason.EMPTY_TEXT)


@pytest.mark.parametrize(
    "body",
    [
        *(" ", "\n\t\N{NO-BREAK SPACE}", "\u200b", "\u200d\u2060", "\u3164", "\u2800", "\ufe0f"),
        *("\U000e0061\U000e007f", "\U000e0100", "\u202e\n"),
    ],
)
def test_a_text_without_a_visible_character_is_answered_with_a_sentence(body: str) -> None:
    """A model would invent a question."""
    assert handling_of(Text(body)) == Decline(NO_WORDS)


@pytest.mark.parametrize("body", ["👍", "?", "\u202eohn", "e\u0301", "أرسل ٢٠"])
def test_a_text_with_a_visible_character_is_answered_as_it_is(body: str) -> None:
    assert handling_of(Text(body)) == Answer(body)


@pytest.mark.parametrize(
    ("name", "kind_name"),
    [
        ("image", "pictures"),
        ("video", "videos"),
        ("audio", "audio files"),
        ("voice_note", "voice notes"),
        ("document", "documents"),
        ("sticker", "stickers"),
        ("location", "locations"),
        ("order", "catalogue orders"),
        ("flow_reply", "forms"),
        ("unsupported_poll", "polls"),
        ("interactive_without_body", "this kind of message"),
    ],
)
def test_an_unhandled_kind_is_declined_by_its_name(name: str, kind_name: str) -> None:
    handling = handling_of(contents(name)[0])
    assert isinstance(handling, Decline)
    assert f"I cannot read {kind_name} yet" in handling.sentence


def test_a_picture_whose_body_never_came_is_declined_like_any_other() -> None:
    whole, bodiless = contents("image_with_errors")
    assert isinstance(bodiless, Unknown)
    assert handling_of(bodiless) == handling_of(whole)


@pytest.mark.parametrize("name", ["edit", "unsupported_edit"])
def test_an_edit_is_asked_for_again_as_a_new_message(name: str) -> None:
    handling = handling_of(contents(name)[0])
    assert isinstance(handling, Decline)
    assert "send the change as a new message" in handling.sentence


def test_a_placeholder_is_asked_for_again() -> None:
    handling = handling_of(contents("unsupported_placeholder")[0])
    assert isinstance(handling, Decline)
    assert "please send it again" in handling.sentence


def test_what_another_businesss_bot_can_send_is_not_answered() -> None:
    """Two bots that apologise to each other would never stop."""
    silence = Silence(SilenceReason.UNSUPPORTED)
    kinds = [None, "hsm", "interactive", "button", "list", "product", "image", "unknown", "future"]
    for kind in kinds:
        assert handling_of(Unsupported(kind, (NOT_SUPPORTED,))) == silence


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reaction", SilenceReason.REACTION),
        ("reaction_removed", SilenceReason.REACTION),
        ("system_changed_number", SilenceReason.SYSTEM),
        ("request_welcome", SilenceReason.REQUEST_WELCOME),
        ("revoke", SilenceReason.REVOKED),
    ],
)
def test_what_asks_for_nothing_is_met_with_silence(name: str, reason: SilenceReason) -> None:
    assert handling_of(contents(name)[0]) == Silence(reason)


def test_an_unknown_type_gets_no_reply() -> None:
    assert handling_of(Unknown("hologram")) == Silence(SilenceReason.UNKNOWN)


@pytest.mark.parametrize("name", CONTENTS)
def test_nothing_said_in_a_group_is_answered(name: str) -> None:
    for content in contents(name):
        assert handling_of(content, "group-1") == Silence(SilenceReason.GROUP)


def test_every_declining_is_one_plain_sentence() -> None:
    for name in CONTENTS:
        for content in contents(name):
            handling = handling_of(content)
            if isinstance(handling, Decline):
                assert handling.sentence.count(".") == 1
                assert handling.sentence.endswith(".")


# --- any JSON object at all

KEYS = [
    *("type", "text", "body", "image", "audio", "video", "document", "sticker", "id", "voice"),
    *("location", "latitude", "longitude", "contacts", "name", "phones", "interactive", "title"),
    *("button_reply", "list_reply", "nfm_reply", "response_json", "button", "payload", "reaction"),
    *("message_id", "emoji", "order", "product_items", "quantity", "item_price", "system", "wa_id"),
    *("identity", "hash", "unsupported", "unknown", "errors", "code", "error_data", "details"),
    *("edit", "message", "original_message_id", "revoke", "context", "referred_product"),
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**70, -(10**4_000)])
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.sampled_from([*KEYS, "[" * 100_000, '{"a":"\ud800"}', "NaN", "1e999999", "9" * 5_000])
)
JSON_OBJECTS = st.dictionaries(
    st.sampled_from(KEYS),
    st.recursive(
        LEAVES,
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(st.sampled_from(KEYS), children, max_size=4)
        ),
        max_leaves=12,
    ),
    max_size=5,
)


@settings(max_examples=400)
@given(JSON_OBJECTS, st.none() | st.sampled_from(KEYS))
def test_any_json_object_has_a_content_and_a_handling(
    raw: dict[str, Any], named: str | None
) -> None:
    if named is not None:
        raw = {**raw, "type": named}
    content = content_of(raw)
    assert isinstance(content, get_args(Content))
    assert isinstance(handling_of(content), Answer | Decline | Silence)
    assert (content == Unknown(type_of(raw))) is isinstance(content, Unknown)
    assert context_of(raw) is None or raw["context"]
    assert all(isinstance(error, MetaError) for error in errors_of(raw))
