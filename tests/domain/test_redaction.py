"""Text from other systems contains no secret, number or message, in whatever encoding."""

import base64
import json
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wbot.domain.messages import is_log_id, log_id_of
from wbot.domain.redaction import (
    LENGTH_MAX,
    MESSAGE,
    NUMBER,
    SECRET,
    redacted,
    without,
    words_of_message,
)

Spelling = Callable[[str], str]

TOKEN, PHONE, TEXT = "EAAGm0PX4ZCpsBAKq", "15550101001", "my password is swordfish, dear bot"


def cleaned_of(words: str) -> str:
    return redacted(words, secrets=[TOKEN], messages=[PHONE, TEXT])


def encoded(prefix: str, *, alphabet: Callable[[bytes], bytes] = base64.b64encode) -> Spelling:
    return lambda text: alphabet((prefix + text).encode()).decode()


def in_groups(text: str, size: int, separator: str) -> str:
    return separator.join(text[place : place + size] for place in range(0, len(text), size))


SPELLINGS: dict[str, Spelling] = {
    "as it is": str,
    "in capitals": str.upper,
    "in JSON": json.dumps,
    "in JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "escaped for JSON": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "escaped for Python": lambda text: "".join(f"\\x{ord(c):02x}" for c in text),
    "escaped for HTML": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "for a URL": lambda text: urllib.parse.quote(text, safe=""),
    "for a form": urllib.parse.quote_plus,
    "for a URL to the letter": lambda text: "".join(f"%{b:02X}" for b in text.encode()),
    "for a URL twice": lambda text: "".join(f"%25{b:02X}" for b in text.encode()),
    "letter by letter": " ".join,
    "with dashes": "-".join,
    "with invisible spaces": "\u200b".join,
    "in full width": lambda text: "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text
    ),
    "in Base64": encoded(""),
    "in Base64 after one letter": encoded("a"),
    "in Base64 after two letters": encoded("ab"),
    "in Base64 for a URL": encoded("a?", alphabet=base64.urlsafe_b64encode),
    "in Base64 by lines": lambda text: in_groups(encoded("")(text), 8, "\r\n"),
    "in Base64 with dashes": lambda text: in_groups(encoded("")(text), 5, "-"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("hidden", [TOKEN, PHONE, TEXT])
def test_it_is_cut_however_it_is_spelled_and_the_sentence_stays(spelling: str, hidden: str) -> None:
    spelled = SPELLINGS[spelling](hidden)
    cleaned = cleaned_of(f"Bad request: {spelled} : not accepted (code 131026)")
    assert cleaned.startswith("Bad request: ")
    assert cleaned.endswith("not accepted (code 131026)")
    assert len(cleaned) < 80
    assert any(marker in cleaned for marker in (SECRET, NUMBER, MESSAGE))
    assert spelled.casefold() not in cleaned.casefold()


@pytest.mark.parametrize(
    "words",
    [
        "(#131030) Recipient phone number not in allowed list",
        "Message failed to send because more than 24 hours have passed since the last reply.",
        "Error validating access token: Session has expired on Tuesday, 25-Nov-26 10:00:00 PST.",
        "Rate limit reached for gpt-4o-mini-2024-07-18 (TPM): Limit 200000, Used 199000.",
        "Please try again in 1.2s.",
        "This model's maximum context length is 128,000 tokens.",
        "The model `claude-sonnet-4-20250514` does not exist",
        "meta-llama/Meta-Llama-3.1-8B-Instruct is loading",
        "Try again after 2026-11-25T10:00:00.123456Z, not before 2026-11-25 09:00",
        "Bearer token is missing",
        "insufficient_quota",
        "转账失败。 Перевод не выполнен.",
    ],
)
def test_a_sentence_that_helps_stays_as_it_is(words: str) -> None:
    assert cleaned_of(words) == words


@pytest.mark.parametrize(
    ("words", "cleaned"),
    [
        ("call +1 555 010 1009 now", f"call {NUMBER} now"),
        ("(555) 010-1009 ext", f"{NUMBER} ext"),
        ("id15550101009", f"id{NUMBER}"),
        ("١٥٥٥٠١٠١٠٠٩", NUMBER),
        ("+1-555-010\n1009", NUMBER),
        (f"see {base64.b64encode(b'to 15550101009').decode()}", f"see {SECRET}="),
        (f"see {base64.b64encode(b'555 0101 009').decode()}", f"see {NUMBER}"),
        ("wamid.HBgLMTU1NTAxMDEwMDkVAgASGBQzQT== is gone", "(message id) is gone"),
        ("Authorization: Bearer abc.def-1", f"Authorization: Bearer {SECRET}"),
        ("GET /?access_token=abc&x=1", f"GET /?access_token={SECRET}&x=1"),
        ('{"api_key": "hunter"}', f'{{"api_key": "{SECRET}"}}'),
        ("provided: sk-proj-****abcd, sorry", f"provided: {SECRET}, sorry"),
        ("key 0f1e2d3c4b5a69788796a5b4 refused", f"key {SECRET} refused"),
    ],
)
def test_what_looks_like_a_number_or_a_secret_is_cut_even_if_unknown(
    words: str, cleaned: str
) -> None:
    assert redacted(words) == cleaned


def test_a_part_of_a_message_is_cut_too() -> None:
    assert cleaned_of("near 'password is swordf…'") == f"near '{MESSAGE}…'"


@pytest.mark.parametrize(
    ("secret", "words", "cleaned"),
    [
        ("none", "none was given, nonetheless", f"{SECRET} was given, nonetheless"),
        ("secret", "the secret is secret", f"the {SECRET} is {SECRET}"),
        ("number", "number 15550101001", f"{SECRET} {NUMBER}"),
    ],
)
def test_a_secret_that_is_a_word_is_cut_where_it_stands_alone(
    secret: str, words: str, cleaned: str
) -> None:
    once = redacted(words, secrets=[secret])
    assert once == cleaned
    assert redacted(once, secrets=[secret]) == once


def test_short_words_of_a_customer_are_no_quotation() -> None:
    assert redacted("no reason given", messages=["no", "ok", "hi"]) == "no reason given"
    assert redacted("“还钱” is refused", messages=["还钱"]) == f"“{MESSAGE}” is refused"


def test_controls_and_halves_of_characters_do_not_reach_a_terminal() -> None:
    assert redacted("a\x1b[2Jb\0c\ud800d\r") == "a [2Jb c\N{REPLACEMENT CHARACTER}d "


def test_facts_keep_their_numbers_but_no_secret() -> None:
    facts = f"+1 555-010-0001, {TOKEN}, app 106500000000001"
    assert without(facts, secrets=[TOKEN]) == f"+1 555-010-0001, {SECRET}, app 106500000000001"


def test_the_words_of_a_message_are_those_of_its_type_alone() -> None:
    raw = {
        "type": "interactive",
        "from": PHONE,
        "interactive": {"type": "button", "body": {"text": "Sure?"}, "action": [{"title": "Yes"}]},
    }
    assert words_of_message(raw) == ("Sure?", "Yes")
    assert words_of_message({}) == ()


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)
PLANTED = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=40)


@settings(max_examples=300, deadline=None)
@given(
    words=ANY_TEXT, secrets=st.lists(ANY_TEXT, max_size=2), messages=st.lists(ANY_TEXT, max_size=2)
)
@example(words="ab12345678", secrets=["ab"], messages=[])
def test_any_text_is_cleaned_within_the_limit_and_once_is_enough(
    words: str, secrets: list[str], messages: list[str]
) -> None:
    once = redacted(words, secrets=secrets, messages=messages)
    assert len(once) <= LENGTH_MAX
    assert redacted(once, secrets=secrets, messages=messages) == once
    once.encode()


@settings(max_examples=300, deadline=None)
@given(
    before=st.text(max_size=60),
    hidden=PLANTED,
    after=st.text(max_size=60),
    spelling=st.sampled_from(sorted(SPELLINGS)),
    is_secret=st.booleans(),
)
def test_a_secret_is_hidden_whatever_surrounds_it(
    before: str, hidden: str, after: str, spelling: str, is_secret: bool
) -> None:
    spelled = SPELLINGS[spelling](hidden)
    secrets, messages = ([hidden], []) if is_secret else ([], [hidden])
    cleaned = redacted(f"{before} {spelled} {after}", secrets=secrets, messages=messages)
    if spelled not in f"{before} {after}":
        assert spelled not in cleaned


@given(st.text(max_size=200))
def test_the_name_of_a_message_in_logs_is_letters_alone(message_id: str) -> None:
    name = log_id_of(message_id)
    assert is_log_id(name)
    assert redacted(name) == name
    assert log_id_of(message_id) == name
