"""A customer's own name for a number: which sentences give one, and which never do."""

import pytest

from wbot.domain.labels import Label, card_label, is_typed, name_and_number, named_in

BOB = Label("Bob", "15550101002")


@pytest.mark.parametrize(
    "text",
    [
        "Bob is +15550101002",
        "Bob is +1 (555) 010-1002.",
        "Bob: +1 555 010 1002",
        "Bob = +15550101002",
        "Bob's number is 15550101002",
        "Bob’s phone number: +1 555-010-1002!",
        "+15550101002 is Bob",
        "Save +15550101002 as Bob please",
        "please save Bob +15550101002",
        "Bob is now +15550101002",
        "  Bob   is\n+15550101002 ",
        "Bob is ＋１５５５０１０１００２",
    ],
)
def test_a_sentence_names_a_number(text: str) -> None:
    assert named_in(text) == BOB


@pytest.mark.parametrize(
    "text",
    [
        "Bob is happy",
        "My number is +15550101002",
        "This is +15550101002",
        "He is +15550101002",
        "My pin is 123456789",
        "Order is 15550101002",  # no word for a number, and no +
        "Send 20 to Bob +15550101002",
        "Bob is +15550101002, send him 20",
        "Is Bob +15550101002?",
        "Bob is not +15550101002",
        "Bob is +1555010100299999999999",
        "🧾 Bob is +15550101002",
        "Visit bob.example is +15550101002",
        "Bоb is +15550101002",  # a Cyrillic letter inside
        "",
    ],
)
def test_anything_else_names_none(text: str) -> None:
    assert named_in(text) is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Bob +15550101002", BOB),
        ("Bob (+1 555 010 1002)", BOB),
        ("Bob: 15550101002", BOB),
        ("+15550101002 (Bob)", BOB),
        ("Bob", None),
        ("Bob 2", None),
        ("Room 101", None),
        ("+15550101002", None),
        ("15550101002", None),
    ],
)
def test_a_payee_can_be_given_by_both(text: str, label: Label | None) -> None:
    assert name_and_number(text) == label


@pytest.mark.parametrize(
    ("text", "is_there"),
    [
        ("transfer 5 to bob +1 555 010 1002 for lunch", True),
        ("transfer 5 to Bob (+15550101002)", True),
        ("transfer 5 to +15550101002", False),
        ("transfer 5 to Bob, my number is +15550101003", False),
        ("transfer 5 to JimBob +15550101002", False),
        ("transfer 5 to Bob +15550101003", False),
    ],
)
def test_a_label_is_typed_where_name_and_number_stand_side_by_side(
    text: str, is_there: bool
) -> None:
    assert is_typed(BOB, text) is is_there


@pytest.mark.parametrize(
    ("name", "numbers", "label"),
    [
        ("Bob", ["15550101002"], BOB),
        ("Bob", ["+1 555 010 1002", "15550101002"], BOB),
        ("Bob", ["15550101002", "15550101003"], None),
        ("Bob", [], None),
        (None, ["15550101002"], None),
        ("Pay $500 to www.evil.example", ["15550101002"], None),
    ],
)
def test_a_card_names_its_one_number(
    name: str | None, numbers: list[str], label: Label | None
) -> None:
    assert card_label(name, numbers) == label
