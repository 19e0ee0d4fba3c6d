"""wbot errors: failures are shown, and each failed message can be retried once."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli_harness import Ran, Wbot, begin_database
from db_factories import SHOP, after, end_message, give, make_customer, make_message

from wbot.admin import customer_merge
from wbot.clock import Clock, later, to_text
from wbot.domain.states import MessageState
from wbot.storage import businesses, errors, journal, messages
from wbot.storage.database import connect, transaction
from wbot.storage.journal import Effect

ALICE, BOB = "15550101001", "15550101002"
OLD = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    """Message wamid.1 of Alice failed as failure 1; failure 2 is a reply without a message."""
    made = Wbot(tmp_path, monkeypatch, capsys)
    begin_database(made.database)
    with closing(connect(made.database)) as connection, transaction(connection) as tx:
        businesses.add(tx, SHOP, OLD)
        conversation_id = make_message(tx, make_customer(tx, ALICE), "wamid.1")
        end_message(tx, "wamid.1", state=MessageState.FAILED, reason="The model died.", now=OLD)
        for message_id, words, retries in (
            ("wamid.1", "The model died.", 4),
            (None, "The reply could not be sent: [bold]no", 0),
        ):
            errors.add(
                tx,
                words,
                now=after(60) if message_id is None else OLD,
                business_id=SHOP.id,
                conversation_id=conversation_id,
                message_id=message_id,
                retry_count=retries,
            )
    return made


def state(wbot: Wbot, message_id: str = "wamid.1") -> tuple[str, int]:
    with closing(connect(wbot.database)) as connection:
        row = messages.by_id(connection, message_id)
        assert row is not None
        return row.state, row.revision


def change(wbot: Wbot, sql: str) -> None:
    with closing(sqlite3.connect(wbot.database)) as connection, connection:
        connection.execute(sql)


def retry(wbot: Wbot, error_id: int = 1) -> Ran:
    return wbot("errors", "retry", str(error_id))


def test_failures_are_listed_newest_first(wbot: Wbot) -> None:
    assert wbot.json("errors", "list") == {
        "errors": [
            {
                "id": 2,
                "message_id": None,
                "error_message": "The reply could not be sent: [bold]no",
                "created_at": after(60),
                "retry_count": 0,
                "state": "open",
            },
            {
                "id": 1,
                "message_id": "wamid.1",
                "error_message": "The model died.",
                "created_at": OLD,
                "retry_count": 4,
                "state": "open",
            },
        ]
    }
    table = wbot.done("errors", "list").splitlines()
    assert table[1].endswith("The reply could not be sent: [bold]no")
    assert table[2].startswith("1   2026-01-01 00:00:00  open   4        wamid.1")
    limited = wbot.done("errors", "list", "--limit", "1")
    assert "The newest 1 of 2 failures." in limited
    assert len(wbot.json("errors", "list", "--limit", "1")["errors"]) == 1


def test_one_failure_is_shown_whole(wbot: Wbot) -> None:
    shown = wbot.json("errors", "show", "1")
    assert (shown["business_id"], shown["error_message"]) == ("shop", "The model died.")
    assert "Its timeline: wbot why wamid.1" in wbot.done("errors", "show", "1")
    assert "why" not in wbot.done("errors", "show", "2")


def test_a_retry_requeues_the_message(wbot: Wbot) -> None:
    assert wbot.json("errors", "retry", "1") == {
        "id": 1,
        "message_id": "wamid.1",
        "state": "waiting",
    }
    assert state(wbot) == ("waiting", 1)
    assert [one["state"] for one in wbot.json("errors", "list")["errors"]] == ["open", "retried"]
    again = retry(wbot)
    assert (again.code, again.out) == (1, "")
    assert "already waits for its turn" in again.err
    assert state(wbot) == ("waiting", 1)


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (10, "a running service processes it within two seconds."),
        (3_600, "the customer is first asked whether they still want it."),
        (25 * 3_600, "it will get no reply, because WhatsApp allows none after 24 hours."),
    ],
)
def test_a_retry_says_what_will_happen(wbot: Wbot, age_s: float, words: str) -> None:
    written_at = to_text(later(Clock().now(), -age_s))
    with closing(connect(wbot.database)) as connection:
        connection.execute("UPDATE messages SET sent_at = ?", (written_at,))
    ran = retry(wbot)
    assert ran.code == 0
    assert ran.out.startswith("wamid.1 waits for its turn again; ")
    assert ran.out.endswith(f"{words}\n")


def test_a_message_that_moved_money_is_only_closed_again(wbot: Wbot) -> None:
    with closing(connect(wbot.database)) as connection, transaction(connection) as tx:
        give(tx, make_customer(tx, ALICE), 500)
        done = Effect(tool="transfer", arguments="[]", result="{}", receipt=None, transfer_id=1)
        journal.add_effect(tx, "wamid.1", done, OLD)
    assert "it is only closed with its receipts" in retry(wbot).out


def test_a_failure_is_retried_once(wbot: Wbot) -> None:
    wbot.done("errors", "retry", "1")
    for one in ("begun", "answered"):
        change(wbot, f"UPDATE messages SET state = '{one}'")  # noqa: S608  our own words
    again = retry(wbot)
    assert again.code == 1
    assert "was retried before, and its message is answered since" in again.err
    assert state(wbot) == ("answered", 1)


def test_a_message_at_work_is_left_alone(wbot: Wbot) -> None:
    for one in ("waiting", "begun"):
        change(wbot, f"UPDATE messages SET state = '{one}'")  # noqa: S608  our own words
    ran = retry(wbot)
    assert ran.code == 1
    assert "is in progress; nothing was done" in ran.err
    assert state(wbot) == ("begun", 0)


def test_a_failure_without_a_message_cannot_be_retried(wbot: Wbot) -> None:
    ran = retry(wbot, 2)
    assert (ran.code, ran.err) == (
        1,
        "wbot: Failure 2 is not about a message that can be retried.\n",
    )


def test_a_message_of_a_merged_customer_is_not_handled_on_the_emptied_account(wbot: Wbot) -> None:
    with closing(connect(wbot.database)) as connection, transaction(connection) as tx:
        make_customer(tx, BOB)
        customer_merge.merge(tx, SHOP, from_text=ALICE, into_text=BOB, now=OLD)
    ran = retry(wbot)
    assert ran.code == 1
    assert f"merged into {BOB} since" in ran.err
    assert state(wbot) == ("failed", 0)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "9"], 1, "There is no failure 9; `wbot errors list` shows them."),
        (["retry", "9"], 1, "There is no failure 9"),
        (["retry", "x"], 2, "ID is 'x'; it must be a whole number of at least 1"),
        (["show", "0"], 2, "ID is '0'; it must be a whole number"),
        (["purge"], 2, "--older-than"),
        (["purge", "--older-than", "30"], 2, "'30' is not an age; write it like 30d, 12h or 4w."),
        (["purge", "--older-than", "0d"], 2, "is not an age"),
        (["purge", "--older-than", "-1d"], 2, "is not an age"),
        (["purge", "--older-than", "1000000d"], 2, "is not an age"),
        (["purge", "--older-than", "\u0663d"], 2, "is not an age"),
    ],
)
def test_bad_input_gets_one_sentence(
    wbot: Wbot, arguments: list[str], code: int, words: str
) -> None:
    ran = wbot("errors", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


def test_purging_deletes_what_is_older(wbot: Wbot) -> None:
    change(wbot, "UPDATE processing_errors SET created_at = '2999' WHERE id = 2")
    assert wbot.json("errors", "purge", "--older-than", "99999w") == {"deleted": 0}
    assert wbot.done("errors", "purge", "--older-than", "2h") == (
        "Deleted 1 failure older than 2h.\n"
    )
    assert [one["id"] for one in wbot.json("errors", "list")["errors"]] == [2]
    assert state(wbot) == ("failed", 0)
