"""What a model writes in Markdown, as WhatsApp shows it; everything else stays as it is.

WhatsApp has *bold*, _italic_, ~strike~, ```code```, `> ` quotations, `- ` and `1. ` items; no
headings, tables or links in brackets (cloud-api.md 12).
"""

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Models do not mean indented code, nor a heading by a line of dashes below it.
_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(["code", "lheading"])
_RULE = "———"
_BETWEEN_CELLS = " · "
_FENCE = "```"
_HEADING = re.compile(r"(.*?)#{1,6}(\s|$)")
_INDENT = re.compile(r"[\s>]*")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_MARKS = {"strong": "*", "em": "_", "s": "~"}
_LEAVES = frozenset({"inline", "fence", "hr"})


def as_whatsapp_shows(text: str) -> str:
    """The text with WhatsApp's marks in the place of Markdown's; unchanged where it has none."""
    tokens = _PARSER.parse(text)
    lines = text.split("\n")
    is_markdown = any(_has_strong(token) for token in tokens)
    changed: list[tuple[int, int, list[str]]] = []
    in_table = False
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "table_open" and token.map:
            changed.append(
                (*_span(token), list(_rows(_until_close(tokens, token), is_markdown=is_markdown)))
            )
        in_table = (in_table or token.type == "table_open") and token.type != "table_close"
        if token.type in _LEAVES and token.map and not in_table:
            is_heading = before is not None and before.type == "heading_open"
            start, end = _span(before if is_heading and before is not None else token)
            new = _rewritten(
                token, lines[start:end], is_heading=is_heading, is_markdown=is_markdown
            )
            changed.append((start, end, new))
    for start, end, new in reversed(changed):
        lines[start:end] = new
    return "\n".join(lines)


def _span(token: Token) -> tuple[int, int]:
    start, end = token.map or (0, 0)
    return start, end


def _has_strong(token: Token) -> bool:
    return any(child.type == "strong_open" for child in token.children or ())


def _rewritten(
    token: Token, source: list[str], *, is_heading: bool, is_markdown: bool
) -> list[str]:
    if token.type == "hr":
        return [_RULE]
    if token.type == "fence":
        return _fenced(source)
    rendered = _inline(token.children or (), is_markdown=is_markdown)
    if is_heading:
        match = _HEADING.match(source[0])
        title = _bold(_plain(token.children or (), is_markdown=is_markdown))
        return [f"{match[1] if match else ''}{title}"]
    if rendered == token.content:
        return source
    return _with_prefixes(source, token.content.split("\n"), rendered.split("\n"))


def _with_prefixes(source: list[str], content: list[str], rendered: list[str]) -> list[str]:
    """The rendered lines behind what stood before each in the source: a list's or quote's marks."""
    found: list[str] = []
    for number, line in enumerate(rendered):
        prefix = ""
        if number < min(len(content), len(source)):
            place = source[number].find(content[number])
            prefix = source[number][: max(place, 0)]
        found.append(prefix + line)
    return found


def _fenced(source: list[str]) -> list[str]:
    indent = _INDENT.match(source[0])
    prefix = indent[0] if indent else ""
    is_closed = len(source) > 1 and set(source[-1].strip(" >")) in ({"`"}, {"~"})
    inner = source[1:-1] if is_closed else source[1:]
    return [prefix + _FENCE, *inner, prefix + _FENCE]


def _until_close(tokens: Sequence[Token], opening: Token) -> Iterator[Token]:
    started = False
    for token in tokens:
        started = started or token is opening
        if started:
            yield token
        if started and token.type == "table_close":
            return


def _rows(tokens: Iterator[Token], *, is_markdown: bool) -> Iterator[str]:
    cells: list[str] = []
    is_head = False
    for token in tokens:
        if token.type == "th_open":
            is_head = True
        elif token.type == "inline":
            children = token.children or ()
            plain = _plain(children, is_markdown=is_markdown)
            cells.append(_bold(plain) if is_head else _inline(children, is_markdown=is_markdown))
        elif token.type == "tr_close":
            yield _BETWEEN_CELLS.join(cell for cell in cells if cell)
            cells, is_head = [], False


def _bold(text: str) -> str:
    return text if not text or "*" in text or "://" in text else f"*{text}*"


def _plain(children: Sequence[Token], *, is_markdown: bool) -> str:
    """Without bold: it stands in bold as a whole."""
    kept = [one for one in children if one.type not in {"strong_open", "strong_close"}]
    return _inline(kept, is_markdown=is_markdown).replace("\n", " ")


def _inline(children: Sequence[Token], *, is_markdown: bool) -> str:
    """The content of a paragraph; `*x*` alone, without `**x**` anywhere, is WhatsApp's own bold."""
    parts: list[str] = []
    opened: list[tuple[int, Token]] = []
    for number, token in enumerate(children):
        kind, _, end = token.type.rpartition("_")
        if end == "open":
            opened.append((len(parts), token))
        elif end == "close" and opened:
            start, opening = opened.pop()
            inner = "".join(parts[start:])
            around = ("".join(parts[:start])[-1:], _first_character(children[number + 1 :]))
            is_ours = opening.markup == "*" and not is_markdown
            parts[start:] = [_closed(kind, opening, inner, around=around, is_ours=is_ours)]
        else:
            parts.append(_leaf(token))
    return "".join(parts)


def _first_character(following: Sequence[Token]) -> str:
    breaks = {"softbreak", "hardbreak"}
    shown = (" " if one.type in breaks else one.content[:1] for one in following)
    return next(filter(None, shown), "")


def _closed(
    kind: str, opening: Token, inner: str, *, around: tuple[str, str], is_ours: bool
) -> str:
    if kind == "link":
        url = str(opening.attrs.get("href", ""))
        is_bare = opening.markup == "autolink" or inner in {url, url.removeprefix("mailto:")}
        return (inner or url) if is_bare else f"{inner}: {url}"
    markup = opening.markup
    touching = [one for one in around if one.isalnum()]
    # A factor is no emphasis: 5*3*2 must not become 532.
    if is_ours or any(one.isdecimal() for one in touching):
        return f"{markup}{inner}{markup}"
    if touching or "://" in inner:  # WhatsApp would show the marks
        return inner
    mark = _MARKS.get(kind, "")
    return f"{mark}{inner}{mark}"


def _leaf(token: Token) -> str:
    match token.type:
        case "softbreak" | "hardbreak":
            return "\n"
        case "code_inline":
            return f"{token.markup}{token.content}{token.markup}"
        case "image":
            url = str(token.attrs.get("src", ""))
            return f"{token.content}: {url}" if token.content else url
        case "html_inline":
            return _BREAK.sub("\n", token.content)
        case _:
            return token.content
