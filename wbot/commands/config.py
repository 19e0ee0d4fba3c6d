"""wbot config: the effective configuration, and where each value came from."""

from pathlib import Path
from urllib.parse import urlsplit

import click

from wbot.commands.console import (
    json_option,
    load_configuration,
    load_settings,
    print_json,
    print_table,
    say,
)
from wbot.settings import Configuration, Settings, is_secret, variable_of

HIDDEN = "(hidden)"

Shown = str | int | float | None


@click.command()
@json_option
def config(*, as_json: bool) -> None:
    """Show the effective configuration and where each value came from.

    Each value is from the environment, from the configuration file, or a default. Secrets are
    hidden.
    """
    settings, _ = load_settings()
    configuration = load_configuration()
    found = [
        {
            "name": variable_of(field),
            "value": _value(field, settings),
            "source": _source(field, configuration),
        }
        for field in Settings.__struct_fields__
    ]
    file = None if configuration.file is None else str(configuration.file)
    if as_json:
        print_json({"file": file, "settings": found})
        return
    rows = [
        (
            str(one["name"]),
            "-" if one["value"] is None else str(one["value"]),
            str(file) if one["source"] == "file" else str(one["source"]),
        )
        for one in found
    ]
    print_table(("Variable", "Value", "From"), rows, empty="")
    say("", f"Configuration file: {file or 'none'}")


def _value(field: str, settings: Settings) -> Shown:
    value = getattr(settings, field)
    if value is None or value == "":
        return None
    if is_secret(field):
        return HIDDEN
    if isinstance(value, Path):
        return str(value.absolute())
    return _without_credentials(value) if isinstance(value, str) else value


def _without_credentials(text: str) -> str:
    """The text; of a web address, without the password and the parameters that may be a key."""
    try:
        address = urlsplit(text)
    except ValueError:
        return HIDDEN
    if not address.scheme or not address.netloc:
        return text
    user, at, host = address.netloc.rpartition("@")
    shown = address._replace(
        netloc=f"{HIDDEN}@{host}" if user and at else host,
        query=HIDDEN if address.query else "",
        fragment="",
    )
    return shown.geturl()


def _source(field: str, configuration: Configuration) -> str:
    place = configuration.set_in.get(variable_of(field))
    if place is None:
        return "default"
    return "file" if place == str(configuration.file) else "environment"
