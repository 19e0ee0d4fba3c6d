"""wbot why: one message's whole life."""

import click
import msgspec

from wbot.clock import to_text
from wbot.commands.console import (
    WORDS,
    counted,
    json_option,
    now,
    print_facts,
    print_json,
    print_table,
    reading,
)
from wbot.operations import life
from wbot.operations.life import Life


@click.command()
@click.argument("text", metavar="MESSAGE_ID|CUSTOMER", type=WORDS)
@json_option
def why(*, text: str, as_json: bool) -> None:
    """Tell one message's whole life.

    Received, waited, every model call, tool and ledger entry, reply, delivery, with times. For a
    CUSTOMER (phone number or user id) it is the latest message. The id of a reply of ours leads to
    the message it answers, and a message's name in the logs to the message.
    """
    with reading() as tx:
        message_id, others = life.find(tx, text)
        told = life.tell(tx, message_id, to_text(now()))
    if as_json:
        print_json(msgspec.to_builtins(told))
    else:
        _print(told, others)


def _print(told: Life, others: int) -> None:
    print_facts(
        [
            ("Message", told.message_id),
            ("Business", told.business or "none has this number"),
            ("Customer", told.customer or "unknown"),
            ("State", told.state),
        ]
    )
    click.echo()
    rows = [(_time(one.at), one.stage.replace("_", " "), one.detail) for one in told.stages]
    print_table(("Time (UTC)", "Stage", "What happened"), rows, empty="")
    for reply in told.replies:
        click.echo()
        print_facts([(f"Reply, {reply.state}", reply.text)])
    if others:
        click.echo()
        click.echo(f"The customer's latest message; {counted(others, 'other')} came before it.")


def _time(at: str) -> str:
    return at[:23].replace("T", " ")
