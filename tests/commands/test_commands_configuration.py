"""Where a command finds its configuration and database, and its message when it does not."""

import shutil
from pathlib import Path

import pytest
from cli_harness import Ran, Wbot, begin_database
from test_process import free_port, process, variables

NEW = ("shop", "--name", "Shop", "--phone-number-id", "1", "--access-token", "env:TOKEN")
FIELD_CASE = [
    ("business", "list"),
    ("ledger", "balance", "shop", "+15550101001"),
    ("business", "add", *NEW),
    ("ledger", "deposit", "shop", "+15550101001", "50.00"),
]
"""Commands of a new user in another folder, without a variable: 42-cli-elsewhere."""


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    made = Wbot(folder, monkeypatch, capsys)
    monkeypatch.delenv("WBOT_DATABASE")
    return made


def configure(tmp_path: Path, text: str = "") -> Path:
    file = tmp_path / "shop.env"
    file.write_text(text, "utf-8")
    return file


def install(tmp_path: Path, text: str = "") -> Path:
    file = tmp_path / "etc" / "wbot.env"
    file.parent.mkdir()
    file.write_text(text, "utf-8")
    return file


def is_refused(ran: Ran, *words: str) -> bool:
    return (
        (ran.code, ran.out) == (2, "")
        and ran.err.count("\n") == 1
        and all(word in ran.err for word in words)
    )


@pytest.mark.parametrize("command", FIELD_CASE)
def test_without_a_configuration_no_command_begins_a_database(
    wbot: Wbot, tmp_path: Path, command: tuple[str, ...]
) -> None:
    here = tmp_path / "elsewhere"
    searched = (str(here / "data" / "wbot.db"), str(here / ".env"), str(tmp_path / "etc/wbot.env"))
    ran = wbot(*command)
    assert is_refused(ran, *searched, "WBOT_DATABASE is not set", "--config FILE"), ran
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", [FIELD_CASE[0], FIELD_CASE[1], FIELD_CASE[3]])
def test_a_mistyped_path_is_an_error_that_names_it(
    wbot: Wbot, tmp_path: Path, command: tuple[str, ...]
) -> None:
    begin_database(tmp_path / "wbot.db")
    file = configure(tmp_path, "WBOT_DATABASE=wbto.db")
    assert is_refused(wbot("--config", str(file), *command), str(tmp_path / "wbto.db"), str(file))
    wbot.set(WBOT_DATABASE=str(tmp_path / "wbto.db"))
    ran = wbot(*command)
    assert is_refused(ran, str(tmp_path / "wbto.db"), "WBOT_DATABASE is set in the environment")
    assert not (tmp_path / "wbto.db").exists()


def test_the_first_business_creates_the_named_database(wbot: Wbot, tmp_path: Path) -> None:
    file = configure(tmp_path)
    wbot.done("business", "add", *NEW, "--config", str(file))
    assert (tmp_path / "data" / "wbot.db").exists()
    wbot.set(WBOT_DATABASE=str(tmp_path / "new" / "other.db"))
    wbot.done("business", "add", *NEW)
    assert (tmp_path / "new" / "other.db").exists()


def test_config_is_accepted_before_the_command_and_after_and_between(
    wbot: Wbot, tmp_path: Path
) -> None:
    file = str(configure(tmp_path))
    wbot.done("--config", file, "business", "add", *NEW)
    places = [
        ("--config", file, "business", "list"),
        ("business", "--config", file, "list"),
        ("business", "list", "--config", file),
        ("business", "list", f"--config={file}"),
    ]
    assert {wbot.done(*place) for place in places} == {wbot.done(*places[0])}
    assert "shop" in wbot.done(*places[0])
    assert "--config FILE" in wbot.done("ledger", "deposit", "--help")


def test_the_installed_service_and_a_command_elsewhere_have_the_same_database(
    wbot: Wbot, tmp_path: Path
) -> None:
    file = install(tmp_path)
    refused = wbot("business", "add", *NEW)
    assert is_refused(refused, str(tmp_path / "var" / "wbot.db"), str(file))
    wbot.done("--config", str(file), "business", "add", *NEW)
    assert "shop" in wbot.done("business", "list")
    assert (tmp_path / "var" / "wbot.db").exists()


def test_an_unknown_variable_is_reported_once_and_stops_nothing(wbot: Wbot, tmp_path: Path) -> None:
    file = str(configure(tmp_path, "WBOT_MODELL=x\nOPENAI_ANYTHING=y\n"))
    wbot.set(WBOT_DATBASE="z", WBOT_MODEL="offline", WBOT_VERIFY_TOKEN="v", WBOT_APP_SECRET="s")
    wbot("--config", file, "business", "add", *NEW)
    ran = wbot("--config", file, "check", "--offline", "--json")
    lines = ran.err.splitlines()
    assert lines[:2] == [
        "wbot: WBOT_DATBASE is not a setting of wbot; the nearest is WBOT_DATABASE.",
        "wbot: WBOT_MODELL is not a setting of wbot; the nearest is WBOT_MODEL.",
    ]
    assert "OPENAI" not in ran.err
    assert ran.err.count("WBOT_MODELL") == 1
    assert ran.json[0]["ok"]


async def test_the_service_logs_an_unknown_variable(tmp_path: Path, database_path: Path) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port(), WBOT_PROT="1")
    async with process(settings, tmp_path) as running:
        warned = [one for one in running.events if one["event"] == "configuration.unknown"]
    assert [one["warning"] for one in warned] == [
        "WBOT_PROT is not a setting of wbot; the nearest is WBOT_PORT."
    ]


async def test_service_and_command_line_read_one_file_from_any_folder(
    wbot: Wbot, tmp_path: Path
) -> None:
    """The service runs in one folder, the operator in another; paths in the file are relative."""
    file = configure(
        tmp_path,
        f"WBOT_PORT={free_port()}\nWBOT_APP_SECRET=s\nWBOT_VERIFY_TOKEN=v\nWBOT_MODEL=offline\n",
    )
    folder = tmp_path / "service"
    folder.mkdir()
    clean = {
        name: value
        for name, value in variables(tmp_path, "", 0).items()
        if not name.startswith(("WBOT_", "OPENAI_"))
    }
    async with process(clean, folder, "--create", "--config", str(file)):
        wbot.done("--config", str(file), "business", "add", *NEW)
        assert "shop" in wbot.done("business", "list", "--config", str(file))
    assert list(folder.iterdir()) == []
    shutil.rmtree(tmp_path / "data")
    assert is_refused(wbot("--config", str(file), "business", "list"), str(tmp_path / "data"))
