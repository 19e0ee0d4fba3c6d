"""An OpenAI-compatible endpoint in both forms, answered by the offline interpreter or a script."""

import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import msgspec
from aiohttp import web

from wbot.clients.offline import completion_of, interpret
from wbot.clock import Clock
from wbot.domain.errors import RefusedError
from wbot.ingress.bodies import read_body
from wbot.simulator.call_log import Record
from wbot.simulator.faults.plan import Endpoint, Fault, Faults
from wbot.simulator.faults.server import FaultInjector
from wbot.simulator.graph.media import BODY_BYTES_MAX
from wbot.simulator.model.responses import ResponseFormError, chat_of, response_of
from wbot.simulator.webhooks.evidence import Evidence, Exchange

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})

Scripted = dict[str, Any] | str | web.StreamResponse
Shape = Callable[[dict[str, Any]], dict[str, Any]]
"""From a completion of a chat to the answer in the form that was asked."""
Responder = Callable[[dict[str, Any]], Scripted | Awaitable[Scripted]]
"""From a request to a completion, the text of one, or a whole response."""


class CompletionError(RefusedError):
    """A request that the endpoint refuses, in the shape OpenAI gives errors."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        error_type: str = "invalid_request_error",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = {"message": message, "type": error_type, "param": param, "code": code}

    def to_response(self) -> web.Response:
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return web.json_response({"error": self.body}, status=self.status, headers=headers)


@web.middleware
async def completion_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns a CompletionError into the answer an OpenAI-compatible endpoint gives."""
    try:
        return await handler(request)
    except CompletionError as error:
        return error.to_response()


class ChatCompletions:
    """`POST /v1/chat/completions`, `POST /v1/responses` and `GET /v1/models`.

    `responder` scripts the answers, as completions of a chat in either form.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        api_key: str,
        models: Sequence[str],
        delay_s: float,
        faults: Faults,
        record: Record,
        evidence: Evidence,
        fault_injector: FaultInjector,
    ) -> None:
        self.responder: Responder | None = None
        self._clock = clock
        self._random = random
        self._api_key = api_key
        self._models = tuple(models)
        self._delay_s = delay_s
        self._faults = faults
        self._record = record
        self._evidence = evidence
        self._fault_injector = fault_injector

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self._complete),
            web.post("/v1/responses", self._respond_to),
            web.get("/v1/models", self._list),
            web.get("/v1/models/{model}", self._describe),
        ]

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        body = self._checked(await read_body(request, BODY_BYTES_MAX))
        return await self._answered(request, body, lambda completion: completion)

    async def _respond_to(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        asked = _decoded(await read_body(request, BODY_BYTES_MAX))
        try:
            body = chat_of(asked)
        except ResponseFormError as error:
            raise CompletionError(str(error), param=error.param) from None
        self._check_chat(body)
        number = f"{self._random.getrandbits(96):024x}"
        return await self._answered(
            request, body, lambda completion: response_of(completion, number)
        )

    async def _answered(
        self, request: web.Request, body: dict[str, Any], shaped: Shape
    ) -> web.StreamResponse:
        self._record.add_completion(body)

        async def act() -> web.StreamResponse:
            return await self._respond(body, shaped)

        fault = self._faults.next_fault(Endpoint.MODEL, _last_text(body["messages"]))
        with self._evidence.during(Exchange.MODEL):
            return await self._fault_injector.answer(request, fault, act=act, refuse=_refusal)

    async def _respond(self, body: dict[str, Any], shaped: Shape) -> web.StreamResponse:
        if self._delay_s > 0:
            await self._clock.sleep(self._delay_s)
        scripted = self.responder(body) if self.responder else self._interpreted(body)
        if inspect.isawaitable(scripted):
            scripted = await scripted
        if isinstance(scripted, str):
            scripted = self._interpreted(body, text=scripted)
        if isinstance(scripted, web.StreamResponse):
            return scripted
        return web.json_response(shaped(scripted))

    def _interpreted(self, body: dict[str, Any], *, text: str | None = None) -> dict[str, Any]:
        answer = interpret(body["messages"])
        if text is not None:
            answer = msgspec.structs.replace(answer, text=text, tool_calls=())
        created = int(self._clock.now().timestamp())
        completion_id = f"chatcmpl-{self._random.getrandbits(96):024x}"
        completion = completion_of(answer, created=created, completion_id=completion_id)
        return completion | {"model": body["model"]}

    async def _list(self, request: web.Request) -> web.Response:
        self._check_key(request)
        models = [_model_object(name) for name in self._models]
        return web.json_response({"object": "list", "data": models})

    async def _describe(self, request: web.Request) -> web.Response:
        self._check_key(request)
        model = request.match_info["model"]
        self._check_model(model)
        return web.json_response(_model_object(model))

    def _check_key(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {self._api_key}":
            raise CompletionError("The API key is not valid.", status=401, code="invalid_api_key")

    def _check_model(self, model: Any) -> None:
        if not isinstance(model, str) or not model:
            raise CompletionError("A model must be named.", param="model")
        if model not in self._models:
            raise CompletionError(
                f"There is no model {model!r} here.", status=404, code="model_not_found"
            )

    def _checked(self, raw: bytes) -> dict[str, Any]:
        body = _decoded(raw)
        self._check_chat(body)
        return body

    def _check_chat(self, body: dict[str, Any]) -> None:
        self._check_model(body.get("model"))
        if body.get("stream"):
            raise CompletionError("Streaming is not simulated.", param="stream")
        check_messages(body.get("messages"))


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise CompletionError("The request body is not JSON.") from None
    if not isinstance(body, dict):
        raise CompletionError("The request body is not a JSON object.")
    return body


def check_messages(messages: Any) -> None:
    """Raises CompletionError unless roles are known and each tool call has its one answer."""
    if not isinstance(messages, list) or not messages:
        raise CompletionError("There must be at least one message.", param="messages")
    open_calls: set[str] = set()
    for position, message in enumerate(messages):
        where = f"messages[{position}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            raise CompletionError("This role is unknown.", param=f"{where}.role")
        if role == "tool":
            _answer_call(message, open_calls, where)
            continue
        _check_all_answered(open_calls, where)
        open_calls = _calls_of(message, where)
    _check_all_answered(open_calls, "messages")


def _answer_call(message: dict[str, Any], open_calls: set[str], where: str) -> None:
    call_id = message.get("tool_call_id")
    if call_id not in open_calls:
        raise CompletionError("This tool message answers no open tool call.", param=where)
    open_calls.discard(call_id)


def _check_all_answered(open_calls: set[str], where: str) -> None:
    if open_calls:
        unanswered = ", ".join(sorted(open_calls))
        raise CompletionError(f"Tool calls without an answer: {unanswered}", param=where)


def _calls_of(message: dict[str, Any], where: str) -> set[str]:
    calls = message.get("tool_calls") or []
    if not calls and not isinstance(message.get("content"), (str, list)):
        raise CompletionError("This message has no content.", param=f"{where}.content")
    if calls and message["role"] != "assistant":
        raise CompletionError("Only the assistant calls tools.", param=where)
    ids = {call.get("id") for call in calls if isinstance(call, dict)}
    if len(ids) != len(calls) or not all(isinstance(one, str) for one in ids):
        raise CompletionError("Each tool call needs an id of its own.", param=where)
    return {str(one) for one in ids}


def _last_text(messages: Sequence[dict[str, Any]]) -> str:
    texts = [one.get("content") for one in messages if one["role"] == "user"]
    return str(texts[-1]) if texts else ""


def _model_object(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}


def _refusal(fault: Fault) -> web.StreamResponse:
    error = CompletionError(
        fault.message,
        status=fault.status,
        code=fault.error_type or None,
        error_type=fault.error_type or "server_error",
        retry_after_s=fault.retry_after_s,
    )
    return error.to_response()
