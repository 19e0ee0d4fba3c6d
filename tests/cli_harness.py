"""Runs `wbot` in this process as the shell would: arguments in; exit code, stdout, stderr out."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wbot.__main__ import main
from wbot.clock import Clock
from wbot.logs import configure_logs
from wbot.storage import migrations
from wbot.storage.database import connect

TOKEN = "EAAB-literal-secret"


class Ran(msgspec.Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def begin_database(path: Path) -> None:
    """A database without a business, as `wbot serve --create` leaves it."""
    connection = connect(path)
    migrations.migrate(connection, path, Clock().now())
    connection.close()


class Wbot:
    """A folder with its own database, isolated from the outer environment."""

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        database: Path | None = None,
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.database = database or folder / "wbot.db"
        for name in os.environ:
            if name.startswith(("WBOT_", "OPENAI_")):
                monkeypatch.delenv(name)
        monkeypatch.chdir(folder)
        self.set(WBOT_DATABASE=str(self.database))

    def set(self, **variables: str) -> None:
        """Set environment variables for the commands that follow."""
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def __call__(self, *arguments: str) -> Ran:
        """Run one command to completion."""
        self._monkeypatch.setattr(sys, "argv", ["wbot", *arguments])
        self._capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        finally:
            configure_logs(level="critical", style="json")
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    def done(self, *arguments: str) -> str:
        """Run a command that must succeed; returns its output."""
        ran = self(*arguments)
        assert ran.code == 0, ran.err
        return ran.out

    def json(self, *arguments: str) -> Any:
        """Run a command that must succeed with --json; returns the parsed value."""
        return json.loads(self.done(*arguments, "--json"))

    def add_business(self, business_id: str = "shop", *options: str) -> None:
        """Add a business with its own number."""
        number = f"1065000{sum(business_id.encode()):08}"
        name = f"The {business_id.title()}"
        common = ("--name", name, "--phone-number-id", number, "--access-token", "env:TOKEN")
        self.done("business", "add", business_id, *common, *options)
