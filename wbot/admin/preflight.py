"""The checks of `wbot check`: one line each, with the finding, and the fix if it fails."""

import asyncio
import shlex
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import aiohttp
import msgspec

from wbot.admin.model_check import try_model
from wbot.admin.token_facts import facts_of
from wbot.clients.model import OpenAIModel
from wbot.clients.model.memory import Memory
from wbot.clients.whatsapp import GraphError, NotSentError, PhoneNumberCredentials, WhatsApp
from wbot.clock import later, to_text
from wbot.domain import json_access
from wbot.domain.business import Business
from wbot.domain.delivery import Verdict
from wbot.domain.errors import BlockedError, ConfigurationError, OutageError, WbotError
from wbot.domain.message_age import SILENT_S
from wbot.domain.policy_summary import contradictions, in_words
from wbot.domain.redaction import redacted, without
from wbot.settings import OFFLINE_MODEL, Settings, known_secrets, resolve_secret
from wbot.storage import businesses, files, messages, outbox_queries
from wbot.storage.tx import Tx

NUMBER_FIELDS = "display_phone_number,verified_name,quality_rating,throughput"
QUOTABLE_REPLIES = 100
WEBHOOK_PATH = "/api/webhook"

_TOKEN_CODES = frozenset({0, 190})
_OBJECT_CODES = frozenset({33, 100})
_PERMISSION_CODES = frozenset({3, 10, *range(200, 300)})

# Where Meta sends a number's webhooks, the first of these that is set (cloud-api.md 1.1).
_CALLBACKS = ("phone_number", "whatsapp_business_account", "application")


class Check(msgspec.Struct, frozen=True):
    """One finding; a warning stops nothing.

    `is_misconfigured` marks a failure that a retry will not fix.
    """

    check: str
    ok: bool
    detail: str
    is_warning: bool = False
    is_misconfigured: bool = False


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A business to ask the Graph API about; `account_id` is known after the first webhook."""

    business: Business
    credentials: PhoneNumberCredentials | None
    account_id: str | None


def passed(check: str, detail: str) -> Check:
    return Check(check, True, detail)


def warned(check: str, detail: str) -> Check:
    return Check(check, True, detail, is_warning=True)


def failed(check: str, detail: str, *, is_misconfigured: bool = False) -> Check:
    return Check(check, False, detail, is_misconfigured=is_misconfigured)


def stored(
    tx: Tx, variables: Mapping[str, str], now: datetime
) -> tuple[list[Check], list[Subject]]:
    """The findings from the database, and the businesses to ask the Graph API about."""
    known = businesses.every(tx)
    found = [_businesses(known)]
    subjects = []
    for business in known:
        check, credentials = _token(business, variables)
        found += [check, _rules(business)]
        account_id = business.waba_id or messages.account_of(tx, business.id)
        subjects.append(Subject(business=business, credentials=credentials, account_id=account_id))
    return [*found, *_silent_numbers(tx, now), *_unknown_numbers(tx)], subjects


def quotable(tx: Tx) -> tuple[str, ...]:
    """The latest texts that an outside system has seen and could quote back."""
    return outbox_queries.latest_quotable(tx, QUOTABLE_REPLIES)


async def outside(
    settings: Settings,
    subjects: Sequence[Subject],
    quotable: Collection[str] = (),
    *,
    memory: Memory | None = None,
    other_model: str | None = None,
) -> list[Check]:
    """The findings from the Graph API and the model endpoint, asked at the same time.

    They contain no secret and no `quotable` text. With `other_model` that one is tried in place of
    the configured ones.
    """
    tokens = {
        subject.credentials.access_token for subject in subjects if subject.credentials is not None
    }
    secrets = known_secrets(settings) | tokens
    async with aiohttp.ClientSession() as session:
        whatsapp = WhatsApp(
            session,
            graph_url=settings.graph_url,
            version=settings.graph_version,
            timeout_s=settings.api_timeout,
            app_secret=settings.app_secret,
            secrets=secrets,
        )
        async with asyncio.TaskGroup() as tasks:
            numbers = tasks.create_task(_numbers(whatsapp, subjects))
            models = tasks.create_task(
                _models(settings, subjects, secrets, memory=memory, other_model=other_model)
            )
    found = [*numbers.result(), *models.result()]
    return [
        msgspec.structs.replace(one, detail=without(one.detail, secrets=secrets, messages=quotable))
        for one in found
    ]


def private(paths: Iterable[Path], name: str = "files") -> Check:
    """Whether files that hold messages, money or secrets are private to their owner."""
    wide = [shlex.quote(str(path)) for path in paths if files.is_wide(path)]
    if not wide:
        return passed(name, "private to their owner")
    return warned(name, f"other users of this machine can read them: chmod 600 {' '.join(wide)}")


def _businesses(known: Sequence[Business]) -> Check:
    if not known:
        return failed("businesses", "none yet: add one with `wbot business add`")
    names = [f"{one.id} (paused)" if one.is_paused else one.id for one in known]
    return passed("businesses", ", ".join(names))


def _token(
    business: Business, variables: Mapping[str, str]
) -> tuple[Check, PhoneNumberCredentials | None]:
    name = f"access token of {business.id}"
    try:
        token = resolve_secret(business.access_token, variables)
    except ConfigurationError as error:
        is_variable = business.access_token.startswith("env:")
        fix = " Set it in the service's environment or its .env file." if is_variable else ""
        return failed(name, f"{error}{fix}", is_misconfigured=True), None
    return passed(name, "can be read"), PhoneNumberCredentials(business.phone_number_id, token)


def _rules(business: Business) -> Check:
    name, rules = f"rules of {business.id}", in_words(business)
    conflicts = contradictions(business)
    return warned(name, "; but ".join([rules, *conflicts])) if conflicts else passed(name, rules)


def _silent_numbers(tx: Tx, now: datetime) -> list[Check]:
    before = to_text(later(now, -SILENT_S))
    return [
        warned(
            f"webhooks of {business_id}",
            f"no webhook since {last[:16].replace('T', ' ')} UTC: if customers wrote since, look "
            "at /health for refused ones, and below for the subscription",
        )
        for business_id, last in messages.last_inbound(tx)
        if last is not None and last < before
    ]


def _unknown_numbers(tx: Tx) -> list[Check]:
    return [
        warned(
            f"phone number id {phone_number_id}",
            f"messages to it: {count}, waiting because no business here has it; add one with "
            "`wbot business add` within 24 hours, or remove the number from the app's account",
        )
        for phone_number_id, count in messages.unmatched_phone_number_ids(tx)
    ]


async def _gather(asked: Sequence[Awaitable[Check]]) -> list[Check]:
    async def answer(one: Awaitable[Check]) -> Check:
        return await one

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(answer(one)) for one in asked]
    return [task.result() for task in running]


async def _numbers(whatsapp: WhatsApp, subjects: Sequence[Subject]) -> list[Check]:
    asked: list[Awaitable[Check]] = []
    for subject in subjects:
        if subject.credentials is not None:
            asked.append(_number(whatsapp, subject, subject.credentials))
            asked.append(_webhook(whatsapp, subject, subject.credentials))
    return await _gather(asked)


async def _number(
    whatsapp: WhatsApp, subject: Subject, credentials: PhoneNumberCredentials
) -> Check:
    name = f"number of {subject.business.id}"
    try:
        facts = await whatsapp.look_up(
            credentials, credentials.phone_number_id, fields=NUMBER_FIELDS
        )
    except WbotError as error:
        is_account = isinstance(error, GraphError) and error.verdict is Verdict.ACCOUNT
        return failed(name, _graph_fix(error), is_misconfigured=is_account)
    level = redacted(
        json_access.text(json_access.mapping(facts, "throughput"), "level") or "unknown"
    )
    quality = redacted(json_access.text(facts, "quality_rating") or "UNKNOWN")
    shown = (
        f"{json_access.text(facts, 'display_phone_number') or 'no display number'}, "
        f"{redacted(json_access.text(facts, 'verified_name') or 'no verified name')}, "
        f"quality {quality}, throughput {level}"
    )
    if quality == "RED":
        return warned(name, f"{shown}: customers block or report it, and Meta may limit it")
    return passed(name, shown)


async def _webhook(
    whatsapp: WhatsApp, subject: Subject, credentials: PhoneNumberCredentials
) -> Check:
    """Where Meta delivers, and whether an app is subscribed at all."""
    name = f"webhook of {subject.business.id}"
    parts = [
        await _callback(whatsapp, credentials),
        await _subscription(whatsapp, credentials, subject.account_id),
    ]
    return Check(
        name,
        all(part.ok for part in parts),
        "; ".join(part.detail for part in parts),
        is_warning=any(part.is_warning for part in parts),
    )


async def _callback(whatsapp: WhatsApp, credentials: PhoneNumberCredentials) -> Check:
    try:
        facts = await whatsapp.look_up(
            credentials, credentials.phone_number_id, fields="webhook_configuration"
        )
    except WbotError as error:
        return warned("", f"where Meta delivers: not checked ({_words(error)})")
    if not isinstance(facts.get("webhook_configuration"), dict):
        return warned("", "where Meta delivers: not checked (Meta does not say)")
    urls = json_access.mapping(facts, "webhook_configuration")
    url = json_access.text(urls, *_CALLBACKS)
    if url is None:
        return failed(
            "",
            "Meta has no address to deliver to: in the app's dashboard, under WhatsApp, "
            f"Configuration, enter https://YOUR-HOST{WEBHOOK_PATH} and WBOT_VERIFY_TOKEN",
        )
    if not url.rstrip("/").endswith(WEBHOOK_PATH):
        return warned("", f"Meta delivers to {url}, which does not end in {WEBHOOK_PATH}")
    return passed("", f"Meta delivers to {url}")


async def _subscription(
    whatsapp: WhatsApp, credentials: PhoneNumberCredentials, account_id: str | None
) -> Check:
    token = await facts_of(whatsapp, credentials)
    account_id = account_id or token.account_id
    if account_id is None:
        return warned("", "subscription: not checked (`wbot business set ID waba_id=…` names it)")
    try:
        facts = await whatsapp.look_up(credentials, f"{account_id}/subscribed_apps")
    except WbotError as error:
        return warned("", f"subscription: not checked ({_words(error)})")
    apps = [
        json_access.mapping(item, "whatsapp_business_api_data")
        for item in json_access.mappings(facts, "data")
    ]
    if not apps:
        return failed(
            "",
            f"no app is subscribed to the account {account_id}, so no message will arrive: "
            f"POST /{account_id}/subscribed_apps with the token",
        )
    if token.app_id and token.app_id not in {json_access.identifier(app, "id") for app in apps}:
        return failed(
            "",
            f"other apps are subscribed to the account {account_id}, but not this one "
            f"({token.app_id}), so no message will arrive: POST /{account_id}/subscribed_apps "
            "with the token",
        )
    unsure = "" if token.app_id else "; yours must be among them"
    shown = [f"{json_access.text(app, 'name')} ({json_access.text(app, 'id')})" for app in apps]
    return passed(
        "",
        f"subscribed apps: {', '.join(shown)}{unsure}",
    )


def _words(error: WbotError) -> str:
    return str(error).rstrip(".")


def _graph_fix(error: WbotError) -> str:
    words = _words(error)
    match error:
        case GraphError():
            return f"{words} (code {error.code}): {_code_fix(error.code)}"
        case NotSentError():
            return f"{words}{_tls_fix(error)}; check the network and WBOT_GRAPH_URL"
        case _:
            return f"{words}; try again, or check WBOT_GRAPH_URL"


def _code_fix(code: int | None) -> str:
    if code in _TOKEN_CODES:
        return (
            "create a permanent token for a system user in Meta's business settings, and put it "
            "where the business's access_token points to"
        )
    if code in _OBJECT_CODES:
        return "check phone_number_id, and that the token's system user may use its account"
    if code in _PERMISSION_CODES:
        return (
            "give the token the permissions whatsapp_business_messaging and "
            "whatsapp_business_management"
        )
    return "try again later"


async def _models(
    settings: Settings,
    subjects: Sequence[Subject],
    secrets: Collection[str],
    *,
    memory: Memory | None,
    other_model: str | None,
) -> list[Check]:
    found = await _first_models(settings, subjects, secrets, memory, other_model)
    return [*found, *await _fallback(settings, secrets, memory)]


async def _first_models(
    settings: Settings,
    subjects: Sequence[Subject],
    secrets: Collection[str],
    memory: Memory | None,
    other_model: str | None,
) -> list[Check]:
    if settings.is_offline and other_model is None:
        return [passed("model", "the built-in interpreter; it needs no endpoint")]
    names = {one.business.model for one in subjects if one.business.model} | {settings.model}
    wanted = sorted(names - {""}) if other_model is None else [other_model]
    if not wanted or not settings.openai_api_key:
        return [failed("model", "not asked: set WBOT_MODEL and OPENAI_API_KEY first")]
    client = OpenAIModel(**settings.endpoint, memory=memory, secrets=secrets)
    try:
        return await _gather([_model(client, name, f"model {name}", _MODEL_FIX) for name in wanted])
    finally:
        await client.close()


async def _fallback(
    settings: Settings, secrets: Collection[str], memory: Memory | None
) -> list[Check]:
    name = settings.model_fallback
    if not name:
        return []
    if name == OFFLINE_MODEL:
        return [passed("fallback model", "the built-in interpreter; it needs no endpoint")]
    client = OpenAIModel(**settings.fallback_endpoint, memory=memory, secrets=secrets)
    try:
        return [await _model(client, name, f"fallback model {name}", _FALLBACK_FIX)]
    finally:
        await client.close()


_MODEL_FIX = "check WBOT_MODEL, OPENAI_API_KEY and OPENAI_BASE_URL"
_FALLBACK_FIX = (
    "check WBOT_MODEL_FALLBACK, WBOT_MODEL_FALLBACK_API_KEY and WBOT_MODEL_FALLBACK_BASE_URL"
)


async def _model(client: OpenAIModel, name: str, check: str, fix: str) -> Check:
    found = await try_model(client, name)
    if found.ok or found.error is None:
        return Check(check, found.ok, found.detail, is_misconfigured=found.is_misconfigured)
    words = f"{_words(found.error)}{_tls_fix(found.error)}"
    has_fix = isinstance(found.error, BlockedError) and not isinstance(found.error, OutageError)
    if not has_fix or fix != _MODEL_FIX:
        words += f"; {fix}"
    return failed(check, words, is_misconfigured=found.is_misconfigured)


def _tls_fix(error: BaseException) -> str:
    """What to do if the other side's certificate is not trusted; empty for other failures."""
    cause: BaseException | None = error
    while cause is not None:
        if "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return (
                " (its certificate is not trusted: the operating system's certificates decide, "
                "so install the package ca-certificates, or set SSL_CERT_FILE)"
            )
        cause = cause.__cause__ or cause.__context__
    return ""
