"""Coverage-guided fuzzing of the webhook: bytes in, rows on disk or a clear refusal.

Runs in its own environment (`make fuzz`), because atheris is not a dependency of the project. Any
exception but MalformedError ends the run, and libFuzzer writes the bytes that caused it.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["wbot"]):
    from wbot.clock import Clock, to_text
    from wbot.domain.business import Business
    from wbot.domain.content import content_of
    from wbot.domain.errors import MalformedError
    from wbot.domain.triage import handling_of
    from wbot.inbound.intake import record
    from wbot.inbound.webhook_parser import parse_payload
    from wbot.storage import businesses, migrations
    from wbot.storage.database import connect, transaction

NOW = Clock().now()
NUMBER = "106540352242922"
FOLDER = tempfile.TemporaryDirectory()
PATH = Path(FOLDER.name) / "wbot.db"
CONNECTION = connect(PATH)


def prepare() -> None:
    """Add one business, so that messages find a conversation."""
    migrations.migrate(CONNECTION, PATH, NOW)
    business = Business(
        id="shop", name="Shop", phone_number_id=NUMBER, access_token="x", currency_code="USD"
    )
    with transaction(CONNECTION):
        businesses.add(CONNECTION, business, to_text(NOW))


def one_input(body: bytes) -> None:
    """Store the parsed bytes twice, and roll back."""
    try:
        payload = parse_payload(body)
    except MalformedError:
        return
    for message in payload.messages:
        handling_of(content_of(message.raw), message.group_id)
    CONNECTION.execute("BEGIN")
    try:
        record(CONNECTION, payload, body=body, now=NOW, installation="fuzz")
        again = record(CONNECTION, payload, body=body, now=NOW, installation="fuzz")
        assert not again.accepted
    finally:
        CONNECTION.execute("ROLLBACK")


if __name__ == "__main__":
    prepare()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
