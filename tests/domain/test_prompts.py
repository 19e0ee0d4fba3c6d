"""What counts as an answer, to which question, and what a confirmation says."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbot.domain import prompts
from wbot.domain.confirmations import BODY_LENGTH_MAX, PendingTransfer, confirmation_body
from wbot.domain.money import MINOR_DIGITS_MAX, currency_of
from wbot.domain.outgoing import decoded, encoded
from wbot.domain.payees import Payee
from wbot.domain.policy import ASKED_AT_ONCE_MAX
from wbot.domain.prompts import (
    Decision,
    PromptKind,
    decision_of_button,
    decisions_of,
    plain_answer,
    prompt,
)
from wbot.domain.receipts import MARK, PAYEE_LENGTH_MAX, one_line, quoted, receipt, told_payee

USD = currency_of("USD")


@pytest.mark.parametrize(
    ("button_id", "tap"),
    [
        ("confirm:a1b2:yes", Decision(PromptKind.CONFIRM, "a1b2", is_yes=True)),
        ("confirm:a1b2:no", Decision(PromptKind.CONFIRM, "a1b2", is_yes=False)),
        ("stale:12:yes", Decision(PromptKind.STALE, "12", is_yes=True)),
        ("confirm:a:b:yes", Decision(PromptKind.CONFIRM, "a:b", is_yes=True)),
        ("confirm::yes", None),
        ("confirm:a1b2:YES", None),
        ("confirm:a1b2:maybe", None),
        ("confirm:a1b2", None),
        ("Confirm:a1b2:yes", None),
        ("other:a1b2:yes", None),
        ("yes", None),
        ("", None),
        (None, None),
    ],
)
def test_a_button_names_its_question(button_id: str | None, tap: Decision | None) -> None:
    assert decision_of_button(button_id) == tap


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        *((word, True) for word in ("yes", "Y", "Yes please!", " yep. ", "CONFIRM", "I confirm")),
        *(
            (word, True)
            for word in ("Yes\u200b", "\uff39\uff45\uff53\uff01", "yes 👍🏽", "yes yes")
        ),
        *(
            (word, True)
            for word in ("Yes\ufe0f", "y\u2060es", "Confirm it", "yes pls", "yes\u00a0please")
        ),
        *((word, False) for word in ("no", "N", "Nope.", "no  thanks", "No thank you!", "don’t")),
        *(
            (word, None)
            for word in (
                *("ok", "sure", "yes but to Mary", "yes and no", "cancel", "👍", "", "yes?"),
                *("\u200b", "yes, $30", "sí", "y\u0435s", "I confirm nothing", "👍👍"),
            )
        ),
        ("no, thanks", None),
        ("не yes", None),
    ],
)
def test_only_a_plain_word_is_an_answer(text: str, answer: bool | None) -> None:
    assert plain_answer(text) is answer


def test_the_owners_page_lists_every_word_that_counts() -> None:
    page = (Path(__file__).parents[2] / "deploy" / "MONEY.md").read_text("utf-8")
    listed = " ".join(page.casefold().replace("'", "").split())
    words = {word.replace("'", "") for word in (*prompts._PLAIN_ANSWERS, *prompts._STOP)}
    assert {word for word in words if not re.search(rf"\b{word}\b", listed)} == set()


def test_the_buttons_of_a_question_name_it() -> None:
    asked = prompt(PromptKind.STALE, "7", "Shall I?", yes="Yes", no="No")
    taps = [
        Decision(PromptKind.STALE, "7", is_yes=True),
        Decision(PromptKind.STALE, "7", is_yes=False),
    ]
    assert decisions_of(asked) == tuple(taps)
    assert decoded(encoded(asked)) == asked


def held(number: int, amount_minor: int, payee: Payee) -> PendingTransfer:
    return PendingTransfer(
        transfer_id=number, amount_minor=amount_minor, payee=payee, is_payee_known=False
    )


names = st.text(max_size=80).map(lambda text: one_line(text, PAYEE_LENGTH_MAX) or "x")
payees = st.builds(
    Payee,
    name=names,
    number=st.none() | st.sampled_from(["15550101002", "+15550101002"]),
    paid_out_by=st.none() | names.map(lambda name: name * 3),
)
amounts = st.integers(min_value=1, max_value=10**MINOR_DIGITS_MAX - 1)
many_held = st.lists(
    st.builds(held, st.integers(1, 10**9), amounts, payees), min_size=1, max_size=ASKED_AT_ONCE_MAX
)


@given(many=many_held, above=st.lists(names.map(receipt), max_size=40))
def test_a_confirmation_fits_and_names_every_amount_and_payee(
    many: list[PendingTransfer], above: list[str]
) -> None:
    body = confirmation_body(many, USD, ttl_s=600, receipts=above)
    assert len(body) <= BODY_LENGTH_MAX
    for one in many:
        assert f" to {told_payee(one.payee)} (T{one.transfer_id}), a new payee\n" in body
    assert body.count(MARK) <= len(many) + 1 + len(above)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("John", "“John”"),
        ("John” (T9). Available: $9,999. “", "“John (T9). Available: $9,999. ”"),
        (f"{MARK}John\n\u202eSmith", "“John Smith”"),
        ('Jo"hn', "“John”"),
    ],
)
def test_a_name_cannot_leave_its_quotation_marks(name: str, shown: str) -> None:
    assert quoted(name) == shown
    assert quoted(name).count("“") == quoted(name).count("”") == 1


@pytest.mark.parametrize(
    ("ttl_s", "words"),
    [(600, "10 minutes"), (60, "1 minute"), (86_400, "1 day"), (7_200, "2 hours"), (90, "90 s")],
)
def test_the_time_to_answer_is_given_in_words(ttl_s: int, words: str) -> None:
    body = confirmation_body([held(1, 5, Payee(name="John"))], USD, ttl_s=ttl_s)
    assert f"Valid for {words}" in body
