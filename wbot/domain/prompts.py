"""Questions with buttons: their kinds, and what answers one: a tap, or a plain yes or no."""

import re
import unicodedata
from enum import StrEnum

import msgspec

from wbot.domain.outgoing import Button, Prompt


class PromptKind(StrEnum):
    """What is asked; the schema keeps the same words in `prompt_kinds`."""

    CONFIRM = "confirm"
    """Whether the pending transfers of a message may go."""
    STALE = "stale"
    """Whether messages that waited too long still hold."""
    CANCEL = "cancel"
    """Whether a transfer that is made is taken back."""


class Decision(msgspec.Struct, frozen=True):
    """An answer to the question with this token."""

    kind: PromptKind
    token: str
    is_yes: bool


_ANSWERS = {"yes": True, "no": False}

# Words that mean nothing else; deploy/MONEY.md lists them. "OK" and a thumb alone say that a
# message was read: those go to the model.
_YES = (
    *("yes", "y", "yes please", "yes pls", "yes yes", "yeah", "yep", "yup"),
    *("confirm", "confirmed", "i confirm", "confirm it", "yes confirm", "yes i confirm"),
)
_NO = (
    *("no", "n", "no please", "no thanks", "no thank you", "no no", "nope", "nah"),
    *("don't", "dont", "do not", "no don't", "no dont"),
)
_PLAIN_ANSWERS = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
_STOP = {
    *("stop", "stop it", "stop stop", "stop please", "please stop"),
    *("cancel", "cancel please", "please cancel", "abort"),
}
_AROUND = (
    " \n\t.,!\N{IDEOGRAPHIC FULL STOP}\N{THUMBS UP SIGN}\N{OK HAND SIGN}"
    "\N{PERSON WITH FOLDED HANDS}\N{WHITE HEAVY CHECK MARK}"
)
_UNSEEN = re.compile("[\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")
"""Variation selectors and skin tones."""


def prompt(kind: PromptKind, token: str, body: str, *, yes: str, no: str) -> Prompt:
    """The question with its two buttons; `yes` and `no` are their titles."""
    return Prompt(
        body,
        (
            button(Decision(kind, token, is_yes=True), yes),
            button(Decision(kind, token, is_yes=False), no),
        ),
    )


def button(decision: Decision, title: str) -> Button:
    """The button that gives this answer."""
    answer = "yes" if decision.is_yes else "no"
    return Button(f"{decision.kind}:{decision.token}:{answer}", title)


def decision_of_button(button_id: str | None) -> Decision | None:
    """Which question a tapped button answers, and how; None for any other button."""
    kind, _, rest = (button_id or "").partition(":")
    token, _, answer = rest.rpartition(":")
    if kind not in set(PromptKind) or not token or answer not in _ANSWERS:
        return None
    return Decision(PromptKind(kind), token, _ANSWERS[answer])


def decisions_of(asked: Prompt) -> tuple[Decision, ...]:
    """The answers that the buttons of a prompt offer."""
    found = (decision_of_button(one.id) for one in asked.buttons)
    return tuple(decision for decision in found if decision is not None)


def plain_answer(text: str) -> bool | None:
    """Whether the text is a plain yes (True) or a plain no (False); None for all else."""
    return _PLAIN_ANSWERS.get(_plain(text))


def is_stop(text: str) -> bool:
    """Whether the whole text is a word that stops what goes on."""
    return _plain(text) in _STOP


def _plain(text: str) -> str:
    """The words as compared: in whatever width, without what nobody sees or what is around."""
    seen = _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).replace("\u2019", "'")
    shown = "".join(char for char in seen if unicodedata.category(char) != "Cf")
    return " ".join(shown.casefold().strip(_AROUND).split())
