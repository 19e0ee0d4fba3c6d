"""What is parsed from a webhook body: every piece of it, whatever is malformed beside it."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain import json_access
from wbot.domain.content import content_of
from wbot.domain.errors import MalformedError
from wbot.domain.messages import (
    TEST_MESSAGE_ID,
    Echo,
    Inbound,
    MetaError,
    Notice,
    NoticeReason,
    Status,
    Text,
)
from wbot.domain.triage import Answer, Decline, Silence, handling_of
from wbot.inbound.webhook_parser import Payload, parse_payload

TESTS = Path(__file__).parents[1]
OWN = {path.stem: path.read_bytes() for path in sorted((TESTS / "payloads").glob("*.json"))}
EXPECTED = json.loads((TESTS / "expected_pieces.json").read_text())
SHARED = TESTS.parent.parent / "shared" / "payloads"
SHARED_BODIES = sorted(SHARED.glob("**/*.json"))


def parse_own(name: str) -> Payload:
    return parse_payload(OWN[name])


def handling_word(message: Inbound) -> str:
    match handling_of(message.content, message.group_id):
        case Answer():
            return "answer"
        case Decline(sentence=sentence):
            return f"decline:{sentence.split(',')[1]}"
        case Silence(reason=reason):
            return f"silence {reason}"


def lines_of(payload: Payload) -> list[str]:
    """One line per piece, as in `expected_pieces.json`."""
    messages = [
        f"{m.message_id[:12]} {type(m.content).__name__} of {m.phone or '-'} {m.user_id or '-'}:"
        f" {handling_word(m)}"
        for m in payload.messages
    ]
    statuses = [f"{status.wamid} {status.status}" for status in payload.statuses]
    notices = [f"notice {n.reason} {n.field or '-'} {n.event or '-'}" for n in payload.notices]
    echoes = [f"echo {one.message_id} {one.type} to {one.phone}" for one in payload.echoes]
    return messages + statuses + notices + echoes


def test_the_table_names_every_body() -> None:
    assert list(OWN) == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_body_gives_its_pieces(name: str) -> None:
    if isinstance(EXPECTED[name], str):
        with pytest.raises(MalformedError) as error_info:
            parse_own(name)
        assert EXPECTED[name] == f"malformed: {error_info.value}"
    else:
        assert EXPECTED[name] == lines_of(parse_own(name))


# --- fields


def test_a_text_has_all_that_the_document_says_about_it() -> None:
    (message,) = parse_own("text").messages
    expected = Inbound(
        message_id="wamid.IN1",
        type="text",
        content=Text("Transfer $20 to John"),
        raw={
            "from": "15550002001",
            "from_user_id": "US.4001ada",
            "id": "wamid.IN1",
            "timestamp": "1764000000",
            "type": "text",
            "text": {"body": "Transfer $20 to John"},
        },
        account_id="200000000000001",
        phone_number_id="100000000000001",
        business_number="15550001000",
        phone="15550002001",
        user_id="US.4001ada",
        name="Ada Example",
        sent_at=datetime(2025, 11, 24, 16, 0, tzinfo=UTC),
    )
    assert expected == message


def test_a_user_without_a_phone_number_has_a_user_id_and_a_name() -> None:
    (message,) = parse_own("sender_without_phone").messages
    assert (message.phone, message.user_id, message.name) == (None, "US.4001ada", "Ada Example")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("several_messages_one_contact", [None, "Ben Sample", None]),
        ("sender_absent", ["Ada Example"]),
        ("sender_absent_contacts_many", [None]),
        ("sender_recycled_number", [None]),
        ("sender_with_plus", ["Ada Example"]),
        ("sender_int", ["Ada Example"]),
        ("sender_without_profile", [None]),
        ("system_identity_changed", [None]),
    ],
)
def test_a_sender_is_named_by_the_contact_with_the_same_id(
    name: str, expected: list[str | None]
) -> None:
    assert expected == [message.name for message in parse_own(name).messages]


def test_a_phone_number_alone_finds_the_contact_and_its_user_id() -> None:
    (message,) = parse_own("sender_int").messages
    assert (message.phone, message.user_id) == ("15550002001", "US.4001ada")


def test_unix_seconds_are_read_as_text_or_number_and_anything_else_is_no_time() -> None:
    noon = datetime(2025, 11, 24, 16, 0, tzinfo=UTC)
    old = datetime(2016, 11, 24, 15, 6, 40, tzinfo=UTC)
    sent = [message.sent_at for message in parse_own("timestamps").messages]
    assert [noon, None, None, old, None, None] == sent


def test_the_dashboards_test_message_is_an_ordinary_one_with_a_known_id() -> None:
    (message,) = parse_own("dashboard_test").messages
    assert (message.message_id, message.phone_number_id) == (TEST_MESSAGE_ID, "123456123")
    assert Text("this is a text message") == message.content


def test_each_message_belongs_to_the_number_it_was_sent_to() -> None:
    payload = parse_own("several_entries")
    assert [(message.message_id, message.phone_number_id) for message in payload.messages] == [
        ("wamid.IN1", "100000000000001"),
        ("wamid.IN2", "100000000000002"),
    ]


def test_a_message_said_in_a_group_says_which() -> None:
    (message,) = parse_own("text_in_group").messages
    assert message.group_id == "group-1"


def test_a_status_has_all_that_the_document_says_about_it() -> None:
    (status,) = parse_own("status_sent").statuses
    raw = json.loads(OWN["status_sent"])["entry"][0]["changes"][0]["value"]["statuses"][0]
    expected = Status(
        wamid="wamid.OUT1",
        status="sent",
        raw=raw,
        phone_number_id="100000000000001",
        occurred_at=datetime(2025, 11, 24, 16, 1, 40, tzinfo=UTC),
        opaque="wbot:abc:1",
        pricing={
            "billable": True,
            "pricing_model": "PMP",
            "type": "regular",
            "category": "service",
        },
    )
    assert expected == status


def test_a_failed_status_says_why() -> None:
    (status,) = parse_own("status_failed").statuses
    expected = MetaError(
        code=131047,
        title="Re-engagement message",
        message="Re-engagement message",
        details="More than 24 hours have passed.",
    )
    assert (expected,) == status.errors


def test_participants_are_read_under_all_their_names() -> None:
    statuses = parse_own("status_recipients").statuses
    assert [s.participant for s in statuses[4:6]] == ["15550002002", "US.4002ben"]


def test_a_groups_status_names_the_participant_and_finds_the_nested_pricing() -> None:
    status, second = parse_own("status_in_group").statuses
    assert status.participant == "15550002001"
    assert status.pricing is not None
    assert status.pricing["pricing_model"] == "PMP"
    assert (second.participant, second.pricing) == ("15550002002", None)


def test_odd_parts_of_a_status_do_not_spoil_it() -> None:
    by_id = {status.wamid: status for status in parse_own("statuses_odd").statuses}
    assert (by_id["wamid.OUT9"].opaque, by_id["wamid.OUT9"].pricing) == ("12", None)
    assert by_id["wamid.OUT10"].occurred_at is None


def test_a_notice_keeps_where_it_stood_and_what_it_was() -> None:
    (notice,) = parse_own("account_update").notices
    assert notice == Notice(
        field="account_update",
        reason=NoticeReason.FIELD,
        raw=json.loads(OWN["account_update"])["entry"][0]["changes"][0]["value"],
        event="ACCOUNT_RESTRICTION",
    )


def test_a_contact_that_differs_from_the_sender_in_a_word_is_kept_a_repetition_is_not() -> None:
    body = json.loads(OWN["text"])
    contacts = body["entry"][0]["changes"][0]["value"]["contacts"]
    contacts += [copy.deepcopy(contacts[0]), {**contacts[0], "profile": {"name": "Ada E."}}]
    (notice,) = parse_payload(json.dumps(body).encode()).notices
    assert notice.raw["profile"] == {"name": "Ada E."}


# --- characters, numbers, encodings


def test_what_a_database_cannot_store_is_removed_from_text_and_keys() -> None:
    (message,) = parse_own("strange_characters").messages
    assert Text("café \N{GRINNING FACE} \ufffd  end") == message.content
    assert message.name == "Ada"
    assert {"k\ufffdey": "v", "": "nul"}.items() <= message.raw.items()


def test_a_key_that_is_clean_only_after_cleaning_does_not_hide_the_real_one() -> None:
    body = OWN["text"].replace(b'"body": ', rb'"body": "real", "bo\u0000dy": ')
    (message,) = parse_payload(body).messages
    assert Text("real") == message.content


def test_numbers_that_no_database_knows_stay_readable() -> None:
    location, _ = parse_own("not_a_number").messages
    assert math.isnan(location.raw["location"]["latitude"])


def unwrapped(node: Any) -> tuple[int, Any]:
    """How many lists of one item the node is wrapped in, and what is inside."""
    depth = 0
    while isinstance(node, list):
        (node,) = node
        depth += 1
    return depth, node


def test_what_is_nested_too_deep_to_handle_is_kept_as_text() -> None:
    (message,) = parse_own("deeply_nested").messages
    outer_depth, text = unwrapped(message.raw["extra"])
    inner_depth, value = unwrapped(json.loads(text))
    assert outer_depth < json_access.DEPTH_MAX
    assert (outer_depth + inner_depth, value) == (150, "x")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_python_s_idea_of_json_includes_other_encodings(encoding: str) -> None:
    body = json.dumps(json.loads(OWN["text"]), ensure_ascii=False).encode(encoding)
    assert lines_of(parse_own("text")) == lines_of(parse_payload(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"object": "whatsapp_business_account", "entry": [' + b"1" * 5_000 + b"]}",
        b'{"object": "whatsapp_business_account", "entry": ["\xc0\x80"]}',
    ],
)
def test_what_python_does_not_take_for_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError, match="not JSON"):
        parse_payload(body)


# --- nothing is lost

Leaf = tuple[str, str]

# They say what the rest is, and are read into it; the time of an entry is in its stored body.
NOT_COMPARED = {"object", "messaging_product", "field", "time"}


def leaves(node: Any, key: str = "") -> Iterator[Leaf]:
    """Every value that is not a container, with its key."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from leaves(child, name)
    elif isinstance(node, list):
        for child in node:
            yield from leaves(child, key)
    elif node is not None and node != "" and key not in NOT_COMPARED:
        yield key, str(node)


def pieces_of(payload: Payload) -> list[Inbound | Status | Notice | Echo]:
    return [*payload.messages, *payload.statuses, *payload.notices, *payload.echoes]


def kept_leaves(value: Any, payload: Payload) -> set[Leaf]:
    kept = set(envelope_leaves(value, payload))
    for piece in pieces_of(payload):
        kept.add(("phone_number_id", str(piece.phone_number_id)))
        if isinstance(piece, Notice):
            kept |= set(leaves({piece.event or "": piece.raw, "value": piece.raw}))
        else:
            kept |= set(leaves(piece.raw))
    return kept


def envelope_leaves(envelope: Any, payload: Payload) -> Iterator[Leaf]:
    """What only the stored body has: account, number as shown, contacts of messages, statuses."""
    raws = [piece.raw for piece in pieces_of(payload) if not isinstance(piece, Notice)]
    ids = {text for raw in raws for _, text in leaves(raw)}
    for entry in json_access.mappings(envelope, "entry"):
        yield from leaves(entry.get("id"), "id")
        for change in json_access.mappings(entry, "changes"):
            value = json_access.mapping(change, "value")
            metadata = json_access.mapping(value, "metadata")
            yield from leaves(metadata.get("display_phone_number"), "display_phone_number")
            contacts = json_access.items(value, "contacts")
            for found in ({*leaves(contact)} for contact in contacts):
                if len(contacts) == 1 or any(text in ids for _, text in found):
                    yield from found


def is_envelope(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("object") == "whatsapp_business_account"
        and isinstance(value.get("entry"), list)
    )


def startable(value: Any, kind: str) -> list[Any]:
    """The ids of the messages or statuses in the lists of this kind, read in the simplest way."""
    return [
        item["id"]
        for entry in value["entry"]
        for change in entry["changes"]
        if change.get("field", "messages") == "messages"
        for item in change["value"].get(kind, [])
    ]


@pytest.mark.skipif(not SHARED_BODIES, reason="there is no ../shared/payloads here")
def test_every_shared_body_is_read_or_refused_as_its_content_says() -> None:
    for path in SHARED_BODIES:
        check_shared(path)


def check_shared(path: Path) -> None:
    body = path.read_bytes()
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not is_envelope(value):
        with pytest.raises(MalformedError):
            parse_payload(body)
        return
    payload = parse_payload(body)
    assert startable(value, "messages") == [m.message_id for m in payload.messages], path
    assert startable(value, "statuses") == [s.wamid for s in payload.statuses], path
    assert set(leaves(value)) <= kept_leaves(value, payload), path


JUNK_TEXTS = st.sampled_from(
    ["", " ", "\0", "\ud800", "\udfff\0x", "x" * 600, "1764000000", "1e999999", "US.4001ada"]
) | st.text(st.characters(), max_size=8)
JUNK_LEAVES = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 2**63, 10**400, -(10**4_000), 1764000000, 10**18])
    | st.floats()
    | JUNK_TEXTS
)
JUNK = st.recursive(
    JUNK_LEAVES,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(JUNK_TEXTS, children, max_size=3)
    ),
    max_leaves=8,
)
ENVELOPES = [
    value for body in OWN.values() if b"whatsapp_b" in body for value in [json.loads(body)]
]
SMALL_ENVELOPES = [value for value in ENVELOPES if len(json.dumps(value)) < 5_000]


def containers(node: Any) -> list[Any]:
    """The node and every non-empty object and list in it."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    inner = [found for child in children for found in containers(child)]
    return [node, *inner] if children else inner


@st.composite
def mutated_bodies(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """One of our own bodies in which some nodes are removed, replaced, moved or joined by junk."""
    body = copy.deepcopy(draw(st.sampled_from(SMALL_ENVELOPES)))
    for _ in range(draw(st.integers(1, 4))):
        places = containers(body)
        if not places:
            break
        place = draw(st.sampled_from(places))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        match draw(st.sampled_from(["drop", "replace", "wrap", "repeat", "insert"])):
            case "drop":
                del place[key]
            case "replace":
                place[key] = draw(JUNK)
            case "wrap":
                place[key] = [place[key]]
            case "repeat":
                place[key] = [copy.deepcopy(place[key]), place[key]]
            case _ if isinstance(place, dict):
                place[draw(JUNK_TEXTS)] = draw(JUNK)
            case _:
                place.insert(key, draw(JUNK))
    return json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@settings(max_examples=400, deadline=None)
@given(mutated_bodies())
def test_a_mutated_body_is_read_whole_or_refused(body: bytes) -> None:
    value = json_access.cleaned(json.loads(body))
    if not is_envelope(value):
        with pytest.raises(MalformedError):
            parse_payload(body)
        return
    payload = parse_payload(body)
    for message in payload.messages:
        handling_of(message.content, message.group_id)
        again = json.loads(json.dumps(message.raw))
        # By their text, because no NaN equals another.
        assert repr(content_of(again)) == repr(message.content)
        assert 0 < len(message.message_id) <= json_access.ID_LENGTH_MAX
    for piece in pieces_of(payload):
        json.dumps(piece.raw, ensure_ascii=False).encode()
    assert not lost(value, payload)


def lost(value: Any, payload: Payload) -> set[Leaf]:
    """The leaves that are in no piece; a boolean or a huge number is no account or phone number."""
    return {
        (key, text)
        for key, text in set(leaves(value)) - kept_leaves(value, payload)
        if not (key.endswith(("id", "number")) and (text in {"True", "False"} or len(text) > 300))
    }


@settings(max_examples=300)
@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_give_a_payload_or_a_refusal(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_payload(body)


@st.composite
def almost_json(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """A JSON text, sometimes with one byte changed or removed."""
    value = draw(JUNK)
    text = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    at: int = draw(st.integers(0, len(text)))
    other: bytes = draw(
        st.sampled_from([text[at : at + 1], b"", b"\0", b"\\", b'"', b"0", b"\xff", b","])
    )
    return text[:at] + other + text[at + 1 :]


@settings(max_examples=400)
@given(almost_json())
def test_the_fast_decoder_and_python_s_agree(text: bytes) -> None:
    try:
        expected = json_access.cleaned(json.loads(text))
    except ValueError:
        with pytest.raises(MalformedError):
            json_access.decoded(text)
    else:
        assert json.dumps(expected) == json.dumps(json_access.decoded(text))


# --- what is kept raw

STATUS = {"id": "wamid.OUT", "status": "sent", "timestamp": "1764000000", "recipient_id": "1"}
CONTACT = {"wa_id": "15550002001", "profile": {"name": "Ada"}}


def body_with(
    *, status: dict[str, Any] | None = None, contact: dict[str, Any] | None = None, **value: Any
) -> bytes:
    """A body with one text message, one status and the sender's contact."""
    sent = {"from": "15550002001", "id": "wamid.IN", "timestamp": "1764000000", "type": "new"}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"phone_number_id": "1"},
        "contacts": [CONTACT | (contact or {})],
        "messages": [sent | {"new": {"deep": ["anything"]}}],
        "statuses": [STATUS | (status or {})],
        **value,
    }
    entry = {"id": "2", "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


@pytest.mark.parametrize(
    ("body", "needs_body"),
    [
        (body_with(), False),
        (body_with(contact={"user_id": "US.1", "profile": {"name": "A", "username": "a"}}), False),
        (body_with(status={"pricing": {"billable": True}, "conversation": {"id": "c"}}), False),
        (body_with(status={"status": "a new word"}), False),
        (body_with(status={"errors": []}), False),
        (body_with(status={"errors": [{"code": 131000}]}), True),
        (body_with(status={"payment": {"amount": 1}}), True),
        (body_with(status={"pricing": "free"}), True),
        (body_with(status={"timestamp": "yesterday"}), True),
        (body_with(contact={"new": 1}), True),
        (body_with(contact={"profile": {"name": 5}}), True),
        (body_with(contact={"wa_id": "another"}), True),
        (body_with(calls=[{"id": "wacid.1"}]), True),
        (body_with().replace(b"anything", rb"any\u0000thing"), True),
        (body_with().replace(b"anything", rb"any\ud800thing"), True),
        (body_with().replace(b"wamid.IN", TEST_MESSAGE_ID.encode()), True),
    ],
)
def test_a_body_is_needed_where_it_says_more_than_its_rows(body: bytes, needs_body: bool) -> None:
    assert parse_payload(body).needs_body is needs_body
