"""The documents are true: every command runs, every name exists, every link resolves."""

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from picture import CHROMIUM, difference, take
from test_process import free_port

from wbot.__main__ import cli
from wbot.clock import Clock, later, to_text
from wbot.storage import migrations
from wbot.storage.database import connect

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for place in ("*.md", "docs/*.md", "deploy/*.md")
    for path in ROOT.glob(place)
)
SAME_PICTURE = 5.0
"""Of 255: another minute on the phones is 0.1, the page before the strip of proof was 32."""
OPERATIONS = (ROOT / "docs/OPERATIONS.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order, including those indented in a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


# Every command runs -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which every shell block of OPERATIONS.md was run in order, and the output."""
    folder = tmp_path_factory.mktemp("operations")
    copy = folder / "wbot.db.before-0002"
    with closing(connect(copy)) as connection:
        migrations.migrate(connection, copy, Clock().now())
    port = free_port()
    script = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    script += "\n".join(blocks(OPERATIONS, "sh")).replace("127.0.0.1:5000", f"127.0.0.1:{port}")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WBOT_", "OPENAI_"))}
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        env=clean
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PAYLOADS": str(ROOT / "data"),
            "WBOT_PORT": str(port),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return folder, ran.stdout


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
def test_ten_curls_of_one_body_are_one_message_and_ten_others_are_ten(
    transcript: tuple[Path, str],
) -> None:
    folder, out = transcript
    assert out.count("200\n") == 11
    assert "it came again 9 times since, and was ignored" in out
    (replaced,) = folder.glob("wbot.db.replaced-*Z")
    with closing(sqlite3.connect(replaced)) as connection:
        query = "SELECT state, reason, duplicates FROM messages ORDER BY received_at"
        rows = connection.execute(query).fetchall()
    assert rows[0] == ("answered", None, 9)
    assert rows[1:11] == [("answered", None, 0)] * 10
    assert rows[11:] == [("silent", "window_closed", 0), ("answered", None, 0)]


@needs_curl
def test_the_payout_of_the_guide_is_settled(transcript: tuple[Path, str]) -> None:
    folder, out = transcript
    assert "B1: 5.00 USD paid out (1 payee)." in out
    assert (folder / "batch.csv").read_text("utf-8").startswith("batch,payee,name,customer,amount")


@needs_curl
def test_every_figure_that_the_guide_names_is_there(transcript: tuple[Path, str]) -> None:
    _, out = transcript
    assert '"duplicates": 9' in out
    for name in set(re.findall(r"wbot_\w+", OPERATIONS)):
        assert name in out or name in metrics_of_a_service(), name


def metrics_of_a_service() -> str:
    source = (ROOT / "wbot/metrics.py").read_text("utf-8")
    names = re.findall(r'self\._(?:counter|histogram)\(\s*"(\w+)"', source)
    return " ".join(f"wbot_{name} wbot_{name}_total wbot_{name}_bucket" for name in names)


def test_the_payload_file_has_the_form_of_a_customers_message() -> None:
    body = json.loads((ROOT / "data/test-webhook-payload.json").read_text("utf-8"))
    (change,) = body["entry"][0]["changes"]
    assert (body["object"], change["field"]) == ("whatsapp_business_account", "messages")
    assert change["value"]["messages"][0]["from"].startswith("1555010")


# SQL runs -----------------------------------------------------------------------------------------


def test_every_statement_is_one_that_sqlite_takes_and_the_clean_up_spares_the_young(
    tmp_path: Path,
) -> None:
    path = tmp_path / "wbot.db"
    with closing(connect(path)) as connection:
        migrations.migrate(connection, path, Clock().now())
        for days in (-31, -29):
            connection.execute(
                "INSERT INTO processing_errors (error_message, created_at) VALUES (?, ?)",
                (f"{-days} days old", to_text(later(Clock().now(), days * 86_400))),
            )
        for statement in ";".join(blocks(OPERATIONS, "sql")).split(";"):
            connection.execute(statement)
        left = connection.execute("SELECT error_message FROM processing_errors").fetchall()
    assert [tuple(row) for row in left] == [("29 days old",)]


# Every name exists --------------------------------------------------------------------------------


def mentioned(document: str) -> Iterator[str]:
    """Every `wbot …` command in a document's text or code blocks."""
    text = (ROOT / document).read_text("utf-8")
    for span in re.findall(r"`([^`]+)`", without_blocks(text)):
        yield from re.findall(
            r"^(?:(?:sudo|[A-Z_]+=\S+) )?(?:\S*/)?wbot (.+)", " ".join(span.split())
        )
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from re.findall(r"(?:^|/|\s|\()wbot ([a-z-][^#|>&)]*)", line.partition("#")[0])


def unknown_in(arguments: list[str]) -> list[str]:
    """The commands and options in these arguments that do not exist."""
    command: click.Command = cli
    context = click.Context(cli)
    found = []
    after_option = False
    for argument in arguments:
        if argument.startswith("-"):
            known = {name for one in command.get_params(context) for name in one.opts}
            found += [] if argument.partition("=")[0] in known else [argument]
        elif isinstance(command, click.Group) and not argument.isupper():
            child = command.get_command(context, argument)
            if child is not None:
                command = child
            elif not after_option:
                found.append(argument)
        after_option = argument.startswith("-")
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_names_commands_and_options_that_exist(document: str) -> None:
    for line in mentioned(document):
        assert unknown_in(shlex.split(line.replace("…", ""), comments=True)) == [], line


def test_a_name_that_does_not_exist_would_be_seen() -> None:
    assert unknown_in(["ledgr", "verify"]) == ["ledgr", "verify"]
    assert unknown_in(["ledger", "verify", "--fast"]) == ["--fast"]
    assert unknown_in(["errors", "purge", "--older-than", "30d"]) == []


def test_every_event_that_the_guide_names_is_logged() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "wbot").rglob("*.py"))
    table = OPERATIONS.partition("## What to look for in the log")[2].partition("```")[0]
    events = {name for row in table.splitlines() for name in re.findall(r"`(\w+\.\w+)`", row)}
    assert len(events) > 10
    for event in events:
        assert f'"{event}"' in source, event


def test_every_answer_of_why_that_the_guide_names_is_given() -> None:
    source = "".join(
        (ROOT / f"wbot/admin/{name}.py").read_text("utf-8")
        for name in ("no_reply_causes", "message_timeline")
    )
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # sentences are written over several lines
    table = OPERATIONS.partition("| it says |")[2].partition("\n\n")[0]
    for said in re.findall(r"^\| `([^`]+)`", table, re.MULTILINE):
        for part in said.split("…"):
            assert part.strip() in source, said


# Every link resolves ------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_between_documents_leads_to_a_file(document: str) -> None:
    text = without_blocks((ROOT / document).read_text("utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert (ROOT / document).parent.joinpath(target).exists(), target


# The picture --------------------------------------------------------------------------------------


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
async def test_the_picture_of_the_phones_is_what_the_software_makes_today() -> None:
    made, committed = await take(), (ROOT / "docs/phones.webp").read_bytes()
    for picture in (made, committed):
        assert (picture[:4], picture[8:12]) == (b"RIFF", b"WEBP")
        assert 20_000 < len(picture) < 200_000
    assert await difference(made, committed) < SAME_PICTURE, "docs/phones.webp: `make picture`"
    assert "](docs/phones.webp)" in (ROOT / "README.md").read_text("utf-8")
