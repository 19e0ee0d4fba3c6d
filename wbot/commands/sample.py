"""wbot sample: a webhook body as Meta would send it now, for `wbot sign` and curl."""

import sys
from random import SystemRandom

import click

from wbot.commands.console import WORDS, now, reading
from wbot.domain.business import Business
from wbot.domain.errors import ConfigurationError
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer
from wbot.simulator.webhooks.bodies import body_of, message_update
from wbot.simulator.webhooks.wire import inbound_id, to_wire
from wbot.storage import businesses

ACCOUNT_ID, DISPLAY_PHONE = "200000000000001", "15550100001"
CUSTOMER = SimulatedCustomer("Alice", "15550101001", "US.15550101001")
COUNT_MAX = 5_000


@click.command()
@click.option(
    "--count", default=1, show_default=True, type=click.IntRange(1, COUNT_MAX), metavar="N"
)
@click.option("--text", default="What's my balance?", show_default=True, type=WORDS, metavar="T")
@click.option("--business", "business_id", metavar="ID", type=WORDS, help="Default: the first.")
@click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    help="Accepted for consistency: the output is always JSON.",
)
def sample(*, count: int, text: str, business_id: str | None) -> None:
    """Print a webhook body of N text messages with fresh ids and the present time.

    They come from +15550101001 to the business. A body from a file would be stale.
    """
    business = _business(business_id)
    # No line break at the end: curl or a shell may change it, which breaks the signature.
    click.echo(_body(business, count, text), nl=sys.stdout.isatty())


def _business(business_id: str | None) -> Business:
    with reading() as tx:
        if business_id is not None:
            return businesses.required(tx, business_id)
        known = businesses.every(tx)
    if not known:
        raise ConfigurationError("There is no business yet; add one with `wbot business add`.")
    return known[0]


def _body(business: Business, count: int, text: str) -> bytes:
    outside = SimulatedBusiness(business.phone_number_id, ACCOUNT_ID, DISPLAY_PHONE, business.name)
    random, sent_at = SystemRandom(), now()
    updates = [
        message_update(
            outside,
            CUSTOMER,
            {"type": "text", "text": {"body": text}},
            message_id=inbound_id(random, str(CUSTOMER.phone)),
            sent_at=sent_at,
        )
        for _ in range(count)
    ]
    return to_wire(body_of(updates))
