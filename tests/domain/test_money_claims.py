"""When a reply repeats the customer's amount."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbot.domain.money_claims import repeats_amount

REPEATS = [
    ("Send $20 to John", "✅ Done! I have sent $20.00 to John. Your new balance is $480.00."),
    ("Send 20 to John", "Done, 20 went to John."),
    ("send 20.00 usd to john", "I sent $20 to John."),
    ("Manda 20 euros a Juan", "Listo: 20,00 € enviados a Juan."),
    ("Envie R$ 1.250,50", "Enviei R$1250.50."),
    ("Transfer $1,000 to Ann", "1000 dollars are with Ann now"),
    ("Transfer $1,000 to Ann", "1.000 are with Ann now"),
    ("send 1 000 000 to Ann", "1,000,000 sent"),
    ("أرسل ٢٠ إلى جون", "تم إرسال 20"),
    ("₹500 bhejo", "५०० भेज दिए"),
    ("Send Rs.500", "Rs. 500 was sent"),
    ("send 20", "*$20* sent"),
    ("send 20!", "(20.00)"),
    ("20€", "EUR20"),
    ("send 5000 to Ann", "5000 sent"),
    ("pay 12345678 USD", "12345678 USD paid"),
    ("20", "Done, I sent 20."),
    ("order 42: pay 20", "Order 42: 20 paid."),
    ("send $20 and $30", "I sent $30."),
]
DOES_NOT = [
    ("Send $20 to John", "To whom?"),
    ("Send $20 to John", "I sent $21 to John."),
    ("Send $20 to John", "Your balance is $120.20."),
    ("hello", "You have $20."),
    ("Are you open on the 24th?", "Yes, the 24th too."),
    ("Open at 9:30?", "Yes, from 9:30."),
    ("Open at 9am?", "Yes, 9am."),
    ("Is 24/12 a holiday?", "On 24/12 we are closed."),
    ("Is 2026-12-24 a holiday?", "2026-12-24 it is."),
    ("Is there 10% off?", "Yes, 10% off."),
    ("My number is 15550101001", "I noted 15550101001."),
    ("My number is +15550101001", "I noted +15550101001."),
    ("What about order #42?", "Order #42 is on its way."),
    ("What about T12?", "T12 was made."),
    ("https://example.com/20", "https://example.com/20"),
    ("message 7", "You wrote: message 7"),
    ("Is order 42 ready?", "Order 42 is ready."),
    ("A table for 4 at 8?", "A table for 4 at 8 is booked."),
    ("7", "7"),
    ("send 0", "0 sent"),
    ("send twenty dollars", "twenty dollars sent"),
    ("", ""),
]


@pytest.mark.parametrize(("asked", "reply"), REPEATS)
def test_an_amount_is_found_in_whatever_form(asked: str, reply: str) -> None:
    assert repeats_amount(asked, reply)


@pytest.mark.parametrize(("asked", "reply"), DOES_NOT)
def test_another_number_is_no_repetition(asked: str, reply: str) -> None:
    assert not repeats_amount(asked, reply)


@given(st.text(), st.text())
def test_any_texts_can_be_compared(asked: str, reply: str) -> None:
    assert repeats_amount(asked, reply) == repeats_amount(reply, asked)
