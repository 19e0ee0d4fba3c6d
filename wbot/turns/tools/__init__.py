"""What the model may ask for; one module a tool, each bound to the customer who wrote."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from wbot.payments.context import PaymentContext
from wbot.storage.tx import Tx


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a call did: the result for the model, the receipt for the customer."""

    result: dict[str, Any]
    receipt: str | None = None
    transfer_id: int | None = None
    notify_conversation_id: int | None = None
    """The conversation whose outbox has something new because of it."""
    is_foreign: bool = False
    """Whether the result or the receipt holds what another person wrote, see domain/foreign.py."""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool: what the model reads of it, and what it does inside the step's transaction."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: Callable[[Tx, PaymentContext, Any], Outcome]
    arguments: type[msgspec.Struct]
    effect_key: Callable[[PaymentContext, Any], str] | None = None
    """The normalised arguments under which an effect happens once a message; None for a read."""


class OutsideTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that calls another system, outside any transaction, and may take its time.

    The journal opens the call before it leaves, and closes it with its outcome: a call that was cut
    off is made again with the same key and request. Its result counts as others' words.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    arguments: type[msgspec.Struct]
    effect_key: Callable[[PaymentContext, Any], str]
    """The normalised arguments under which the effect happens once a message."""
    prepare: Callable[[Tx, PaymentContext, Any], str]
    """The request, stored with the open call; raises RefusedError for what is not sent at all."""
    call: Callable[[str, str], Awaitable[Outcome]]
    """Sends a request with its idempotency key; raises RetryableError while it has no answer."""


def refused(sentence: str, **more: object) -> dict[str, Any]:
    """The result of a call that did nothing, with a sentence that may be passed on."""
    return {"ok": False, "error": sentence, **more}
