"""One attempt to send one reply: opened on disk before the request leaves, closed after it."""

import random
from collections.abc import Collection
from datetime import datetime

import msgspec

from wbot.clients.whatsapp import (
    GraphError,
    NotSentError,
    PhoneNumberCredentials,
    Recipient,
    UnknownOutcomeError,
    WhatsApp,
)
from wbot.clock import from_text, later, to_text
from wbot.domain.delivery import (
    Verdict,
    send_again_s,
)
from wbot.domain.errors import WbotError
from wbot.domain.redaction import redacted
from wbot.domain.states import SendOutcome
from wbot.storage import outbox
from wbot.storage.outbox import Reply, StateChange
from wbot.storage.tx import Tx


class Opened(msgspec.Struct, frozen=True):
    """A reply whose attempt is on disk; `opaque` comes back in its statuses."""

    reply: Reply
    attempt_id: int
    opaque: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, and what follows."""

    outcome: SendOutcome
    wamid: str | None = None
    code: int | None = None
    detail: str | None = None
    own_words: str = ""
    """The failure without any of Meta's text."""
    verdict: Verdict | None = None


async def request(
    whatsapp: WhatsApp,
    credentials: PhoneNumberCredentials,
    opened: Opened,
    *,
    secrets: Collection[str],
) -> Result:
    """Make the request; every failure of the Graph API becomes a result."""
    reply = opened.reply
    to = Recipient(reply.reply_phone, reply.reply_user_id)
    try:
        wamid = await whatsapp.send(credentials, reply.content, to=to, opaque=opened.opaque)
    except (NotSentError, UnknownOutcomeError, GraphError) as error:
        return _failed(error, redacted(str(error), secrets=secrets, messages=reply.words))
    return Result(outcome=SendOutcome.ACCEPTED, wamid=wamid)


def _failed(error: WbotError, detail: str) -> Result:
    match error:
        case GraphError(code=code, verdict=verdict, own_words=own_words):
            return Result(
                outcome=SendOutcome.REFUSED,
                code=code,
                detail=detail,
                own_words=own_words,
                verdict=verdict,
            )
        case NotSentError():
            return Result(outcome=SendOutcome.NOT_SENT, detail=detail)
        case _:
            return Result(outcome=SendOutcome.UNKNOWN, detail=detail)


def close(tx: Tx, opened: Opened, result: Result, *, now: datetime) -> list[StateChange]:
    """Record the result and decide what becomes of the reply; the state changes."""
    outbox.close_attempt(
        tx,
        opened.attempt_id,
        outcome=result.outcome,
        now=to_text(now),
        wamid=result.wamid,
        code=result.code,
        detail=result.detail,
    )
    reply = opened.reply
    if result.wamid is not None:
        return outbox.accept(tx, reply.id, result.wamid, to_text(now))
    if result.outcome is SendOutcome.UNKNOWN:
        outbox.become_unknown(tx, reply.id)
    elif (wait_s := _wait_s(tx, reply, result, now=now)) is not None:
        counts = result.verdict is Verdict.UNSURE
        outbox.wait_again(tx, reply.id, to_text(later(now, wait_s)), counts=counts)
    else:
        outbox.give_up(tx, reply, _reason(result), to_text(now))
    return []


def _wait_s(tx: Tx, reply: Reply, result: Result, *, now: datetime) -> float | None:
    """Seconds until the next attempt; None when there is to be none."""
    return send_again_s(
        result.verdict,
        failures=outbox.attempts_alike(tx, reply.id, result.outcome, result.code),
        age_s=(now - from_text(reply.created_at)).total_seconds(),
        jitter=random.random(),  # noqa: S311  spreads retries, not for security
    )


def _reason(result: Result) -> str:
    code = "" if result.code is None else f" (code {result.code})"
    return f"The reply could not be sent: {result.detail}{code}"
