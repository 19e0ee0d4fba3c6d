"""A model's Markdown as WhatsApp can show it: *bold*, _italic_, ~strike~, plain links and rows."""

import re

_FENCED = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
_LANGUAGE = re.compile(r"^```[\w+-]+\n")
_HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+(?P<text>.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_BOLD = re.compile(
    r"(?<![\w*])\*\*(?=\S)(?P<text>[^\n]+?)(?<=\S)\*\*(?!\*)"
    r"|(?<![\w_])__(?=\S)(?P<other>[^\n]+?)(?<=\S)__(?![\w_])"
)
_BOTH = re.compile(r"\*\*\*(?=\S)(?P<text>[^\n*]+?)(?<=\S)\*\*\*")
_STRIKE = re.compile(r"~~(?=\S)(?P<text>[^\n]+?)(?<=\S)~~")
_LINK = re.compile(
    r"!?\[(?P<text>[^\]\n]*)\]\(\s*<?(?P<address>[^)\s>]+)>?(?:\s+\"[^\"\n]*\")?\s*\)"
)
_RULE = re.compile(r"^[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$\n?", re.MULTILINE)
_DIVIDER = re.compile(r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*$")
_EDGES = re.compile(r"^\s*\|?\s*|\s*\|?\s*$")


def as_whatsapp_shows(text: str) -> str:
    """The same words with WhatsApp's marks; what stands in code is left as it is."""
    parts = _FENCED.split(text)
    shown = [
        _LANGUAGE.sub("```\n", part) if place % 2 else _converted(part)
        for place, part in enumerate(parts)
    ]
    return "".join(shown)


def _converted(text: str) -> str:
    text = _LINK.sub(_link, text)
    text = _tables(text)
    text = _RULE.sub("", text)
    text = _HEADING.sub(lambda found: f"*{_plain(found['text'])}*", text)
    text = _BOTH.sub(lambda found: f"*_{found['text']}_*", text)
    text = _BOLD.sub(lambda found: f"*{found['text'] or found['other']}*", text)
    return _STRIKE.sub(lambda found: f"~{found['text']}~", text)


def _plain(heading: str) -> str:
    """A heading's words: it is bold as a whole."""
    return heading.replace("**", "").replace("__", "").strip("*")


def _link(found: re.Match[str]) -> str:
    words, address = found["text"].strip(), found["address"]
    return address if not words or words == address else f"{words}: {address}"


def _tables(text: str) -> str:
    """Each row of a table as a line; the line between head and rows is left out."""
    lines = text.split("\n")
    shown: list[str] = []
    is_table = False
    for place, line in enumerate(lines):
        following = lines[place + 1] if place + 1 < len(lines) else ""
        begins = "|" in line and "|" in following and _DIVIDER.match(following) is not None
        is_table = "|" in line and (is_table or begins)
        if not is_table:
            shown.append(line)
        elif not _DIVIDER.match(line):
            cells = re.split(r"(?<!\\)\|", _EDGES.sub("", line))
            shown.append(" | ".join(cell.strip() for cell in cells))
    return "\n".join(shown)
