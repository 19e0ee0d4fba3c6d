"""What a customer sees while a turn runs: a read mark, and a line when it takes longer.

Nothing waits for these, and nothing is lost with them.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from wbot.clients.whatsapp import PhoneNumberCredentials, WhatsApp
from wbot.clock import Clock, to_text
from wbot.domain.errors import StaleClaimError, StorageError
from wbot.keyed_worker import cancel_and_wait
from wbot.logs import Log
from wbot.storage import journal
from wbot.storage.database import Database
from wbot.storage.tx import Tx
from wbot.turns import waiting_notice
from wbot.turns.turn_start import Begun

READ_MARKS_UNDER_WAY_MAX = 200


class Courtesies:
    """Sends read marks and waiting notices beside the turns."""

    def __init__(
        self,
        *,
        database: Database,
        whatsapp: WhatsApp,
        clock: Clock,
        log: Log,
        notify_outbound: Callable[[int, str], None],
    ) -> None:
        self._database = database
        self._whatsapp = whatsapp
        self._clock = clock
        self._log = log
        self._notify_outbound = notify_outbound
        self._tasks: asyncio.TaskGroup
        self._read_marks: set[asyncio.Task[None]] = set()
        self._notices: set[asyncio.Task[None]] = set()

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks

    async def stop(self) -> None:
        await cancel_and_wait([*self._read_marks, *self._notices])

    def mark_read(self, credentials: PhoneNumberCredentials, begun: Begun) -> None:
        """Show the customer that their message is read, and that an answer is being written."""
        # Unjournaled and unwaited for: it is a courtesy, and must never cost the reply a second.
        if len(self._read_marks) < READ_MARKS_UNDER_WAY_MAX:
            task = self._tasks.create_task(
                self._send_read_mark(credentials, begun), name="read mark"
            )
            self._read_marks.add(task)
            task.add_done_callback(self._read_marks.discard)

    async def _send_read_mark(self, credentials: PhoneNumberCredentials, begun: Begun) -> None:
        message_id = begun.message.message_id
        try:
            await self._whatsapp.mark_read(credentials, message_id, is_typing=True)
        except Exception as error:  # noqa: BLE001  a courtesy must never cost more than itself
            self._log.info(
                "read_mark.failed",
                message_id=message_id,
                error=str(error),
                quotable=begun.message.words,
            )

    def tell_slow(self, begun: Begun) -> None:
        """Tell the customer that the answer takes longer, once an outage."""
        task = self._tasks.create_task(self._put_notice(begun), name="waiting notice")
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _put_notice(self, begun: Begun) -> None:
        message, now = begun.message, to_text(self._clock.now())

        def put(tx: Tx) -> bool:
            journal.guard(tx, message.conversation_id, begun.claim.epoch)
            return waiting_notice.tell(tx, message, now=now)

        with suppress(StaleClaimError, StorageError):  # the turn has ended, or will tell of it
            if await self._database.write(put):
                self._notify_outbound(message.conversation_id, message.business_id)
