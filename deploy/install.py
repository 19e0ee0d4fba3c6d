"""Installs locked requirements into a virtual environment, and shows how far it is.

python3 deploy/install.py .venv deploy/requirements.txt
"""

import re
import subprocess
import sys
import time
from pathlib import Path

OLDEST_PYTHON = (3, 11)
WIDTH = 70
FOUND = re.compile(r"(?:Collecting|Processing|Requirement already satisfied:) (\S+)")
REQUIREMENT = re.compile(r"^[\w.\-]+==", re.MULTILINE)
UNREACHABLE = ("Could not find a version", "Max retries", "Connection", "name resolution")
PIP = (
    "-m pip install --disable-pip-version-check --progress-bar off --retries 2 --require-hashes -r"
)


def main(venv: Path, requirements: Path) -> None:
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; "
            "name another one, such as `make demo PYTHON=python3.12`."
        )
    started = time.monotonic()
    if not (venv / "bin" / "pip").exists():
        show(f"making {venv}", started)
        if subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False).returncode != 0:
            sys.exit(f"{venv} could not be made; on Debian and Ubuntu, `apt install python3-venv`.")
    install(venv / "bin" / "python", requirements, started)
    show(f"installed into {venv}", started)
    print()


def install(python: Path, requirements: Path, started: float) -> None:
    """Run pip to its end, showing each package; exits with a sentence where it fails."""
    total, done = len(REQUIREMENT.findall(requirements.read_text("utf-8"))), 0
    command = [str(python), *PIP.split(), str(requirements)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        said = []
        for line in pip.stdout or ():
            said.append(line.rstrip())
            if found := FOUND.match(line):
                done += 1
                show(f"package {done} of {total}: {Path(found[1]).name}", started)
            elif line.startswith("Installing collected"):
                show("unpacking all of them", started)
    if pip.returncode != 0:
        print(file=sys.stderr)
        sys.exit(failure("\n".join(said)))


def show(step: str, started: float) -> None:
    """One line that stays in its place on a terminal, a line a step elsewhere."""
    line = f"  {step[: WIDTH - 12]:<{WIDTH - 10}}{time.monotonic() - started:4.0f} s"
    is_terminal = sys.stdout.isatty()
    print(f"\r{line}" if is_terminal else line, end="" if is_terminal else "\n", flush=True)


def failure(said: str) -> str:
    lines = said.splitlines()
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    if any(sign in said for sign in UNREACHABLE):
        advice = (
            "The package registry could not be reached, or lacks the package: look at the network "
            "(and at PIP_INDEX_URL), then run the same again."
        )
    else:
        advice = "pip could not install what is locked; see its output above."
    return "\n".join([*errors[-3:], advice])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
