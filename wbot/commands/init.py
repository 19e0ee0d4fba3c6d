"""wbot init: the first configuration file and the first business, from a few questions."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import msgspec

from wbot.admin import first_setup
from wbot.app import check_settings
from wbot.clock import to_text
from wbot.commands.console import (
    WORDS,
    json_option,
    now,
    print_facts,
    print_json,
    use_configuration,
    warn,
    writing,
)
from wbot.domain.business import Business
from wbot.domain.business_settings import changed, checked_id
from wbot.domain.errors import ConfigurationError
from wbot.settings import (
    OFFLINE_MODEL,
    Configuration,
    configured,
    read_configuration,
    read_settings,
    resolve_secret,
)
from wbot.storage import businesses
from wbot.storage.tx import Tx


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, as an option or on the terminal, and where its answer is found."""

    words: str
    where: str
    metavar: str = "TEXT"
    variable: str = ""
    """The environment variable that answers it too."""
    default: str | None = None
    """What an empty answer means; None: it must be answered."""
    is_secret: bool = False
    needs_endpoint: bool = False


QUESTIONS = {
    "business": Question(
        words="Id of the business",
        where="A short name of your own, for commands and logs.",
        metavar="ID",
        default="shop",
    ),
    "name": Question(words="Its name", where="Customers and the model read it."),
    "phone_number_id": Question(
        words="Phone number id",
        where="developers.facebook.com > your app > WhatsApp > API Setup, under the number.",
    ),
    "access_token": Question(
        words="Access token",
        where="business.facebook.com > Settings > Users > System users > Generate token, which "
        "never expires, with whatsapp_business_messaging and whatsapp_business_management.",
        metavar="REF",
        is_secret=True,
    ),
    "app_secret": Question(
        words="App secret",
        where="developers.facebook.com > your app > App settings > Basic > App secret.",
        metavar="REF",
        variable="WBOT_APP_SECRET",
        is_secret=True,
    ),
    "model": Question(
        words="Model",
        where="Its name as the endpoint knows it; `offline` is built in and needs no endpoint.",
        variable="WBOT_MODEL",
    ),
    "api_key": Question(
        words="API key of the model",
        where="Your account at the model's provider; any word for an endpoint without keys.",
        metavar="REF",
        variable="OPENAI_API_KEY",
        is_secret=True,
        needs_endpoint=True,
    ),
    "base_url": Question(
        words="Base URL of the model",
        where="Of an OpenAI-compatible endpoint, with its /v1; empty for OpenAI's own.",
        metavar="URL",
        variable="OPENAI_BASE_URL",
        default="",
        needs_endpoint=True,
    ),
    "public_url": Question(
        words="Public address of this server",
        where="Where Meta reaches it, such as https://bot.example.com.",
        metavar="URL",
        default="",
    ),
}


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for name, question in reversed(QUESTIONS.items()):
        option = click.option(
            _flag(name), name, type=WORDS, metavar=question.metavar, help=question.where
        )
        command = option(command)
    return command


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@click.command()
@_options
@click.option("--yes", "asks_nothing", is_flag=True, help="Ask nothing: take options and defaults.")
@click.option("--force", "replaces", is_flag=True, help="Overwrite the file if there is one.")
@json_option
def init(*, asks_nothing: bool, replaces: bool, as_json: bool, **options: str | None) -> None:
    """Write the configuration and add the first business.

    Asks for what the options do not give, and says where in Meta's dashboard each value is. Makes
    the verify token, writes ./.env (or the file that --config names) for its owner alone, adds the
    business, and ends with the callback URL and the verify token to paste into Meta's dashboard.

    REF is env:NAME, file:PATH or the secret itself. Secrets are written to the file; an access
    token as file:PATH stays where it is.
    """
    file = _file()
    first_setup.check_new(file, replaces=replaces)
    environment = read_configuration(Path(os.devnull))
    given = {name: text for name, text in options.items() if text is not None}
    answers = _answers(given, environment.variables, asks=not asks_nothing)
    callback = first_setup.callback_url(answers["public_url"])
    token = first_setup.token_of(
        checked_id(answers["business"]), answers["access_token"], environment.variables
    )
    values = _values(answers, environment, token)
    configuration = configured(file, values, is_named=True)
    check_settings(read_settings(configuration.variables))
    text = first_setup.text_of(values)
    use_configuration(configuration)
    with writing(creates=True) as tx:
        _add(tx, answers, token.reference, replaces=replaces)
        first_setup.write(file, text, replaces=replaces)
    _warn_of_environment(values, configuration)
    _report(answers["business"], file, configuration, callback=callback, as_json=as_json)


def _file() -> Path:
    named: Path | None = click.get_current_context().find_root().obj
    try:
        return (named or Path(".env")).absolute()
    except OSError as error:
        raise ConfigurationError("The current folder is gone; change to another one.") from error


def _answers(
    given: Mapping[str, str], variables: Mapping[str, str], *, asks: bool
) -> dict[str, str]:
    """Every answer: an option's, a variable's, a default, or one from the terminal."""
    answers: dict[str, str] = {}
    missing = []
    for name, question in QUESTIONS.items():
        if question.needs_endpoint and answers.get("model") == OFFLINE_MODEL:
            answers[name] = ""
            continue
        text = given.get(name) or variables.get(question.variable, "").strip()
        if not text and asks:
            text = _ask(name, question)
        elif not text and question.default is not None:
            text = question.default
        elif not text:
            missing.append(_flag(name))
        answers[name] = text.strip()
    if missing:
        raise ConfigurationError(
            f"Not given: {', '.join(missing)}; give each as an option, or leave out --yes."
        )
    return answers


def _ask(name: str, question: Question) -> str:
    """One question on stderr, where the answer is found before it; empty only where allowed."""
    is_terminal = sys.stdin.isatty()
    click.echo(f"\n{question.where}", err=True)
    try:
        answer: str = click.prompt(
            question.words,
            default=question.default,
            hide_input=question.is_secret and is_terminal,
            show_default=bool(question.default),
            err=True,
        )
    except click.Abort as error:
        if is_terminal:
            raise
        raise ConfigurationError(
            f"There was no answer for {_flag(name)}; run this on a terminal, or give it as an "
            "option."
        ) from error
    return answer


def _values(
    answers: Mapping[str, str], environment: Configuration, token: first_setup.Token
) -> dict[str, str]:
    """The variables of the file."""
    variables = environment.variables
    verify_token = variables.get("WBOT_VERIFY_TOKEN", "").strip()
    values = {
        "WBOT_APP_SECRET": resolve_secret(answers["app_secret"], variables),
        "WBOT_VERIFY_TOKEN": verify_token or first_setup.new_verify_token(),
        "WBOT_MODEL": answers["model"],
        "OPENAI_BASE_URL": answers["base_url"],
    }
    if answers["api_key"]:
        values["OPENAI_API_KEY"] = resolve_secret(answers["api_key"], variables)
    if "WBOT_DATABASE" in environment.set_in:
        values["WBOT_DATABASE"] = str(read_settings(variables).database.absolute())
    if token.variable is not None:
        values[token.variable[0]] = token.variable[1]
    return {name: text for name, text in values.items() if text}


def _add(tx: Tx, answers: Mapping[str, str], reference: str, *, replaces: bool) -> None:
    """Add the business; with `replaces`, change one that is there already."""
    settings = {name: answers[name] for name in ("name", "phone_number_id")}
    settings["access_token"] = reference
    known = businesses.by_id(tx, answers["business"])
    if known is not None and replaces:
        businesses.change(tx, changed(known, settings))
        return
    new = Business(
        id=answers["business"], name="", phone_number_id="", access_token="", currency_code="USD"
    )
    businesses.add(tx, changed(new, settings), to_text(now()))


def _warn_of_environment(values: Mapping[str, str], configuration: Configuration) -> None:
    for name, value in values.items():
        if configuration.variables[name] != value:
            warn(f"{name} is set in the environment to another value, which goes over the file.")


def _report(
    business_id: str, file: Path, configuration: Configuration, *, callback: str, as_json: bool
) -> None:
    settings = read_settings(configuration.variables)
    if as_json:
        print_json(
            {
                "file": str(file),
                "database": str(settings.database),
                "business": business_id,
                "callback_url": callback,
                "verify_token": settings.verify_token,
            }
        )
        return
    click.echo(
        f"Wrote {file}, for its owner alone, and added {business_id} to {settings.database}.\n"
        "Next: `wbot check`, then `wbot serve`. While it runs, paste these two into Meta's "
        "dashboard, under WhatsApp > Configuration > Webhook, and subscribe to the field "
        "messages:\n"
    )
    print_facts([("Callback URL", callback), ("Verify token", settings.verify_token)])
