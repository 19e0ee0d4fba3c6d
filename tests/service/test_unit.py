"""deploy/wbot.service: how exposed it is, and that the service runs within its limits."""

import ctypes.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ALICE, WAIT_S, deposit
from test_process import outside, process, variables
from unit_sandbox import LIBSECCOMP, settings_of

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "wbot.service"
EXPOSURE_MAX = 2.0

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
needs_seccomp = pytest.mark.skipif(
    ctypes.util.find_library("seccomp") != LIBSECCOMP, reason="libseccomp is not installed"
)


@needs_systemd
@pytest.mark.parametrize("name", ["wbot.service", "wbot-backup.service"])
def test_the_unit_is_hardly_exposed(name: str) -> None:
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT.with_name(name)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", ran.stdout)
    assert found is not None, ran.stdout
    assert float(found[1]) <= EXPOSURE_MAX


@needs_systemd
def test_systemd_reads_the_units(tmp_path: Path) -> None:
    """Except for the program, which is not installed here, and names of newer versions."""
    names = ("wbot.service", "wbot-backup.service", "wbot-backup.timer")
    for name in names:
        text = UNIT.with_name(name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("/opt/wbot/.venv/bin/wbot", "/bin/true"), "utf-8")
    ran = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    newer = ("RestartSteps", "RestartMaxDelaySec")
    said = [line for line in ran.stderr.splitlines() if not any(one in line for one in newer)]
    assert (ran.returncode, said) == (0, [])


def test_systemd_hands_over_the_secrets_and_watches_the_service() -> None:
    settings = settings_of(UNIT)
    assert settings["Type"] == ["notify"]
    assert settings["LoadCredential"] == ["wbot.env:/etc/wbot.env"]
    assert "--config %d/wbot.env serve" in settings["ExecStart"][0]
    for name in ("WatchdogSec", "MemoryMax", "LimitNOFILE", "StateDirectory", "LogsDirectory"):
        assert name in settings
    assert settings["Restart"] == ["always"]


def limits_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text("utf-8")


@needs_systemd
@needs_seccomp
async def test_the_service_answers_within_the_limits_of_its_unit(
    database_path: Path, tmp_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    launcher = [sys.executable, str(ROOT / "tests" / "unit_sandbox.py"), str(UNIT)]
    async with outside() as (simulator, url, port):
        settings = variables(database_path, url, port, WBOT_LOG_FILE=str(tmp_path / "wbot.log"))
        async with process(settings, tmp_path, launcher=launcher) as running:
            status = limits_of(running.pid)
            assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
            assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
            await simulator.say(ALICE, "Transfer $20 to John")
            reply = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
            assert "Sent $20.00" in reply.text
            os.kill(running.pid, signal.SIGHUP)  # the log file is opened again
            assert await running.end(signal.SIGTERM) == 0


@needs_systemd
@needs_seccomp
@pytest.mark.parametrize(
    "forbidden",
    [
        "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import os; os.chroot('/')",
        "import os; os.nice(-1)",
    ],
)
def test_what_the_unit_forbids_fails_in_its_sandbox(forbidden: str) -> None:
    sandbox = str(ROOT / "tests" / "unit_sandbox.py")
    ran = subprocess.run(
        [sys.executable, sandbox, str(UNIT), sys.executable, "-c", forbidden],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "Operation not permitted" in ran.stderr
