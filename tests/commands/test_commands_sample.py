"""wbot sample: a body that the service accepts as a customer's message sent just now."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_harness import Wbot, begin_database
from conftest import APP_SECRET, WAIT_S, MakeWorld
from test_process import free_port

from wbot.clock import Clock
from wbot.domain.receipts import MARK

ROOT = Path(__file__).parents[2]
PHONE = "15550101001"


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    return Wbot(tmp_path, monkeypatch, capsys)


def value_of(body: str) -> dict[str, Any]:
    (entry,) = json.loads(body)["entry"]
    (change,) = entry["changes"]
    assert change["field"] == "messages"
    value: dict[str, Any] = change["value"]
    return value


def test_a_sample_is_one_message_of_now_for_the_first_business(wbot: Wbot) -> None:
    wbot.add_business("shop")
    wbot.add_business("cafe")
    began = int(Clock().now().timestamp())
    out = wbot.done("sample")
    value = value_of(out)
    assert not out.endswith("\n")
    assert value["metadata"]["phone_number_id"] == f"1065000{sum(b'cafe'):08}"
    (message,) = value["messages"]
    assert (message["from"], message["type"]) == (PHONE, "text")
    assert message["text"] == {"body": "What's my balance?"}
    assert began <= int(message["timestamp"]) <= Clock().now().timestamp()


def test_its_number_text_and_business_can_be_given(wbot: Wbot) -> None:
    wbot.add_business("cafe")
    wbot.add_business("shop")
    options = ("--count", "3", "--text", "Überweise 20 € an Zoë 🙂", "--business", "shop")
    first, second = (value_of(wbot.done("sample", *options)) for _ in range(2))
    assert first["metadata"]["phone_number_id"] == f"1065000{sum(b'shop'):08}"
    assert {one["text"]["body"] for one in first["messages"]} == {"Überweise 20 € an Zoë 🙂"}
    ids = [one["id"] for value in (first, second) for one in value["messages"]]
    assert len(set(ids)) == 6
    assert wbot.json("sample")["object"] == "whatsapp_business_account"


def test_a_sample_for_no_business_is_a_plain_sentence(wbot: Wbot) -> None:
    begin_database(wbot.database)
    ran = wbot("sample")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "wbot: There is no business yet; add one with `wbot business add`.\n"
    wbot.add_business()
    assert wbot("sample", "--business", "other").code == 2
    for count in ("0", "-1", "x", "1000000"):
        assert wbot("sample", "--count", count).code == 2


def test_the_file_under_data_shows_what_a_sample_looks_like(wbot: Wbot) -> None:
    wbot.add_business()
    (shown,) = (json.loads(file.read_text("utf-8")) for file in ROOT.glob("data/*.json"))
    assert outline(shown) == outline(json.loads(wbot.done("sample")))


def outline(value: Any) -> Any:
    """The keys of a body, with the keys of every nested object."""
    if isinstance(value, dict):
        return {key: outline(one) for key, one in value.items()}
    return [outline(one) for one in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("end", ["", "\n"])
async def test_a_signed_sample_is_acted_on_and_an_old_one_is_not(
    make_world: MakeWorld, database_path: Path, wbot: Wbot, end: str
) -> None:
    """With or without a line break at the end of the file, as editors may add one."""
    wbot.set(WBOT_DATABASE=str(database_path), WBOT_APP_SECRET=APP_SECRET)
    wbot.done("ledger", "deposit", "shop", PHONE, "100.00")
    file = database_path.with_name("body.json")
    body = wbot.done("sample", "--text", "Transfer $20 to John") + end
    (message,) = value_of(body)["messages"]
    old = body.replace(message["timestamp"], str(int(message["timestamp"]) - 40 * 86_400))
    async with make_world() as world:
        url = f"{world.url}/api/webhook"
        for text in (old.replace(message["id"], "wamid.old"), body):
            file.write_text(text)
            headers = {"X-Hub-Signature-256": wbot.done("sign", str(file)).strip()}
            world.simulator.learn_from(file.read_bytes())
            async with world.session.post(url, data=file.read_bytes(), headers=headers) as answer:
                assert answer.status == 200
        (receipt,) = await world.simulator.wait_for_sends(1, timeout_s=WAIT_S)
        assert receipt.text.startswith(f"{MARK} Sent $20.00")
        found = world.rows("SELECT state, reason FROM messages WHERE message_id = 'wamid.old'")
        assert found == [{"state": "silent", "reason": "window_closed"}]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_walk_by_hand_in_the_readme_works_as_it_stands(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    walk = text.partition("## Try the real service by hand")[2].partition("```sh\n")[2]
    walk = walk.partition("```")[0]
    port = free_port()
    walk = re.sub("/tmp(?=/)", str(tmp_path), walk)  # noqa: S108  the reader's own
    walk = walk.replace("127.0.0.1:5000", f"127.0.0.1:{port}")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WBOT_", "OPENAI_"))}
    ran = subprocess.run(
        ["bash", "-e", "-c", f"trap 'kill $(jobs -p)' EXIT\n{walk}"],
        env=clean
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "WBOT_PORT": str(port),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "200 OK" in ran.stdout
    assert "received" in ran.stdout
    assert '"processor"' in ran.stdout
