"""The whole program, wired once by hand: every object, its lifetime, the routes.

The only place where stages meet: each gets the others' `notify` as a plain callable.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
from aiohttp import web

from wbot.admin import restoration
from wbot.clients.model import ModelClient, OpenAIModel
from wbot.clients.offline import Offline
from wbot.clients.whatsapp import WhatsApp
from wbot.clock import Clock
from wbot.inbound.webhook import Webhooks
from wbot.ingress.limits import Limits
from wbot.ingress.server import listening
from wbot.keyed_worker import cancel_and_wait
from wbot.logs import get_log, keep_from_logs
from wbot.metrics import Metrics
from wbot.monitoring.change_poller import ChangePoller
from wbot.monitoring.health import Health, Sources
from wbot.monitoring.ledger_audit import Audit
from wbot.monitoring.metrics_page import MetricsPage
from wbot.monitoring.supervisor import Supervisor
from wbot.outbound.sender import Sender
from wbot.payments.hold_expiry import Expiry
from wbot.settings import OFFLINE_MODEL, Settings, known_secrets, require
from wbot.storage import businesses, messages, migrations, outbox, restorations
from wbot.storage.database import Database, connect
from wbot.storage.lock import locked
from wbot.storage.model_dialects import DialectMemory
from wbot.turns.config_cache import BusinessCache
from wbot.turns.conversation_worker import Conversations

STOP_GRACE_S = 3.0
"""Seconds turns, then sends, may take to reach their next durable step."""
REQUESTS_GRACE_S = 2.0
"""Seconds for requests under way when the service stops; with the two above well below 10."""
SWEEP_ROWS = 1_000
"""Unfinished messages, or replies, read at a time."""


class Service:
    """Every object of a running wbot, in the order of the flow."""

    def __init__(
        self,
        settings: Settings,
        variables: Mapping[str, str],
        *,
        clock: Clock,
        session: aiohttp.ClientSession,
    ) -> None:
        log = get_log()
        self.settings = settings
        self.log = log
        self.metrics = Metrics()
        secrets = known_secrets(settings)
        keep_from_logs(secrets)
        self.database = Database(settings.database, clock=clock)
        self.cache = BusinessCache(
            self.database,
            variables=variables,
            secrets=secrets,
            ttl_s=settings.cache_ttl,
            clock=clock,
            log=log,
            metrics=self.metrics,
        )
        memory = DialectMemory(self.database)
        self.model = _model(settings, secrets, memory, clock)
        self.fallback = _fallback(settings, secrets, memory, clock)
        whatsapp = _whatsapp(settings, session, secrets)
        self.sender = Sender(
            database=self.database,
            configured=self.cache.get,
            whatsapp=whatsapp,
            settings=settings,
            secrets=secrets,
            clock=clock,
            log=log,
            metrics=self.metrics,
        )
        self.audit = Audit(database=self.database, clock=clock, log=log)
        self.expiry = Expiry(
            database=self.database,
            clock=clock,
            log=log,
            are_books_right=self._may_move_money,
        )
        self.conversations = Conversations(
            database=self.database,
            cache=self.cache,
            model=self.model,
            fallback=self.fallback,
            whatsapp=whatsapp,
            settings=settings,
            secrets=secrets,
            clock=clock,
            log=log,
            metrics=self.metrics,
            notify_outbound=self.sender.notify,
            are_books_right=self._may_move_money,
        )
        self.webhooks = Webhooks(
            database=self.database,
            settings=settings,
            secrets=secrets,
            clock=clock,
            log=log,
            metrics=self.metrics,
            notify_conversation=self.conversations.notify,
            notify_sender=self.sender.notify,
            note_status=self.sender.note_status,
        )
        self.health = Health(
            database=self.database,
            clock=clock,
            metrics=self.metrics,
            sources=self._sources(),
        )
        self.metrics_page = MetricsPage(self.metrics)
        self.supervisor = Supervisor(variables, database=self.database, clock=clock, log=log)
        self.watch = ChangePoller(
            database=self.database,
            clock=clock,
            log=log,
            on_change=self._changed_elsewhere,
            sweep=self.notify_unfinished,
        )

        self.background = (self.audit, self.watch, self.expiry, self.supervisor)

    def _sources(self) -> Sources:
        return Sources(
            blocked_models=lambda: self.conversations.blocked,
            failing_models=self.conversations.failing_models,
            stands_in=lambda: self.conversations.stands_in,
            unreadable_knowledge=lambda: self.conversations.unreadable_knowledge,
            failing_sends=self.sender.failing,
            refused_webhooks=self.webhooks.refusals.reasons,
            blocked_accounts=lambda: self.sender.accounts.reasons,
            book_breaches=lambda: self.audit.breaches,
            currently_processing=lambda: self.conversations.running,
            cache_keys=lambda: self.cache.keys,
        )

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        await self.database.open()
        await self.sender.start(tasks)
        self.conversations.start(tasks)
        await self.webhooks.start()
        await self.notify_unfinished()

    async def notify_unfinished(self) -> None:
        """Notify the workers of every conversation with unfinished work, page by page."""
        sharing = await self.database.read(businesses.count_active)
        self.sender.share_among(sharing)
        self.conversations.share_among(sharing)
        replies = [outbox.InLine(0, 0, "")]
        while replies:
            page = partial(outbox.in_line, after=replies[-1].id, limit=SWEEP_ROWS)
            replies = await self.database.read(page)
            for reply in replies:
                self.sender.notify(reply.conversation_id, reply.business_id)
        waiting = [messages.InLine("", "", 0, "")]
        while waiting:
            following = partial(messages.in_line, after=waiting[-1].place, limit=SWEEP_ROWS)
            waiting = await self.database.read(following)
            for message in waiting:
                self.conversations.remind(message.conversation_id, message.business_id)

    async def stop(self) -> None:
        """Stop in the order of the flow; each part stops even if one before it failed."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            for model in (self.model, self.fallback):
                if isinstance(model, OpenAIModel):
                    stack.push_async_callback(model.close)
            stack.push_async_callback(self.sender.stop, STOP_GRACE_S)
            stack.push_async_callback(self.conversations.stop, STOP_GRACE_S)

    async def _may_move_money(self) -> bool:
        """Whether the books are right, and nobody still has to accept a restored copy."""
        if not await self.audit.are_books_right():
            return False
        return not await self.database.read(restorations.is_stopped)

    async def _changed_elsewhere(self) -> None:
        await self.cache.clear()
        for model in (self.model, self.fallback):
            if isinstance(model, OpenAIModel):
                model.look_again()
        self.conversations.configuration_changed()


def _whatsapp(
    settings: Settings, session: aiohttp.ClientSession, secrets: Collection[str]
) -> WhatsApp:
    return WhatsApp(
        session,
        graph_url=settings.graph_url,
        version=settings.graph_version,
        timeout_s=settings.api_timeout,
        app_secret=settings.app_secret,
        secrets=secrets,
    )


def _model(
    settings: Settings, secrets: Collection[str], memory: DialectMemory, clock: Clock
) -> ModelClient:
    if settings.is_offline:
        return Offline()
    return OpenAIModel(**settings.endpoint, memory=memory, secrets=secrets, clock=clock)


def _fallback(
    settings: Settings, secrets: Collection[str], memory: DialectMemory, clock: Clock
) -> ModelClient | None:
    """The second model's client: at an endpoint of its own, or at the first one's."""
    if not settings.model_fallback:
        return None
    if settings.model_fallback == OFFLINE_MODEL:
        return Offline()
    return OpenAIModel(**settings.fallback_endpoint, memory=memory, secrets=secrets, clock=clock)


def check_settings(settings: Settings) -> None:
    """Raise ConfigurationError for what the service cannot run without."""
    require(settings, "verify_token", "app_secret", "model")
    if not settings.is_offline:
        require(settings, "openai_api_key")


SERVICE_KEY = web.AppKey("service", Service)


def build_app(
    settings: Settings,
    variables: Mapping[str, str],
    clock: Clock | None = None,
    *,
    creates: bool = False,
) -> web.Application:
    """The aiohttp application; everything opens when it starts and closes when it stops.

    Only with `creates` may it create the database. Raises ConfigurationError, here or when it
    starts, for what an operator must fix.
    """
    check_settings(settings)
    used_clock = clock or Clock()

    async def service_ctx(app: web.Application) -> AsyncIterator[None]:
        with locked(settings.database, creates=creates):
            _prepare_database(settings, used_clock, creates=creates)
            async with (
                asyncio.TaskGroup() as tasks,
                # No connection limit: calls that hang must not hold up those of other businesses.
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
            ):
                service = Service(settings, variables, clock=used_clock, session=session)
                try:
                    await service.start(tasks)
                    background_tasks = [
                        tasks.create_task(one.run(), name=type(one).__name__.lower())
                        for one in (
                            service.audit,
                            service.watch,
                            service.expiry,
                            service.supervisor,
                        )
                    ]
                    app[SERVICE_KEY] = service
                    yield
                    await cancel_and_wait(background_tasks)
                finally:  # also of a start that failed, or its threads would keep the process up
                    await service.stop()

    app = web.Application()
    app.cleanup_ctx.append(service_ctx)
    app.on_shutdown.append(_refuse_webhooks)
    app.router.add_get("/api/webhook", _handshake, allow_head=False)
    app.router.add_post("/api/webhook", _receive)
    app.router.add_get("/health", _health)
    app.router.add_get("/api/webhook/health", _health)
    app.router.add_get("/live", _live)
    app.router.add_get("/metrics", _metrics)
    return app


@asynccontextmanager
async def serving(
    app: web.Application, host: str, port: int, limits: Limits | None = None
) -> AsyncIterator[int]:
    """The application listening; yields the port, and stops cleanly when the block ends.

    Raises ConfigurationError where the address cannot be used.
    """
    async with listening(
        app,
        host=host,
        port=port,
        shutdown_timeout_s=REQUESTS_GRACE_S,
        limits=limits,
        advice="set WBOT_HOST and WBOT_PORT to an address of this machine and a free port",
    ) as bound:
        app[SERVICE_KEY].sender.port_opened()
        yield bound


def _prepare_database(settings: Settings, clock: Clock, *, creates: bool) -> None:
    connection = connect(settings.database)
    try:
        migrations.migrate(connection, settings.database, clock.now(), creates=creates)
        restoration.settle_copy(connection, clock.now())
    finally:
        connection.close()


async def _refuse_webhooks(app: web.Application) -> None:
    app[SERVICE_KEY].webhooks.stop()
    app[SERVICE_KEY].sender.port_closes()


async def _handshake(request: web.Request) -> web.Response:
    return await request.app[SERVICE_KEY].webhooks.handshake(request)


async def _receive(request: web.Request) -> web.Response:
    return await request.app[SERVICE_KEY].webhooks.receive(request)


async def _health(request: web.Request) -> web.Response:
    return await request.app[SERVICE_KEY].health.answer()


async def _live(_: web.Request) -> web.Response:
    """The loop runs, or nobody would answer; /health says whether the service can work."""
    return web.json_response({"status": "live"})


async def _metrics(request: web.Request) -> web.Response:
    return await request.app[SERVICE_KEY].metrics_page.answer()
