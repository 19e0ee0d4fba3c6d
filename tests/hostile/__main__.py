"""Runs the whole service with a hostile model and hostile customers, kills it, audits the ledger.

Real `wbot serve` processes on a real file; the simulator is Meta, the Graph API and the model. All
attempts come from a seed, and repeat as far as the timing of processes does. Exits with 1 if money
moved that should not have, or if a customer was told something false.
"""

import argparse
import asyncio
import logging
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hostile.run import SHORT, Findings, Plan, Run
from hostile.table import show


def main() -> None:
    given = _options()
    plan = SHORT if given.short else Plan()
    plan = msgspec.structs.replace(
        plan,
        turns=given.turns or plan.turns,
        customers=given.customers or plan.customers,
        kills=plan.kills if given.kills is None else given.kills,
    )
    console = Console()
    console.print(
        f"seed {given.seed}: {plan.turns} turns, {plan.customers} customers, {plan.kills} kills"
    )
    # The simulator serves processes that die in the middle of a request.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    findings = asyncio.run(_run(console, plan, seed=given.seed, folder=folder))
    show(console, findings)
    if findings.breaches:
        console.print(f"{len(findings.breaches)} breaches; seed {given.seed}, files in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--turns", type=int, help="messages of customers (100000)")
    parser.add_argument("--customers", type=int, help="who write them (240)")
    parser.add_argument("--kills", type=int, help="how often the service dies (60)")
    parser.add_argument("--short", action="store_true", help="300 turns, within half a minute")
    return parser.parse_args()


async def _run(console: Console, plan: Plan, *, seed: int, folder: Path) -> Findings:
    """Run the test, with a progress bar on a terminal."""
    columns = (TextColumn("turns"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("turns", total=plan.turns)
        run = Run(plan, seed=seed, folder=folder)
        return await run.run(lambda turns: progress.update(task, completed=turns))


if __name__ == "__main__":
    main()
