"""The signature Meta puts on a webhook: an HMAC over the body's bytes exactly as they came."""

import hmac


def sign(body: bytes, app_secret: str) -> str:
    """The whole value of the `X-Hub-Signature-256` header."""
    key = app_secret.encode("utf-8", "surrogateescape")
    return f"sha256={hmac.digest(key, body, 'sha256').hex()}"


def is_valid(body: bytes, header: str | None, app_secret: str) -> bool:
    """Whether the header is this body's signature; compared in constant time."""
    # An empty secret would let anybody sign.
    if header is None or not app_secret:
        return False
    # compare_digest refuses non-ASCII text with a TypeError, so bytes are compared.
    sent = header.encode("utf-8", "backslashreplace")
    return hmac.compare_digest(sent, sign(body, app_secret).encode())
