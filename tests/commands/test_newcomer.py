"""Typical mistakes of a new user, and the plain sentence with the next step that they get."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_harness import Wbot

from wbot.domain.errors import ConfigurationError
from wbot.settings import Settings, read_settings, variable_of

CUSTOMER = "+15550101001"
COMPLETE = {"WBOT_VERIFY_TOKEN": "v", "WBOT_APP_SECRET": "s", "WBOT_MODEL": "offline"}


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    wbot = Wbot(tmp_path, monkeypatch, capsys)
    wbot.set(**COMPLETE, TOKEN="token-of-the-shop")
    wbot.add_business()
    return wbot


DEPOSIT = ("ledger", "deposit", "shop", CUSTOMER)
FORM = "write `wbot ledger deposit BUSINESS CUSTOMER AMOUNT`"
OTHER_WAY = "must be more than zero; for the other direction use `wbot ledger withdraw`"

COMMANDS: list[tuple[tuple[str, ...], str]] = [
    (("bussiness", "list"), "Did you mean `wbot business`?"),
    (("deposit", "shop", CUSTOMER, "5"), "Did you mean `wbot ledger deposit`?"),
    (("help",), "see `wbot --help`"),
    (("xyzzy",), "No such command 'xyzzy'; see `wbot --help`"),
    (("ledger", "depositt"), "Did you mean 'deposit'?"),
    (("--json", "check"), "No such option '--json'."),
    (("serve", "--port", "1"), "see `wbot serve --help`"),
    ((*DEPOSIT, "-5"), f"AMOUNT is '-5', and {OTHER_WAY}"),
    ((*DEPOSIT, "-100.00"), f"AMOUNT is '-100.00', and {OTHER_WAY}"),
    ((*DEPOSIT, "-.5"), f"AMOUNT is '-.5', and {OTHER_WAY}"),
    ((*DEPOSIT, "--", "-5"), "AMOUNT is '-5': The amount must be more than zero."),
    (("ledger", "withdraw", "shop", CUSTOMER, "-5"), "use `wbot ledger deposit`"),
    ((*DEPOSIT, "0"), "AMOUNT is '0': The amount must be more than zero."),
    ((*DEPOSIT, "abc"), "AMOUNT is 'abc': I could not read that amount; please write it like 100"),
    ((*DEPOSIT, "1e9"), "AMOUNT is '1e9': I could not read that amount; please write it like 100"),
    ((*DEPOSIT, "100.001"), "Do you mean $100.001 or $100,001.00?"),
    ((*DEPOSIT, "100.0001"), "AMOUNT is '100.0001': An amount in USD has at most 2 decimals."),
    ((*DEPOSIT, "9" * 20), "That amount is too large."),
    ((*DEPOSIT, ""), "Please give an amount, such as 100.00."),
    ((*DEPOSIT, "5 EUR"), "please give it in USD."),
    (DEPOSIT, f"Missing argument 'AMOUNT'; {FORM}; see `wbot ledger deposit --help`"),
    ((*DEPOSIT, "5", "6"), "unexpected extra argument (6); see `wbot ledger deposit --help`"),
    (("ledger", "deposit", "shp", CUSTOMER, "5"), "no business 'shp'; known: shop."),
    (
        ("ledger", "balance", "shop", "bob"),
        "'bob' does not identify a customer: give a phone number",
    ),
    (("ledger", "statement", "shop", CUSTOMER, "--limit", "-1"), "--limit is '-1'; it must be a"),
    (("ledger", "statement", "shop", CUSTOMER, "--limit", "few"), "whole number of at least 1"),
    (("ledger", "reverse", "-1"), "'-1' was read as an option, and no value here is negative"),
    (("ledger", "reverse", "x"), "'x' is not a transfer reference; use T12 or 12"),
    (("ledger", "export", "--format", "xls"), "'xls' is not one of 'csv', 'hledger'; see `wbot"),
    (("business", "add", "cafe"), "write `wbot business add ID --name TEXT --phone-number-id TEXT"),
    (("business", "set", "shop", "nonsense=1"), "There is no option 'nonsense'; known: name,"),
    (("business", "set", "shop", "confirm_abov=1"), "did you mean confirm_above? All: name,"),
    (("business", "set", "shop", "confirm-above=1"), "did you mean confirm_above?"),
    (("business", "set", "shop", "confirm_above"), "'confirm_above' is not KEY=VALUE"),
    (("business", "set", "shop", "hold_ttl=-1"), "'-1' is not a whole number from 1 to"),
    (("errors", "show", "abc"), "ID is 'abc'; it must be a whole number of at least 1"),
    (("errors", "purge"), "write `wbot errors purge --older-than AGE`"),
    (("burst", "--users", "0"), "--users is '0'; it must be a whole number from 1 to 5000"),
    (("burst", "--phone-number-id", "1"), "only used together with --target; see `wbot burst"),
    (("burst", "--target", "here"), "such as http://127.0.0.1:5000/api/webhook"),
    (("demo", "--port", "99999"), "--port is '99999'; it must be a whole number from 0 to 65535"),
    (("demo", "--port", "abc"), "--port is 'abc'; it must be a whole number from 0 to 65535"),
    (("sign", "nofile"), "No such file or directory; see `wbot sign --help`"),
]


@pytest.mark.parametrize(("arguments", "words"), COMMANDS)
def test_a_wrong_command_line_is_one_sentence_with_the_next_step(
    wbot: Wbot, arguments: tuple[str, ...], words: str
) -> None:
    ran = wbot(*arguments)
    assert words in ran.err
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)


SETTINGS = [
    ("WBOT_PORT", "abc", "a whole number of at least 0 and at most 65535, such as 5000."),
    ("WBOT_PORT", "80.5", "a whole number"),
    ("WBOT_PORT", "70000", "at most 65535"),
    ("WBOT_PORT", "-1", "at least 0"),
    ("WBOT_TURN_TIMEOUT", "-1", "a number of seconds above 0 and at most 31622400, such as 120."),
    ("WBOT_TURN_TIMEOUT", "soon", "a number of seconds above 0"),
    ("WBOT_CACHE_TTL", "inf", "at most 31622400, such as 300."),
    ("WBOT_MAX_ATTEMPTS", "0", "a whole number of at least 1, such as 5."),
    ("WBOT_LOG_LEVEL", "loud", "one of: debug, info, warning, error."),
    ("WBOT_GRAPH_URL", "graph.facebook.com", "begins with https:// or http://."),
    ("OPENAI_BASE_URL", "localhost:8000/v1", "begins with https:// or http://."),
]


@pytest.mark.parametrize(("name", "text", "words"), SETTINGS)
@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_wrong_setting_is_reported_with_what_it_must_be(
    wbot: Wbot, command: str, name: str, text: str, words: str
) -> None:
    wbot.set(**{name: text})
    ran = wbot(command)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"wbot: {name} is {text!r}; it must be ")
    assert ran.err.endswith(f"{words}\n") or words in ran.err
    assert ran.err.count("\n") == 1


NUMERIC = [
    field
    for field in Settings.__struct_fields__
    if isinstance(getattr(Settings(), field), int | float)
]


@pytest.mark.parametrize("field", NUMERIC)
def test_no_setting_is_reported_in_the_words_of_a_programming_language(field: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings({variable_of(field): "-x"})
    assert "; it must be a " in str(refused.value)
    assert not re.search(r"`|\b(int|str|float|bool)\b", str(refused.value))


def test_of_several_businesses_the_nearest_is_named_with_all(wbot: Wbot) -> None:
    wbot.add_business("cafe")
    assert wbot("business", "pause", "shp").err == (
        "wbot: There is no business 'shp'; did you mean shop? All: cafe, shop.\n"
    )


def test_an_existing_business_is_reported_with_how_to_change_it(wbot: Wbot) -> None:
    common = ("--name", "N", "--access-token", "env:TOKEN", "--phone-number-id")
    again = wbot("business", "add", "shop", *common, "1")
    assert again.err.endswith("change it with `wbot business set shop NAME=VALUE`.\n")
    number = wbot.json("business", "show", "shop")["phone_number_id"]
    taken = wbot("business", "add", "cafe", *common, number)
    assert taken.err.endswith("it belongs to shop; see `wbot business show shop`.\n")
    assert (again.code, taken.code) == (1, 1)


# Times -------------------------------------------------------------------------------------------

TIME = re.compile(r"\b\d\d:\d\d:\d\d\S*(?: UTC)?")


def test_every_time_that_people_read_names_its_zone(wbot: Wbot) -> None:
    wbot.done(*DEPOSIT, "5")
    shown = wbot.done("customer", "show", "shop", CUSTOMER)
    assert TIME.findall(shown)
    assert all(one.endswith(" UTC") for one in TIME.findall(shown))
    for command in (("ledger", "statement", "shop", CUSTOMER), ("customer", "list", "shop")):
        assert "(UTC)" in wbot.done(*command).splitlines()[0]


# Errors are printed once --------------------------------------------------------------------------


def test_a_failed_check_is_reported_once(wbot: Wbot) -> None:
    wbot.set(TOKEN="", WBOT_VERIFY_TOKEN="")
    ran = wbot("check", "--offline")
    both = ran.out + ran.err
    assert both.count("The variable TOKEN that holds a secret is not set.") == 1
    assert both.count("Not set: WBOT_VERIFY_TOKEN") == 1
    assert ran.err == (
        "wbot: 2 checks failed: configuration, access token of shop; see ✗ above for what to do.\n"
    )


def burst(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`wbot burst` in its own process, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "wbot", "burst", "--users", "1", "--messages", "2", *arguments],
        cwd=folder,
        env={**os.environ, **COMPLETE, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


# A burst against another service ------------------------------------------------------------------

NOBODY = ("--target", "http://127.0.0.1:9/api/webhook", "--phone-number-id", "1")


def test_a_burst_against_a_running_service_needs_a_yes(tmp_path: Path) -> None:
    refused = burst(tmp_path, *NOBODY)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "will keep 2 simulated messages as real ones" in refused.stderr
    assert "add --yes" in refused.stderr
    agreed = burst(tmp_path, *NOBODY, "--yes")
    assert agreed.returncode == 1
    assert agreed.stdout.splitlines()[1].split() == ["acknowledged", "0"]
    assert agreed.stderr == (
        "wbot: Nothing was acknowledged: check that a service answers at "
        f"{NOBODY[1]} and has the same WBOT_APP_SECRET; `wbot serve` starts one.\n"
    )


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://127.0.0.1:9/"])
def test_a_burst_against_a_service_without_a_path_means_its_webhook(
    wbot: Wbot, address: str
) -> None:
    wbot.set(**COMPLETE)
    ran = wbot("burst", "--target", address, "--phone-number-id", "1")
    assert ran.err.startswith("wbot: http://127.0.0.1:9/api/webhook will keep 200 simulated")


def test_its_own_burst_asks_nothing_and_prints_json_alone(tmp_path: Path) -> None:
    ran = burst(tmp_path, "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (ran.stdout[0], ran.stdout.count("\n")) == ("{", 1)


@pytest.mark.parametrize(("answer", "code", "words"), [("n", 1, "stopped."), ("y", 1, "Nothing")])
def test_at_a_terminal_a_burst_asks(tmp_path: Path, answer: str, code: int, words: str) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        ran = subprocess.run(
            [sys.executable, "-m", "wbot", "burst", "--users=1", "--messages=1", *NOBODY],
            cwd=tmp_path,
            env={**os.environ, **COMPLETE},
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "1 simulated message as real ones" in ran.stderr
    assert (ran.returncode, f"wbot: {words}" in ran.stderr) == (code, True)
