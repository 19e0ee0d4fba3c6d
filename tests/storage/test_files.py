"""The database's files: who owns them, who holds them, and what happens when they change."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_harness import Wbot, begin_database
from conftest import ALICE, WAIT_S, MakeWorld, World, deposit, make_simulator, query
from test_process import free_port, one_sentence, process, run, variables
from test_webhook import envelope, post, text

from wbot import settings as settings_module
from wbot.storage import migrations
from wbot.storage.database import connect
from wbot.storage.files import Trouble, Watched

AnotherUser = Callable[[], AbstractContextManager[None]]

NOBODY = 65534
MESSAGES = "SELECT message_id FROM messages"
INSTALLATION = "SELECT id FROM installation"


def copy(source: Path, target: Path) -> None:
    """Copy as an operator does; copying in this process would drop SQLite's locks."""
    subprocess.run(["cp", source, target], check=True)


def beside(path: Path, end: str) -> Path:
    return path.with_name(f"{path.name}{end}")


# Changed under the running service --------------------------------------------------------------


def delete(path: Path) -> None:
    path.unlink()


def move_away(path: Path) -> None:
    path.rename(beside(path, ".moved"))


def move_back(path: Path) -> None:
    beside(path, ".moved").rename(path)


def move_another_over(path: Path) -> None:
    begin_database(beside(path, ".other"))
    beside(path, ".other").rename(path)


def copy_another_over(path: Path) -> None:
    begin_database(beside(path, ".other"))
    copy(beside(path, ".other"), path)


def copy_over_with_removal(path: Path) -> None:
    begin_database(beside(path, ".other"))
    subprocess.run(["cp", "--remove-destination", beside(path, ".other"), path], check=True)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut_off(path: Path) -> None:
    os.truncate(path, 8192)


def delete_the_wal(path: Path) -> None:
    beside(path, "-wal").unlink()


def cut_off_the_wal(path: Path) -> None:
    os.truncate(beside(path, "-wal"), 100)


def delete_the_index(path: Path) -> None:
    beside(path, "-shm").unlink()


def replace_the_wal(path: Path) -> None:
    copy(beside(path, "-wal"), beside(path, ".w"))
    beside(path, ".w").rename(beside(path, "-wal"))


def shell(path: Path, sql: str) -> None:
    """Another program that writes to the database, as the sqlite3 shell does."""
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])"
    subprocess.run([sys.executable, "-c", script, path, sql], check=True)


CHANGES: list[Callable[[Path], None]] = [
    delete,
    move_away,
    move_another_over,
    copy_another_over,
    copy_over_with_removal,
    empty,
    cut_off,
    delete_the_wal,
    cut_off_the_wal,
    delete_the_index,
    replace_the_wal,
]


async def lost(world: World) -> str:
    """The reason that /health gives, once every webhook is refused."""
    async with asyncio.timeout(WAIT_S):
        reason = ""
        while "Nothing is stored" not in reason:  # a reader may detect the damage first
            reason = str((await world.health_of(503))["reasons"][0])
    assert await post(world, envelope(text("wamid.after", "hi"))) == 503
    return reason


@pytest.mark.parametrize("change", CHANGES)
async def test_no_webhook_is_acknowledged_once_the_files_are_not_those_that_were_opened(
    make_world: MakeWorld, database_path: Path, change: Callable[[Path], None]
) -> None:
    async with make_world() as world:
        assert await post(world, envelope(text("wamid.1", "hi"))) == 200
        await world.simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        async with asyncio.timeout(WAIT_S):
            while (await world.health_of(200))["outbox"]["waiting"]:
                pass  # a send whose end is not stored would hold up the stop
        change(database_path)
        assert await post(world, envelope(text("wamid.2", "hi"))) == 503
        assert str(database_path) in await lost(world)


@pytest.mark.parametrize("change", [delete, move_another_over, copy_another_over])
async def test_an_idle_service_turns_red_by_itself(
    make_world: MakeWorld, database_path: Path, change: Callable[[Path], None]
) -> None:
    async with make_world() as world:
        await world.health_of(200)
        change(database_path)
        assert str(database_path) in await lost(world)


async def test_an_older_copy_put_over_the_file_is_noticed(
    make_world: MakeWorld, database_path: Path
) -> None:
    async with make_world() as world:
        older = beside(database_path, ".older")
        copy(database_path, older)
        shell(database_path, "CREATE TABLE since (x); PRAGMA wal_checkpoint")
        assert await post(world, envelope(text("wamid.1", "hi"))) == 200
        copy(older, database_path)
        assert "was overwritten" in await lost(world)


async def test_only_a_restart_ends_it(make_world: MakeWorld, database_path: Path) -> None:
    async with make_world() as world:
        move_away(database_path)
        await lost(world)
        move_back(database_path)
        assert await post(world, envelope(text("wamid.1", "hi"))) == 503
        assert "is gone" in await lost(world)
    async with make_world() as world:
        assert await post(world, envelope(text("wamid.1", "hi"))) == 200
        await world.health_of(200)


@pytest.mark.parametrize("change", [delete_the_wal, delete_the_index])
async def test_what_was_acknowledged_is_in_the_file_after_the_wal_is_gone(
    make_world: MakeWorld, database_path: Path, change: Callable[[Path], None]
) -> None:
    async with make_world() as world:
        assert await post(world, envelope(text("wamid.1", "hi"))) == 200
        change(database_path)
        await lost(world)
        copy(database_path, beside(database_path, ".alone"))
    assert query(beside(database_path, ".alone"), MESSAGES) == [{"message_id": "wamid.1"}]


async def test_the_wal_of_a_file_that_was_moved_is_not_read_into_the_next_one(
    make_world: MakeWorld, database_path: Path
) -> None:
    """The moved file is complete by itself, and the file in its place stays unchanged."""
    other, moved = beside(database_path, ".other"), beside(database_path, ".moved")
    begin_database(other)
    async with make_world() as world:
        assert await post(world, envelope(text("wamid.1", "hi"))) == 200
        move_away(database_path)
        copy(other, database_path)
        await lost(world)
    assert query(moved, MESSAGES) == [{"message_id": "wamid.1"}]
    assert query(database_path, MESSAGES) == []
    assert query(database_path, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert query(database_path, INSTALLATION) == query(other, INSTALLATION)


async def test_a_turn_under_way_sends_and_moves_nothing_any_more(
    make_world: MakeWorld, database_path: Path
) -> None:
    """The model answers after the file is gone: what it proposes is not done."""
    deposit(database_path, ALICE, 50_000)
    asked, answers = asyncio.Event(), asyncio.Event()
    simulator = make_simulator()

    async def answer(request: dict[str, Any]) -> Any:
        asked.set()
        await answers.wait()
        return transfer()

    simulator.responder = answer
    async with make_world(simulator=simulator) as world:
        await simulator.say(ALICE, "Transfer $20 to John")
        async with asyncio.timeout(WAIT_S):
            await asked.wait()
        move_away(database_path)
        await lost(world)
        answers.set()
        async with asyncio.timeout(WAIT_S):
            while world.service.conversations.running:  # noqa: ASYNC110  no event at its end
                await asyncio.sleep(0.01)
        assert simulator.sends == ()
        assert len(simulator.completions) == 1
    move_back(database_path)
    assert query(database_path, "SELECT * FROM transfers WHERE kind = 'transfer'") == []


def transfer() -> dict[str, Any]:
    call = {"name": "transfer", "arguments": '{"amount": "20", "to": "John"}'}
    calls = [{"id": "call_1", "type": "function", "function": call}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    common = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return {**common, "choices": [choice]}


def size_of(path: Path) -> int:
    return path.stat().st_size


def fill(path: Path) -> None:
    shell(path, "CREATE TABLE big (x); INSERT INTO big SELECT zeroblob(9000000)")


def checkpoint(path: Path) -> None:
    shell(path, "PRAGMA wal_checkpoint(TRUNCATE)")


def shrink(path: Path) -> None:
    shell(path, "DROP TABLE big; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")


def back_up(path: Path) -> None:
    shell(path, f"VACUUM INTO '{beside(path, '.backup')}'")


async def test_what_other_programs_do_through_sqlite_is_no_trouble(
    make_world: MakeWorld, database_path: Path
) -> None:
    async with make_world() as world:
        sizes = set()
        for number, work in enumerate((fill, checkpoint, shrink, back_up, checkpoint)):
            await asyncio.to_thread(work, database_path)
            await world.service.database.version_elsewhere()
            assert await post(world, envelope(text(f"wamid.{number}", "hi"))) == 200
            sizes.add(size_of(database_path))
        await world.health_of(200)
        assert len(sizes) > 1


def test_a_problem_is_found_at_every_check(tmp_path: Path) -> None:
    path = tmp_path / "wbot.db"
    begin_database(path)
    connection = connect(path)
    watched = Watched(path)
    for _ in range(3):  # far more pages than a checkpoint waits for
        connection.execute("CREATE TABLE IF NOT EXISTS big (x)")
        connection.execute("INSERT INTO big SELECT zeroblob(9000000)")
        assert watched.trouble() is None
    empty(path)
    assert watched.trouble() == Trouble(f"{path} was overwritten", is_overwritten=True)
    delete(path)
    assert watched.trouble() == Trouble(f"{path} is gone")
    connection.close()
    watched.close()


# Locked by one service --------------------------------------------------------------------------


def names_of(path: Path, kind: str) -> Path:
    """Another name of the same file, in another folder."""
    folder = path.parent / "elsewhere"
    folder.mkdir(exist_ok=True)
    other = folder / f"{kind}.db"
    match kind:
        case "symlink":
            other.symlink_to(path)
        case "hard link":
            other.hardlink_to(path)
        case "linked folder":
            other = folder / "linked" / path.name
            other.parent.symlink_to(path.parent)
        case "dots":
            other = folder / ".." / path.name
        case _:
            other = Path(os.path.relpath(path, folder))
    return other


KINDS = ("symlink", "hard link", "linked folder", "dots", "relative")


async def test_a_second_service_on_the_same_file_by_another_name_is_refused(
    database_path: Path, tmp_path: Path
) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    others = {kind: names_of(database_path, kind) for kind in KINDS}
    folder = database_path.parent / "elsewhere"
    async with process(settings, tmp_path):
        for kind, other in others.items():
            again = settings | {"WBOT_DATABASE": str(other), "WBOT_PORT": str(free_port())}
            second = await asyncio.to_thread(run, again, folder, "serve")
            assert "already serves" in one_sentence(second), kind


async def test_a_command_by_another_name_of_the_file_is_refused_while_a_service_runs(
    database_path: Path, tmp_path: Path
) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    other = settings | {"WBOT_DATABASE": str(names_of(database_path, "hard link"))}
    async with process(settings, tmp_path):
        refused = await asyncio.to_thread(run, other, tmp_path, "business", "list")
        assert "by another name" in one_sentence(refused)
        assert (await asyncio.to_thread(run, settings, tmp_path, "business", "list")).stderr == ""
    assert (await asyncio.to_thread(run, other, tmp_path, "business", "list")).returncode == 0


async def test_the_lock_holds_the_name_when_another_file_has_it(
    database_path: Path, tmp_path: Path
) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    async with process(settings, tmp_path):
        move_another_over(database_path)
        second = await asyncio.to_thread(run, settings, tmp_path, "serve")
        assert "already serves" in one_sentence(second)


async def test_the_lock_holds_the_file_when_its_lock_file_is_gone(
    database_path: Path, tmp_path: Path
) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    async with process(settings, tmp_path):
        beside(database_path, ".lock").unlink()
        second = await asyncio.to_thread(run, settings, tmp_path, "serve")
        assert "already serves" in one_sentence(second)


# Created only on request -------------------------------------------------------------------------


def nothing(path: Path) -> None:
    path.unlink()


def a_file_of_no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def no_tables(path: Path) -> None:
    path.unlink()
    connect(path).close()


def a_name_that_leads_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "unmounted" / "wbot.db")


MISSING = [nothing, a_file_of_no_bytes, no_tables, a_name_that_leads_nowhere]


@pytest.mark.parametrize("become", MISSING)
def test_a_ledger_that_is_missing_is_not_begun_anew(
    database_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    become: Callable[[Path], None],
) -> None:
    become(database_path)
    sizes = [path.stat().st_size for path in tmp_path.glob("wbot.db") if path.exists()]
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    refusals = [one_sentence(run(settings, tmp_path, "serve"))]
    wbot = Wbot(tmp_path, monkeypatch, capsys)
    wbot.set(WBOT_VERIFY_TOKEN="v", WBOT_APP_SECRET="s", WBOT_MODEL="offline")
    for command in ("business list", "ledger verify", "check --offline", "business pause shop"):
        ran = wbot(*command.split())
        assert ran.code == 2
        refusals.append(ran.out + ran.err)
    for sentence in refusals:
        assert str(database_path) in sentence
        assert "`wbot serve --create`" in sentence
    assert [one.stat().st_size for one in tmp_path.glob("wbot.db") if one.exists()] == sizes
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.parametrize("become", MISSING)
async def test_serve_creates_one_on_request(
    database_path: Path, tmp_path: Path, become: Callable[[Path], None]
) -> None:
    become(database_path)
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    async with process(settings, tmp_path, "--create"):
        assert query(database_path, "SELECT * FROM businesses") == []


async def test_serve_create_goes_on_with_the_ledger_there_is(
    database_path: Path, tmp_path: Path
) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    async with process(settings, tmp_path, "--create"):
        assert len(query(database_path, "SELECT * FROM businesses")) == 1


@pytest.fixture
def open_wbot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Wbot]:
    """In a folder that every user can read, with a business in a subfolder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setattr(settings_module, "INSTALLED_FILE", folder / "wbot.env")
        made = Wbot(folder, monkeypatch, capsys, folder / "private" / "wbot.db")
        made.add_business()
        yield made


# Private to their owner --------------------------------------------------------------------------


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_file()}


async def test_every_file_of_the_service_is_private_to_its_user(tmp_path: Path) -> None:
    settings = variables(
        tmp_path / "wbot.db", "http://127.0.0.1:9", free_port(), WBOT_LOG_FILE="wbot.log"
    )
    async with process(settings, tmp_path, "--create"):
        assert modes(tmp_path) == dict.fromkeys(
            ("wbot.db", "wbot.db-wal", "wbot.db-shm", "wbot.db.lock", "wbot.log"), 0o600
        )


def test_the_copy_before_an_upgrade_is_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, known = tmp_path / "wbot.db", migrations.migrations()
    begin_database(path)
    later = migrations.Migration(9999, "CREATE TABLE extras (id INTEGER PRIMARY KEY);\n")
    monkeypatch.setattr(migrations, "migrations", lambda: (*known, later))
    begin_database(path)
    assert modes(tmp_path)["wbot.db.before-9999"] == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_root_makes_the_files_for_the_owner_of_their_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    settings = variables(tmp_path / "wbot.db", "http://127.0.0.1:9", free_port())
    added = run(settings, tmp_path, *ADD)
    assert added.returncode == 0, added.stderr
    assert {path.stat().st_uid for path in tmp_path.glob("wbot.db*")} == {NOBODY}


@pytest.fixture
def another_user() -> AnotherUser:
    """Runs the block as another operating-system user."""

    @contextmanager
    def as_nobody() -> Iterator[None]:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)

    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return as_nobody


@pytest.mark.parametrize(
    ("folder_mode", "file_mode"), [(0o700, 0o600), (0o755, 0o600), (0o755, 0o644)]
)
def test_a_database_of_another_user_is_reported_with_its_owner(
    open_wbot: Wbot, another_user: AnotherUser, folder_mode: int, file_mode: int
) -> None:
    database = open_wbot.database
    database.chmod(file_mode)
    database.parent.chmod(folder_mode)
    with another_user():
        ran = open_wbot("business", "list")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"This user may not use the database {database}" in ran.err
    assert "`sudo -u root wbot ...`" in ran.err


def test_a_configuration_of_another_user_is_reported_with_the_way_to_use_it(
    open_wbot: Wbot, another_user: AnotherUser
) -> None:
    file = settings_module.INSTALLED_FILE
    file.touch(0o600)
    with another_user():
        ran = open_wbot("business", "list")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"The configuration file {file} cannot be read: Permission denied." in ran.err
    assert "with sudo" in ran.err


ADD = (
    "business",
    "add",
    "shop",
    "--name",
    "S",
    "--phone-number-id",
    "1",
    "--access-token",
    "env:T",
)


@pytest.mark.parametrize("place", ["there/none/x.log", ".", "file/x.log"])
def test_a_log_file_that_cannot_be_written_is_one_sentence(
    database_path: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "there").symlink_to("/proc/self/fdinfo")
    settings = variables(database_path, "http://127.0.0.1:9", free_port(), WBOT_LOG_FILE=place)
    sentence = one_sentence(run(settings, tmp_path, "serve"))
    assert f"The log file {place} cannot be written: " in sentence
