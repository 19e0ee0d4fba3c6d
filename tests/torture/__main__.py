"""Kills the service repeatedly while customers write, and judges what it stored and sent.

Real `wbot serve` processes on a real file; the simulator is Meta, the Graph API and the model. The
schedule comes from a seed, and repeats as far as the timing of processes does. Exits with 1 if a
promise was broken, and keeps the database then.
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

from torture.audit import Breach
from torture.disk import CannotMountError, FullDisk, mounted
from torture.judge import judged
from torture.run import Torture
from torture.schedule import SHORT, Hostility
from torture.table import show


def main() -> None:
    given = _options()
    how = SHORT if given.short else Hostility()
    how = msgspec.structs.replace(
        how, kills=given.kills or how.kills, messages=given.messages or how.messages
    )
    console = Console()
    console.print(f"seed {given.seed}: {how.kills} kills, {how.messages} messages")
    # The simulator serves processes that die in the middle of a request.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    breaches = asyncio.run(torture(console, how, seed=given.seed, folder=folder, short=given.short))
    breaches += asyncio.run(fill_disk(console, seed=given.seed, folder=folder))
    if breaches:
        console.print(f"{len(breaches)} breaches; seed {given.seed}, files in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--kills", type=int, help="how often the service dies (200)")
    parser.add_argument("--messages", type=int, help="how many the customers write (2000)")
    parser.add_argument("--short", action="store_true", help="20 kills, within a minute")
    return parser.parse_args()


async def torture(
    console: Console, how: Hostility, *, seed: int, folder: Path, short: bool
) -> list[Breach]:
    """Run the kills, with a progress bar on a terminal; shows and returns the breaches."""
    columns = (TextColumn("kills"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("kills", total=how.kills)
        run = Torture(how, seed=seed, folder=folder, is_warm=short)
        evidence = await run.run(on_death=lambda: progress.advance(task))
    verdict = judged(evidence)
    show(console, "Killed over and over", evidence, verdict)
    return verdict.breaches


async def fill_disk(console: Console, *, seed: int, folder: Path) -> list[Breach]:
    """Run the full-disk test, where this machine allows a mount."""
    try:
        async with mounted(folder / "disk") as disk:
            run = FullDisk(seed=seed, disk=disk, folder=folder)
            breaches = await run.run()
            verdict = judged(run.evidence)
            verdict = msgspec.structs.replace(verdict, breaches=[*breaches, *verdict.breaches])
            show(console, "On a disk that fills", run.evidence, verdict)
            return verdict.breaches
    except CannotMountError as error:
        console.print(f"No full disk was tried, since it cannot be mounted here: {error}")
        return []


if __name__ == "__main__":
    main()
