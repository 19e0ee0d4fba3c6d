"""What an endpoint takes for a model, and how its refusals teach that."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import TypeAlias

import msgspec

from wbot.clients.model.refusals import Refusal


class Api(StrEnum):
    """The two forms of the API."""

    CHAT = "chat"
    RESPONSES = "responses"


AUTO = "auto"


class Effort(StrEnum):
    """Which reasoning effort is asked for."""

    GIVEN = "given"  # the operator's, if any
    NONE = "none"
    OMITTED = "omitted"


class SystemRole(StrEnum):
    """How the instructions are sent."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"


CAPS = ("max_completion_tokens", "max_tokens", "")
"""Names of the cap in Chat Completions, in the order they are tried; none at last."""
RESPONSES_CAPS = ("max_output_tokens", "")
STATUSES = {400, 404, 405, 415, 422, 500, 501}
"""Of refusals that may be about the form; some servers answer 500 for a prompt's template."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way to write a request; the default is what most endpoints take."""

    api: Api = Api.CHAT
    cap: str = CAPS[0]
    responses_cap: str = RESPONSES_CAPS[0]
    room: int = 1
    """By how much the cap is raised, for a model that thinks within it."""
    room_max: int | None = None
    """Tokens that the endpoint allows at most."""
    effort: Effort = Effort.GIVEN
    system: SystemRole = SystemRole.SYSTEM
    has_one_system: bool = False
    """All instructions stand in the first message."""
    alternates: bool = False
    """User and assistant take turns, the user first."""
    splits_calls: bool = False
    """An assistant's message has one call at most."""
    has_null_content: bool = True
    hands_back: bool = True
    """What an answer holds beside words and calls is handed back in the turn."""
    drops: tuple[str, ...] = ()
    """Fields of it that are not."""
    fills: tuple[str, ...] = ()
    """Fields that every message or call of an assistant must have."""
    is_lean: bool = False
    """Schemas without `additionalProperties` and `strict`."""
    omits: tuple[str, ...] = ()
    """Parameters of the Responses form that are left out."""

    @property
    def summary(self) -> str:
        """What was found out, for the operator."""
        api = "Responses" if self.api is Api.RESPONSES else "Chat Completions"
        fields = msgspec.to_builtins(self)
        found = [f"{name} {_shown(value)}" for name, value in fields.items() if name != "api"]
        return f"{api}{', ' if found else ''}{', '.join(found)}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value) or "none"


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds the search besides the refusal."""

    api: str = AUTO
    """The operator's choice."""
    has_tools: bool = True
    has_effort: bool = False
    cap: int | None = None
    """Tokens that the refused request allowed."""
    opaque_keys: frozenset[str] = frozenset()
    """The fields handed back in the refused request."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A refused dialect and what was said of it."""

    dialect: Dialect
    refusal: Refusal
    known: Known

    @property
    def words(self) -> str:
        return self.refusal.words

    def but(self, **changes: object) -> Dialect:
        """The refused dialect with something changed."""
        return msgspec.structs.replace(self.dialect, **changes)


_Found: TypeAlias = Iterator[Dialect]

_UNKNOWN = re.compile(
    r"unsupported|not supported|n't support|not support|unknown|unrecogni[sz]ed|unexpected|"
    r"not permitted|forbidden|not allowed|n't allowed|extra|invalid|not available|instead|"
    r"not recogni[sz]ed|disallowed|not a valid|no such|cannot|can't|deprecated|ignored|rejected|"
    r"not found|does not exist|not match|not enabled|no longer|incompatible|must not|not accept|"
    r"should not|not implemented|additional propert"
)
_USE_RESPONSES = re.compile(
    r"v1/responses|responses (?:api|endpoint)|not (?:a chat model|supported in (?:the )?v1/chat)"
    r"|only (?:supported|available) (?:in|with|through|via) (?:the )?responses"
)
_USE_CHAT = re.compile(r"chat/completions|chat completions|chat-completions")
_EFFORT = re.compile(r"reasoning[_. ]effort|reasoning\.effort|\breasoning\b.{0,30}param|\beffort\b")
_EFFORT_NONE = re.compile(r"(?:effort|reasoning)[^.]{0,40}['\"`]?none['\"`]?")
_TOO_MUCH_ROOM = re.compile(
    r"(?:max_(?:completion_|output_)?tokens|max output tokens|maxoutputtokens|completion tokens)"
    r".{0,120}?(?:too large|too high|at most|less than or equal to|<=|maximum|exceed|up to|"
    r"between|supports|range|cannot be greater|must be below|limit)",
    re.DOTALL,
)
_CONTEXT = re.compile(r"context (?:length|window|size)|maximum context|n_ctx")
_WHOLE = re.compile(r"(?<![\w.])\d{2,7}(?![\w.]*\d)")
_ALTERNATE = re.compile(
    r"roles? must (?:strictly )?alternate|must alternate|alternat\w+ (?:between )?"
    r"[\"'`]?(?:user|roles?)|multiple (?:consecutive )?(?:user|assistant) messages|"
    r"consecutive (?:messages|user|assistant|roles)|same role|"
    r"expected (?:last )?role user|(?:first|initial) (?:non-system )?message must (?:be|have)|"
    r"(?:start|begin)s? with (?:a |the )?[\"'`]?user|incorrect role (?:order|information)|"
    r"roles? (?:order|sequence)|after the optional system message"
)
_ONE_SYSTEM = re.compile(
    r"system[^.]{0,80}(?:beginning|at the start|first|position|only one|more than one)"
    r"|(?:only one|single|multiple|more than one|first)[^.]{0,40}system"
    r"|unexpected role [\"'`]?system[\"'`]? after"
)
_SYSTEM = re.compile(
    r"system (?:role|messages?|prompts?|instructions?)[^.]{0,60}(?:not|n't|un)"
    r"|(?:not|n't|un)\s?support(?:ed)?[^.]{0,40}[\"'`]?system[\"'`]?"
    r"|developer instruction is not enabled|role[^.]{0,60}[\"'`]?system[\"'`]? (?:is not|with)"
    r"|[\"'`]system[\"'`]? (?:is not|not) (?:one of|a valid|valid|supported|allowed)"
    r"|(?:unknown|invalid|unexpected|unsupported) (?:message )?role:?\s*[\"'`]?system"
    r"|unexpected role [\"'`]?system"
)
_SINGLE_CALLS = re.compile(
    r"single tool[\s-]?calls?|one tool[\s_]call|multiple tool[\s_]?calls|"
    r"parallel[\s_](?:tool|function)[\s_]?call|only supports? single|more than one tool"
)
_NULL_CONTENT = re.compile(
    r"content[\"'`\])]*[^\n]{0,80}(?:null|none|nil|missing|required|empty|blank|must be a string|"
    r"should be a (?:valid )?string|string type|not be omitted|undefined)"
    r"|(?:null|none|nil|nonetype)[^\n]{0,40}content|expected a string, got null|"
    r"expected string.{0,20}null|nonetype|text content is empty"
)
_MISSING = re.compile(
    r"(?:missing|required|must (?:be|have|include|contain|provide)|must be passed back|without)"
)
_FILLS = {
    "reasoning_content": re.compile(r"reasoning_content"),
    "thought_signature": re.compile(r"thought[_ ]?signature"),
}
_REASONING = re.compile(
    r"reasoning|thinking|thought|signature|extra_content|encrypted[_ ]content|\brs_|item with id"
    r"|messages?[.\[]\d[^\n]*(?:extra|unknown|unsupported|additional)"
)
_LEAN = re.compile(r"additional_?properties|\bstrict\b|schema")
_OMITTED = {
    "include": re.compile(r"encrypted[_ ]content|\binclude\b"),
    "store": re.compile(
        r"(?:parameter|argument|field|name|property|body)[.:\s]*[\"'`]*store\b"
        r"|\bstore[\"'`]*[^.]{0,20}(?:not permitted|not supported|unsupported|unknown|unrecogn)"
    ),
}


def advice_of(refusal: Refusal, known: Known) -> str | None:
    """What to set where the operator's choice of the API is what is refused."""
    words = refusal.words
    if known.api == Api.CHAT and _USE_RESPONSES.search(words):
        return "The model asks for the Responses API: set WBOT_MODEL_API=auto or responses."
    if known.api == Api.RESPONSES and refusal.status in {404, 405, 501} and "model" not in words:
        return "The endpoint has no Responses API: set WBOT_MODEL_API=auto or chat."
    return None


def candidates(dialect: Dialect, refusal: Refusal, known: Known) -> Iterator[Dialect]:
    """What may be taken instead of the refused dialect, the likeliest first."""
    if refusal.status not in STATUSES:
        return
    case = Case(dialect=dialect, refusal=refusal, known=known)
    rules = (
        _other_api,
        _other_effort,
        _less_room,
        _other_cap,
        _turns,
        _single_calls,
        _one_system,
        _other_system,
        _dropped,
        _filled,
        _content,
        _lean,
        _omitted,
        _handed_back,
    )
    for rule in rules:
        for found in rule(case):
            if found != dialect:
                yield found


def _other_api(case: Case) -> _Found:
    if case.known.api != AUTO:
        return
    is_chat, is_missing = case.dialect.api is Api.CHAT, case.refusal.status in {404, 405, 501}
    is_no_model = is_missing and "model" not in f"{case.refusal.code} {case.words}"
    if is_chat and (_USE_RESPONSES.search(case.words) or is_no_model):
        yield case.but(api=Api.RESPONSES)
    if not is_chat and (is_missing or _USE_CHAT.search(case.words)):
        yield case.but(api=Api.CHAT, effort=Effort.NONE)
        yield case.but(api=Api.CHAT)


def _other_effort(case: Case) -> _Found:
    if not _EFFORT.search(case.words):
        return
    if _EFFORT_NONE.search(case.words) and case.dialect.effort is not Effort.NONE:
        yield case.but(effort=Effort.NONE)
    if case.known.has_effort or case.dialect.effort is Effort.NONE:
        yield case.but(effort=Effort.OMITTED)


def _less_room(case: Case) -> _Found:
    if _CONTEXT.search(case.words) or not _TOO_MUCH_ROOM.search(case.words):
        return
    limits = sorted({int(number) for number in _WHOLE.findall(case.refusal.sentence)}, reverse=True)
    for limit in limits:
        if case.known.cap is None or limit < case.known.cap:
            yield case.but(room_max=limit)


def _other_cap(case: Case) -> _Found:
    is_chat = case.dialect.api is Api.CHAT
    cap, caps = (
        (case.dialect.cap, CAPS) if is_chat else (case.dialect.responses_cap, RESPONSES_CAPS)
    )
    if not cap or not re.search(rf"(?<!\w){cap}(?!\w)", case.words):
        return
    if not _UNKNOWN.search(case.words):
        return
    for other in caps:
        if other != cap:
            yield case.but(**{"cap" if is_chat else "responses_cap": other})


def _turns(case: Case) -> _Found:
    if _ALTERNATE.search(case.words):
        yield case.but(alternates=True)


def _single_calls(case: Case) -> _Found:
    if _SINGLE_CALLS.search(case.words):
        yield case.but(splits_calls=True)


def _one_system(case: Case) -> _Found:
    if _ONE_SYSTEM.search(case.words):
        yield case.but(has_one_system=True)


def _other_system(case: Case) -> _Found:
    if _SYSTEM.search(case.words) or (
        case.dialect.system is SystemRole.DEVELOPER and "developer" in case.words
    ):
        if case.dialect.system is SystemRole.SYSTEM and "developer instruction" not in case.words:
            is_named = "developer" in case.words or "with this model" in case.words
            if is_named:
                yield case.but(system=SystemRole.DEVELOPER)
        yield case.but(system=SystemRole.USER)


def _filled(case: Case) -> _Found:
    for field, pattern in _FILLS.items():
        if pattern.search(case.words) and _MISSING.search(case.words):
            yield case.but(fills=_with(case.dialect.fills, field), hands_back=True)


def _dropped(case: Case) -> _Found:
    if not case.dialect.hands_back or not _UNKNOWN.search(case.words):
        return
    named = [key for key in sorted(case.known.opaque_keys) if _names(case.words, key)]
    if named:
        yield case.but(drops=_with(case.dialect.drops, *named))


def _handed_back(case: Case) -> _Found:
    """Reasoning that a provider refuses although it is its own: dropped, and once."""
    if case.known.opaque_keys and case.dialect.hands_back and _REASONING.search(case.words):
        yield case.but(hands_back=False)


def _content(case: Case) -> _Found:
    if case.dialect.api is Api.CHAT and _NULL_CONTENT.search(case.words):
        yield case.but(has_null_content=False)


def _omitted(case: Case) -> _Found:
    if case.dialect.api is not Api.RESPONSES:
        return
    for name, pattern in _OMITTED.items():
        if pattern.search(case.words) and _UNKNOWN.search(case.words):
            yield case.but(omits=_with(case.dialect.omits, name))


def _lean(case: Case) -> _Found:
    if case.known.has_tools and _LEAN.search(case.words):
        yield case.but(is_lean=True)


def _with(names: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return tuple(sorted({*names, *more}))


def _names(words: str, key: str) -> bool:
    return re.search(rf"(?<![a-z_]){re.escape(key.lower())}(?![a-z_])", words) is not None
