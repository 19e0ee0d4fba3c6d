"""wbot config: the effective configuration, and where each value came from."""

from pathlib import Path

import pytest
from cli_harness import Wbot

from wbot.settings import Settings, variable_of


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    made = Wbot(tmp_path, monkeypatch, capsys)
    monkeypatch.delenv("WBOT_DATABASE")
    (tmp_path / ".env").write_text(
        "WBOT_APP_SECRET=app-secret-1\nWBOT_PORT=8000\nWBOT_CACHE_TTL=60\nWBOT_MODEL=from-file\n"
        "OPENAI_BASE_URL=https://user:pass-1@model.test/v1?api-key=key-1#x\n"
    )
    made.set(WBOT_MODEL="from-environment", OPENAI_API_KEY="key-2", WBOT_PORT="")
    return made


def test_each_value_names_its_source_and_no_secret_is_shown(wbot: Wbot, tmp_path: Path) -> None:
    shown = wbot.json("config")
    assert shown["file"] == str(tmp_path / ".env")
    found = {one["name"]: (one["value"], one["source"]) for one in shown["settings"]}
    assert list(found) == [variable_of(field) for field in Settings.__struct_fields__]
    expected = {
        "WBOT_MODEL": ("from-environment", "environment"),
        "WBOT_CACHE_TTL": (60.0, "file"),
        "WBOT_PORT": (5000, "default"),
        "WBOT_APP_SECRET": ("(hidden)", "file"),
        "OPENAI_API_KEY": ("(hidden)", "environment"),
        "WBOT_VERIFY_TOKEN": (None, "default"),
        "OPENAI_BASE_URL": ("https://(hidden)@model.test/v1?(hidden)", "file"),
        "WBOT_DATABASE": (str(tmp_path / "data/wbot.db"), "default"),
        "WBOT_MAX_TOKENS": (500, "default"),
    }
    assert {name: found[name] for name in expected} == expected


def test_a_table_shows_the_same(wbot: Wbot, tmp_path: Path) -> None:
    shown = wbot.done("config")
    assert not [
        secret for secret in ("app-secret-1", "key-1", "key-2", "pass-1") if secret in shown
    ]
    lines = [line.split() for line in shown.splitlines()]
    assert ["WBOT_MODEL", "from-environment", "environment"] in lines
    assert ["WBOT_CACHE_TTL", "60.0", str(tmp_path / ".env")] in lines
    assert ["WBOT_VERIFY_TOKEN", "-", "default"] in lines


def test_serve_without_a_configuration_names_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Wbot(tmp_path, monkeypatch, capsys)("serve")
    assert (ran.code, ran.out) == (2, "")
    assert "WBOT_APP_SECRET" in ran.err
    assert "`wbot init`" in ran.err
