"""Error sentences for a wrong command line: what is wrong, and the next step."""

import re
import sys
from difflib import get_close_matches

import click

_NEGATIVE = re.compile(r"-[0-9.,$].*")
_REFUSED_NUMBER = re.compile(r"(?:'(?P<word>.*)'|(?P<number>\S+)) is not .*", re.DOTALL)
_RANGE_TYPES = (click.IntRange, click.FloatRange)
_NUMBER_TYPES = (*_RANGE_TYPES, type(click.INT), type(click.FLOAT))
_WHOLE_TYPES = (click.IntRange, type(click.INT))


class SuggestingGroup(click.Group):
    """A group that loads its commands lazily, and still suggests the nearest to an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            # Click looks for the nearest among the loaded commands only.
            near = self._within_groups(ctx, error.command_name) or get_close_matches(
                error.command_name, self.list_commands(ctx)
            )
            hint = f" Did you mean `{ctx.command_path} {near[0]}`?" if near else ""
            raise click.UsageError(f"{error.message}{hint}", ctx) from error

    def _within_groups(self, ctx: click.Context, name: str) -> list[str]:
        groups = {one: self.get_command(ctx, one) for one in self.list_commands(ctx)}
        return [
            f"{one} {name}"
            for one, group in groups.items()
            if isinstance(group, click.Group) and name in group.commands
        ]


def sentence_of(error: click.ClickException) -> str:
    """One sentence with the next step, for a command line that cannot be run."""
    context = getattr(error, "ctx", None)
    if not isinstance(error, click.UsageError) or context is None:
        return error.format_message()
    if _is_our_own(error):
        return error.format_message()
    help_command = f"`{context.command_path} --help`"
    sentence = _problem(error, context).rstrip(".")
    if sentence.endswith("?"):
        return f"{sentence} See {help_command}."
    return f"{sentence}; see {help_command}."


def _is_our_own(error: click.UsageError) -> bool:
    """Whether a type of ours refused the value: its sentence has the next step already."""
    parameter = error.param if isinstance(error, click.BadParameter) else None
    return (
        parameter is not None
        and not isinstance(error, click.MissingParameter)
        and type(parameter.type).__module__.startswith("wbot.")
    )


def _problem(error: click.UsageError, context: click.Context) -> str:
    match error:
        case click.NoSuchOption():
            return _unknown_option(error, context)
        case click.MissingParameter():
            return f"{error.format_message().rstrip('.')}; write `{_shortest_use(context)}`"
        case click.BadParameter(param=click.Parameter() as parameter) if isinstance(
            parameter.type, _NUMBER_TYPES
        ):
            return _unreadable_number(error, parameter)
        case _:
            return error.format_message()


def _shortest_use(context: click.Context) -> str:
    """The command with its required arguments only."""
    needed = [one for one in context.command.params if one.required]
    pieces = [
        f"{one.opts[0]} {one.make_metavar(context)}"
        if isinstance(one, click.Option)
        else one.make_metavar(context)
        for one in sorted(needed, key=lambda one: isinstance(one, click.Option))
    ]
    return " ".join([context.command_path, *pieces])


def _unknown_option(error: click.NoSuchOption, context: click.Context) -> str:
    negative = next((text for text in sys.argv[1:] if _NEGATIVE.fullmatch(text)), None)
    if negative is None or not _NEGATIVE.fullmatch(error.option_name):
        return error.format_message()
    names = {parameter.name for parameter in context.command.params}
    if "amount" not in names:
        return f"{negative!r} was read as an option, and no value here is negative"
    mirror = {"deposit": "withdraw", "withdraw": "deposit"}.get(str(context.info_name))
    instead = "" if mirror is None else f"; for the other direction use `wbot ledger {mirror}`"
    return f"AMOUNT is {negative!r}, and must be more than zero{instead}"


def _unreadable_number(error: click.BadParameter, parameter: click.Parameter) -> str:
    kind = parameter.type
    name = parameter.get_error_hint(error.ctx).strip("'")
    refused = _REFUSED_NUMBER.fullmatch(error.message)
    text = "" if refused is None else refused["word"] or refused["number"] or ""
    noun = "a whole number" if isinstance(kind, _WHOLE_TYPES) else "a number"
    limits = limits_in_words(kind.min, kind.max) if isinstance(kind, _RANGE_TYPES) else ""
    return f"{name} is {text!r}; it must be {noun}{limits}"


def limits_in_words(least: float | None, most: float | None) -> str:
    """The allowed range of a number: " from 1 to 9", " of at least 1", or nothing."""
    match least, most:
        case None, None:
            return ""
        case _, None:
            return f" of at least {least}"
        case None, _:
            return f" of at most {most}"
        case _:
            return f" from {least} to {most}"
