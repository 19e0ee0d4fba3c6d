"""The figures of a run, and whatever was found."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from hostile.audit import KINDS
from hostile.run import Findings

SHOWN_MAX = 10


def show(console: Console, findings: Findings) -> None:
    """What was tried, what came of it, what must be 0."""
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
        "model answers": f"{figures.get('model answers', 0):,}",
        "tool calls proposed": f"{figures.get('tool calls proposed', 0):,}",
        "posted at once": f"{figures.get('made posted', 0):,}",
        "pending": f"{figures.get('made pending', 0):,}",
        "confirmed by their customers": f"{figures.get('post by tap', 0):,}",
        "declined by their customers": f"{figures.get('void by tap', 0):,}",
        "voided by cancel": f"{figures.get('void by call', 0):,}",
        "expired": f"{figures.get('expire by expiry', 0):,}",
        "taken back": f"{figures.get('taken back', 0):,}",
    }
    for name, count in sorted(figures.items()):
        if name.startswith("refused: "):
            rows[name] = f"{count:,}"
    counted = figures.get("taps that counted", 0)
    rows |= {
        "taps and plain answers that counted": f"{counted:,}",
        "that were refused": f"{figures.get('taps', 0) - counted:,}",
        "lines behind the mark, all checked": f"{sum(findings.told.values()):,}",
        "kills": f"{findings.kills:,}",
        "ledger verify, each time": f"{figures.get('verified', 0):,}",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    table.add_section()
    found = Counter(breach.kind for breach in findings.breaches)
    for kind in KINDS:
        style = "bold red" if found[kind] else "green"
        table.add_row(kind, f"[{style}]{found[kind]}[/]")
    return table
