"""The signature Meta puts on a webhook: an HMAC over the body's bytes exactly as they came."""

import hmac


class Signature:
    """The signature of a body, computed while the body comes."""

    def __init__(self, app_secret: str) -> None:
        self._has_secret = bool(app_secret)
        self._hmac = hmac.new(_key(app_secret), digestmod="sha256")

    def update(self, chunk: bytes) -> None:
        """The next part of the body."""
        self._hmac.update(chunk)

    def matches(self, header: str | None) -> bool:
        """Whether the header is the body's signature; compared in constant time."""
        # An empty secret would let anybody sign.
        if header is None or not self._has_secret:
            return False
        # compare_digest refuses non-ASCII text with a TypeError, so bytes are compared.
        sent = header.encode("utf-8", "backslashreplace")
        return hmac.compare_digest(sent, f"sha256={self._hmac.hexdigest()}".encode())


def sign(body: bytes, app_secret: str) -> str:
    """The whole value of the `X-Hub-Signature-256` header."""
    return f"sha256={hmac.digest(_key(app_secret), body, 'sha256').hex()}"


def _key(app_secret: str) -> bytes:
    return app_secret.encode("utf-8", "surrogateescape")
