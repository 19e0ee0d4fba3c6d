"""A body is accepted only with the signature of exactly its bytes."""

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbot.inbound.signature import Signature, sign

SECRET = "wbot-test-secret"
# Non-ASCII, `@` and `/` are escaped on the wire (cloud-api.md 1.2).
BODY = (
    rb'{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":'
    rb'{"t":"\u00e4 \ud83d\ude00 a\u0040b.c https:\/\/x.y"},"field":"messages"}]}]}'
)
HEADER = "sha256=0d8aa150267d8760e4f3238360187e10ef231b036134885897b240c1c480e119"


def is_valid(body: bytes, header: str | None, secret: str) -> bool:
    """Validate in chunks, as the webhook does."""
    signature = Signature(secret)
    for start in range(0, len(body), 50):
        signature.update(body[start : start + 50])
    return signature.matches(header)


def test_the_known_vector_is_signed_as_meta_signs_it() -> None:
    assert sign(BODY, SECRET) == HEADER
    assert is_valid(BODY, HEADER, SECRET)


def test_the_signature_is_an_hmac_whose_key_is_the_secret_in_utf_8() -> None:
    expected = hmac.new("gehéim".encode(), b"\xff\x00", hashlib.sha256).hexdigest()
    assert sign(b"\xff\x00", "gehéim") == f"sha256={expected}"


def test_the_empty_body_has_a_signature_too() -> None:
    assert is_valid(b"", sign(b"", SECRET), SECRET)


def test_the_same_json_in_other_bytes_is_refused() -> None:
    """Escapes and spaces matter: the bytes are signed, not their meaning."""
    again = json.dumps(json.loads(BODY), separators=(",", ":")).encode()
    assert not is_valid(again, HEADER, SECRET)
    assert not is_valid(BODY + b"\n", HEADER, SECRET)


def test_another_apps_secret_is_refused() -> None:
    assert not is_valid(BODY, sign(BODY, "another-secret"), SECRET)


def test_an_empty_secret_accepts_no_signature() -> None:
    assert not is_valid(BODY, sign(BODY, ""), "")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "sha256=",
        HEADER.removeprefix("sha256="),
        HEADER.replace("sha256", "sha1"),
        HEADER[:-1],
        HEADER + "0",
        f" {HEADER}",
        HEADER.upper(),
        HEADER.replace("0", "\N{FULLWIDTH DIGIT ZERO}"),
        "sha256=\udcff\ud800",
        "\0",
    ],
)
def test_any_other_header_is_refused_without_an_error(header: str | None) -> None:
    assert not is_valid(BODY, header, SECRET)


@given(body=st.binary(), header=st.text(st.characters()), secret=st.text(min_size=1))
def test_random_headers_are_refused_and_our_own_accepted(
    body: bytes, header: str, secret: str
) -> None:
    assert not is_valid(body, header, secret)
    assert is_valid(body, sign(body, secret), secret)
