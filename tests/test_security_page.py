"""Every promise in deploy/SECURITY.md has a test."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def rows() -> list[list[str]]:
    """The cells of each threat."""
    page = (REPOSITORY / "deploy" / "SECURITY.md").read_text("utf-8")
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names_of_tests() -> set[str]:
    sources = [path.read_text("utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")]
    return {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}


def test_every_threat_names_what_holds_it_and_tests_that_exist() -> None:
    known = names_of_tests()
    for row in rows():
        assert len(row) == 4, row
        _, threat, holds, tests = row
        assert threat, row
        assert holds, row
        named = tests.replace("`", "").split()
        assert named, threat
        assert set(named) <= known, threat


def test_every_dependency_is_pinned_with_hashes() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (REPOSITORY / "deploy" / name).read_text("utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            if line and not line.startswith("#"):
                assert re.match(r"[A-Za-z0-9._-]+==\S+ .*--hash=sha256:", line), line[:80]
