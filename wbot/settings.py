"""What the operator configures by environment variables; the only reader of the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from dotenv import dotenv_values

from wbot.domain.errors import ConfigurationError

OFFLINE_MODEL = "offline"
"""The value of WBOT_MODEL that selects the built-in interpreter."""

# "inf" is a float too, and no timer takes it.
Seconds = Annotated[float, msgspec.Meta(gt=0, le=366 * 24 * 3600)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every variable of the service, with its default; times in seconds."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 5000
    database: Path = Path("data/wbot.db")
    verify_token: str = ""
    app_secret: str = ""
    graph_url: str = "https://graph.facebook.com"
    graph_version: str = "v26.0"
    model: str = ""
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] = 500
    cache_ttl: Seconds = 300.0  # aiocache takes 0 for "for ever", so 0 is refused
    api_timeout: Seconds = 15.0
    turn_timeout: Seconds = 120.0
    media_turn_timeout: Seconds = 300.0
    max_attempts: Annotated[int, msgspec.Meta(ge=1)] = 5
    unknown_grace: Seconds = 60.0
    stale_after: Seconds = 900.0
    turns_max: Annotated[int, msgspec.Meta(ge=1)] = 1000
    log_level: str = "info"
    log_format: str = ""
    log_file: Path | None = None
    admin_token: str = ""
    openai_api_key: str = ""
    openai_base_url: str = ""

    @property
    def is_offline(self) -> bool:
        return self.model == OFFLINE_MODEL


_UNPREFIXED = {"openai_api_key", "openai_base_url"}
_CHOICES = {
    "log_level": ("debug", "info", "warning", "error"),
    "log_format": ("", "json", "console"),
}


def variable_of(field: str) -> str:
    """The environment variable that sets a field of Settings."""
    return field.upper() if field in _UNPREFIXED else f"WBOT_{field.upper()}"


def environment(folder: Path | None = None) -> dict[str, str]:
    """The process's variables over those of a `.env` file in the folder (the current one)."""
    path = (folder or Path.cwd()) / ".env"
    try:
        from_file = {name: value or "" for name, value in dotenv_values(path).items()}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The file {path} cannot be read: {error}.") from error
    return from_file | dict(os.environ)


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Settings from variables; an empty one counts as unset. Raises ConfigurationError."""
    values: dict[str, object] = {}
    for field in Settings.__struct_fields__:
        text = variables.get(variable_of(field), "").strip()
        if text:
            values[field] = _converted(field, text)
    return Settings(**values)  # type: ignore[arg-type]


def _converted(field: str, text: str) -> object:
    name = variable_of(field)
    choices = _CHOICES.get(field)
    if choices and text not in choices:
        known = ", ".join(choice for choice in choices if choice)
        raise ConfigurationError(f"{name} is {text!r}; it must be one of: {known}.")
    kind = _types()[field]
    if kind in {Path, Path | None}:
        return Path(text)
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        reason = str(error)[0].lower() + str(error)[1:]
        raise ConfigurationError(f"{name} is {text!r}, but {reason}.") from error


def _types() -> dict[str, object]:
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


def require(settings: Settings, *fields: str) -> None:
    """Raise ConfigurationError naming every field of these that is not set."""
    missing = [variable_of(field) for field in fields if not getattr(settings, field)]
    if missing:
        raise ConfigurationError(
            f"Not set: {', '.join(missing)} (in the environment or in a .env file)."
        )


def resolve_secret(reference: str, variables: Mapping[str, str]) -> str:
    """The secret behind `env:NAME`, `file:PATH`, or the text itself; raises ConfigurationError."""
    secret = _secret(reference, variables)
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigurationError(
            "A secret cannot be used: it holds spaces or other signs that no token has."
        )
    return secret


def _secret(reference: str, variables: Mapping[str, str]) -> str:
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        secret = variables.get(rest, "").strip()
        if not secret:
            raise ConfigurationError(f"The variable {rest} that holds a secret is not set.")
        return secret
    if scheme == "file":
        try:
            secret = Path(rest).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The secret file {rest} cannot be read: {error}.") from error
        if not secret:
            raise ConfigurationError(f"The secret file {rest} is empty.")
        return secret
    return reference
