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
FILL_IN = """
cat >> .env <<'END'
WBOT_APP_SECRET=secret
WBOT_VERIFY_TOKEN=token
SHOP_TOKEN={token}
WBOT_MODEL=offline
WBOT_GRAPH_URL={graph_url}
END
"""
"""What README's second step leaves to the reader."""


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
    install, configure, add = lines_of("Run it for real")
    simulator = make_simulator(businesses=[BUSINESS], webhook_url="https://bot.test/api/webhook")
    async with serve(simulator) as graph_url:
        fill_in = FILL_IN.format(token=ACCESS_TOKEN, graph_url=graph_url)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", f"{install}\n{configure}\n{fill_in}\n{add}"),
            cwd=folder,
            env=bare_environment(tmp_path),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert "Added shop." in output
    assert "100.00 USD deposited for 15550101001" in output
    assert (folder / "data" / "wbot.db").exists()


def bare_environment(home: Path) -> dict[str, str]:
    """Without our virtual environment and variables; only the registry settings remain."""
    ours = str(CHECKOUT)
    path = [one for one in os.environ["PATH"].split(os.pathsep) if not one.startswith(ours)]
    registry = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or "proxy" in k.lower()}
    return registry | {"PATH": os.pathsep.join(path), "HOME": str(home)}
