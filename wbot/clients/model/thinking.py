"""A model's thinking inside its words, which nobody else is to read."""

import re

_NAMES = (
    "think|thinks|thinking|thought|thoughts|reason|reasoning|reflection|scratchpad|analysis"
    "|internal|internal_monologue|inner_monologue|antml:thinking|seed:think|mm:think"
)
_TAG = re.compile(
    rf"(?:<|&lt;|◁)\s*(?P<end>/?)\s*(?:{_NAMES})(?:\s[^<>]*)?\s*(?P<empty>/?)(?:>|&gt;|▷)"
    r"|\[(?P<end2>/?)(?:THINK|THINKING|REASONING)\]"
    r"|<\|(?:begin|(?P<end3>end))_of_thought\|>"
    r"|<\|(?P<end4>/?)(?:think|thinking)\|>"
    r"|<\|channel>\s*thought\b|(?P<end5><channel\|>)"
    r"|(?:<\|start\|>assistant)?<\|channel\|>\s*(?:analysis|(?P<end6>final))\s*<\|message\|>",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    r"<\|(?:end|return|start|message|im_end|im_start|eot_id|endoftext|end_of_text|end_of_turn"
    r"|begin_of_solution|end_of_solution)\|>|<(?:start|end)_of_turn>|</s>",
    re.IGNORECASE,
)
_ANSWER_TAGS = re.compile(r"</?(?:answer|final_answer|response)>", re.IGNORECASE)
_ENDS = ("end", "end2", "end3", "end4", "end5", "end6")


def without_thinking(text: str) -> str:
    """The words without what stands in thinking tags.

    A tag that is never closed hides the rest, and one that was never opened what stands before it.
    A chat template's own marks are left out too.
    """
    kept: list[str] = []
    is_inside, position, found = False, 0, False
    for tag in _TAG.finditer(text):
        found = True
        if not is_inside:
            kept.append(text[position : tag.start()])
        if tag["empty"] and not tag["end"]:
            pass
        elif any(tag[name] for name in _ENDS):
            if not is_inside:
                kept.clear()
            is_inside = False
        else:
            is_inside = True
        position = tag.end()
    if not is_inside:
        kept.append(text[position:])
    words = _TOKENS.sub("", "".join(kept))
    return _ANSWER_TAGS.sub("", words).strip() if found else words
