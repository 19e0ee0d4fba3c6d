"""wbot init: the first configuration and the first business, as options or as answers."""

import stat
from io import StringIO
from pathlib import Path

import pytest
from cli_harness import Wbot

OPTIONS = {
    "--business": "shop",
    "--name": "Corner Shop",
    "--phone-number-id": "100000000000001",
    "--access-token": "EAAB-literal",
    "--app-secret": "app-secret-1",
    "--model": "gpt-x",
    "--api-key": "sk-key#1'$x",
    "--base-url": "https://model.test/v1",
    "--public-url": "bot.example.com/",
}
SECRETS = ("EAAB-literal", "app-secret-1", "sk-key")


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    made = Wbot(tmp_path, monkeypatch, capsys)
    monkeypatch.delenv("WBOT_DATABASE")
    return made


def arguments(**changes: str | None) -> list[str]:
    given = OPTIONS | {f"--{name.replace('_', '-')}": text for name, text in changes.items()}
    return [word for name, text in given.items() if text is not None for word in (name, text)]


def sources(wbot: Wbot) -> dict[str, str]:
    return {one["name"]: one["source"] for one in wbot.json("config")["settings"]}


def test_init_leaves_a_configuration_that_every_command_uses(wbot: Wbot, tmp_path: Path) -> None:
    made = wbot("init", *arguments(), "--yes")
    assert made.code == 0, made.err
    assert not [secret for secret in SECRETS if secret in made.out + made.err]
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    shop = wbot.json("business", "show", "shop")
    assert shop["phone_number_id"] == "100000000000001"
    assert shop["access_token"] == "env:SHOP_TOKEN"
    assert (tmp_path / "data" / "wbot.db").exists()
    checks = {one["check"]: one["ok"] for one in wbot.json("check", "--offline")}
    assert checks["configuration"]
    assert checks["access token of shop"]
    assert sources(wbot)["OPENAI_API_KEY"] == "file"


def test_init_ends_with_the_callback_and_the_verify_token(wbot: Wbot) -> None:
    out = wbot.done("init", *arguments(), "--yes")
    *_, callback, token = out.splitlines()
    assert callback.split() == ["Callback", "URL", "https://bot.example.com/api/webhook"]
    value = token.split()[-1]
    assert len(value) >= 32
    assert f"WBOT_VERIFY_TOKEN={value}\n" in Path(".env").read_text("utf-8")


def test_json_holds_the_same(wbot: Wbot, tmp_path: Path) -> None:
    shown = wbot.json("init", *arguments(public_url=None), "--yes")
    assert shown["callback_url"] == "https://YOUR-HOST/api/webhook"
    assert shown["file"] == str(tmp_path / ".env")
    assert shown["database"] == str(tmp_path / "data" / "wbot.db")
    assert set(shown) == {"file", "database", "business", "callback_url", "verify_token"}


def test_an_existing_file_is_overwritten_only_by_force(wbot: Wbot) -> None:
    Path(".env").write_text("MINE=1\n")
    refused = wbot("init", *arguments(), "--yes")
    assert (refused.code, refused.out) == (2, "")
    assert "--force" in refused.err
    assert Path(".env").read_text() == "MINE=1\n"
    wbot.done("init", *arguments(), "--yes", "--force")
    wbot.done("init", *arguments(name="Other Name"), "--yes", "--force")
    assert wbot.json("business", "show", "shop")["name"] == "Other Name"


def test_what_is_missing_is_named_and_nothing_is_left_behind(wbot: Wbot, tmp_path: Path) -> None:
    refused = wbot("init", *arguments(model=None, app_secret=None), "--yes")
    assert (refused.code, refused.out) == (2, "")
    assert "--app-secret, --model" in refused.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"access_token": "env:NOT_SET"}, "NOT_SET"),
        ({"app_secret": "file:/nowhere"}, "/nowhere"),
        ({"public_url": "http://bot.example.com"}, "https://bot.example.com"),
        ({"business": "a b"}, "cannot be a business's id"),
        ({"phone_number_id": "1 2"}, "phone_number_id"),
        ({"base_url": "model.test"}, "OPENAI_BASE_URL"),
        ({"app_secret": "two words"}, "spaces"),
    ],
)
def test_a_wrong_value_leaves_no_file(wbot: Wbot, changes: dict[str, str], words: str) -> None:
    refused = wbot("init", *arguments(**changes), "--yes")
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err
    assert refused.err.count("\n") == 1
    assert not Path(".env").exists()


def test_answers_are_read_from_the_input_and_offline_asks_for_no_key(
    wbot: Wbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ("", "Corner Shop", "1001", "EAAB-1", "secret-1", "offline", "bot.example.com")
    monkeypatch.setattr("sys.stdin", StringIO("\n".join(answers) + "\n"))
    ran = wbot("init")
    assert ran.code == 0, ran.err
    assert "App settings > Basic" in ran.err
    assert "API key" not in ran.err
    assert wbot.json("business", "show", "shop")["name"] == "Corner Shop"


def test_an_input_that_ends_names_the_option(wbot: Wbot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("shop\nCorner Shop\n"))
    ran = wbot("init")
    assert (ran.code, ran.out) == (2, "")
    assert "--phone-number-id" in ran.err


def test_references_are_read_and_variables_of_the_environment_count(
    wbot: Wbot, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("EAAB-file\n")
    (tmp_path / "key").write_text("sk-file\n")
    wbot.set(WBOT_APP_SECRET="from-environment", WBOT_DATABASE="books/bot.db")
    wbot.done(
        "init",
        *arguments(access_token="file:token", api_key="file:key", app_secret=None),
        "--yes",
    )
    text = Path(".env").read_text("utf-8")
    assert "WBOT_APP_SECRET=from-environment\n" in text
    assert "OPENAI_API_KEY=sk-file\n" in text
    assert f"WBOT_DATABASE={tmp_path}/books/bot.db\n" in text
    assert wbot.json("business", "show", "shop")["access_token"] == f"file:{tmp_path}/token"


def test_another_value_in_the_environment_is_reported(wbot: Wbot) -> None:
    wbot.set(WBOT_MODEL="other")
    assert "WBOT_MODEL is set in the environment" in wbot("init", *arguments(), "--yes").err


def test_config_names_the_file_to_write(wbot: Wbot, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    wbot.done("--config", "etc/bot.env", "init", *arguments(business="wbot"), "--yes")
    assert not Path(".env").exists()
    shown = wbot.json("--config", "etc/bot.env", "business", "show", "wbot")
    assert shown["access_token"] == "env:BUSINESS_WBOT_TOKEN"
    assert (tmp_path / "etc" / "data" / "wbot.db").exists()
