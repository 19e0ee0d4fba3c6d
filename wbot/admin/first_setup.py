"""The first configuration file: its variables, its text, and the file itself."""

import os
import re
import secrets
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from dotenv import dotenv_values

from wbot.domain.errors import ConfigurationError, MalformedError
from wbot.settings import resolve_secret
from wbot.storage.files import open_private

WEBHOOK_PATH = "/api/webhook"
VERIFY_TOKEN_BYTES = 24

_HEAD = """\
# Written by `wbot init`. It holds secrets: for its owner alone (mode 0600).
# deploy/wbot.env.example in the source shows more settings; `wbot config` shows all that count.
"""
_COMMENTS = {
    "WBOT_APP_SECRET": "Meta: App settings > Basic > App secret.",
    "WBOT_VERIFY_TOKEN": "Meta: WhatsApp > Configuration > Webhook > Verify token.",
    "WBOT_MODEL": "Any OpenAI-compatible endpoint; `offline` needs none.",
    "WBOT_DATABASE": "The SQLite file.",
}
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,~-]*")
_VARIABLE = re.compile(r"(?!WBOT_|OPENAI_)[A-Z_][A-Z0-9_]*")
_ENV, _FILE = "env:", "file:"


class Token(msgspec.Struct, frozen=True):
    """The access token: what the business refers to, and the variable of the file behind it."""

    reference: str
    variable: tuple[str, str] | None


def token_of(business_id: str, reference: str, variables: Mapping[str, str]) -> Token:
    """Keep the token itself out of the database: in the file, or where it already is.

    Raises ConfigurationError where there is none.
    """
    secret = resolve_secret(reference, variables)
    if reference.startswith(_FILE):
        path = Path(reference.removeprefix(_FILE)).absolute()
        return Token(f"{_FILE}{path}", None)
    name = reference.removeprefix(_ENV)
    if not reference.startswith(_ENV):
        name = f"{re.sub(r'[^A-Z0-9]', '_', business_id.upper())}_TOKEN"
        if not _VARIABLE.fullmatch(name):
            name = f"BUSINESS_{name}"
    return Token(f"{_ENV}{name}", (name, secret))


def new_verify_token() -> str:
    return secrets.token_urlsafe(VERIFY_TOKEN_BYTES)


def callback_url(public_url: str) -> str:
    """The address that Meta calls, from the public address of this server."""
    text = public_url.strip() or "https://YOUR-HOST"
    text = text if "://" in text else f"https://{text}"
    try:
        address = urlsplit(text)
        is_usable = address.scheme == "https" and bool(address.hostname) and not address.query
    except ValueError:
        is_usable = False
    if not is_usable:
        raise MalformedError(
            f"{public_url[:100]!r} is not an address that Meta calls: write it like "
            "https://bot.example.com."
        )
    return text.rstrip("/").removesuffix(WEBHOOK_PATH) + WEBHOOK_PATH


def text_of(variables: Mapping[str, str]) -> str:
    """The configuration file; raises MalformedError for a value that no such file can hold."""
    lines = [_HEAD]
    for name, value in variables.items():
        lines += [f"\n# {_COMMENTS[name]}\n"] if name in _COMMENTS else []
        lines.append(f"{name}={_quoted(value)}\n")
    text = "".join(lines)
    read = dotenv_values(stream=StringIO(text))
    for name, value in variables.items():
        if read.get(name) != value:
            raise MalformedError(f"The value of {name} cannot be written to a configuration file.")
    return text


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def check_new(path: Path, *, replaces: bool) -> None:
    """Raise ConfigurationError where a file is in the way."""
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder; name a file with --config.")
    if not replaces and os.path.lexists(path):
        raise ConfigurationError(
            f"{path} exists already: see `wbot config` for what is in it, or overwrite it with "
            "--force."
        )


def write(path: Path, text: str, *, replaces: bool) -> None:
    """Write the file whole or not at all, for its owner alone; raises ConfigurationError."""
    partial = path.with_name(f".{path.name}.new")
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(open_private(partial, os.O_WRONLY), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        check_new(path, replaces=replaces)
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)
