"""wbot sign: the signature header for a body, for curl."""

from typing import BinaryIO

import click

from wbot.commands.console import load_settings
from wbot.inbound.signature import sign as signature_of
from wbot.settings import require


@click.command()
@click.argument("file", type=click.File("rb"))
def sign(file: BinaryIO) -> None:
    """Print the X-Hub-Signature-256 value for FILE (- for standard input)."""
    settings, _ = load_settings()
    require(settings, "app_secret")
    click.echo(signature_of(file.read(), settings.app_secret))
