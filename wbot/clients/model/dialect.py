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
    opaque_keys: frozenset[str] = frozenset()
    """The fields handed back in the refused request."""


_Found: TypeAlias = Iterator[Dialect]

_UNKNOWN = re.compile(
    r"unsupported|not supported|n't support|not support|unknown|unrecogni[sz]ed|unexpected|"
    r"not permitted|forbidden|not allowed|n't allowed|extra|invalid|not available|instead|"
    r"not recogni[sz]ed|disallowed|not a valid|no such|cannot|can't|deprecated|ignored|rejected|"
    r"not found|does not exist|not match|not enabled|no longer|incompatible|must not|not accept|"
    r"should not|not implemented|additional propert"
)
_NO_TOOLS = re.compile(
    r"(?:does not|doesn't|do not|don't|not|no endpoints found that|cannot|can't|n't)\s+"
    r"(?:currently\s+|yet\s+)?"
    r"(?:support|use|handle|accept)s?\s+(?:for\s+)?(?:the\s+)?(?:use of\s+)?(?:function\s+)?"
    r"(?:native\s+)?"
    r"[`'\"]?(?:tools?|tool[\s_-](?:use|calls?|calling|choice)|functions?|function[\s_-]call(?:s|ing)?)\b"
    r"|(?:tools?|`tools`|tool[\s_-](?:use|calls?|calling)|functions?|function[\s_-]call(?:s|ing)?)"
    r"[`'\"]?\s+(?:param(?:eter)?\s+)?(?:is|are)\s+(?:currently\s+)?"
    r"(?:not\s+(?:supported|enabled|available|implemented|allowed)|unsupported|disabled)"
    r"|no endpoints found that support tool|--enable-auto-tool-choice|--tool-call-parser"
    r"|requires? --jinja|unsupported (?:parameter|param|feature)[^.]{0,20}\btools\b"
    r"|unknown (?:name|field|parameter)[:\s]+[\"'`]?tools\b"
    r"|property [\"'`]tools[\"'`] is unsupported|\btools\b[^.]{0,20}extra inputs are not permitted"
)
_NOT_ABOUT_ALL_TOOLS = re.compile(
    r"parallel|/v1/responses|responses api|reasoning[_ ]effort|single tool|multiple tool|strict"
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
    r"reasoning|thinking|thought|signature|extra_content|encrypted[_ ]content|\brs_|item with id|"
    r"extra inputs|unknown (?:field|name|parameter)|additional propert|is unsupported"
)
_LEAN = re.compile(r"additional_?properties|\bstrict\b|schema")
_OMITTED = {
    "include": re.compile(r"encrypted[_ ]content|\binclude\b"),
    "store": re.compile(r"\bstore\b"),
}
_UNRELATED = re.compile(
    r"context (?:length|window|size)|maximum context|too long|too many tokens|n_ctx|quota|credit|"
    r"billing|balance|api key|api_key|content[_ ](?:filter|policy|management)|safety|moderation|"
    r"image|country|region|does not exist|not found|no access|rate limit|overloaded|json body"
)
_FILTER = re.compile(
    r"content_filter|content filter|responsibleaipolicy|content management policy|"
    r"content_policy_violation|flagged|prohibited_content|moderation|guardrail_intervened|"
    r"data_inspection_failed|inappropriate content|safety system|content exists risk"
)
_FILTER_STATUSES = {400, 403, 422, 451}


def takes_no_tools(refusal: Refusal, known: Known) -> bool:
    """Whether the endpoint says that this model takes no tools at all."""
    if not known.has_tools or _NOT_ABOUT_ALL_TOOLS.search(refusal.words):
        return False
    return bool(_NO_TOOLS.search(refusal.words))


def is_filtered(refusal: Refusal) -> bool:
    """Whether it is a content filter that refused, and not the endpoint."""
    if refusal.status not in _FILTER_STATUSES:
        return False
    return bool(_FILTER.search(f"{refusal.code or ''} {refusal.words}".lower()))


def is_unexplained(refusal: Refusal) -> bool:
    """Whether it may be the form that was refused, in words that nobody here knows."""
    return refusal.status in {400, 422} and not _UNRELATED.search(refusal.words)


def candidates(dialect: Dialect, refusal: Refusal, known: Known) -> Iterator[Dialect]:
    """What may be taken instead of the refused dialect, the likeliest first."""
    if refusal.status not in STATUSES:
        return
    rules = (
        _other_api,
        _other_effort,
        _less_room,
        _other_cap,
        _turns,
        _single_calls,
        _other_system,
        _filled,
        _handed_back,
        _content,
        _omitted,
        _lean,
    )
    for rule in rules:
        for found in rule(dialect, refusal, known):
            if found != dialect:
                yield found


def _change(dialect: Dialect, **changes: object) -> Dialect:
    return msgspec.structs.replace(dialect, **changes)


def _other_api(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    if known.api != AUTO:
        return
    if dialect.api is Api.CHAT and _USE_RESPONSES.search(refusal.words):
        yield _change(dialect, api=Api.RESPONSES)
    if dialect.api is Api.RESPONSES and (
        refusal.status in {404, 405, 501} or _USE_CHAT.search(refusal.words)
    ):
        yield _change(dialect, api=Api.CHAT, effort=Effort.NONE)
        yield _change(dialect, api=Api.CHAT)


def _other_effort(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    if not _EFFORT.search(refusal.words):
        return
    if _EFFORT_NONE.search(refusal.words) and dialect.effort is not Effort.NONE:
        yield _change(dialect, effort=Effort.NONE)
    if known.has_effort or dialect.effort is Effort.NONE:
        yield _change(dialect, effort=Effort.OMITTED)


def _less_room(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    if _CONTEXT.search(refusal.words) or not _TOO_MUCH_ROOM.search(refusal.words):
        return
    limits = sorted({int(number) for number in _WHOLE.findall(refusal.sentence)}, reverse=True)
    for limit in limits:
        if dialect.room_max is None or limit < dialect.room_max:
            yield _change(dialect, room_max=limit)


def _other_cap(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    is_chat = dialect.api is Api.CHAT
    cap, caps = (dialect.cap, CAPS) if is_chat else (dialect.responses_cap, RESPONSES_CAPS)
    if not cap or not re.search(rf"(?<!\w){cap}(?!\w)", refusal.words):
        return
    if not _UNKNOWN.search(refusal.words):
        return
    for other in caps:
        if other != cap:
            yield _change(dialect, **{"cap" if is_chat else "responses_cap": other})


def _turns(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    if _ALTERNATE.search(refusal.words):
        yield _change(dialect, alternates=True)


def _single_calls(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    if _SINGLE_CALLS.search(refusal.words):
        yield _change(dialect, splits_calls=True)


def _other_system(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    if _SYSTEM.search(refusal.words) or (
        dialect.system is SystemRole.DEVELOPER and "developer" in refusal.words
    ):
        if dialect.system is SystemRole.SYSTEM and "developer instruction" not in refusal.words:
            is_named = "developer" in refusal.words or "with this model" in refusal.words
            if is_named:
                yield _change(dialect, system=SystemRole.DEVELOPER)
        yield _change(dialect, system=SystemRole.USER)


def _filled(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    for field, pattern in _FILLS.items():
        if pattern.search(refusal.words) and _MISSING.search(refusal.words):
            yield _change(dialect, fills=_with(dialect.fills, field), hands_back=True)


def _handed_back(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    """Reasoning that a provider refuses although it is its own: dropped, and once."""
    if not (known.opaque_keys and dialect.hands_back):
        return
    named = [key for key in sorted(known.opaque_keys) if _names(refusal.words, key)]
    if named and _UNKNOWN.search(refusal.words):
        yield _change(dialect, drops=_with(dialect.drops, *named))
    if named or _REASONING.search(refusal.words):
        yield _change(dialect, hands_back=False)


def _content(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    if dialect.api is Api.CHAT and _NULL_CONTENT.search(refusal.words):
        yield _change(dialect, has_null_content=False)


def _omitted(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    if dialect.api is not Api.RESPONSES:
        return
    for name, pattern in _OMITTED.items():
        if pattern.search(refusal.words) and _UNKNOWN.search(refusal.words):
            yield _change(dialect, omits=_with(dialect.omits, name))


def _lean(dialect: Dialect, refusal: Refusal, known: Known) -> _Found:
    if known.has_tools and _LEAN.search(refusal.words):
        yield _change(dialect, is_lean=True)


def _with(names: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return tuple(sorted({*names, *more}))


def _names(words: str, key: str) -> bool:
    return re.search(rf"(?<![a-z_]){re.escape(key.lower())}(?![a-z_])", words) is not None
