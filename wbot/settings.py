"""What the operator configures by environment variables; the only reader of the environment."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypedDict, get_args

import msgspec
from dotenv import dotenv_values

from wbot.domain.errors import ConfigurationError

OFFLINE_MODEL = "offline"
"""The value of WBOT_MODEL that selects the built-in interpreter."""

INSTALLED_FILE = Path("/etc/wbot.env")
"""The configuration of the service that deploy/wbot.service installs; commands read it too."""
INSTALLED_FOLDER = Path("/var/lib/wbot")
"""Where that service works: its database is there, and relative paths of its file start there."""
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Names the folder in which systemd hands the installed service that file (LoadCredential)."""
DATABASE = Path("data/wbot.db")

# "inf" is a float too, but no timer accepts it.
Seconds = Annotated[float, msgspec.Meta(gt=0, le=366 * 24 * 3600)]


class Endpoint(TypedDict):
    """A model's endpoint, as its client takes it; times in seconds."""

    api_key: str
    base_url: str
    api: str
    effort: str
    timeout_s: float
    patience_s: float
    max_tokens: int


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every variable of the service, with its default; times in seconds."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 5000
    database: Path = DATABASE
    verify_token: str = ""
    app_secret: str = ""
    graph_url: str = "https://graph.facebook.com"
    graph_version: str = "v26.0"
    model: str = ""
    model_fallback: str = ""
    model_fallback_base_url: str = ""
    model_fallback_api_key: str = ""
    model_api: str = "auto"
    reasoning_effort: str = ""
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] = 500
    cache_ttl: Seconds = 300.0  # aiocache reads 0 as "no expiry", so 0 is refused
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

    @property
    def endpoint(self) -> Endpoint:
        """How the model's endpoint is asked."""
        return Endpoint(
            api_key=self.openai_api_key,
            base_url=self.openai_base_url,
            api=self.model_api,
            effort=self.reasoning_effort,
            timeout_s=self.api_timeout,
            patience_s=self.turn_timeout,
            max_tokens=self.max_tokens,
        )

    @property
    def fallback_endpoint(self) -> Endpoint:
        """How the fallback's is: one of its own, or the same; its API is found out."""
        return {
            **self.endpoint,
            "api_key": self.model_fallback_api_key or self.openai_api_key,
            "base_url": self.model_fallback_base_url or self.openai_base_url,
            "api": "auto",
        }


_PREFIX = "WBOT_"
_PATHS = (Path, Path | None)
_UNPREFIXED = {"openai_api_key", "openai_base_url"}
_SECRET_ENDINGS = ("_token", "_secret", "_key")
_WEB_ADDRESSES = {"graph_url", "openai_base_url", "model_fallback_base_url"}
_CHOICES = {
    "model_api": ("auto", "chat", "responses"),
    "log_level": ("debug", "info", "warning", "error"),
    "log_format": ("", "json", "console"),
}


def variable_of(field: str) -> str:
    """The environment variable that sets a field of Settings."""
    return field.upper() if field in _UNPREFIXED else f"{_PREFIX}{field.upper()}"


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The variables that count, and where they were found."""

    variables: dict[str, str]
    file: Path | None
    """The file that was read, if any."""
    set_in: dict[str, str]
    """By variable that is set: the environment, or the file's path."""
    is_database_named: bool
    """Whether the database was named explicitly: by WBOT_DATABASE, or by naming the file."""

    @property
    def places(self) -> str:
        """Where the path of the database comes from, as part of an operator message."""
        database, here = variable_of("database"), Path(".env").absolute()
        named = f"is set in {self.set_in[database]}" if database in self.set_in else "is not set"
        file = f"neither {here} nor {INSTALLED_FILE} exists"
        if self.file is not None:
            file = f"the configuration file is {self.file}"
        return f"{database} {named}, and {file}"


def read_configuration(given: Path | None = None, folder: Path | None = None) -> Configuration:
    """The process's variables over those of a file; raises ConfigurationError.

    The file is the given one, else `.env` in the folder (the current one), else that of the
    installed service. A relative path in a file starts from that file's folder, so that every
    command means the same database wherever it runs.
    """
    folder = folder or _current_folder()
    file = folder / given if given else _file_of(folder)
    from_file = _read_file(file) if file else {}
    return configured(file, from_file, is_named=given is not None)


def configured(file: Path | None, from_file: Mapping[str, str], *, is_named: bool) -> Configuration:
    """The process's variables over those of a file that has these, named explicitly or found."""
    variables = dict(from_file) | dict(os.environ)
    set_in = {
        name: "the environment" if name in os.environ else str(file)
        for name, text in variables.items()
        if text.strip()
    }
    name = variable_of("database")
    if name not in set_in and file:
        default = INSTALLED_FOLDER / DATABASE.name if _is_installed(file) else DATABASE
        variables[name] = str(file.parent / default)
    return Configuration(
        variables=variables,
        file=file,
        set_in=set_in,
        is_database_named=is_named or name in set_in,
    )


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigurationError("The current folder is gone; change to another one.") from error


def _file_of(folder: Path) -> Path | None:
    for file in (folder / ".env", INSTALLED_FILE):
        try:
            if file.exists() and not file.is_dir():  # virtual environments are often called .env
                return file
        except OSError as error:
            raise _unreadable(file, error) from error
    return None


def _read_file(file: Path) -> dict[str, str]:
    """The file's variables; its relative paths start from its folder."""
    try:
        with file.open(encoding="utf-8") as stream:
            values = {name: value or "" for name, value in dotenv_values(stream=stream).items()}
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error
    folder = INSTALLED_FOLDER if _is_installed(file) else file.parent
    for field, info in _fields().items():
        name = variable_of(field)
        if info.type in _PATHS and (text := values.get(name, "").strip()):
            values[name] = str(folder / _path(name, text))
    return values


def _is_installed(file: Path) -> bool:
    """Whether this is the installed service's file, or systemd's copy of it for the service."""
    credentials = os.environ.get(CREDENTIALS, "")
    return file == INSTALLED_FILE or (bool(credentials) and file.parent == Path(credentials))


def _unreadable(file: Path, error: Exception) -> ConfigurationError:
    reason = error.strerror if isinstance(error, OSError) else error
    advice = ""
    if isinstance(error, PermissionError):
        advice = " Run the command with sudo, or name another file with --config."
    return ConfigurationError(f"The configuration file {file} cannot be read: {reason}.{advice}")


def unknown_variables(variables: Mapping[str, str]) -> list[str]:
    """A sentence about each unknown variable with our prefix, with the nearest known one."""
    known = [variable_of(field) for field in Settings.__struct_fields__]
    ours = [name for name in known if name.startswith(_PREFIX)]
    return [
        f"{name} is not a setting of wbot; the nearest is "
        f"{difflib.get_close_matches(name.upper(), ours, n=1, cutoff=0.0)[0]}."
        for name in sorted(variables)
        if name.upper().startswith(_PREFIX) and name not in known
    ]


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
    if field in _WEB_ADDRESSES and not text.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"{name} is {text!r}; it must be a web address that begins with https:// or http://."
        )
    kind = _fields()[field].type
    if kind in _PATHS:
        return _path(name, text)
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{name} is {text!r}; it must be {_wanted(field)}.") from error


def _path(name: str, text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(f"{name} is {text!r}, whose home folder is unknown.") from error


def _wanted(field: str) -> str:
    """What a numeric variable accepts: "a whole number of at least 1, such as 5"."""
    kind, *metas = get_args(_fields()[field].type) or (_fields()[field].type,)
    noun = "a whole number" if kind is int else "a number"
    if _fields()[field].type == Seconds:
        noun = "a number of seconds"
    limits = [
        f"{word} {limit}"
        for meta in metas
        for word, limit in (("above", meta.gt), ("of at least", meta.ge), ("at most", meta.le))
        if limit is not None
    ]
    return f"{noun} {' and '.join(limits)}, such as {_fields()[field].default:g}"


def _fields() -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(Settings)}


def require(settings: Settings, *fields: str) -> None:
    """Raise ConfigurationError naming every field of these that is not set."""
    missing = [variable_of(field) for field in fields if not getattr(settings, field)]
    if missing:
        raise ConfigurationError(
            f"Not set: {', '.join(missing)} (in the environment or in a .env file); "
            "`wbot init` asks for them and writes that file."
        )


def known_secrets(settings: Settings) -> set[str]:
    """The secrets among the settings; a caller that resolves another one adds it."""
    return {getattr(settings, field) for field in _fields() if is_secret(field)} - {""}


def is_secret(field: str) -> bool:
    """Whether a field of Settings holds a secret, by its name."""
    return field.endswith(_SECRET_ENDINGS)


def resolve_secret(reference: str, variables: Mapping[str, str]) -> str:
    """The secret behind `env:NAME`, `file:PATH`, or the text itself; raises ConfigurationError."""
    secret = _secret(reference, variables)
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigurationError(
            "A secret cannot be used: it contains spaces or other characters that no token has."
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
