"""The results of the torture test: a table, and the whole timeline of every affected message."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from torture.evidence import Evidence, message_id_in
from torture.judge import KILLED, Verdict
from torture.processes import ServiceProcess
from torture.target import Moment, Place
from wbot.admin import message_timeline
from wbot.clock import Clock, to_text
from wbot.domain.errors import RefusedError
from wbot.storage.database import connect

LIVES_TOLD = 10
KINDS = (
    "lost",
    "effects doubled",
    "replies doubled",
    "replies untrue",
    "misdirected",
    "out of order",
    "ledger off",
    "stuck",
    "ended itself",
)
"""Everything that must be 0."""


def show(console: Console, title: str, evidence: Evidence, verdict: Verdict) -> None:
    """Print the verdict, the kills by place, and the details of every breach."""
    console.print(_verdict_table(title, evidence, verdict))
    console.print(_kills_table(evidence.processes))
    for breach in verdict.breaches[:LIVES_TOLD]:
        console.print(f"[bold red]{breach.kind}[/]: {breach.message_id or ''} {breach.what}")
        if breach.message_id:
            _show_timeline(console, evidence, breach.message_id)
    if len(verdict.breaches) > LIVES_TOLD:
        console.print(f"... and {len(verdict.breaches) - LIVES_TOLD} more.")


def _verdict_table(title: str, evidence: Evidence, verdict: Verdict) -> Table:
    table = Table("", title, title_justify="left")
    said = evidence.deliveries.said.values()
    copies = sum(one.deliveries for one in said)
    table.add_row("messages sent", f"{len(said)}, posted {copies} times")
    table.add_row("acknowledged", str(evidence.deliveries.acknowledged))
    table.add_row("answered", str(verdict.answered))
    table.add_row("refused for good, and told", str(verdict.reported))
    table.add_row("number changes, noted", str(verdict.noted))
    found = Counter(breach.kind for breach in verdict.breaches)
    for kind in KINDS:
        style = "bold red" if found[kind] else "green"
        count = f"{verdict.ledger_off_minor} cents" if kind == "ledger off" else str(found[kind])
        table.add_row(kind, f"[{style}]{count}[/]")
    killed = sum(process.exit_code == KILLED for process in evidence.processes)
    table.add_section()
    table.add_row("kills survived", str(killed))
    table.add_row("SIGTERM to exit 0", f"{len(evidence.stopped_s)}: {_spread(evidence.stopped_s)}")
    table.add_row("starts refused, database locked", str(_refused_starts(evidence.processes)))
    table.add_row("start to port open", _spread(_opening_s(evidence.processes)))
    table.add_row("start to backlog answered", _spread(evidence.worked_off_s))
    drained = "not at all" if evidence.drained_s is None else f"{evidence.drained_s:.1f} s"
    table.add_row("last start to all worked off", drained)
    table.add_row("unknown sends settled by a status", str(verdict.unknown_settled))
    table.add_row("unknown sends sent again", str(verdict.unknown_resent))
    return table


def _kills_table(processes: Sequence[ServiceProcess]) -> Table:
    own = [
        process.cue for process in processes if process.exit_code == KILLED and not process.ended_by
    ]
    by_place = Counter((cue.place, cue.moment) for cue in own)
    table = Table("killed at", *(str(moment) for moment in Moment))
    for place in Place if own else ():
        table.add_row(str(place), *(str(by_place[place, moment]) for moment in Moment))
    others = Counter(
        process.ended_by
        for process in processes
        if process.exit_code == KILLED and process.ended_by
    )
    for end, count in sorted(others.items()):
        table.add_row(end, "", str(count), "")
    return table


def _refused_starts(processes: Sequence[ServiceProcess]) -> int:
    return sum(process.exit_code not in {0, KILLED} for process in processes)


def _opening_s(processes: Sequence[ServiceProcess]) -> list[float]:
    return [
        process.opened_at - process.began_at
        for process in processes
        if process.opened_at is not None
    ]


def _spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    if not ordered:
        return "not measured"
    return f"p50 {ordered[len(ordered) // 2]:.2f} s, max {ordered[-1]:.2f} s"


def _show_timeline(console: Console, evidence: Evidence, message_id: str) -> None:
    tx = connect(evidence.database)
    try:
        found = message_timeline.build_timeline(tx, message_id, to_text(Clock().now()))
    except RefusedError as error:
        console.print(f"  {error}")
    else:
        for stage in found.stages:
            console.print(f"  {stage.at} {stage.stage}: {stage.detail}", markup=False)
    finally:
        tx.close()
    places = [
        f"send {place}: {send.wamid} at {to_text(send.at)} as {send.opaque}"
        for place, send in enumerate(evidence.sends, 1)
        if message_id_in(send.text) == message_id
    ]
    console.print("  the Graph API took " + ("; ".join(places) or "no reply to it"), markup=False)
