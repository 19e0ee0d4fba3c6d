"""/metrics: Prometheus text."""

import asyncio
from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from wbot.logs import lines_dropped
from wbot.metrics import Metrics


class _Logs(Collector):
    def collect(self) -> Iterator[CounterMetricFamily]:
        help_ = "Log lines that were dropped."
        yield CounterMetricFamily("wbot_log_lines_dropped", help_, value=lines_dropped())


class MetricsPage:
    """Renders the metrics, in a thread because it takes milliseconds."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        metrics.registry.register(_Logs())

    async def answer(self) -> web.Response:
        text = await asyncio.to_thread(generate_latest, self._metrics.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
