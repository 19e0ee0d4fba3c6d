"""Which clock a business's customers read."""

from zoneinfo import available_timezones

import msgspec
import pytest
from db_factories import SHOP, make_tx

from wbot.domain.business_settings import changed, described
from wbot.domain.errors import MalformedError
from wbot.domain.timezones import _BY_CODE, checked_zone, zone_of_number
from wbot.storage import businesses


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("442071838750", "Europe/London"),
        ("919876543210", "Asia/Kolkata"),
        ("4930901820", "Europe/Berlin"),
        ("85212345678", "Asia/Hong_Kong"),
        ("15550100000", "UTC"),  # North America has several
        ("5511987654321", "UTC"),  # so has Brazil
        ("79261234567", "UTC"),
        ("62811234567", "UTC"),
        ("", "UTC"),
        (None, "UTC"),
    ],
)
def test_without_a_name_it_is_that_of_the_number_s_country(number: str | None, name: str) -> None:
    assert zone_of_number(number) == name


def test_every_code_has_a_zone_that_exists_and_none_hides_another() -> None:
    assert set(_BY_CODE.values()) <= available_timezones()
    assert {code for code in _BY_CODE if code[:2] in _BY_CODE and len(code) > 2} == set()
    assert all(2 <= len(code) <= 3 and code.isdecimal() for code in _BY_CODE)


@pytest.mark.parametrize("text", ["Europe/London", "europe/london", " EUROPE/LONDON "])
def test_an_operator_names_a_zone_in_any_case(text: str) -> None:
    assert checked_zone(text) == "Europe/London"
    business = changed(SHOP, {"timezone": text})
    assert described(business)["timezone"] == business.zone_name == "Europe/London"
    assert changed(business, {"timezone": ""}).timezone is None


@pytest.mark.parametrize(
    "text", ["London", "GMT+25", "../etc/passwd", "Europe/../London", "x" * 99]
)
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match=r"timezone: .* is not a time zone; write"):
        changed(SHOP, {"timezone": text})


@pytest.mark.parametrize("number", ["+44 20 7183 8750", "442071838750"])
def test_the_number_is_learned_as_whatsapp_writes_it(number: str) -> None:
    tx = make_tx()
    for said in (None, "", number, number):
        businesses.learn_number(tx, businesses.required(tx, SHOP.id), said)
    found = businesses.required(tx, SHOP.id)
    assert (found.number, found.zone_name) == ("442071838750", "Europe/London")
    named = msgspec.structs.replace(found, timezone="Asia/Tokyo")
    businesses.change(tx, named)
    assert businesses.required(tx, SHOP.id).zone_name == "Asia/Tokyo"
    tx.close()
