"""Injects faults into a server: late, refused, garbled or missing answers, lost connections."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from wbot.clock import Clock
from wbot.simulator.faults.plan import Fault, Kind

Act = Callable[[], Awaitable[web.StreamResponse]]
Refuse = Callable[[Fault], web.StreamResponse]


class FaultInjector:
    """Answers requests as their faults say; shared by all endpoints of a simulator."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = asyncio.Event()

    async def on_shutdown(self, _app: web.Application) -> None:
        """End the unanswered requests, so that stopping does not wait for them."""
        self._stopping.set()

    async def answer(
        self, request: web.Request, fault: Fault | None, *, act: Act, refuse: Refuse
    ) -> web.StreamResponse:
        """Act and answer, altered by the fault if there is one."""
        if fault is None:
            return await act()
        await self._pause(fault.delay_s)
        if fault.kind is Kind.REFUSE:
            return refuse(fault)
        response: web.StreamResponse = web.Response(
            body=fault.body.encode(), status=fault.status, content_type=fault.content_type
        )
        if fault.acts or fault.kind is Kind.SLOW:
            acted = await act()
            response = acted if fault.kind is Kind.SLOW else response
        await self._pause(fault.answer_after_s)
        if fault.kind is Kind.SILENCE:
            await self._stopping.wait()
        if fault.kind in {Kind.DROP, Kind.SILENCE} and request.transport is not None:
            request.transport.abort()
        return response

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)
