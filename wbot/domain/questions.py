"""A question with two buttons, and what counts as its answer: a tap, or a plain yes or no."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class QuestionKind(StrEnum):
    """What is asked: whether to still do something old, or whether money may go."""

    STALE = "stale"
    CONFIRM = "confirm"


class Decision(msgspec.Struct, frozen=True):
    """An answer to the question of this kind and key."""

    kind: QuestionKind
    key: str
    is_yes: bool


_ANSWERS = {"yes": True, "no": False}

# Words that mean nothing else. "OK" and a thumb say that a message was read, "cancel" may mean a
# transfer of yesterday: those go to the model.
_PLAIN_ANSWERS = dict.fromkeys(
    ("yes", "y", "yes please", "yeah", "yep", "confirm", "confirmed", "i confirm"), True
) | dict.fromkeys(("no", "n", "no thanks", "no thank you", "nope"), False)
_AROUND = " \n\t.,!…"


def question_payload(
    kind: QuestionKind, key: str, body: str, *, yes: str, no: str
) -> dict[str, Any]:
    """The message in the Graph API's form; `yes` and `no` are the buttons' titles."""
    buttons = [
        {"type": "reply", "reply": {"id": f"{kind}:{key}:{answer}", "title": title}}
        for answer, title in (("yes", yes), ("no", no))
    ]
    interactive = {"type": "button", "body": {"text": body}, "action": {"buttons": buttons}}
    return {"type": "interactive", "interactive": interactive}


def button_ids(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids of the buttons of a message of ours in the Graph API's form."""
    action = payload.get("interactive", {}).get("action", {})
    return tuple(button["reply"]["id"] for button in action.get("buttons", ()))


def decision_of_button(button_id: str | None) -> Decision | None:
    """Which question a tapped button answers, and how; None for any other button."""
    kind, _, rest = (button_id or "").partition(":")
    key, _, answer = rest.rpartition(":")
    if kind not in set(QuestionKind) or not key or answer not in _ANSWERS:
        return None
    return Decision(QuestionKind(kind), key, _ANSWERS[answer])


def plain_answer(text: str) -> bool | None:
    """Whether the text is a plain yes (True) or a plain no (False); None for all else."""
    return _PLAIN_ANSWERS.get(" ".join(text.casefold().strip(_AROUND).split()))
