"""What Meta puts on the wire: its JSON form, its signature, its message ids."""

import base64
import hashlib
import hmac
import json
from random import Random
from typing import Any

SIGNATURE_HEADER = "X-Hub-Signature-256"
_INBOUND, _OUTBOUND = b"\x15\x02\x00\x12\x18\x14", b"\x15\x02\x00\x11\x18\x12"


def to_wire(body: Any) -> bytes:
    r"""JSON as Meta writes it: ASCII only, lower-case `\uXXXX`, `\/` and `\u0040`."""
    text = json.dumps(body, ensure_ascii=True, separators=(",", ":"))
    return text.replace("/", r"\/").replace("@", r"\u0040").encode("ascii")


def sign(body: bytes, app_secret: str) -> str:
    """The value of `SIGNATURE_HEADER` for exactly these bytes."""
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()


def inbound_id(random: Random, number: str) -> str:
    """An id for a message that a customer writes, in the form WhatsApp gives them."""
    return _wamid(number, _INBOUND, f"{random.getrandbits(80):020X}")


def outbound_id(random: Random, number: str) -> str:
    """An id for a message that a business sends, in the form WhatsApp gives them."""
    return _wamid(number, _OUTBOUND, f"{random.getrandbits(72):018X}")


def _wamid(number: str, middle: bytes, tail: str) -> str:
    digits = number.encode()[:255]
    raw = b"\x1c\x18" + bytes([len(digits)]) + digits + middle + tail.encode() + b"\x00"
    return "wamid." + base64.b64encode(raw).decode()
