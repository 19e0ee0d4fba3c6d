"""The figures of a run, and every breach found."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from hostile.audit import ASKED, KINDS
from hostile.run import Findings

SHOWN_MAX = 10
AGED = "made after a question about its age"


def show(console: Console, findings: Findings) -> None:
    """Print what was tried, the results, and the figures that must be 0."""
    console.print(_table(findings))
    for breach in findings.breaches[:SHOWN_MAX]:
        console.print(f"{breach.kind}: {breach.what}", style="red", markup=False)
    if len(findings.breaches) > SHOWN_MAX:
        console.print(f"... and {len(findings.breaches) - SHOWN_MAX} more.")


def _table(findings: Findings) -> Table:
    figures = findings.figures
    table = Table("", "A model and customers that mean no good", title_justify="left")
    turns = sum(count for name, count in figures.items() if name.startswith("messages "))
    rows = {
        "turns": f"{turns:,} in {findings.seconds / 60:.1f} minutes",
        "model answers": f"{figures['model answers']:,}",
        "tool calls proposed": f"{figures['tool calls proposed']:,}",
        "orders in others' words obeyed": f"{figures['orders obeyed']:,}",
        ASKED: f"{figures[ASKED]:,}",
        "posted at once": f"{figures['made posted']:,}",
        "pending": f"{figures['made pending']:,}",
        "confirmed by their customers": f"{figures['post by tap']:,}",
        "declined by their customers": f"{figures['void by tap']:,}",
        "voided by cancel": f"{figures['void by call']:,}",
        "expired": f"{figures['expire by expiry']:,}",
        "taken back": f"{figures['taken back']:,}",
        "said at a time that cannot be, or long past": f"{figures['misdated']:,}",
        AGED: f"{figures[AGED]:,}",
    }
    for name, count in sorted(figures.items()):
        if name.startswith(("refused: ", "turned down: ")):
            rows[name] = f"{count:,}"
    counted = figures["taps that counted"]
    rows |= {
        "taps that counted": f"{counted:,}",
        "plain answers that counted": f"{figures['words that counted']:,}",
        "taps without effect": f"{figures['taps'] - counted:,}",
        "lines behind the mark, all checked": f"{sum(findings.reported.values()):,}",
        "kills": f"{findings.kills:,}",
        "ledger verify, each time": f"{figures['verified']:,}",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    table.add_section()
    found = Counter(breach.kind for breach in findings.breaches)
    for kind in KINDS:
        style = "bold red" if found[kind] else "green"
        table.add_row(kind, f"[{style}]{found[kind]}[/]")
    return table
