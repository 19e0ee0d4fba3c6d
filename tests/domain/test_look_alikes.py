"""Which names look alike: across alphabets, widths, digits, marks and signs."""

import pytest

from wbot.domain.look_alikes import look_alike


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("J\u043ehn", "John"),  # Cyrillic o
        ("\u0408\u043e\u04bbn", "John"),
        ("\u0391nn", "Ann"),  # Greek capital alpha
        ("\u0410\u041d\u041d\u0410", "AHHA"),  # Cyrillic throughout
        ("\u0422\u043e\u043c", "Tom"),
        ("\u13aann", "Ann"),  # Cherokee
        ("\N{FULLWIDTH LATIN CAPITAL LETTER J}ohn", "John"),
        ("\N{MATHEMATICAL BOLD CAPITAL J}ohn", "John"),
        ("J0hn", "John"),
        ("Jo\u0301hn", "John"),
        ("Jóhn", "John"),
        ("John", "Jóhn"),
        ("Bi1l", "Bill"),
        ("BilI", "Bill"),
        ("lvan", "Ivan"),
        ("ALlCE", "Alice"),
        ("Arnold", "Amold"),
        ("Amold", "Arnold"),
        ("John-Smith", "John Smith"),
        ("JohnSmith", "John Smith"),
        ("O\N{RIGHT SINGLE QUOTATION MARK}Neil", "ONeil"),
        ("Jo\u0131n", "Join"),  # dotless i
        ("\u0430\u043d\u043d\u0430", "aHHa"),
        ("John", "J\u043ehn"),
    ],
)
def test_a_name_in_another_spelling_looks_like_the_known_one(name: str, known: str) -> None:
    assert look_alike(name, ["Mary", known, "Zoe"]) == known


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("John", "Joan"),
        ("John", "Johnny"),
        ("Elia", "Ella"),
        ("Ann", "Anna"),
        ("Иван", "Ivan"),  # reads alike, looks otherwise
        ("山田", "山口"),
        ("राम", "श्याम"),
        ("राम", "रोम"),
        ("محمد", "محمود"),
        ("", "John"),
        ("-.", "&"),
    ],
)
def test_other_names_do_not(name: str, known: str) -> None:
    assert look_alike(name, [known]) is None
