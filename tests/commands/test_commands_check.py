"""wbot check: each problem is reported with its fix, and nothing else is."""

import asyncio
import json
import re
import shutil
import sqlite3
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from cli_harness import TOKEN, Wbot, begin_database
from conftest import ACCESS_TOKEN, API_KEY, SHOP, make_simulator
from db_factories import NOW, make_customer, make_tx
from db_factories import SHOP as BUSINESS
from model_endpoint import Asked, Said, calling, endpoint, words

from wbot.admin import preflight
from wbot.admin.preflight import Check, Subject
from wbot.clients.whatsapp import PhoneNumberCredentials
from wbot.domain.business import Policy
from wbot.domain.states import MessageState
from wbot.settings import Settings
from wbot.simulator.faults.plan import Endpoint, refused, silent
from wbot.simulator.simulator import MODEL, Simulator, serve
from wbot.storage import businesses, customers, messages
from wbot.storage.messages import NewMessage

COMPLETE = {"WBOT_VERIFY_TOKEN": "v", "WBOT_APP_SECRET": "s", "WBOT_MODEL": "offline"}
WABA = SHOP.waba_id
CALLBACK = "https://bot.example/api/webhook"


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    return Wbot(tmp_path, monkeypatch, capsys)


# The command ------------------------------------------------------------------------------------


def test_all_is_well_offline(wbot: Wbot) -> None:
    wbot.set(**COMPLETE, TOKEN="secret-of-the-shop")
    wbot.add_business()
    found = wbot.json("check", "--offline")
    assert [(one["check"], one["ok"]) for one in found] == [
        ("configuration", True),
        ("database", True),
        ("files", True),
        ("disk", True),
        ("businesses", True),
        ("access token of shop", True),
        ("rules of shop", True),
        ("outside", True),
    ]
    assert all(list(one) == ["check", "ok", "detail"] for one in found)
    table = wbot.done("check", "--offline")
    marks = {line.split()[1]: line[0] for line in table.splitlines()}
    assert {marks.pop("disk"), marks.pop("outside")} <= {"✓", "!"}
    assert set(marks.values()) == {"✓"}
    assert "not checked (--offline)" in table
    assert "secret-of-the-shop" not in table


def test_a_file_that_others_may_read_is_warned_of_with_the_command_that_fixes_it(
    wbot: Wbot, tmp_path: Path
) -> None:
    wbot.set(**COMPLETE, TOKEN="secret")
    wbot.add_business()
    (tmp_path / ".env").write_text("")
    (tmp_path / "wbot.db.before-0002").write_text("")
    wide = [tmp_path / name for name in ("wbot.db", "wbot.db.before-0002", ".env")]
    for path, mode in zip(wide, (0o640, 0o604, 0o644), strict=True):
        path.chmod(mode)
    found = {one["check"]: one for one in wbot.json("check", "--offline")}
    assert found["files"]["ok"]
    fix = f"chmod 600 {' '.join(map(str, wide))}"
    assert found["files"]["detail"].endswith(fix)
    subprocess.run(fix.split(), check=True)
    found = {one["check"]: one for one in wbot.json("check", "--offline")}
    assert found["files"]["detail"] == "private to their owner"


def test_a_token_that_cannot_be_read_ends_with_two(wbot: Wbot) -> None:
    wbot.set(**COMPLETE)
    wbot.add_business()
    ran = wbot("check", "--offline")
    assert ran.code == 2
    assert "✗  access token of shop  The variable TOKEN that holds a secret is not set." in ran.out
    assert ran.err == ("wbot: 1 check failed: access token of shop; see ✗ above for what to do.\n")
    machine = wbot("check", "--offline", "--json")
    assert machine.err == (
        "wbot: access token of shop: The variable TOKEN that holds a secret is not set. "
        "Set it in the service's environment or its .env file.\n"
    )
    assert (machine.code, [one["ok"] for one in machine.json].count(False)) == (2, 1)


def test_no_business_yet_is_a_failure_with_its_fix(wbot: Wbot) -> None:
    begin_database(wbot.database)
    wbot.set(**COMPLETE)
    ran = wbot("check", "--offline")
    assert ran.code == 1
    assert "none yet: add one with `wbot business add`" in ran.out


def test_a_configuration_that_cannot_be_used_ends_with_two_and_still_shows_the_rest(
    wbot: Wbot,
) -> None:
    begin_database(wbot.database)
    ran = wbot("check", "--offline")
    assert ran.code == 2
    assert "Not set: WBOT_VERIFY_TOKEN, WBOT_APP_SECRET, WBOT_MODEL" in ran.out
    assert ran.err.startswith("wbot: 2 checks failed: configuration, businesses; see ✗ above")
    assert "✓  database" in ran.out
    wbot.set(WBOT_PORT="many")
    unreadable = wbot("check", "--offline", "--json")
    assert (unreadable.code, unreadable.out) == (2, "")
    assert unreadable.err.startswith("wbot: WBOT_PORT is 'many'")


@pytest.mark.parametrize("name", [".", "x" * 300, "text"])
def test_a_database_that_cannot_be_used_ends_with_two(
    wbot: Wbot, tmp_path: Path, name: str
) -> None:
    (tmp_path / "text").write_text("This is no database, but it is longer than its header.")
    wbot.set(**COMPLETE, WBOT_DATABASE=name)
    ran = wbot("check", "--offline")
    assert ran.code == 2
    assert "✗  database" in ran.out
    assert ran.err.count("\n") == 1


async def test_the_whole_command_asks_outside_at_once(wbot: Wbot) -> None:
    wbot.set(**COMPLETE, TOKEN=ACCESS_TOKEN, OPENAI_API_KEY=API_KEY)
    wbot.set(WBOT_APP_SECRET="app-secret", WBOT_VERIFY_TOKEN="verify-token")
    wbot.add_business()
    wbot.done("business", "set", "shop", f"phone_number_id={SHOP.phone_number_id}")
    async with serve(make_simulator(webhook_url=CALLBACK)) as url:
        wbot.set(WBOT_GRAPH_URL=url, OPENAI_BASE_URL=f"{url}/v1", WBOT_MODEL=MODEL)
        ran = await asyncio.to_thread(wbot, "check")
    assert (ran.code, ran.err) == (0, "")
    lines = {re.split(r"\s{2,}", line)[1]: line for line in ran.out.splitlines()}
    assert lines["number of shop"].endswith(
        "15550100001, The Shop, quality GREEN, throughput STANDARD"
    )
    assert lines["webhook of shop"].startswith("!")
    assert f"Meta delivers to {CALLBACK}; subscription: not checked" in lines["webhook of shop"]
    assert lines[f"model {MODEL}"].startswith("✓")
    assert "calls tools and reads their results; 2 calls, " in lines[f"model {MODEL}"]


async def test_another_model_is_tried_and_what_it_takes_is_kept_until_relearned(
    wbot: Wbot,
) -> None:
    def script(asked: Asked) -> Said:
        if "max_completion_tokens" in asked.body:
            wanted = "Unsupported parameter: 'max_completion_tokens'. Use 'max_tokens' instead."
            return 400, {"error": {"message": wanted}}
        has_result = any(one["role"] == "tool" for one in asked.body["messages"])
        return words("It is $0.00.") if has_result else calling()

    wbot.set(**COMPLETE, TOKEN=ACCESS_TOKEN, OPENAI_API_KEY=API_KEY)
    wbot.set(WBOT_APP_SECRET="app-secret", WBOT_VERIFY_TOKEN="verify-token")
    wbot.add_business()
    async with endpoint(script) as made:
        wbot.set(WBOT_GRAPH_URL=made.url, OPENAI_BASE_URL=f"{made.url}/v1")
        refused_calls = []
        for more in ((), (), ("--relearn",)):
            ran = await asyncio.to_thread(wbot, "check", "--json", "--model", "m", *more)
            (found,) = [one for one in json.loads(ran.out) if one["check"] == "model m"]
            assert found["ok"]
            assert "API: Chat Completions" in found["detail"]
            refused_calls.append(sum("max_completion_tokens" in one.body for one in made.asked))
        assert refused_calls == [1, 1, 2]


async def test_a_model_without_tools_fails_with_what_to_do() -> None:
    refusal = 400, {"error": {"message": "library/m does not support tools"}}
    talker = words("You have plenty.")
    for said in (refusal, talker):
        async with endpoint(lambda _, said=said: said) as made:  # type: ignore[misc]
            found = (await asked(made.url))[-1]
        assert (found.ok, found.is_misconfigured) == (False, True)
        assert "tools" in found.detail.lower()
        assert "hoose a model that can call tools" in found.detail


async def test_the_fallback_is_checked_at_its_own_endpoint() -> None:
    def script(asked: Asked) -> Said:
        assert asked.headers["authorization"] == "Bearer other-key"
        return 402, {"error": {"message": "Insufficient Balance"}}

    async with endpoint(script) as made, serve(make_simulator()) as url:
        settings = Settings(
            graph_url=url,
            model=MODEL,
            openai_api_key=API_KEY,
            openai_base_url=f"{url}/v1",
            model_fallback="second",
            model_fallback_base_url=f"{made.url}/v1",
            model_fallback_api_key="other-key",
        )
        first, second = await preflight.outside(settings, [])
    assert first.ok
    assert (second.check, second.ok) == ("fallback model second", False)
    assert "Insufficient Balance" in second.detail
    assert "check WBOT_MODEL_FALLBACK" in second.detail


# What the database shows ------------------------------------------------------------------------


def stored(
    tx: sqlite3.Connection, variables: dict[str, str] | None = None
) -> tuple[dict[str, Check], list[Subject]]:
    found, subjects = preflight.stored(tx, variables or {"SHOP_TOKEN": ACCESS_TOKEN})
    return {one.check: one for one in found}, subjects


def put_message(
    tx: sqlite3.Connection,
    message_id: str,
    *,
    business_id: str | None,
    account_id: str | None = None,
    phone_number_id: str = "777",
) -> None:
    """Store a silent message, as a webhook of this account and number brought it."""
    messages.claim(tx, message_id)
    conversation_id = None
    if business_id is not None:
        conversation_id = customers.conversation_of(
            tx, business_id, make_customer(tx, "15550101001"), NOW
        )
    message = NewMessage(
        message_id=message_id,
        business_id=business_id,
        conversation_id=conversation_id,
        account_id=account_id,
        phone_number_id=phone_number_id,
        type="text",
        content="{}",
        reply_phone=None,
        reply_user_id=None,
        sent_at=None,
        sort_at=NOW,
        received_at=NOW,
        not_before=None,
        state=MessageState.SILENT,
        reason="unknown_number",
    )
    messages.insert(tx, message)


def test_unassigned_numbers_are_warned_of() -> None:
    tx = make_tx()
    put_message(tx, "wamid.1", business_id=None)
    put_message(tx, "wamid.2", business_id=None)
    found, _ = stored(tx)
    stranger = found["phone number id 777"]
    assert (stranger.ok, stranger.is_warning) == (True, True)
    assert stranger.detail.startswith("messages to it: 2, unanswered")
    tx.close()


def test_the_money_rules_are_shown_and_a_senseless_one_is_warned_of() -> None:
    tx = make_tx()
    policy = Policy(max_transfer_minor=100_00)
    limited = msgspec.structs.replace(BUSINESS, policy=policy, is_paused=True)
    businesses.change(tx, limited)
    found, _ = stored(tx)
    rules = found["rules of shop"]
    assert (rules.ok, rules.is_warning) == (True, False)
    assert "; at most 100.00 USD a transfer; " in rules.detail
    assert found["businesses"].detail == "shop (paused)"

    policy = msgspec.structs.replace(policy, confirm_above_minor=500_00)
    businesses.change(tx, msgspec.structs.replace(limited, policy=policy))
    rules = stored(tx)[0]["rules of shop"]
    assert (rules.ok, rules.is_warning) == (True, True)
    assert rules.detail.endswith(
        "; but no transfer is ever confirmed because confirm_above reaches max_transfer"
    )
    tx.close()


@pytest.mark.parametrize(
    ("reference", "variables", "words"),
    [
        ("env:SHOP_TOKEN", {"SHOP_TOKEN": ""}, "Set it in the service's environment"),
        ("file:/no/such/file", {}, "The secret file /no/such/file cannot be read"),
        ("env:SHOP_TOKEN", {"SHOP_TOKEN": "two\nlines"}, "it contains spaces or other characters"),
        ("env:SHOP_TOKEN", {"SHOP_TOKEN": "two words"}, "it contains spaces or other characters"),
        ("env:SHOP_TOKEN", {"SHOP_TOKEN": "caf\u00e9"}, "it contains spaces or other characters"),
    ],
)
def test_a_token_that_cannot_be_read_is_not_tried(
    reference: str, variables: dict[str, str], words: str
) -> None:
    tx = make_tx()
    businesses.change(tx, msgspec.structs.replace(BUSINESS, access_token=reference))
    found, subjects = stored(tx, {"OTHER": "x", **variables})
    token = found["access token of shop"]
    assert (token.ok, words in token.detail) == (False, True)
    assert subjects[0].credentials is None
    tx.close()


def test_the_account_is_known_by_the_latest_message_for_the_number() -> None:
    tx = make_tx()
    assert stored(tx)[1][0].account_id is None
    for number, (account_id, phone_number_id, known) in enumerate(
        [
            (None, SHOP.phone_number_id, None),
            ("42", SHOP.phone_number_id, "42"),
            ("43", SHOP.phone_number_id, "43"),
            (None, SHOP.phone_number_id, "43"),
            ("44", "another number", None),
        ]
    ):
        put_message(
            tx,
            f"wamid.{number}",
            business_id="shop",
            account_id=account_id,
            phone_number_id=phone_number_id,
        )
        assert stored(tx)[1][0].account_id == known
    tx.close()


# What Meta and the model report -----------------------------------------------------------------


def subject(account_id: str | None = WABA, token: str = ACCESS_TOKEN, **changes: Any) -> Subject:
    business = msgspec.structs.replace(BUSINESS, **changes)
    line = PhoneNumberCredentials(business.phone_number_id, token)
    return Subject(business=business, credentials=line, account_id=account_id)


async def outside(simulator: Simulator, *subjects: Subject, **changes: Any) -> dict[str, Check]:
    async with serve(simulator) as url:
        settings = Settings(
            graph_url=url,
            api_timeout=changes.pop("api_timeout", 5.0),
            model=changes.pop("model", MODEL),
            openai_api_key=changes.pop("openai_api_key", API_KEY),
            openai_base_url=f"{url}/v1",
        )
        found = await preflight.outside(settings, subjects)
    return {one.check: one for one in found}


async def test_all_is_well_outside() -> None:
    found = await outside(make_simulator(webhook_url=CALLBACK), subject())
    assert [one.ok for one in found.values()] == [True, True, True]
    assert not any(one.is_warning for one in found.values())
    assert found["webhook of shop"].detail == (
        f"Meta delivers to {CALLBACK}; subscribed apps: wbot (1015550100000); "
        "yours must be among them"
    )


async def test_an_app_that_is_not_subscribed_gets_no_messages() -> None:
    simulator = make_simulator(
        businesses=[msgspec.structs.replace(SHOP, subscribed=False)], webhook_url=CALLBACK
    )
    found = (await outside(simulator, subject()))["webhook of shop"]
    assert not found.ok
    assert f"POST /{WABA}/subscribed_apps with the token" in found.detail


async def test_a_missing_callback_is_reported_with_where_to_enter_it() -> None:
    found = (await outside(make_simulator(), subject()))["webhook of shop"]
    assert not found.ok
    assert "https://YOUR-HOST/api/webhook and WBOT_VERIFY_TOKEN" in found.detail


async def test_a_callback_elsewhere_is_warned_of() -> None:
    simulator = make_simulator(webhook_url="https://bot.example/hook")
    found = (await outside(simulator, subject()))["webhook of shop"]
    assert (found.ok, found.is_warning) == (True, True)
    assert "does not end in /api/webhook" in found.detail


async def test_a_missing_account_is_reported_as_not_checked() -> None:
    simulator = make_simulator(webhook_url=CALLBACK)
    found = (await outside(simulator, subject(account_id=None)))["webhook of shop"]
    assert (found.ok, found.is_warning) == (True, True)
    assert "subscription: not checked" in found.detail


async def test_a_wrong_token_is_reported_with_its_fix() -> None:
    found = await outside(make_simulator(), subject(token=TOKEN))
    assert not found["number of shop"].ok
    assert (
        "(code 190): create a permanent token for a system user" in found["number of shop"].detail
    )
    assert found["webhook of shop"].is_warning


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (100, "check phone_number_id"),
        (33, "check phone_number_id"),
        (10, "whatsapp_business_management"),
        (200, "whatsapp_business_management"),
        (0, "create a permanent token"),
        (4, "try again later"),
    ],
)
async def test_each_refusal_has_its_fix_and_no_token(code: int, fix: str) -> None:
    simulator = make_simulator()
    words = f"Malformed access token {ACCESS_TOKEN}"
    simulator.faults.always(Endpoint.LOOKUP, refused(400, code, words))
    found = await outside(simulator, subject())
    detail = found["number of shop"].detail
    assert f"(code {code}): " in detail
    assert fix in detail
    assert all(ACCESS_TOKEN not in one.detail for one in found.values())
    assert "Malformed access token (secret)" in detail


async def test_a_graph_api_that_never_answers_is_waited_for_no_longer_than_allowed() -> None:
    simulator = make_simulator()
    simulator.faults.always(Endpoint.LOOKUP, silent())
    async with asyncio.timeout(4):
        found = await outside(simulator, subject(), subject(id="cafe"), api_timeout=0.3)
    assert not found["number of shop"].ok
    assert not found["number of cafe"].ok
    assert found["model simulated-model"].ok


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"model": "no-such-model"}, "model no-such-model", "HTTP 404, model_not_found"),
        ({"openai_api_key": "wrong"}, f"model {MODEL}", "HTTP 401, invalid_api_key"),
        ({"openai_api_key": ""}, "model", "set WBOT_MODEL and OPENAI_API_KEY first"),
    ],
)
async def test_an_unreachable_model_is_reported(
    changes: dict[str, str], name: str, words: str
) -> None:
    found = await outside(make_simulator(), **changes)
    assert not found[name].ok
    assert words in found[name].detail


async def test_a_businesss_own_model_is_asked_for_too() -> None:
    found = await outside(make_simulator(), subject(model="another-model"))
    assert found[f"model {MODEL}"].ok
    assert not found["model another-model"].ok


async def test_the_built_in_interpreter_needs_no_endpoint() -> None:
    found = await outside(make_simulator(), subject(model="another-model"), model="offline")
    assert found["model"].detail.startswith("the built-in interpreter")


Served = tuple[web.AppRunner, int]


async def served(status: int, body: str, context: ssl.SSLContext | None = None) -> Served:
    """A server on loopback that gives every request the same answer."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def asked(url: str, *subjects: Subject) -> Sequence[Check]:
    settings = Settings(
        graph_url=url,
        api_timeout=5.0,
        model="m",
        openai_api_key="k",
        openai_base_url=f"{url}/v1",
    )
    return await preflight.outside(settings, subjects)


async def test_an_endpoint_that_has_no_such_page_points_to_the_address() -> None:
    runner, port = await served(404, '{"detail": "Not Found"}')
    try:
        (found,) = await asked(f"http://127.0.0.1:{port}")
    finally:
        await runner.cleanup()
    assert not found.ok
    assert "HTTP 404: Not Found. Check WBOT_MODEL, OPENAI_API_KEY and OPENAI" in found.detail


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://"])
async def test_an_address_without_a_listener_is_reported(url: str) -> None:
    number, callback, model = await asked(url, subject(account_id=None))
    assert [number.ok, callback.is_warning, model.ok] == [False, True, False]
    assert "WBOT_GRAPH_URL" in number.detail
    assert "OPENAI_BASE_URL" in model.detail


@pytest.mark.parametrize("body", ["{}", '{"webhook_configuration": "odd", "throughput": []}'])
async def test_odd_answers_are_shown_as_far_as_they_go(body: str) -> None:
    runner, port = await served(200, body)
    try:
        number, callback, _ = await asked(f"http://127.0.0.1:{port}", subject(account_id=None))
    finally:
        await runner.cleanup()
    assert number.detail == (
        "no display number, no verified name, quality UNKNOWN, throughput unknown"
    )
    assert "Meta does not say" in callback.detail


async def test_a_number_that_customers_block_is_warned_of() -> None:
    runner, port = await served(200, '{"quality_rating": "RED"}')
    try:
        number, *_ = await asked(f"http://127.0.0.1:{port}", subject(account_id=None))
    finally:
        await runner.cleanup()
    assert (number.ok, number.is_warning) == (True, True)


@pytest.fixture
def distrusted(tmp_path: Path) -> ssl.SSLContext:
    """The server side of TLS with an untrusted certificate."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_an_untrusted_certificate_points_to_the_systems_certificates(
    distrusted: ssl.SSLContext,
) -> None:
    runner, port = await served(200, "{}", distrusted)
    try:
        number, _, model = await asked(f"https://127.0.0.1:{port}", subject(account_id=None))
    finally:
        await runner.cleanup()
    for one in (number, model):
        assert not one.ok
        assert "install the package ca-certificates" in one.detail
