"""The one entry point: `wbot`, also `python -m wbot`."""

import importlib
import sys

import click

from wbot import __version__
from wbot.commands.console import config_option, warn
from wbot.commands.usage import SuggestingGroup, sentence_of
from wbot.domain.errors import ConfigurationError, MalformedError, RefusedError, WbotError
from wbot.logs import configure_logs

FAILED, MISUSED = 1, 2

COMMANDS = {
    "serve": "wbot.commands.serve:serve",
    "demo": "wbot.commands.demo:demo",
    "init": "wbot.commands.init:init",
    "config": "wbot.commands.config:config",
    "check": "wbot.commands.check:check",
    "business": "wbot.commands.business:business",
    "ledger": "wbot.commands.ledger:ledger",
    "customer": "wbot.commands.customer:customer",
    "payee": "wbot.commands.customer:payee",
    "payout": "wbot.commands.payout:payout",
    "errors": "wbot.commands.errors:errors",
    "why": "wbot.commands.why:why",
    "backup": "wbot.commands.backup:backup",
    "restore": "wbot.commands.backup:restore",
    "sample": "wbot.commands.sample:sample",
    "sign": "wbot.commands.sign:sign",
    "burst": "wbot.commands.burst:burst",
}
"""By name, where each command lives; loaded when it is asked for, since some are heavy."""


class _Commands(SuggestingGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        _accept_config(command)
        return command


def _accept_config(command: click.Command) -> None:
    if config_option not in command.params:
        command.params.append(config_option)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _accept_config(one)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wbot")
@click.option("-v", "--verbose", is_flag=True, help="Log to stderr (serve logs to stdout anyway).")
def cli(*, verbose: bool) -> None:
    """The WhatsApp bot a business can trust with money: one process, one SQLite file."""
    level = "debug" if verbose else "critical"
    configure_logs(level=level, style="", stream=sys.stderr)


cli.params.append(config_option)


def main() -> None:
    """Run a command; exit 0 on success, 1 on a failed operation, 2 on usage or configuration."""
    try:
        cli.main(prog_name="wbot", standalone_mode=False)
    except click.exceptions.Abort:
        _end("stopped.", FAILED)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(MISUSED)
    except click.ClickException as error:
        _end(sentence_of(error), MISUSED)
    except (ConfigurationError, MalformedError) as error:
        _end(str(error), MISUSED)
    except RefusedError as error:
        _end(str(error), FAILED)
    except WbotError as error:
        _end(str(error), FAILED)


def _end(sentence: str, code: int) -> None:
    warn(sentence)
    sys.exit(code)


if __name__ == "__main__":
    main()
