"""wbot business: what operators set, how it is shown, and what is refused."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cli_harness import TOKEN, Wbot, begin_database

from wbot.domain.business import Business
from wbot.domain.business_settings import RULES, changed, described
from wbot.domain.errors import MalformedError, RefusedError

ALICE, BOB = "15550101001", "15550101002"
NUMBER = ("--phone-number-id", "106540352242922")


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    return Wbot(tmp_path, monkeypatch, capsys)


def a_business(currency: str = "USD") -> Business:
    return Business(
        id="shop",
        name="The Shop",
        phone_number_id="106540352242922",
        access_token="env:TOKEN",
        currency_code=currency,
    )


def test_what_a_payee_reads_of_the_payer_is_set_like_any_option(wbot: Wbot) -> None:
    wbot.add_business("shop", "--show-payer", "masked")
    assert wbot.json("business", "show", "shop")["show_payer"] == "masked"
    assert wbot.json("business", "set", "shop", "show_payer=name")["show_payer"] == "name"
    assert wbot.json("business", "set", "shop", "show_payer=")["show_payer"] == "none"
    ran = wbot("business", "set", "shop", "show_payer=all")
    assert (ran.code, ran.err) == (
        2,
        "wbot: show_payer: 'all' must be name or masked or none.\n",
    )


def test_a_business_is_shown_as_it_was_added(wbot: Wbot) -> None:
    added = wbot.json(
        *("business", "add", "shop", "--name", "The Shop", *NUMBER, "--access-token", "env:TOKEN"),
        *(
            "--currency",
            "eur",
            "--confirm-above",
            "100.00",
            "--max-transfer",
            "1,500.00",
            "--model",
        ),
        *("small-model", "--throughput", "20", "--payees", "known", "--instructions", "Be brief."),
    )
    assert added == wbot.json("business", "show", "shop")
    assert wbot.json("business", "list") == {"businesses": [added]}
    assert added == {
        "id": "shop",
        "name": "The Shop",
        "status": "active",
        "phone_number_id": "106540352242922",
        "access_token": "env:TOKEN",
        "currency": "EUR",
        "instructions": "Be brief.",
        "model": "small-model",
        "throughput": 20,
        "knowledge": None,
        "error_text": None,
        "show_payer": "none",
        "timezone": "UTC",
        "echo_pause": 1800,
        "waba_id": None,
        "confirm_above": "100.00",
        "max_transfer": "1500.00",
        "daily_total": None,
        "daily_count": None,
        "overdraft": "0.00",
        "cancel_window": 900,
        "hold_ttl": 600,
        "repeat_window": 300,
        "new_payee_limit": None,
        "payees": "known",
        "own_words": "on",
    }


def test_tables_name_every_setting(wbot: Wbot) -> None:
    wbot.add_business("shop", "--max-transfer", "500")
    shown = wbot.done("business", "show", "shop")
    assert "max_transfer     500.00 USD\n" in shown
    assert "daily_total      no limit" in shown
    assert "cancel_window    900 s" in shown
    listed = wbot.done("business", "list")
    assert "The Shop" in listed
    assert "active" in listed


def test_an_empty_list_says_how_to_begin(wbot: Wbot) -> None:
    begin_database(wbot.database)
    assert "wbot business add" in wbot.done("business", "list")
    assert wbot.json("business", "list") == {"businesses": []}


def test_a_literal_token_is_warned_of_and_never_printed(wbot: Wbot) -> None:
    arguments = ("business", "add", "shop", "--name", "Shop", *NUMBER, "--access-token", TOKEN)
    ran = wbot(*arguments, "--json")
    assert ran.code == 0
    assert ran.json["access_token"] == "(set)"
    assert "env:NAME or file:PATH" in ran.err
    runs = [ran, *(wbot("business", *rest) for rest in (["show", "shop"], ["list"]))]
    runs += [wbot("business", "set", "shop", f"access_token={TOKEN}"), wbot("check", "--offline")]
    runs.append(wbot(*arguments))
    for one in runs:
        assert TOKEN not in one.out + one.err


@pytest.mark.parametrize("reference", ["env:TOKEN", "file:/run/secrets/token"])
def test_where_a_token_is_kept_may_be_shown_without_warning(wbot: Wbot, reference: str) -> None:
    ran = wbot("business", "add", "s", "--name", "S", *NUMBER, "--access-token", reference)
    assert (ran.code, ran.err) == (0, "")
    assert wbot.json("business", "show", "s")["access_token"] == reference


@pytest.mark.parametrize(
    ("assignment", "shown"),
    [
        ("confirm_above=0", "0.00"),
        ("confirm_above=0.00", "0.00"),
        ("overdraft=0", "0.00"),
        ("overdraft=12.5", "12.50"),
        ("max_transfer=1'000.50", "1000.50"),
        ("daily_total=$99", "99.00"),
        ("daily_count=3", 3),
        ("cancel_window=0", 0),
        ("hold_ttl=60", 60),
        ("new_payee_limit=5", "5.00"),
        ("payees=known", "known"),
        ("throughput=1000", 1000),
        ("error_text=Call us, please: 5 = five", "Call us, please: 5 = five"),
        ("name=  A new name ", "A new name"),
        ("phone_number_id=2", "2"),
        ("access_token=file:/a b/c", "file:/a b/c"),
        ("instructions=Be kind", "Be kind"),
        ("model=other", "other"),
        ("currency=kwd", "KWD"),
    ],
)
def test_each_setting_can_be_changed(wbot: Wbot, assignment: str, shown: object) -> None:
    wbot.add_business()
    before = wbot.json("business", "show", "shop")
    after = wbot.json("business", "set", "shop", assignment)
    name = assignment.partition("=")[0]
    assert after[name] == shown
    assert after == wbot.json("business", "show", "shop")
    if name != "currency":
        assert {**after, name: before[name]} == before


def test_an_empty_value_puts_the_default_back() -> None:
    plain = a_business()
    settings = {
        "confirm_above": "5",
        "max_transfer": "5",
        "daily_total": "5",
        "daily_count": "5",
        "overdraft": "5",
        "cancel_window": "5",
        "hold_ttl": "5",
        "new_payee_limit": "5",
        "payees": "known",
        "throughput": "5",
        "error_text": "5",
        "instructions": "5",
        "model": "5",
    }
    full = changed(plain, settings)
    assert all(str(described(full)[name]) in {"5", "5.00", "known"} for name in settings)
    assert changed(full, dict.fromkeys(settings, "")) == plain


@pytest.mark.parametrize(
    ("assignments", "code", "words"),
    [
        (["colour=red"], 2, "There is no option 'colour'; known: name, phone_number_id"),
        (["confirm_above"], 2, "is not KEY=VALUE"),
        (["=5"], 2, "There is no option ''"),
        (["model=a", "model=b"], 2, "model is given twice"),
        (["confirm_above=-1"], 2, "confirm_above: The amount must be more than zero."),
        (["confirm_above=ten"], 2, "confirm_above: I could not read that amount"),
        (["confirm_above=1.234"], 2, "confirm_above: Do you mean $1.234 or $1,234.00?"),
        (["max_transfer=0"], 2, "max_transfer: A limit is more than zero"),
        (["max_transfer=5 EUR"], 2, "please give it in USD"),
        (["max_transfer=1e9"], 2, "could not read"),
        (["max_transfer=99999999999999999"], 2, "too large"),
        (["daily_count=0"], 2, "not a whole number from 1"),
        (["daily_count=1.5"], 2, "not a whole number"),
        (["daily_count=\u0663"], 2, "not a whole number"),
        (["cancel_window=-5"], 2, "not a whole number from 0"),
        (["hold_ttl=99999999999"], 2, "not a whole number"),
        (["payees=friends"], 2, "must be any or known"),
        (["throughput=0"], 2, "not a whole number from 1"),
        (["name="], 2, "name cannot be empty"),
        (["name=\u202e\u2066"], 2, "name cannot be empty"),
        (["currency="], 2, "currency cannot be empty"),
        (["currency=DOGE"], 2, "'DOGE' is not a currency code"),
        (["phone_number_id=a/b"], 2, "the number's id in Meta's dashboard"),
        (["access_token=two words"], 2, "env:NAME, file:PATH or the token itself"),
        (["access_token=env:"], 2, "env:NAME, file:PATH"),
        (["access_token=env:1X"], 2, "env:NAME, file:PATH"),
        (["access_token="], 2, "access_token cannot be empty"),
        (["name=\udcff"], 2, "not UTF-8"),
        ([], 2, "Missing argument"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(
    wbot: Wbot, assignments: list[str], code: int, words: str
) -> None:
    wbot.add_business()
    before = wbot.json("business", "show", "shop")
    ran = wbot("business", "set", "shop", *assignments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert wbot.json("business", "show", "shop") == before


@pytest.mark.parametrize("business_id", ["", "a b", "a/b", "-a", "a" * 65, "caf\u00e9", ".."])
def test_an_id_that_would_not_fit_elsewhere_is_refused(wbot: Wbot, business_id: str) -> None:
    common = ("--name", "S", *NUMBER, "--access-token", "env:T")
    ran = wbot("business", "add", *common, "--", business_id)
    assert ran.code == 2
    assert "cannot be a business's id" in ran.err


def test_ids_and_numbers_are_used_once(wbot: Wbot) -> None:
    wbot.add_business("shop")
    number = wbot.json("business", "show", "shop")["phone_number_id"]
    wbot.add_business("cafe")
    common = ("--name", "S", "--access-token", "env:T")
    same_id = wbot("business", "add", "shop", *common, "--phone-number-id", "99")
    same_number = wbot("business", "add", "bar", *common, "--phone-number-id", number)
    taken = wbot("business", "set", "cafe", f"phone_number_id={number}")
    assert [one.code for one in (same_id, same_number, taken)] == [1, 1, 1]
    assert "already exists" in same_id.err
    assert "already exists" in same_number.err
    assert "Another business has" in taken.err


def test_an_unknown_business_is_named_with_the_known_ones(wbot: Wbot) -> None:
    begin_database(wbot.database)
    ran = wbot("business", "show", "shop")
    assert (ran.code, ran.out) == (2, "")
    assert "add one with `wbot business add`" in ran.err
    wbot.add_business("cafe")
    for rest in (["show", "x"], ["pause", "x"], ["resume", "x"], ["set", "x", "model=a"]):
        ran = wbot("business", *rest)
        assert (ran.code, ran.err) == (2, "wbot: There is no business 'x'; known: cafe.\n")


def test_pausing_twice_is_pausing(wbot: Wbot) -> None:
    wbot.add_business()
    assert wbot.done("business", "pause", "shop") == "shop is now paused.\n"
    assert wbot.done("business", "pause", "shop") == "shop was already paused.\n"
    assert wbot.json("business", "show", "shop")["status"] == "paused"
    assert "paused" in wbot.done("business", "list")
    assert wbot.json("business", "resume", "shop")["status"] == "active"
    assert wbot.done("business", "resume", "shop") == "shop was already active.\n"


def test_the_currency_stays_once_money_has_moved(wbot: Wbot) -> None:
    wbot.add_business()
    wbot.done("ledger", "deposit", "shop", "15550001111", "5")
    ran = wbot("business", "set", "shop", "currency=EUR", "model=a")
    assert ran.code == 1
    assert "money has moved" in ran.err
    shown = wbot.json("business", "show", "shop")
    assert (shown["currency"], shown["model"]) == ("USD", None)
    assert wbot("business", "set", "shop", "currency=usd").code == 0


def test_a_new_currency_reaches_accounts_that_were_never_used(wbot: Wbot) -> None:
    wbot.add_business()
    refused = wbot("ledger", "withdraw", "shop", "15550001111", "1")
    assert refused.code == 1
    wbot.add_business("cafe")
    wbot.done("ledger", "deposit", "cafe", "15550001111", "5")
    wbot.done("business", "set", "shop", "currency=JPY")
    wbot.done("ledger", "deposit", "shop", "15550001111", "500")
    assert wbot.json("ledger", "balance", "shop", "15550001111")["available"] == "500"
    assert wbot.json("ledger", "verify") == {"ok": True, "breaches": []}


def owe(wbot: Wbot, *, posted_minor: int, held_minor: int) -> None:
    """Leave Alice's account as transfers would under an overdraft."""
    wbot.add_business("shop", "--overdraft", "50")
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    wbot.done("ledger", "deposit", "shop", BOB, "5")
    with sqlite3.connect(wbot.database) as connection:
        connection.execute(
            "UPDATE balances SET posted_minor = ?, held_minor = ? "
            "WHERE account_id = (SELECT min(id) FROM accounts WHERE kind = 'customer')",
            (posted_minor, held_minor),
        )
    connection.close()


@pytest.mark.parametrize(("posted_minor", "held_minor"), [(-25_00, 0), (15_00, 40_00)])
def test_an_overdraft_below_what_a_customer_owes_is_refused(
    wbot: Wbot, posted_minor: int, held_minor: int
) -> None:
    owe(wbot, posted_minor=posted_minor, held_minor=held_minor)
    ran = wbot("business", "set", "shop", "overdraft=10", "model=a")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"wbot: The overdraft of shop cannot be 10.00 USD: {ALICE} is already 25.00 USD below "
        "zero, including held amounts. Deposit at least 15.00 USD there first, or allow 25.00 "
        "USD.\n"
    )
    assert wbot("business", "set", "shop", "overdraft=").code == 1
    shown = wbot.json("business", "show", "shop")
    assert (shown["overdraft"], shown["model"]) == ("50.00", None)
    wbot.done("business", "set", "shop", "model=a")
    assert wbot.json("business", "set", "shop", "overdraft=25")["overdraft"] == "25.00"


def test_another_business_may_lower_its_overdraft(wbot: Wbot) -> None:
    owe(wbot, posted_minor=-25_00, held_minor=0)
    wbot.add_business("cafe", "--overdraft", "50")
    wbot.done("ledger", "deposit", "cafe", ALICE, "5")
    assert wbot.json("business", "set", "cafe", "overdraft=0")["overdraft"] == "0.00"


def test_figures_stay_the_same_in_another_currency() -> None:
    business = changed(a_business(), {"max_transfer": "100.00", "overdraft": "7"})
    for code, figure in (("JPY", "100"), ("KWD", "100.000"), ("EUR", "100.00")):
        assert described(changed(business, {"currency": code}))["max_transfer"] == figure
    both = changed(business, {"max_transfer": "5.5", "currency": "KWD"})
    assert described(both)["max_transfer"] == "5.500"


def test_a_figure_that_a_currency_cannot_express_must_be_given_anew() -> None:
    business = changed(a_business(), {"max_transfer": "0.50"})
    with pytest.raises(RefusedError, match=r"max_transfer is 0\.50, which JPY cannot express"):
        changed(business, {"currency": "JPY"})
    anew = changed(business, {"currency": "JPY", "max_transfer": "50"})
    assert described(anew)["max_transfer"] == "50"
    with pytest.raises(MalformedError, match="no decimals"):
        changed(business, {"currency": "JPY", "max_transfer": "50.5"})


def test_every_rule_is_an_option_of_add(wbot: Wbot) -> None:
    shown = wbot.done("business", "add", "--help")
    for name in RULES:
        assert f"--{name.replace('_', '-')}" in shown


def test_the_real_entry_point_ends_with_the_promised_codes(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("WBOT_", "OPENAI_"))}
        env = clean | {"WBOT_DATABASE": str(tmp_path / "wbot.db")}
        return subprocess.run(
            [sys.executable, "-m", "wbot", "--config", os.devnull, *arguments],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    begin_database(tmp_path / "wbot.db")
    good = run("business", "list", "--json")
    assert (good.returncode, json.loads(good.stdout), good.stderr) == (0, {"businesses": []}, "")
    unknown = run("business", "show", "x", "--json")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.count("\n") == 1
    failed = run("errors", "retry", "7")
    assert (failed.returncode, failed.stdout) == (1, "")
    misused = run("busines")
    assert (misused.returncode, misused.stdout) == (2, "")
    assert misused.stderr.startswith("wbot: No such command")
    assert misused.stderr.count("\n") == 1
    malformed = run("ledger", "reverse", "T")
    assert (malformed.returncode, malformed.stdout) == (2, "")
    assert malformed.stderr == "wbot: 'T' is not a transfer reference; use T12 or 12.\n"


def test_knowledge_is_a_text_file_of_limited_size(wbot: Wbot, tmp_path: Path) -> None:
    wbot.add_business()
    file = tmp_path / "about.txt"
    file.write_text("We open at nine.")
    shown = wbot.json("business", "set", "shop", f"knowledge={file}")
    assert shown["knowledge"] == str(file)
    for content, sentence in (
        (b"x" * (64 * 1024 + 1), "is larger than 64 KiB"),
        (b"\xff\xfe\x00", "is not a text file in UTF-8"),
    ):
        file.write_bytes(content)
        ran = wbot("business", "set", "shop", f"knowledge={file}")
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert sentence in ran.err
    file.unlink()
    assert "cannot be read" in wbot("business", "set", "shop", f"knowledge={file}").err
    assert wbot.json("business", "show", "shop")["knowledge"] == str(file)
    assert wbot.json("business", "set", "shop", "knowledge=")["knowledge"] is None
