"""No symbol but the ledger's own mark stands before a line that looks like the ledger's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain.leading_symbols import symbols_moved
from wbot.domain.receipts import MARK, reply_text

ZERO_WIDTH = "\N{ZERO WIDTH SPACE}"
VARIATION = "\N{VARIATION SELECTOR-16}"


@pytest.mark.parametrize(
    "symbols",
    [
        *("📃", "📄", "📜", "🗒️", "📝", "📋", "📒", "📓", "📑", "🗞️", "🔖", "🏷️", "🎫", "🎟️"),
        *("✅", "✔️", "✔", "☑️", "🗸", "✓", "❌", "🆗", "🟢", "🔵", "▶️", "➡️", "★", "▤", "≡", "§️⃣"),
        *("💰", "💵", "💸", "💳", "🪙", "🏦", "🏧", "💲", "💱", "💹", "🧮", "🗃️", "🗂️"),
        *("✅💸", "✅ 💸", "🧑‍💼", "🇺🇸", "👍🏽", "1️⃣", "#⃣", "\ue000", "🏴\U000e0067\U000e007f"),
    ],
)
def test_a_symbol_before_a_line_of_money_moves_behind_its_first_word(symbols: str) -> None:
    for before in ("", " ", ZERO_WIDTH, VARIATION, "*", "_*", "> ", "- ", "• ", f"{ZERO_WIDTH}* "):
        moved = symbols_moved(f"{before}{symbols} Sent $20.00 to John.")
        assert moved == f"{before}Sent {symbols} $20.00 to John."


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("✅ Done", "Done ✅"),
        ("📃\nSent $20.00", "Sent 📃 $20.00"),
        ("📃\n\n*Sent* $20.00", "*Sent* 📃 $20.00"),
        ("🟢 Enviado €20 a John", "Enviado 🟢 €20 a John"),
        ("🟢 Enviado 20 EUR a John", "Enviado 🟢 20 EUR a John"),
        ("🟢 You paid 20 to John", "You 🟢 paid 20 to John"),
        ("🟢 T12 is done", "T12 🟢 is done"),
        ("*✅ Sent $20*", "*Sent ✅ $20*"),
        ("Hi!\n💸Sent $5.\nBye", "Hi!\nSent 💸 $5.\nBye"),
        ("✅\n💸\nSent $5", "Sent ✅ 💸 $5"),
    ],
)
def test_how_it_moves(text: str, left: str) -> None:
    assert symbols_moved(text) == left
    assert symbols_moved(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "👋 Hello!",
        "Hello 👋",
        "🎉 Your table is booked for 8 o'clock.",
        "🍕 Margherita\n🍝 Carbonara",
        "1️⃣ Send money\n2️⃣ Balance",
        "👩‍👩‍👧 Welcome, all of you",
        "✅",
        "👍\n\nSee you",
        "- first\n- second",
        "• one\n> two\n*bold* _slanted_",
        "$20 are there",
        "T12 was sent, 🎉",
        "Sent ✅",
        "",
        "\n\n",
        "+1 555 010",
        f"{MARK} Sent $20.00 to “John” (T5).",
        f"{MARK} Sent $20.00.\n{MARK} Sent $5.00.\n\n👋 Hello",
    ],
)
def test_other_lines_stay_as_they_are(text: str) -> None:
    assert symbols_moved(text) == text


pieces = st.sampled_from(
    [
        "✅",
        "💸",
        "👋",
        "*",
        "- ",
        "\n",
        " ",
        ZERO_WIDTH,
        VARIATION,
        "1️⃣",
        "Sent",
        "$5",
        "T1",
        "é",
        "x",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=12).map("".join))
def test_nothing_is_lost_and_moving_again_changes_nothing(text: str) -> None:
    moved = symbols_moved(text)
    assert sorted("".join(moved.split())) == sorted("".join(text.split()))
    assert symbols_moved(moved) == moved


def test_a_mark_with_a_variation_selector_leaves_nothing_behind() -> None:
    assert reply_text((), f"{MARK}{VARIATION} Sent $5.") == " Sent $5."
