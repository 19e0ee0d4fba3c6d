"""What an operator may set about a business: each option's name, how it is read, how it is shown.

An empty text resets an option to its default. Amounts are in the business's currency.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

import msgspec

from wbot.domain.amounts import parse_amount
from wbot.domain.business import Business, PayeeRule, Policy, ShowPayer, Switch
from wbot.domain.errors import MalformedError, RefusedError
from wbot.domain.money import Currency, currency_of, format_amount
from wbot.domain.receipts import one_line
from wbot.domain.timezones import checked_zone

COUNT_MAX = 1_000_000
SECONDS_MAX = 366 * 24 * 3600
NAME_LENGTH_MAX = 200

Reader = Callable[[str, Currency], Any]


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to set: the field it fills (of Policy if `is_rule`), its reader, a line of help."""

    field: str
    read: Reader
    meaning: str
    is_rule: bool = True
    is_amount: bool = False


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PHONE_NUMBER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+|(?!env:|file:)[!-~]+")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")
_ZERO = re.compile(r"0+([.,]0*)?")


def checked_id(business_id: str) -> str:
    """The id, if it can be one; MalformedError says what an id looks like."""
    if not _ID.fullmatch(business_id):
        raise MalformedError(
            f"{business_id[:64]!r} cannot be a business's id: use up to 64 letters, digits, dots, "
            "dashes or underscores, the first a letter or digit."
        )
    return business_id


def shown_reference(reference: str) -> str:
    """Where an access token is stored, never the token itself."""
    return reference if reference.startswith(("env:", "file:")) else "(set)"


def is_literal(reference: str) -> bool:
    """Whether the reference is the secret itself."""
    return shown_reference(reference) != reference


def _amount(text: str, currency: Currency) -> int:
    return 0 if _ZERO.fullmatch(text.strip()) else parse_amount(text, currency)


def _limit(text: str, currency: Currency) -> int:
    # An operator who writes 0 may mean "no limit", but 0 would stop every transfer.
    amount_minor = _amount(text, currency)
    if amount_minor == 0:
        raise MalformedError("A limit is more than zero; leave it empty for no limit.")
    return amount_minor


def _whole(least: int, most: int) -> Reader:
    def read(text: str, _: Currency) -> int:
        number = int(text) if _WHOLE_NUMBER.fullmatch(text) else -1
        if not least <= number <= most:
            raise MalformedError(f"{text[:20]!r} is not a whole number from {least} to {most}.")
        return number

    return read


def _one_of(words: type[StrEnum]) -> Reader:
    def read(text: str, _: Currency) -> StrEnum:
        try:
            return words(text)
        except ValueError as error:
            raise MalformedError(f"{text[:20]!r} must be {' or '.join(words)}.") from error

    return read


def _words(text: str, _: Currency) -> str:
    return text


def _name(text: str, _: Currency) -> str:
    return one_line(text, NAME_LENGTH_MAX)


def _timezone(text: str, _: Currency) -> str:
    return checked_zone(text)


def _matching(pattern: re.Pattern[str], message: str) -> Reader:
    def read(text: str, _: Currency) -> str:
        if not pattern.fullmatch(text):
            raise MalformedError(message)
        return text

    return read


def _rule(field: str, read: Reader, meaning: str) -> Option:
    is_amount = field.endswith("_minor")
    return Option(field=field, read=read, meaning=meaning, is_amount=is_amount)


def _column(field: str, read: Reader, meaning: str) -> Option:
    return Option(field=field, read=read, meaning=meaning, is_rule=False)


RULES: dict[str, Option] = {
    "confirm_above": _rule(
        "confirm_above_minor", _amount, "What one message may send without a yes (default 0)."
    ),
    "max_transfer": _rule("max_transfer_minor", _limit, "Largest amount of one transfer."),
    "daily_total": _rule("daily_total_minor", _limit, "Most money a customer sends in 24 hours."),
    "daily_count": _rule(
        "daily_count", _whole(1, COUNT_MAX), "Most transfers a customer makes in 24 hours."
    ),
    "overdraft": _rule(
        "overdraft_minor", _amount, "How far below zero a balance may go (default 0)."
    ),
    "cancel_window": _rule(
        "cancel_window_s", _whole(0, SECONDS_MAX), "Seconds to cancel a transfer in (default 900)."
    ),
    "hold_ttl": _rule(
        "hold_ttl_s", _whole(1, SECONDS_MAX), "Seconds an unconfirmed transfer waits (default 600)."
    ),
    "repeat_window": _rule(
        "repeat_window_s",
        _whole(0, SECONDS_MAX),
        "Seconds in which the same payment again is asked about (default 300; 0: never).",
    ),
    "new_payee_limit": _rule(
        "new_payee_limit_minor", _limit, "Largest amount of a transfer to a payee not known yet."
    ),
    "payees": _rule(
        "payees", _one_of(PayeeRule), "Whom customers may pay: any (default) or known."
    ),
    "own_words": _rule(
        "own_words",
        _one_of(Switch),
        "Whether what a customer did not type needs a yes: on (default) or off.",
    ),
}
"""The money rules, by the names operators write."""

OPTIONS: dict[str, Option] = {
    "name": _column("name", _name, "Name that customers read."),
    "phone_number_id": _column(
        "phone_number_id",
        _matching(
            _PHONE_NUMBER_ID, "It is the number's id in Meta's dashboard, such as 106540352242922."
        ),
        "Meta's id of the business's number.",
    ),
    "access_token": _column(
        "access_token",
        _matching(
            _REFERENCE, "Write env:NAME, file:PATH or the token itself, which has no spaces."
        ),
        "The access token: env:NAME, file:PATH, or the secret itself.",
    ),
    "instructions": _column("instructions", _words, "What the model is told about the business."),
    "model": _column("model", _words, "Model to use instead of WBOT_MODEL."),
    "throughput": _column(
        "throughput", _whole(1, COUNT_MAX), "Most sends a second (default 80, as Meta allows)."
    ),
    "error_text": _column("error_text", _words, "What a customer reads when a turn fails."),
    "knowledge": _column(
        "knowledge", _words, "Path of a text file about the business that the model reads."
    ),
    "show_payer": _column(
        "show_payer",
        _one_of(ShowPayer),
        "What a customer reads of who paid them: name, masked or none (default).",
    ),
    "echo_pause": _column(
        "echo_pause_s",
        _whole(0, SECONDS_MAX),
        "Seconds the model is silent after the owner wrote from the phone (default 1800).",
    ),
    "waba_id": _column(
        "waba_id",
        _matching(_PHONE_NUMBER_ID, "It is the account's id in Meta's dashboard."),
        "The WhatsApp Business Account's id; found by itself where the token allows.",
    ),
    "timezone": _column(
        "timezone",
        _timezone,
        "Time zone of all times shown, such as Europe/London (default: of the number's country).",
    ),
    **RULES,
}
"""Everything but the currency, by the names operators write."""

CURRENCY = "currency"
KNOWN = (*OPTIONS, CURRENCY)
_REQUIRED = frozenset({"name", "phone_number_id", "access_token", CURRENCY})


def changed(business: Business, settings: Mapping[str, str]) -> Business:
    """The business with these options set.

    Raises MalformedError for what cannot be read; RefusedError where a new currency cannot express
    an amount that was not given again.
    """
    for name in settings:
        if name not in KNOWN:
            raise MalformedError(_unknown(name))
    currency_code = settings.get(CURRENCY, business.currency_code)
    business = _in_currency(business, _currency(currency_code), kept=settings)
    columns: dict[str, Any] = {}
    rules: dict[str, Any] = {}
    for name, text in settings.items():
        if name != CURRENCY:
            option = OPTIONS[name]
            target = rules if option.is_rule else columns
            target[option.field] = _value(name, text.strip(), business.currency)
    policy = msgspec.structs.replace(business.policy, **rules)
    return msgspec.structs.replace(business, policy=policy, **columns)


def described(business: Business) -> dict[str, Any]:
    """The business as operators see it: amounts as decimal strings, None where there is no limit.

    The access token is replaced by where it is stored.
    """
    columns = {
        name: getattr(business, option.field)
        for name, option in OPTIONS.items()
        if not option.is_rule and name not in _REQUIRED
    }
    common = {
        "id": business.id,
        "name": business.name,
        "status": "paused" if business.is_paused else "active",
        "phone_number_id": business.phone_number_id,
        "access_token": shown_reference(business.access_token),
        CURRENCY: business.currency_code,
    }
    columns["timezone"] = business.zone_name  # the one in effect
    return {**common, **columns, **described_rules(business)}


def described_rules(business: Business) -> dict[str, Any]:
    """The money rules alone."""
    shown: dict[str, Any] = {}
    for name, option in RULES.items():
        value = getattr(business.policy, option.field)
        is_money = option.is_amount and value is not None
        shown[name] = format_amount(value, business.currency) if is_money else value
    return shown


def _unknown(name: str) -> str:
    near = get_close_matches(name.lower().replace("-", "_"), KNOWN, n=1)
    hint = f"did you mean {near[0]}? All" if near else "known"
    return f"There is no option {name[:40]!r}; {hint}: {', '.join(KNOWN)}."


def _value(name: str, text: str, currency: Currency) -> Any:
    option = OPTIONS[name]
    if not text:
        return _default(name)
    try:
        value = option.read(text, currency)
    except MalformedError as error:
        raise MalformedError(f"{name}: {error}") from error
    return _default(name) if value == "" else value


def _default(name: str) -> Any:
    if name in _REQUIRED:
        raise MalformedError(f"{name} cannot be empty.")
    option = OPTIONS[name]
    owner = Policy if option.is_rule else Business
    fields = {field.name: field.default for field in msgspec.structs.fields(owner)}
    return fields[option.field]


def _currency(code: str) -> Currency:
    if not code.strip():
        raise MalformedError(f"{CURRENCY} cannot be empty.")
    return currency_of(code)


def _in_currency(business: Business, new: Currency, *, kept: Mapping[str, str]) -> Business:
    """The same figures in another currency: 100.00 stays one hundred."""
    old = business.currency
    rules: dict[str, int] = {}
    for name, option in RULES.items():
        value = getattr(business.policy, option.field)
        if option.is_amount and value is not None and name not in kept:
            scaled, rest = divmod(value * 10**new.exponent, 10**old.exponent)
            if rest:
                raise RefusedError(
                    f"{name} is {format_amount(value, old)}, which {new.code} cannot express; "
                    f"set {name} in the same command."
                )
            rules[option.field] = scaled
    policy = msgspec.structs.replace(business.policy, **rules)
    return msgspec.structs.replace(business, currency_code=new.code, policy=policy)
