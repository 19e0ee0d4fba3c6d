"""The money rules as an operator reads them, and rules that make each other meaningless."""

import re
from pathlib import Path

import msgspec
import pytest
from db_factories import SHOP

from wbot.domain.business import Business, Policy
from wbot.domain.business_settings import RULES, changed
from wbot.domain.policy_summary import contradictions, in_words

UNCONFIRMED = "no transfer is ever confirmed because confirm_above reaches {}"
IDLE_NEW = "new_payee_limit limits nothing because it is more than {}"


def shop(**settings: str) -> Business:
    return changed(msgspec.structs.replace(SHOP, policy=Policy()), settings)


def test_what_is_not_limited_is_not_mentioned() -> None:
    assert in_words(shop()) == (
        "every transfer waits 600 s for the customer's yes; anybody may be paid; "
        "cancelled within 900 s"
    )


def test_every_rule_is_in_the_line() -> None:
    business = shop(
        confirm_above="100",
        max_transfer="1,500",
        daily_total="2,000",
        daily_count="5",
        overdraft="20",
        cancel_window="0",
        hold_ttl="60",
        new_payee_limit="50.5",
        payees="known",
        own_words="off",
    )
    assert in_words(business) == (
        "what is above 100.00 USD, or the same again within 300 s waits 60 s for the customer's "
        "yes; known payees only; "
        "at most 1500.00 USD a transfer; at most 2000.00 USD a customer in 24 hours; "
        "at most 50.50 USD to a new payee; a balance may go down to -20.00 USD; "
        "at most 5 transfers a customer in 24 hours; never cancelled once made"
    )


@pytest.mark.parametrize(("code", "shown"), [("JPY", "500 JPY"), ("KWD", "500.000 KWD")])
def test_amounts_have_the_decimals_of_their_currency(code: str, shown: str) -> None:
    assert f"at most {shown} a transfer" in in_words(shop(currency=code, max_transfer="500"))


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, []),
        ({"confirm_above": "100"}, []),
        ({"confirm_above": "99.99", "max_transfer": "100"}, []),
        ({"confirm_above": "100", "max_transfer": "100"}, [UNCONFIRMED.format("max_transfer")]),
        ({"confirm_above": "200", "max_transfer": "100"}, [UNCONFIRMED.format("max_transfer")]),
        ({"confirm_above": "200", "daily_total": "100"}, [UNCONFIRMED.format("daily_total")]),
        ({"new_payee_limit": "100", "max_transfer": "100"}, []),
        ({"new_payee_limit": "101", "max_transfer": "100"}, [IDLE_NEW.format("max_transfer")]),
        ({"new_payee_limit": "101", "daily_total": "100"}, [IDLE_NEW.format("daily_total")]),
        ({"max_transfer": "100", "daily_total": "100"}, []),
        (
            {"max_transfer": "101", "daily_total": "100"},
            ["max_transfer limits nothing because it is more than daily_total"],
        ),
        ({"payees": "known"}, []),
        (
            {"payees": "known", "new_payee_limit": "5"},
            ["new_payee_limit limits nothing because no new payee is paid (payees is known)"],
        ),
        (
            {
                "confirm_above": "9",
                "max_transfer": "8",
                "daily_total": "7",
                "new_payee_limit": "10",
            },
            [
                UNCONFIRMED.format("daily_total"),
                IDLE_NEW.format("daily_total"),
                "max_transfer limits nothing because it is more than daily_total",
            ],
        ),
    ],
)
def test_rules_that_make_no_sense_together_are_named(
    settings: dict[str, str], found: list[str]
) -> None:
    assert contradictions(shop(**settings)) == found


def test_the_owners_page_names_every_rule_with_an_example_that_can_be_set() -> None:
    page = (Path(__file__).parents[2] / "deploy" / "MONEY.md").read_text("utf-8")
    examples = dict(re.findall(r"^\| `(\w+)=([^`]+)` \|", page, re.MULTILINE))
    assert set(examples) == set(RULES)
    changed(SHOP, examples)
