"""The setup before the first kill: the database with its customers' money, and the settings."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec
from db_factories import NOW, SHOP, give

from torture.asks import OUTSIDE_SHOP
from torture.processes import HOST
from wbot.clock import Clock
from wbot.domain.business import Policy, Switch
from wbot.simulator.people import SimulatedCustomer
from wbot.simulator.simulator import MODEL, Simulator
from wbot.storage import businesses, customers, migrations
from wbot.storage.database import connect, transaction

GRACE_S = 3.0
"""Longer than any status takes here once the port is open."""
PAYS_AT_ONCE = Policy(
    cancel_window_s=10**6, confirm_above_minor=10**12, repeat_window_s=0, own_words=Switch.OFF
)
"""No confirmations: a message has one reply, whatever money it moves."""


def make_outside(customers: Sequence[SimulatedCustomer], *, seed: int, clock: Clock) -> Simulator:
    """Meta, the Graph API and the model endpoint."""
    return Simulator(
        clock=clock,
        app_secret="torture-secret",
        verify_token="torture-verify",
        access_token="torture-token",
        api_key="torture-key",
        businesses=[OUTSIDE_SHOP],
        customers=customers,
        seed=seed,
        status_delays_s=(0.4, 0.7, 1.0),
        retry_delays_s=(0.0, 0.1, 0.2, 0.3),
    )


def make_database(
    path: Path,
    *,
    payers: Sequence[SimulatedCustomer] = (),
    receivers: Sequence[SimulatedCustomer] = (),
    given_minor: int = 0,
) -> None:
    """A business and its customers; each payer has this much money."""
    connection = connect(path)
    migrations.migrate(connection, path, Clock().now())
    shop = msgspec.structs.replace(SHOP, policy=PAYS_AT_ONCE)
    with transaction(connection):
        businesses.add(connection, shop, NOW)
        for one in (*payers, *receivers):
            user_id = None if one.phone else one.user_id
            found = customers.resolve(
                connection, SHOP.id, phone=one.phone, user_id=user_id, name=None, now=NOW
            )
            if one in payers:
                give(connection, found.customer_id, given_minor)
    connection.close()


def variables(database: Path, *, outside: str, port: int) -> dict[str, str]:
    """The environment of every process."""
    ours = ("WBOT_", "OPENAI_", "SHOP_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | {
        "WBOT_DATABASE": str(database),
        "WBOT_PORT": str(port),
        "WBOT_VERIFY_TOKEN": "torture-verify",
        "WBOT_APP_SECRET": "torture-secret",
        "SHOP_TOKEN": "torture-token",
        "WBOT_GRAPH_URL": outside,
        "WBOT_MODEL": MODEL,
        "WBOT_MODEL_API": os.environ.get("WBOT_MODEL_API", "auto"),
        "OPENAI_API_KEY": "torture-key",
        "OPENAI_BASE_URL": f"{outside}/v1",
        "WBOT_API_TIMEOUT": "1.5",
        "WBOT_TURN_TIMEOUT": "30",
        "WBOT_UNKNOWN_GRACE": str(GRACE_S),
        "WBOT_STALE_AFTER": "36000",
        "WBOT_MAX_ATTEMPTS": "200",
        "WBOT_LOG_LEVEL": "warning",
        "PYTHONFAULTHANDLER": "1",
    }


def free_port() -> int:
    """An unused port of this machine."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
