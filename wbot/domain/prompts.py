"""Questions with buttons: their kinds, and what answers one: a tap, or a plain yes or no."""

from enum import StrEnum

import msgspec

from wbot.domain.outgoing import Button, Prompt


class PromptKind(StrEnum):
    """What is asked; the schema keeps the same words in `prompt_kinds`."""

    CONFIRM = "confirm"
    """Whether the pending transfers of a message may go."""
    STALE = "stale"
    """Whether messages that waited too long still hold."""


class Decision(msgspec.Struct, frozen=True):
    """An answer to the question with this token."""

    kind: PromptKind
    token: str
    is_yes: bool


_ANSWERS = {"yes": True, "no": False}

# Words that mean nothing else. "OK" and a thumb say that a message was read, "cancel" may mean a
# transfer of yesterday: those go to the model.
_PLAIN_ANSWERS = dict.fromkeys(
    ("yes", "y", "yes please", "yeah", "yep", "confirm", "confirmed", "i confirm"), True
) | dict.fromkeys(("no", "n", "no thanks", "no thank you", "nope"), False)
_AROUND = " \n\t.,!…"


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
    return _PLAIN_ANSWERS.get(" ".join(text.casefold().strip(_AROUND).split()))
