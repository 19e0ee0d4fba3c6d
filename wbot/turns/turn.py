"""One attempt of one message: rounds of model and tools, each kept before the next begins."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from wbot.clients.model import Answer, ToolCall
from wbot.clients.model.answers import assistant_message, tool_message
from wbot.clock import Clock, elapsed_ms, from_text, later, to_text
from wbot.domain import triage
from wbot.domain.business import Business
from wbot.domain.errors import FilteredError, RejectedError, TooLongError, WbotError
from wbot.domain.foreign import ForeignWords, is_foreign, words_for_model
from wbot.domain.history import ChatMessage, shorter
from wbot.domain.labels import Label
from wbot.domain.message_age import Staleness
from wbot.domain.messages import ButtonReply
from wbot.domain.outgoing import Prompt
from wbot.domain.own_words import typed_in
from wbot.domain.policy import AskReason
from wbot.domain.prompts import Decision, PromptKind
from wbot.domain.states import MessageState
from wbot.payments import answers, consent, labels
from wbot.payments.context import PaymentContext
from wbot.storage import (
    businesses,
    conflicts,
    customers,
    journal,
    ledger,
    messages,
    outside_calls,
    waiting_notices,
)
from wbot.storage.database import Database
from wbot.storage.journal import Step
from wbot.storage.outside_calls import OutsideCall
from wbot.storage.tx import Tx
from wbot.turns import toolbox, waiting_notice
from wbot.turns.finish import Ending, receipts_read, unique
from wbot.turns.loop_detection import LOOP
from wbot.turns.models import Models
from wbot.turns.prompt import (
    Base,
    context_text,
    recent_history,
    system_text,
)
from wbot.turns.tools import Outcome, OutsideTool
from wbot.turns.turn_start import Begun

OWNER_WRITES = "owner_writes"
"""Why a message is silent: the owner has just written to the customer from the phone."""

ROUNDS_MAX = 6
CALLS_PER_ANSWER_MAX = 10

FILTERED = "Sorry, I cannot answer that. Please write it in other words."
"""What the customer reads where the endpoint's content filter stops their message."""

HELD = (
    "This number is known here under another WhatsApp account, so a person looks at it first; "
    "balances and payments follow once they have decided."
)
"""What a customer reads until an operator has decided who they are."""

BOOKS_ARE_WRONG = (
    "Payments and balances are paused while our books are checked; please try again later."
)


class StoppingError(WbotError):
    """The service is stopping; what is stored stands, the rest follows at the next start."""


class Turn:
    """Runs one attempt; `model_ms` and `tools_ms` are what it spent on each."""

    def __init__(
        self,
        begun: Begun,
        business: Business,
        *,
        database: Database,
        models: Models,
        default_model: str,
        knowledge: str,
        stale_after_s: float,
        clock: Clock,
        is_stopping: Callable[[], bool],
        are_books_right: Callable[[], Awaitable[bool]],
        notify_outbound: Callable[[int, str], None],
        tell_slow: Callable[[], None],
    ) -> None:
        self.is_asking = False
        """Whether it waits for the model now."""
        self.model_ms = 0.0
        self.tools_ms = 0.0
        self._begun = begun
        self._message = begun.message
        self._business = business
        self._database = database
        self._models = models
        self._knowledge = knowledge
        self._model_name = business.model or default_model
        self._stale_after_s = stale_after_s
        self._clock = clock
        self._is_stopping = is_stopping
        self._are_books_right = are_books_right
        self._notify_outbound = notify_outbound
        self._tell_slow = tell_slow
        self._stored = {step.number: step for step in begun.claim.steps}
        self._number = 0

    @property
    def _decisions(self) -> tuple[Decision, ...]:
        is_answered = isinstance(self._begun.handling, triage.Answer)
        return self._begun.decisions if is_answered else ()

    async def run(self) -> Ending:
        """How the message ends.

        Raises RetryableError, BlockedError, RejectedError, StoppingError.
        """
        begun = self._begun
        is_fresh = begun.staleness is Staleness.FRESH
        # A revision with steps of its own continues from them: it was not finished.
        was_done_before = begun.claim.revision > 0 and not begun.claim.steps
        if begun.moved_money and (was_done_before or not is_fresh or begun.has_decided):
            return await self._receipts_alone()
        if not is_fresh and await self._database.read(self._has_open_call):
            raise RejectedError("The message became too old while a call had no answer.")
        if begun.staleness is Staleness.EXPIRED:
            return Ending(state=MessageState.SILENT, reason="window_closed")
        if self._decisions and not begun.came_fresh:  # it may not be meant just now
            return Ending(state=MessageState.ANSWERED, words=answers.NOT_FRESH)
        # A button's yes names its transfers, and counts by when it came, however late its turn is.
        is_button = isinstance(self._begun.content, ButtonReply)
        if self._decisions and (
            is_fresh or (is_button and self._decisions[0].kind is PromptKind.CONFIRM)
        ):
            return await self._decide(self._decisions)
        if begun.stops:
            return await self._act_on_money(answers.stop)
        return await self._handle(is_fresh=is_fresh)

    async def _decide(self, decisions: tuple[Decision, ...]) -> Ending:
        if len(decisions) > 1:
            return await self._ask_which(decisions)
        decision = decisions[0]
        if decision.kind is PromptKind.STALE:
            return await self._settle(partial(answers.settle, decision=decision))
        return await self._act_on_money(partial(answers.settle, decision=decision))

    async def _ask_which(self, decisions: tuple[Decision, ...]) -> Ending:
        message = self._message

        def ask(tx: Tx) -> Prompt:
            journal.guard(tx, message.conversation_id, self._begun.claim.epoch)
            now = to_text(self._clock.now())
            return answers.which(tx, message, decisions, business=self._business, now=now)

        return Ending(state=MessageState.ANSWERED, prompt=await self._database.write(ask))

    async def _handle(self, *, is_fresh: bool) -> Ending:
        match self._begun.handling:
            case triage.Silence(reason=reason):
                return Ending(state=MessageState.SILENT, reason=str(reason))
            case triage.Answer() | triage.Decline() if why := self._kept_silent():
                return Ending(state=MessageState.SILENT, reason=why)
            case triage.Decline(sentence=sentence):
                return Ending(state=MessageState.ANSWERED, words=sentence)
            case triage.Answer() if not is_fresh:
                before = later(self._clock.now(), -self._stale_after_s)
                return Ending(state=MessageState.ANSWERED, asks_before=to_text(before))
            case triage.Answer():
                if (label := labels.said_in(self._begun.content, self._begun.context)) is not None:
                    return await self._name(label)
                return await self._converse()

    def _kept_silent(self) -> str | None:
        """Why the model says nothing to a message that it could answer."""
        if self._begun.is_loop:
            return LOOP
        return OWNER_WRITES if self._is_owner_writing() else None

    def _is_owner_writing(self) -> bool:
        spoke_at = self._begun.owner_spoke_at
        if spoke_at is None:
            return False
        until = later(from_text(spoke_at), self._business.echo_pause_s)
        return self._clock.now() < until

    async def _act_on_money(self, act: Callable[..., answers.Settled]) -> Ending:
        if not await self._are_books_right():
            return Ending(state=MessageState.ANSWERED, words=BOOKS_ARE_WRONG)
        return await self._settle(act)

    async def _settle(self, act: Callable[..., answers.Settled]) -> Ending:
        """An answer to a question of ours, or a stop word, handled without the model."""

        def settle(tx: Tx) -> answers.Settled:
            journal.guard(tx, self._message.conversation_id, self._begun.claim.epoch)
            return act(
                tx,
                self._message,
                business=businesses.required(tx, self._business.id),
                now=to_text(self._clock.now()),
            )

        settled = await self._database.write(settle)
        for conversation_id in settled.notify_conversation_ids:
            self._notify_outbound(conversation_id, self._business.id)
        if settled.takes_up_stale:
            return Ending(state=MessageState.SILENT, reason="took_up_stale_messages")
        return Ending(state=MessageState.ANSWERED, receipts=settled.receipts, words=settled.words)

    async def _name(self, label: Label) -> Ending:
        """Give a number the name that the customer says it has, without the model."""

        def give(tx: Tx) -> str:
            journal.guard(tx, self._message.conversation_id, self._begun.claim.epoch)
            now = to_text(self._clock.now())
            return labels.name(tx, self._begun.customer_id, label, now=now)

        words = await self._database.write(give)
        return Ending(state=MessageState.ANSWERED, words=words)

    async def _name_cards(self) -> list[str]:
        """Give the numbers on contact cards their names; what to tell the customer."""
        shared = labels.shared_in(self._begun.content, self._begun.context)
        if not shared:
            return []

        def give(tx: Tx) -> list[str]:
            journal.guard(tx, self._message.conversation_id, self._begun.claim.epoch)
            now, customer_id = to_text(self._clock.now()), self._begun.customer_id
            return [labels.name_by_card(tx, customer_id, label, now=now) for label in shared]

        return await self._database.write(give)

    async def _receipts_alone(self) -> Ending:
        message_id, revision = self._message.message_id, self._begun.claim.revision

        def look(tx: Tx) -> tuple[str, ...]:
            done = consent.current_lines(tx, message_id, self._business)
            return unique([*done, *receipts_read(tx, message_id, revision)])

        return Ending(state=MessageState.ANSWERED, receipts=await self._database.read(look))

    async def _converse(self) -> Ending:
        receipts: list[str | None] = [*await self._name_cards()]
        base = await self._base()
        rounds: list[dict[str, Any]] = []
        for _ in range(ROUNDS_MAX):
            try:
                answer, base = await self._model_step(base, rounds)
            except FilteredError:
                return Ending(
                    state=MessageState.ANSWERED,
                    receipts=unique(receipts),
                    words="" if any(receipts) else FILTERED,
                    reason="content_filter",
                )
            if not answer.tool_calls:
                return Ending(
                    state=MessageState.ANSWERED,
                    receipts=unique(receipts),
                    words=answer.text,
                    is_by_model=True,
                )
            rounds.append(assistant_message(answer))
            for place, call in enumerate(answer.tool_calls):
                step = await self._tool_step(call, place, is_fallback=answer.is_fallback)
                receipts.append(step.receipt)
                rounds.append(tool_message(call.id, step.result))
            goes_on = self._number + 1 in self._stored  # of an attempt that died further on
            if not goes_on and await self._database.read(self._has_asked):
                return Ending(state=MessageState.ANSWERED, receipts=unique(receipts))
        raise RejectedError(f"The model called tools {ROUNDS_MAX} times without an answer.")

    def _has_open_call(self, tx: Tx) -> bool:
        return bool(outside_calls.open_calls(tx, self._message.message_id))

    def _has_asked(self, tx: Tx) -> bool:
        """Whether something is pending now that only the customer can say yes to."""
        return bool(ledger.open_of_message(tx, self._message.message_id))

    async def _base(self) -> Base:
        def look(tx: Tx) -> tuple[str | None, tuple[ChatMessage, ...]]:
            name = customers.name_of(tx, self._begun.customer_id)
            return name, recent_history(tx, self._message.conversation_id)

        name, history = await self._database.read(look)
        await self._note_foreign(history)
        return Base(
            system=system_text(
                self._business,
                customer_name=name,
                knowledge=self._knowledge,
                quotation=self._begun.quotation,
            ),
            history=history,
            context=context_text(
                self._business, now=self._clock.now(), is_late=self._begun.is_late
            ),
            words=words_for_model(self._begun.content, self._begun.context) or "",
        )

    async def _note_foreign(self, history: Sequence[ChatMessage]) -> None:
        """Keep, before a model reads the prompt, that another person's words are in it."""
        quotation = self._begun.quotation
        is_quoted = quotation is not None and quotation.is_foreign
        if is_quoted or is_foreign(self._begun.content, self._begun.context):
            met = ForeignWords.READ
        elif any(line.is_foreign for line in history):
            met = ForeignWords.IN_HISTORY
        else:
            return
        message = self._message

        def note(tx: Tx) -> None:
            journal.guard(tx, message.conversation_id, self._begun.claim.epoch)
            messages.note_foreign(tx, message.message_id, met)

        await self._database.write(note)

    async def _model_step(
        self, base: Base, rounds: Sequence[Mapping[str, Any]]
    ) -> tuple[Answer, Base]:
        """The next answer, stored or asked for, and the prompt's base that it fitted."""
        number = self._take_number()
        if (stored := self._stored.get(number)) is not None:
            return msgspec.json.decode(stored.content, type=Answer), base
        started = self._clock.monotonic()
        self.is_asking = True
        slow = asyncio.get_running_loop().call_later(self._tell_in_s(), self._tell_slow)
        try:
            answer, base = await self._fitting(base, rounds)
        finally:
            slow.cancel()
            duration_ms = elapsed_ms(started, self._clock.monotonic())
            self.model_ms += duration_ms
        self.is_asking = False
        content = msgspec.json.encode(answer).decode()

        def keep(tx: Tx) -> None:
            self._keep(tx, Step(number, "model", content, duration_ms))
            waiting_notices.note_answered(tx, self._message.conversation_id)

        await self._database.write(keep)
        return answer, base

    async def _fitting(
        self, base: Base, rounds: Sequence[Mapping[str, Any]]
    ) -> tuple[Answer, Base]:
        """The model's answer; what is too long for it is asked again with less of the past."""
        while True:
            try:
                answer = await self._models.complete(
                    [*base.messages(), *rounds],
                    model=self._model_name,
                    tools=toolbox.definitions(),
                    fallback_tools=self._fallback_tools,
                )
            except TooLongError:
                if not base.history:
                    raise
                base = msgspec.structs.replace(base, history=shorter(base.history))
            else:
                return answer, base

    async def _fallback_tools(self) -> Sequence[Mapping[str, Any]]:
        """Once money moved, another model only words the reply."""
        message_id = self._message.message_id
        moved = await self._database.read(lambda tx: journal.moved_money(tx, message_id))
        return () if moved else toolbox.definitions()

    def _tell_in_s(self) -> float:
        waited = self._clock.now() - from_text(self._begun.claim.first_began_at)
        return waiting_notice.due_in_s(waited.total_seconds(), is_asking=True)

    async def _tool_step(
        self, call: ToolCall, place: int, *, is_fallback: bool
    ) -> toolbox.ToolStep:
        if place >= CALLS_PER_ANSWER_MAX:
            sentence = f"At most {CALLS_PER_ANSWER_MAX} calls in one answer are looked at."
            return toolbox.refusal(call, sentence)
        number = self._take_number()
        if (stored := self._stored.get(number)) is not None:
            return msgspec.json.decode(stored.content, type=toolbox.ToolStep)
        must_ask = self._reasons_to_ask(call, is_fallback=is_fallback)
        outside = toolbox.OUTSIDE_TOOLS.get(call.name)
        if outside is not None:
            return await self._outside_step(outside, call, number, must_ask=must_ask)
        started = self._clock.monotonic()
        may_act = await self._are_books_right()
        step = await self._database.write(
            lambda tx: self._act(tx, call, number, may_act=may_act, must_ask=must_ask)
        )
        self.tools_ms += elapsed_ms(started, self._clock.monotonic())
        if step.notify_conversation_id is not None:
            self._notify_outbound(step.notify_conversation_id, self._business.id)
        return step

    def _act(
        self,
        tx: Tx,
        call: ToolCall,
        number: int,
        *,
        may_act: bool,
        must_ask: frozenset[AskReason],
    ) -> toolbox.ToolStep:
        # The effect and the journal's record of it are one transaction: both or neither.
        started = self._clock.monotonic()
        journal.guard(tx, self._message.conversation_id, self._begun.claim.epoch)
        is_held = conflicts.is_held(tx, self._begun.customer_id)
        context = self._context(tx, must_ask)
        act = toolbox.call(tx, context, call) if may_act and not is_held else None
        step = act or toolbox.refusal(call, HELD if is_held else BOOKS_ARE_WRONG)
        self._keep_tool_step(tx, number, step, started)
        return step

    async def _outside_step(
        self, tool: OutsideTool, call: ToolCall, number: int, *, must_ask: frozenset[AskReason]
    ) -> toolbox.ToolStep:
        """A call to another system, between two transactions: one opens it, one closes it.

        Whatever ends the turn in between leaves it open, and the next attempt makes it again.
        """
        started = self._clock.monotonic()

        def open_(tx: Tx) -> OutsideCall | toolbox.ToolStep:
            journal.guard(tx, self._message.conversation_id, self._begun.claim.epoch)
            opened = toolbox.open_call(tx, self._context(tx, must_ask), tool, call)
            if isinstance(opened, toolbox.ToolStep):
                self._keep_tool_step(tx, number, opened, started)
            return opened

        def close(tx: Tx, opened: OutsideCall, outcome: Outcome) -> toolbox.ToolStep:
            journal.guard(tx, self._message.conversation_id, self._begun.claim.epoch)
            step = toolbox.close_call(tx, self._context(tx, must_ask), call, opened, outcome)
            self._keep_tool_step(tx, number, step, started)
            return step

        try:
            opened = await self._database.write(open_)
            if isinstance(opened, toolbox.ToolStep):
                return opened
            outcome = await tool.call(opened.key, opened.request)
            return await self._database.write(lambda tx: close(tx, opened, outcome))
        finally:
            self.tools_ms += elapsed_ms(started, self._clock.monotonic())

    def _context(self, tx: Tx, must_ask: frozenset[AskReason]) -> PaymentContext:
        return PaymentContext(
            # As it is now, not as it was cached: a limit counts from the moment it is set.
            business=businesses.required(tx, self._business.id),
            customer_id=self._begun.customer_id,
            message_id=self._message.message_id,
            now=to_text(self._clock.now()),
            quotation=self._begun.quotation,
            words=typed_in(self._begun.content, self._begun.context),
            must_ask=must_ask,
        )

    def _keep_tool_step(self, tx: Tx, number: int, step: toolbox.ToolStep, started: float) -> None:
        content = msgspec.json.encode(step).decode()
        duration_ms = elapsed_ms(started, self._clock.monotonic())
        self._keep(tx, Step(number, "tool", content, duration_ms))

    def _reasons_to_ask(self, call: ToolCall, *, is_fallback: bool) -> frozenset[AskReason]:
        quotation = self._begun.quotation
        is_read = quotation is not None and quotation.text is not None
        reasons = {
            AskReason.QUOTATION: is_read,
            AskReason.CAME_AS_TEXT: call.came_as_text,
            AskReason.FALLBACK_MODEL: is_fallback,
        }
        return frozenset(reason for reason, applies in reasons.items() if applies)

    def _keep(self, tx: Tx, step: Step) -> None:
        claim, message = self._begun.claim, self._message
        journal.guard(tx, message.conversation_id, claim.epoch)
        now = to_text(self._clock.now())
        journal.add_step(tx, message.message_id, claim.revision, step=step, now=now)

    def _take_number(self) -> int:
        if self._is_stopping():
            raise StoppingError("The service is stopping.")
        self._number += 1
        return self._number
