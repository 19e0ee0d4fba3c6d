"""README's "Run it for real": its commands, verbatim, on a machine without wbot."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import ACCESS_TOKEN, make_simulator

from wbot.commands.loopback import BUSINESS
from wbot.simulator.simulator import serve

CHECKOUT = Path(__file__).parent.parent
OURS_ALONE = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__")
ANSWERS = (
    "shop",
    "Corner Shop",
    BUSINESS.phone_number_id,
    ACCESS_TOKEN,
    "secret",
    "offline",
    "bot.test",
)
"""What README's second step asks its reader for."""


def lines_of(title: str) -> list[str]:
    """The shell blocks of a section of README."""
    text = (CHECKOUT / "README.md").read_text("utf-8")
    chapter = re.split(r"^## ", text.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]
    return re.findall(r"^ *```sh\n(.*?)^ *```$", chapter, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.registry
@pytest.mark.timeout(900)
async def test_run_it_for_real_runs_as_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "wbot"
    shutil.copytree(CHECKOUT, folder, ignore=OURS_ALONE)
    install, configure, check = lines_of("Run it for real")
    simulator = make_simulator(businesses=[BUSINESS], webhook_url="https://bot.test/api/webhook")
    async with serve(simulator) as graph_url:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", f"{install}\n{configure}\n{check}"),
            cwd=folder,
            env=bare_environment(tmp_path) | {"WBOT_GRAPH_URL": graph_url},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate("\n".join((*ANSWERS, "")).encode()))[0].decode()
    assert process.returncode == 0, output
    assert "added shop to" in output
    assert "https://bot.test/api/webhook" in output
    assert "100.00 USD deposited for 15550101001" in output
    assert (folder / "data" / "wbot.db").exists()


def bare_environment(home: Path) -> dict[str, str]:
    """Without our virtual environment and variables; only the registry settings remain."""
    ours = str(CHECKOUT)
    path = [one for one in os.environ["PATH"].split(os.pathsep) if not one.startswith(ours)]
    registry = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or "proxy" in k.lower()}
    return registry | {"PATH": os.pathsep.join(path), "HOME": str(home)}
