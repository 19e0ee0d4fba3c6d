"""deploy/install.py and the Makefile: what a clean clone shows before wbot is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKED = ROOT / "deploy" / "requirements.txt"


def installed(folder: Path, pip: str) -> subprocess.CompletedProcess[str]:
    """Run the script in an environment whose pip prints this."""
    programs = folder / "venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("pip", "python"):
        (programs / name).write_text(f"#!/bin/sh\n{pip}\n", "utf-8")
        (programs / name).chmod(0o755)
    script = ROOT / "deploy" / "install.py"
    return subprocess.run(
        [sys.executable, script, folder / "venv", LOCKED],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_each_package_is_reported(tmp_path: Path) -> None:
    pip = "echo 'Collecting aiohttp==3.14.5 (from x)'; echo 'Processing /a/click-8.5.1.whl'"
    ran = installed(tmp_path, pip)
    assert ran.returncode == 0, ran.stderr
    total = sum(line[0].isalnum() for line in LOCKED.read_text("utf-8").splitlines())
    first, second, last = ran.stdout.split("\n")[:3]
    assert first.startswith(f"  package 1 of {total}: aiohttp==3.14.5 ")
    assert second.startswith(f"  package 2 of {total}: click-8.5.1.whl ")
    assert last.startswith(f"  installed into {tmp_path}"[:40])


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "ERROR: Could not find a version that satisfies aiohttp==3.14.5",
            "The package registry could not be reached, or lacks the package: look at the network",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "pip could not install what is locked"),
    ],
)
def test_a_failure_ends_in_a_sentence_with_the_next_step(
    tmp_path: Path, said: str, advice: str
) -> None:
    ran = installed(tmp_path, f"echo '{said}'; exit 1")
    assert ran.returncode == 1
    assert said in ran.stderr
    assert advice in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_demo_installs_no_developers_tools() -> None:
    made = subprocess.run(
        ["make", "--dry-run", "--always-make", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "deploy/requirements.txt" in made.stdout
    assert "requirements-dev" not in made.stdout
    assert "/bin/python -m wbot demo\n" in made.stdout
