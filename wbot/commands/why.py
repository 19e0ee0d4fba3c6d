"""wbot why: one message's timeline, and why it has no reply."""

import click
import msgspec

from wbot.admin import message_timeline, no_reply_causes
from wbot.admin.message_timeline import NoMessageError, Stage, Timeline
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
    say,
)
from wbot.storage.lock import is_locked


@click.command()
@click.argument("text", metavar="MESSAGE_ID|CUSTOMER", type=WORDS)
@json_option
def why(*, text: str, as_json: bool) -> None:
    """Show one message's timeline, and why it has no reply.

    Received, waited, every model call, tool and ledger entry, reply, delivery, with times. For a
    CUSTOMER (phone number or user id) it is the latest message. The id of one of our replies stands
    for the message it answers; the short id in the logs works too. If there is no reply, the cause
    and the next step come first.
    """
    is_served = is_locked(load_settings()[0].database)
    with reading() as tx:
        try:
            message_id, others = message_timeline.find(tx, text)
        except NoMessageError as error:
            hint = "" if is_served else f" {no_reply_causes.NOT_RUNNING}"
            raise NoMessageError(f"{error}{hint} {no_reply_causes.NOT_DELIVERED_HINT}") from error
        timeline = message_timeline.build_timeline(tx, message_id, to_text(now()))
        cause = no_reply_causes.cause_of(tx, message_id, is_served=is_served)
    if as_json:
        if cause is not None:
            stages = (*timeline.stages, Stage(to_text(now()), "no_reply", cause))
            timeline = msgspec.structs.replace(timeline, stages=stages)
        print_json(msgspec.to_builtins(timeline))
    else:
        _print(timeline, cause)
        is_customer = text not in {message_id, *(reply.wamid for reply in timeline.replies)}
        _print_others(others, is_latest=is_customer and cause is None)


def _print(timeline: Timeline, cause: str | None) -> None:
    print_facts(
        [
            ("Message", timeline.message_id),
            ("Business", timeline.business or "none has this number"),
            ("Customer", timeline.customer or "unknown"),
            ("State", timeline.state),
            *([("Why no reply", cause)] if cause is not None else []),
        ]
    )
    say()
    rows = [(_time(one.at), one.stage.replace("_", " "), one.detail) for one in timeline.stages]
    print_table(("Time (UTC)", "Stage", "What happened"), rows, empty="")
    for reply in timeline.replies:
        say()
        print_facts([(f"Reply, {reply.state}", reply.text)])


def _print_others(others: int, *, is_latest: bool) -> None:
    if others:
        say()
        say(f"The customer's latest message; {counted(others, 'other')} came before it.")
    if is_latest:
        say()
        say(f"It has its reply, and no later message arrived. {no_reply_causes.NOT_DELIVERED_HINT}")


def _time(at: str) -> str:
    return at[:23].replace("T", " ")
