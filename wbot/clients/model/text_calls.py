"""A tool call that a model wrote as text, in any of the notations that models were trained on.

It counts only if it is the whole answer, exactly one of the tools on offer with sound arguments,
and stands in nothing that the prompt quoted: a customer may type such a text too.
"""

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from wbot.clients.model.answers import ToolCall
from wbot.domain.errors import MalformedError
from wbot.domain.tool_arguments import read_arguments

CALL_ID = "call_text"
TEXT_LENGTH_MAX = 4_000
"""Characters; no call of ours is longer, and the patterns stay fast."""

_Found: TypeAlias = tuple[str, Any]
"""A name, and the arguments as an object or as JSON text."""

_NAME_KEYS = ("name", "tool", "tool_name", "function", "function_name", "action", "recipient_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "params", "args", "input", "tool_input")
_ARGUMENT_KEYS_MORE = (*_ARGUMENT_KEYS, "action_input", "kwargs")
_MARKERS = re.compile(
    r"</?(?:tool_call|tool_calls|tool_use|function_call|function_calls|toolcall|tool_code|tools)\b"
    r"|</?(?:antml:)?(?:invoke|function_calls)\b|<function\s*[=(]|<function\s+name|<arg_key>"
    r"|\[/?TOOL_CALLS?\]|\[ARGS\]|<\|?[|｜]?(?:tool|python_tag|function|dsml)|functools\[|```tool"
    r"|to=functions\.|<\|(?:channel|call|constrain|message)\|?>|<[|｜]DSML|^\s*Action Input:",
    re.IGNORECASE | re.MULTILINE,
)
_JSON_CALL = re.compile(
    r"[\"'](?:name|tool|tool_name|function|function_name|action|recipient_name)[\"']\s*:\s*"
    r"(?:[\"'][\w.:/-]{1,80}[\"']|\{).{0,400}?"
    r"[\"'](?:arguments|parameters|params|args|input|tool_input|action_input|kwargs)[\"']\s*:",
    re.IGNORECASE | re.DOTALL,
)
_JSON_CALL_REVERSED = re.compile(
    r"[\"'](?:arguments|parameters|params|args|tool_input|action_input)[\"']\s*:\s*[{\"'].{0,400}?"
    r"[\"'](?:name|tool|tool_name|function|function_name|action)[\"']\s*:",
    re.IGNORECASE | re.DOTALL,
)
_PREFIX = re.compile(r"^.*(?:[.:/]|__)(?=[^.:/]+$)", re.DOTALL)
_SPACE_OR_MARK = re.compile(r"[\W_]+")

_SPECIAL = re.compile(r"<[|｜][^<>]{1,40}?[|｜]>|<\|[\w/]{1,40}>|</s>|<\|?(?:eom_id|eot_id)\|?>")
_TAGS = "(?:antml:)?(?:tool_calls?|tool_use|function_calls?|toolcall|tool_code|tools)"
_WRAPPINGS = tuple(
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        r"```[\w-]*\s*\n(?P<body>.*?)\n?\s*(?:```)?",
        r"`(?P<body>[^`]+)`",
        rf"<(?P<tag>{_TAGS})>(?P<body>.*?)(?:</(?P=tag)>)?",
        r"\[TOOL_CALLS?\]\s*(?P<body>.*?)(?:\[/TOOL_CALLS?\])?",
        r"functools\s*(?P<body>\[.*\])",
        r"print\((?P<body>.*)\)",
        r"\[\s*(?P<body>[\w.]+\(.*\))\s*\]",
    )
)
_UNWRAPPED_MAX = 5
_TAGGED = re.compile(
    r"<(?:antml:)?(?:function|invoke)(?:\s*=\s*|\s+name\s*=\s*)[\"']?(?P<name>[\w.:/-]+)[\"']?\s*>"
    r"(?P<body>.*?)(?:</(?:antml:)?(?:function|invoke)>)?\s*",
    re.DOTALL,
)
_PARAMETER = re.compile(
    r"\s*<(?:antml:)?parameter(?:\s*=\s*|\s+name\s*=\s*)[\"']?(?P<key>\w+)[\"']?[^<>]*>\n?"
    r"(?P<value>[^<]*?)\n?</(?:antml:)?parameter>\s*"
)
_ARG_PAIR = re.compile(
    r"\s*<arg_key>\s*(?P<key>\w+)\s*</arg_key>\s*<arg_value>(?P<value>[^<]*)</arg_value>\s*"
)
_NAMED_JSON = re.compile(
    r"(?:function\s+)?(?P<name>[\w.:/-]+?)(?::\d+)?\s*(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?\s*"
    r"(?P<body>\{.*\}|```.*```)",
    re.DOTALL,
)
_NAMED_PAIRS = re.compile(r"(?P<name>[\w.:/-]+)\s*(?P<body>(?:<arg_key>.*)?)", re.DOTALL)
_REACT = re.compile(
    r"(?:Thought:[^\n]*\n)?Action:\s*(?P<name>[\w.:/-]+)\s*\nAction Input:\s*(?P<body>\{.*\})",
    re.DOTALL,
)
_HARMONY = re.compile(
    r"(?:<\|start\|>assistant)?(?:<\|channel\|>\s*(?:commentary|analysis))?\s*"
    r"to=(?P<name>[\w.]+)\s*(?:<\|channel\|>\s*(?:commentary|analysis))?\s*"
    r"(?:<\|constrain\|>\s*json|json)?\s*<\|message\|>(?P<body>\{.*\})\s*(?:<\|call\|>)?",
    re.DOTALL,
)


def offered_name(name: str, offered: Iterable[str]) -> str:
    """The tool that is meant: its name without a server's prefix or a stray token behind it."""
    names = set(offered)
    plain = name.split("<|", maxsplit=1)[0].strip()
    if plain in names:
        return plain
    without_prefix = _PREFIX.sub("", plain)
    return without_prefix if without_prefix in names else name


def has_call_notation(text: str, offered: Iterable[str] = ()) -> bool:
    """Whether any part of the text is written like a tool call, so that nobody is to read it."""
    notations = (_MARKERS, _JSON_CALL, _JSON_CALL_REVERSED)
    if any(notation.search(text) for notation in notations):
        return True
    names = "|".join(map(re.escape, offered))
    if not names:
        return False
    python = rf"\b(?:{names})\s*\(\s*(?:\w+\s*=\s*[\"'\d]|\))"
    named = rf"^\s*(?:\w+[.:])?(?:{names})\s*\{{\s*[\"'}}]"
    return bool(re.search(python, text) or re.search(named, text, re.MULTILINE))


def read_call(
    text: str, tools: Sequence[Mapping[str, Any]], *, quoted: Iterable[str]
) -> ToolCall | None:
    """The one call that the whole text is; None where it is anything else."""
    if len(text) > TEXT_LENGTH_MAX or not text.strip():
        return None
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    found = _found(text.strip())
    if found is None:
        return None
    name = offered_name(found[0], schemas)
    arguments = _sound(found[1], schemas.get(name))
    if arguments is None or _is_quoted(text, found, quoted, schemas):
        return None
    return ToolCall(CALL_ID, name, json.dumps(arguments, ensure_ascii=False), came_as_text=True)


def _is_quoted(text: str, found: _Found, quoted: Iterable[str], offered: Iterable[str]) -> bool:
    """Whether the prompt holds this text or its arguments so written, or any notation of calls."""
    written = found[1] if isinstance(found[1], str) else json.dumps(found[1], ensure_ascii=False)
    sought = {_letters(text), _letters(written)} - {""}
    return any(
        has_call_notation(one, offered) or any(letters in _letters(one) for letters in sought)
        for one in quoted
    )


def _letters(text: str) -> str:
    return _SPACE_OR_MARK.sub("", text.casefold())


def _sound(arguments: Any, schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The arguments if they are exactly what the tool takes."""
    if schema is None:
        return None
    try:
        values = read_arguments(arguments if isinstance(arguments, str) else json.dumps(arguments))
    except (MalformedError, ValueError):
        return None
    properties = schema.get("properties", {})
    has_all = set(schema.get("required", ())) <= set(values) <= set(properties)
    are_texts = all(isinstance(value, str) for value in values.values())
    return values if has_all and are_texts else None


def _found(text: str) -> _Found | None:
    for read in (_react, _harmony):
        if (found := read(text)) is not None:
            return found
    for _ in range(_UNWRAPPED_MAX):
        found = _bare(text)
        if found is not None:
            return found
        inner = _unwrapped(text)
        if inner is None or inner == text:
            return None
        text = inner
    return None


def _unwrapped(text: str) -> str | None:
    for wrapping in _WRAPPINGS:
        if (match := wrapping.fullmatch(text)) is not None:
            return match["body"].strip()
    return _SPECIAL.sub(" ", text).strip() if _SPECIAL.search(text) else None


def _bare(text: str) -> _Found | None:
    readers: tuple[Callable[[str], _Found | None], ...] = (_json, _tagged, _pairs, _named, _python)
    return next((found for read in readers if (found := read(text)) is not None), None)


def _json(text: str) -> _Found | None:
    if text[:1] not in {"{", "["}:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and set(value) <= {"tool_calls", "content"}:
        value = value.get("tool_calls")
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    return _of_object(value) if isinstance(value, dict) else None


def _of_object(value: Mapping[str, Any]) -> _Found | None:
    if isinstance(function := value.get("function"), dict):
        value = function
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
    arguments: Any = next((value[key] for key in _ARGUMENT_KEYS_MORE if key in value), {})
    is_more = set(value) - {*_NAME_KEYS, *_ARGUMENT_KEYS_MORE, "type", "id", "index", "call_id"}
    return None if name is None or is_more else (name, arguments)


def _tagged(text: str) -> _Found | None:
    match = _TAGGED.fullmatch(text)
    if match is None:
        return None
    body = match["body"].strip()
    if not body or body.startswith("{"):
        return match["name"], body
    values = _all_pairs(_PARAMETER, body)
    return None if values is None else (match["name"], values)


def _pairs(text: str) -> _Found | None:
    match = _NAMED_PAIRS.fullmatch(text)
    if match is None or not match["body"]:
        return None
    values = _all_pairs(_ARG_PAIR, match["body"])
    return None if values is None else (match["name"], values)


def _all_pairs(pattern: re.Pattern[str], body: str) -> dict[str, str] | None:
    """The pairs, if they are the whole body and no key comes twice."""
    pairs = [(pair["key"], pair["value"].strip()) for pair in pattern.finditer(body)]
    is_whole = not pattern.sub("", body).strip()
    return dict(pairs) if is_whole and len(dict(pairs)) == len(pairs) else None


def _named(text: str) -> _Found | None:
    match = _NAMED_JSON.fullmatch(text)
    return None if match is None else (match["name"], match["body"])


def _react(text: str) -> _Found | None:
    match = _REACT.fullmatch(text)
    return None if match is None else (match["name"], match["body"])


def _harmony(text: str) -> _Found | None:
    match = _HARMONY.fullmatch(text)
    return None if match is None else (match["name"], match["body"])


def _python(text: str) -> _Found | None:
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(call, ast.Call) or call.args:
        return None
    keywords = [(one.arg, one.value) for one in call.keywords]
    names = [key for key, _ in keywords]
    if len(set(names)) < len(names) or None in names:
        return None
    if not all(isinstance(value, ast.Constant) for _, value in keywords):
        return None
    values = {key: ast.get_source_segment(text, value) for key, value in keywords}
    constants = {key: value.value for key, value in keywords if isinstance(value, ast.Constant)}
    # A number is taken as it is written, never as a float.
    arguments: dict[str, Any] = {
        str(key): value if isinstance(value, str) else values[key]
        for key, value in constants.items()
    }
    return ast.unparse(call.func), arguments
