"""wbot why: one message's whole life, and why it has no reply."""

import click
import msgspec

from wbot.admin import message_timeline, no_reply_causes
from wbot.admin.message_timeline import Life, NothingCameError, Stage
from wbot.clock import to_text
from wbot.commands.console import (
    WORDS,
    counted,
    json_option,
    load_settings,
    now,
    print_facts,
    print_json,
    print_table,
    reading,
)
from wbot.storage.lock import is_locked


@click.command()
@click.argument("text", metavar="MESSAGE_ID|CUSTOMER", type=WORDS)
@json_option
def why(*, text: str, as_json: bool) -> None:
    """Tell one message's whole life, and why it has no reply.

    Received, waited, every model call, tool and ledger entry, reply, delivery, with times. For a
    CUSTOMER (phone number or user id) it is the latest message. The id of a reply of ours leads to
    the message it answers, and a message's name in the logs to the message. Where there is no
    reply, the cause and the next step come first.
    """
    is_served = is_locked(load_settings()[0].database)
    with reading() as tx:
        try:
            message_id, others = message_timeline.find(tx, text)
        except NothingCameError as error:
            hint = "" if is_served else f" {no_reply_causes.NOT_RUNNING}"
            raise NothingCameError(f"{error}{hint} {no_reply_causes.NOTHING_CAME}") from error
        told = message_timeline.tell(tx, message_id, to_text(now()))
        cause = no_reply_causes.cause_of(tx, message_id, is_served=is_served)
    if as_json:
        if cause is not None:
            stages = (*told.stages, Stage(to_text(now()), "no_reply", cause))
            told = msgspec.structs.replace(told, stages=stages)
        print_json(msgspec.to_builtins(told))
    else:
        _print(told, cause)
        is_customer = text not in {message_id, *(reply.wamid for reply in told.replies)}
        _print_others(others, is_latest=is_customer and cause is None)


def _print(told: Life, cause: str | None) -> None:
    print_facts(
        [
            ("Message", told.message_id),
            ("Business", told.business or "none has this number"),
            ("Customer", told.customer or "unknown"),
            ("State", told.state),
            *([("Why no reply", cause)] if cause is not None else []),
        ]
    )
    click.echo()
    rows = [(_time(one.at), one.stage.replace("_", " "), one.detail) for one in told.stages]
    print_table(("Time (UTC)", "Stage", "What happened"), rows, empty="")
    for reply in told.replies:
        click.echo()
        print_facts([(f"Reply, {reply.state}", reply.text)])


def _print_others(others: int, *, is_latest: bool) -> None:
    if others:
        click.echo()
        click.echo(f"The customer's latest message; {counted(others, 'other')} came before it.")
    if is_latest:
        click.echo()
        click.echo(f"It has its reply, and nothing came after it. {no_reply_causes.NOTHING_CAME}")


def _time(at: str) -> str:
    return at[:23].replace("T", " ")
