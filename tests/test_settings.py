"""Each variable of the contract, its valid values, and where a secret is found."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wbot.domain.errors import ConfigurationError
from wbot.settings import (
    Settings,
    read_configuration,
    read_settings,
    require,
    resolve_secret,
    unknown_variables,
    variable_of,
)

# The contract's table: names, and defaults where there are any.
CONTRACT = """
WBOT_HOST, WBOT_PORT                         | 127.0.0.1, 5000
WBOT_DATABASE                                | data/wbot.db
WBOT_VERIFY_TOKEN, WBOT_APP_SECRET           | none, none
WBOT_GRAPH_URL, WBOT_GRAPH_VERSION           | https://graph.facebook.com, v26.0
OPENAI_API_KEY, OPENAI_BASE_URL              | none, none
WBOT_MODEL                                   | none
WBOT_MODEL_FALLBACK                          | none
WBOT_MODEL_FALLBACK_BASE_URL, WBOT_MODEL_FALLBACK_API_KEY | none, none
WBOT_MODEL_API                               | auto
WBOT_REASONING_EFFORT                        | none
WBOT_MAX_TOKENS                              | 500
WBOT_CACHE_TTL                               | 300
WBOT_API_TIMEOUT                             | 15
WBOT_TURN_TIMEOUT, WBOT_MEDIA_TURN_TIMEOUT   | 120, 300
WBOT_MAX_ATTEMPTS                            | 5
WBOT_UNKNOWN_GRACE                           | 60
WBOT_STALE_AFTER                             | 900
WBOT_TURNS_MAX                               | 1000
WBOT_LOG_LEVEL, WBOT_LOG_FORMAT, WBOT_LOG_FILE | info, none, none
WBOT_ADMIN_TOKEN                             | none
"""
DEFAULTS = {
    name: None if default == "none" else default
    for line in CONTRACT.strip().splitlines()
    for name, default in zip(*(part.split(", ") for part in re.split(r" *\| ", line)), strict=True)
}
FIELDS = {variable_of(field): field for field in Settings.__struct_fields__}


def test_the_variables_are_those_of_the_contract() -> None:
    assert set(FIELDS) == set(DEFAULTS)


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_unset_variable_has_the_contract_s_default(name: str) -> None:
    value = getattr(read_settings({}), FIELDS[name])
    default = DEFAULTS[name]
    if default is None:
        assert not value
    elif isinstance(value, int | float):
        assert value == float(default)
    else:
        assert str(value) == default


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_variable_is_an_unset_one(text: str) -> None:
    assert read_settings(dict.fromkeys(DEFAULTS, text)) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("WBOT_HOST", "0.0.0.0", "0.0.0.0"),  # noqa: S104  nothing listens on it here
        ("WBOT_PORT", "8080", 8080),
        ("WBOT_PORT", " 0 ", 0),
        ("WBOT_DATABASE", "/var/lib/wbot/wbot.db", Path("/var/lib/wbot/wbot.db")),
        ("WBOT_VERIFY_TOKEN", "12345", "12345"),
        ("WBOT_APP_SECRET", "s3cret\n", "s3cret"),
        ("WBOT_GRAPH_URL", "http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("WBOT_GRAPH_VERSION", "v25.0", "v25.0"),
        ("OPENAI_API_KEY", "key", "key"),
        ("OPENAI_BASE_URL", "http://127.0.0.1/v1", "http://127.0.0.1/v1"),
        ("WBOT_MODEL", "offline", "offline"),
        ("WBOT_MAX_TOKENS", "1", 1),
        ("WBOT_CACHE_TTL", "0.5", 0.5),
        ("WBOT_API_TIMEOUT", "2.5", 2.5),
        ("WBOT_TURN_TIMEOUT", "30", 30.0),
        ("WBOT_MEDIA_TURN_TIMEOUT", "31536000", 31_536_000.0),
        ("WBOT_MAX_ATTEMPTS", "1", 1),
        ("WBOT_UNKNOWN_GRACE", "1e2", 100.0),
        ("WBOT_STALE_AFTER", "60", 60.0),
        ("WBOT_LOG_LEVEL", "debug", "debug"),
        ("WBOT_LOG_FORMAT", "console", "console"),
        ("WBOT_LOG_FILE", "wbot.log", Path("wbot.log")),
        ("WBOT_ADMIN_TOKEN", "token", "token"),
    ],
)
def test_a_variable_sets_its_setting_and_no_other(name: str, text: str, value: Any) -> None:
    expected = msgspec.structs.replace(Settings(), **{FIELDS[name]: value})
    assert read_settings({name: text, "WBOT_UNKNOWN": "x", "PORT": "1"}) == expected


WHOLE = ["WBOT_PORT", "WBOT_MAX_TOKENS", "WBOT_MAX_ATTEMPTS"]
SECONDS = [
    "WBOT_CACHE_TTL",
    "WBOT_API_TIMEOUT",
    "WBOT_TURN_TIMEOUT",
    "WBOT_MEDIA_TURN_TIMEOUT",
    "WBOT_UNKNOWN_GRACE",
    "WBOT_STALE_AFTER",
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[(name, text) for name in WHOLE for text in ("five", "-1", "1.5", "1,5", "0x10")],
        *[
            (name, text)
            for name in SECONDS
            for text in ("soon", "0", "-1", "nan", "inf", "1e999", "15s", "1e9")
        ],
        ("WBOT_PORT", "65536"),
        ("WBOT_PORT", "9" * 30),
        ("WBOT_MAX_TOKENS", "0"),
        ("WBOT_MAX_ATTEMPTS", "0"),
        ("WBOT_LOG_LEVEL", "loud"),
        ("WBOT_LOG_LEVEL", "INFO"),
        ("WBOT_LOG_FORMAT", "xml"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_variable_s_name(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings({name: text})
    sentence = str(refused.value)
    assert sentence.startswith(f"{name} is {text!r}")
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_what_is_required_is_named_all_at_once() -> None:
    settings = read_settings({"WBOT_APP_SECRET": "s"})
    require(settings, "app_secret")
    with pytest.raises(ConfigurationError) as refused:
        require(settings, "verify_token", "app_secret", "openai_api_key")
    assert "WBOT_VERIFY_TOKEN, OPENAI_API_KEY" in str(refused.value)
    assert "WBOT_APP_SECRET" not in str(refused.value)


def test_the_word_offline_selects_the_built_in_interpreter() -> None:
    assert read_settings({"WBOT_MODEL": "offline"}).is_offline
    assert not read_settings({"WBOT_MODEL": "gpt-offline"}).is_offline


# The .env file ---------------------------------------------------------------------------------


def test_the_environment_goes_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "# a comment\nWBOT_PORT=6000\nexport WBOT_HOST='0.0.0.0'\nWBOT_MODEL=\"from-file\"\n"
        "WBOT_ADMIN_TOKEN\nOTHER=1\n",
        "utf-8",
    )
    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WBOT_MODEL", "from the environment")
    settings = read_settings(read_configuration(folder=tmp_path).variables)
    assert (settings.port, settings.host) == (6000, "0.0.0.0")  # noqa: S104  nothing listens here
    assert settings.model == "from the environment"
    assert settings.admin_token == ""


def test_the_file_of_the_current_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("WBOT_GRAPH_VERSION=v25.0\n", "utf-8")
    monkeypatch.delenv("WBOT_GRAPH_VERSION", raising=False)
    monkeypatch.chdir(tmp_path)
    assert read_settings(read_configuration().variables).graph_version == "v25.0"


def test_without_a_file_there_is_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBOT_PORT", "7000")
    assert read_settings(read_configuration(folder=tmp_path).variables).port == 7000


def test_a_file_that_is_no_text_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"WBOT_MODEL=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        read_configuration(folder=tmp_path)


# Which file is read ----------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of an installed service; its folder is tmp_path/var."""
    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "etc" / "wbot.env"
    file.parent.mkdir()
    file.write_text("WBOT_MODEL=installed\n", "utf-8")
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_named_file_goes_before_that_of_the_folder_and_the_installed_one(
    installed: Path, folder: Path
) -> None:
    def found(given: Path | None = None) -> tuple[str, Path | None]:
        configuration = read_configuration(given)
        return read_settings(configuration.variables).model, configuration.file

    assert found() == ("installed", installed)
    (folder / ".env").write_text("WBOT_MODEL=folder\n", "utf-8")
    assert found() == ("folder", folder / ".env")
    (folder / "named").write_text("WBOT_MODEL=named\n", "utf-8")
    assert found(Path("named")) == ("named", folder / "named")


def test_a_virtual_environment_called_env_is_no_configuration(
    installed: Path, folder: Path
) -> None:
    (folder / ".env").mkdir()
    assert read_configuration().file == installed


def test_systemds_copy_of_the_installed_file_means_the_same_database(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LoadCredential hands the service its file in a folder of its own."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    handed = credentials / "wbot.env"
    handed.write_bytes(installed.read_bytes())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    found = read_configuration(handed).variables
    assert found["WBOT_DATABASE"] == read_configuration(installed).variables["WBOT_DATABASE"]
    handed.write_text("WBOT_LOG_FILE=wbot.log\n", "utf-8")
    assert read_configuration(handed).variables["WBOT_LOG_FILE"] == str(tmp_path / "var/wbot.log")


def test_the_database_of_the_installed_service_is_found_from_everywhere(
    installed: Path, folder: Path, tmp_path: Path
) -> None:
    configuration = read_configuration()
    assert read_settings(configuration.variables).database == tmp_path / "var" / "wbot.db"
    assert not configuration.is_database_named
    installed.write_text("WBOT_DATABASE=here.db\nWBOT_LOG_FILE=logs/x\n", "utf-8")
    configuration = read_configuration()
    settings = read_settings(configuration.variables)
    assert settings.database == tmp_path / "var" / "here.db"
    assert settings.log_file == tmp_path / "var" / "logs" / "x"
    assert configuration.is_database_named


@pytest.mark.parametrize(
    ("text", "database"),
    [("", "data/wbot.db"), ("a/b.db", "a/b.db"), ("/c/d.db", "/c/d.db"), ("~/e.db", "~/e.db")],
)
def test_a_relative_path_in_a_file_starts_from_the_files_folder(
    installed: Path, folder: Path, tmp_path: Path, text: str, database: str
) -> None:
    file = tmp_path / "shop.env"
    file.write_text(f"WBOT_DATABASE={text}\n", "utf-8")
    configuration = read_configuration(Path("../shop.env"))
    found = read_settings(configuration.variables).database
    assert found.resolve() == tmp_path / Path(database).expanduser()
    assert configuration.is_database_named


def test_without_any_file_the_database_is_below_the_current_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WBOT_DATABASE", raising=False)
    configuration = read_configuration()
    assert read_settings(configuration.variables).database == Path("data/wbot.db")
    assert (configuration.file, configuration.is_database_named) == (None, False)
    monkeypatch.setenv("WBOT_DATABASE", "~/x.db")
    configuration = read_configuration()
    assert read_settings(configuration.variables).database == Path.home() / "x.db"
    assert configuration.is_database_named
    assert "WBOT_DATABASE is set in the environment" in configuration.places


@pytest.mark.parametrize("given", ["nowhere", "."])
def test_a_named_file_that_cannot_be_read_is_refused_by_its_name(
    installed: Path, folder: Path, given: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"The configuration file .* cannot be read: "):
        read_configuration(Path(given))


def test_a_current_folder_that_is_gone_is_told_in_a_sentence(folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(ConfigurationError, match="current folder is gone"):
        read_configuration()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("WBOT_DATBASE", "WBOT_DATABASE"),
        ("WBOT_MODELL", "WBOT_MODEL"),
        ("wbot_port", "WBOT_PORT"),
        ("WBOT_VERIFYTOKEN", "WBOT_VERIFY_TOKEN"),
        ("WBOT_", None),
    ],
)
def test_an_unknown_variable_is_told_with_the_nearest(name: str, nearest: str | None) -> None:
    (sentence,) = unknown_variables({name: "x", "OPENAI_API_KEI": "", "WBOT_HOST": "", "WBOTX": ""})
    assert sentence.startswith(f"{name} is not a setting of wbot; the nearest is WBOT_")
    assert nearest is None or sentence.endswith(f" {nearest}.")


# Secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "secret"),
    [
        ("env:TOKEN", "from-env"),
        ("file:{folder}/token", "from-file"),
        ("EAAGliteral", "EAAGliteral"),
        ("EAAG:with:colons", "EAAG:with:colons"),
        ("ENV:TOKEN", "ENV:TOKEN"),
    ],
)
def test_a_secret_is_found_where_its_reference_says(
    tmp_path: Path, reference: str, secret: str
) -> None:
    (tmp_path / "token").write_text("from-file\n", "utf-8")
    variables = {"TOKEN": " from-env\n"}
    assert resolve_secret(reference.format(folder=tmp_path), variables) == secret


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("env:NOWHERE", "variable NOWHERE that holds a secret is not set"),
        ("env:EMPTY", "variable EMPTY that holds a secret is not set"),
        ("env:", "is not set"),
        ("file:{folder}/nowhere", "nowhere cannot be read"),
        ("file:{folder}", "cannot be read"),
        ("file:", "cannot be read"),
        ("file:{folder}/empty", "empty is empty"),
        ("file:{folder}/binary", "binary cannot be read"),
    ],
)
def test_a_secret_that_is_not_there_is_told_in_a_sentence(
    tmp_path: Path, reference: str, sentence: str
) -> None:
    (tmp_path / "empty").write_text(" \n", "utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError) as refused:
        resolve_secret(reference.format(folder=tmp_path), {"EMPTY": " "})
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")
