"""/metrics: Prometheus text."""

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from wbot.measures import Measures


class Metrics:
    """Renders the measures; in a thread, for it takes milliseconds."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    async def answer(self) -> web.Response:
        text = await asyncio.to_thread(generate_latest, self._measures.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
