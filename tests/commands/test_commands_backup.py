"""wbot backup and wbot restore: whole, checked copies, and what a restored one may not do."""

import os
import stat
from pathlib import Path

import pytest
from cli_harness import Wbot
from conftest import query
from db_factories import NOW

from wbot.domain.ledger import Cause, CauseKind, TransferKind
from wbot.storage import accounts, ledger
from wbot.storage.database import connect, transaction
from wbot.storage.lock import locked

ALICE = "+15550101001"


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    wbot = Wbot(tmp_path, monkeypatch, capsys)
    wbot.set(TOKEN="token-of-the-shop")
    wbot.add_business()
    wbot.done("ledger", "deposit", "shop", ALICE, "100.00")
    return wbot


def balance(wbot: Wbot) -> str:
    return str(wbot.json("ledger", "balance", "shop", ALICE)["available"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_backup_is_one_private_file_that_restores_to_the_same_books(
    wbot: Wbot, tmp_path: Path
) -> None:
    copy = tmp_path / "copies" / "one.db"
    copy.parent.mkdir()
    assert wbot.json("backup", str(copy))["path"] == str(copy)
    assert names(copy.parent) == ["one.db"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    wbot.done("ledger", "deposit", "shop", ALICE, "7.00")
    wbot.done("restore", str(copy))
    assert balance(wbot) == "100.00"
    assert names(copy.parent) == ["one.db"]


@pytest.mark.parametrize("name", ["one.db", "one.db-wal"])
def test_a_backup_overwrites_nothing(wbot: Wbot, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    ran = wbot("backup", "one.db")
    assert (ran.code, ran.out) == (1, "")
    assert str(tmp_path / name) in ran.err
    assert (tmp_path / name).read_text() == "mine"


def test_a_backup_into_a_missing_folder_says_so(wbot: Wbot, tmp_path: Path) -> None:
    ran = wbot("backup", "nowhere/one.db")
    assert ran.code == 1
    assert str(tmp_path / "nowhere") in ran.err


def test_wrong_books_are_no_backup(wbot: Wbot, tmp_path: Path) -> None:
    connection = connect(wbot.database)
    connection.execute("UPDATE balances SET posted_minor = posted_minor + 1")
    connection.close()
    before = names(tmp_path)
    ran = wbot("backup", "one.db")
    assert (ran.code, ran.out) == (1, "")
    assert "The books in this database are wrong" in ran.err
    assert names(tmp_path) == before


def test_what_a_restore_replaces_is_kept_beside_it(wbot: Wbot, tmp_path: Path) -> None:
    wbot.done("backup", "one.db")
    wbot.done("ledger", "deposit", "shop", ALICE, "7.00", "--memo", "cash")
    first = wbot.json("restore", "one.db")["gaps"][0]["replaced"]
    second = wbot.json("restore", "one.db")["gaps"][0]["replaced"]
    assert first != second
    assert Path(first).name.startswith("wbot.db.replaced-20")
    rows = query(Path(first), "SELECT sum(amount_minor) AS minor FROM transfers")
    assert rows == [{"minor": 107_00}]
    assert stat.S_IMODE(Path(first).stat().st_mode) == 0o600


def test_no_money_moves_in_a_restored_copy_until_the_gap_is_accepted(wbot: Wbot) -> None:
    wbot.done("backup", "one.db")
    wbot.done("ledger", "deposit", "shop", ALICE, "7.00")
    out = wbot.done("restore", "one.db")
    assert "`wbot restore --accept`" in out
    for command in ("deposit", "withdraw"):
        ran = wbot("ledger", command, "shop", ALICE, "1.00")
        assert (ran.code, ran.out) == (1, "")
        assert "`wbot restore --accept`" in ran.err
    assert wbot("ledger", "reverse", "T1").code == 1
    gap = wbot.json("restore", "--accept")["gaps"][0]
    assert (gap["lost"]["messages"], gap["lost"]["payout_batches"]) == (0, [])
    lost = gap["lost"]["transfers"]
    assert [(one["transfer"], one["amount"], one["from"], one["to"]) for one in lost] == [
        ("T2", "7.00", "shop", "15550101001")
    ]
    wbot.done("ledger", "deposit", "shop", ALICE, "1.00")
    assert balance(wbot) == "101.00"
    assert wbot.json("restore", "--accept") == {"accepted": True, "gaps": []}


def test_accept_names_what_is_missing(wbot: Wbot) -> None:
    wbot.done("backup", "one.db")
    wbot.done("ledger", "deposit", "shop", ALICE, "7.00")
    wbot.done("restore", "one.db")
    out = wbot.done("restore", "--accept")
    assert "1 transfer" in out
    assert "7.00 USD" in out
    assert "money moves again" in out


def test_a_restored_copy_has_another_installation_id(wbot: Wbot) -> None:
    before = query(wbot.database, "SELECT id FROM installation")
    wbot.done("backup", "one.db")
    wbot.done("restore", "one.db")
    assert query(wbot.database, "SELECT id FROM installation") != before


def test_a_restore_waits_for_no_running_service(wbot: Wbot) -> None:
    wbot.done("backup", "one.db")
    wbot.done("ledger", "deposit", "shop", ALICE, "7.00")
    with locked(wbot.database):
        ran = wbot("restore", "one.db")
    assert ran.code == 2
    assert "Another wbot" in ran.err
    assert balance(wbot) == "107.00"


@pytest.mark.parametrize("text", ["", "no database at all", "SQLite format 3\0" + "x" * 5000])
def test_what_is_no_database_of_ours_replaces_nothing(
    wbot: Wbot, tmp_path: Path, text: str
) -> None:
    (tmp_path / "other.db").write_text(text)
    before = names(tmp_path)
    ran = wbot("restore", "other.db")
    assert ran.code in {1, 2}
    assert ran.err.count("\n") == 1, ran.err
    assert names(tmp_path) == sorted({*before, "wbot.db.lock"})
    assert balance(wbot) == "100.00"


def test_the_database_itself_and_a_missing_file_are_refused(wbot: Wbot) -> None:
    os.link(wbot.database, "alias.db")
    assert "the database itself" in wbot("restore", "alias.db").err
    Path("alias.db").unlink()
    assert "no file" in wbot("restore", "nowhere.db").err
    assert wbot("restore").code == 2


def test_a_copy_restores_on_a_new_machine(wbot: Wbot, tmp_path: Path) -> None:
    wbot.done("backup", "one.db")
    wbot.set(WBOT_DATABASE=str(tmp_path / "new" / "wbot.db"))
    assert wbot.json("restore", "one.db")["gaps"][0]["replaced"] is None
    gap = wbot.json("restore", "--accept")["gaps"][0]
    assert gap["lost"] is None
    assert balance(wbot) == "100.00"


def test_a_refused_restore_leaves_no_database_behind(wbot: Wbot, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("no database at all")
    wbot.set(WBOT_DATABASE=str(tmp_path / "new" / "wbot.db"))
    assert wbot("restore", "other.db").code in {1, 2}
    assert not (tmp_path / "new" / "wbot.db").exists()


def test_a_restore_needs_a_named_database(
    wbot: Wbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wbot.done("backup", "one.db")
    monkeypatch.delenv("WBOT_DATABASE")
    assert wbot("restore", "one.db").code == 2
    assert not (tmp_path / "data").exists()


def test_a_database_that_cannot_be_read_is_replaced_and_kept(wbot: Wbot, tmp_path: Path) -> None:
    wbot.done("backup", "one.db")
    wbot.database.write_bytes(b"scrambled" * 1000)
    gap = wbot.json("restore", "one.db")["gaps"][0]
    assert Path(gap["replaced"]).read_bytes() == b"scrambled" * 1000
    assert wbot.json("restore", "--accept")["gaps"][0]["lost"] is None
    assert balance(wbot) == "100.00"


def test_a_file_that_is_no_backup_is_restored_with_the_same_care(
    wbot: Wbot, tmp_path: Path
) -> None:
    """Such as the copy before an upgrade, or one made with `cp` while nothing ran."""
    Path("plain.db").write_bytes(wbot.database.read_bytes())
    wbot.done("restore", "plain.db")
    assert wbot("ledger", "deposit", "shop", ALICE, "1.00").code == 1
    wbot.done("restore", "plain.db", "--accept")
    wbot.done("ledger", "deposit", "shop", ALICE, "1.00")


def test_a_backup_that_was_put_in_place_by_hand_moves_no_money_either(wbot: Wbot) -> None:
    wbot.done("backup", "one.db")
    for end in ("", "-wal", "-shm"):
        Path(f"{wbot.database}{end}").unlink(missing_ok=True)
    Path("one.db").rename(wbot.database)
    assert wbot("ledger", "deposit", "shop", ALICE, "1.00").code == 1
    ran = wbot("restore", "--accept")
    assert ran.code == 2
    assert "start the service once" in ran.err


def test_payouts_that_were_exported_since_are_not_exported_again_unseen(wbot: Wbot) -> None:
    wbot.done("payee", "add", "shop", ALICE, "Paula")
    connection = connect(wbot.database)
    with transaction(connection) as tx:
        account = accounts.of_payee(tx, "shop", 1, "Paula", NOW)
        movement = ledger.Movement(
            business_id="shop",
            kind=TransferKind.TRANSFER,
            debit_account_id=accounts.of_customer(tx, "shop", 1),
            credit_account_id=account,
            amount_minor=20_00,
            currency="USD",
            cause=Cause(CauseKind.OPERATOR, "test"),
        )
        ledger.record(tx, movement, NOW)
    connection.close()
    wbot.done("backup", "one.db")
    wbot.done("payout", "export", "shop")
    wbot.done("restore", "one.db")
    assert wbot("payout", "export", "shop").code == 1
    (batch,) = wbot.json("restore", "--accept")["gaps"][0]["lost"]["payout_batches"]
    assert (batch["amount"], batch["business"]) == ("20.00", "shop")
