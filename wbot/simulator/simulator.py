"""The simulator: Meta's Cloud API and webhooks, a model endpoint and the customers' phones."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from random import Random
from typing import Any

from aiohttp import web

from wbot.clock import Clock
from wbot.ingress.server import listening
from wbot.simulator.background import Background, Notifier
from wbot.simulator.call_log import Delivery, DeliveryResult, ReadMark, Record, Send, SendAttempt
from wbot.simulator.faults.plan import Endpoint, Faults
from wbot.simulator.faults.server import FaultInjector
from wbot.simulator.graph.endpoints import Messages, graph_errors
from wbot.simulator.graph.lookups import Lookups
from wbot.simulator.graph.media import BODY_BYTES_MAX, MediaFile, MediaStore
from wbot.simulator.model.chat_completions import ChatCompletions, Responder, completion_errors
from wbot.simulator.people import People, SimulatedBusiness, SimulatedCustomer
from wbot.simulator.phone.chats import Chats
from wbot.simulator.phone.fault_buttons import FaultButtons
from wbot.simulator.phone.routes import Pages, Phone
from wbot.simulator.webhooks.bodies import UPDATES_MAX, message_update
from wbot.simulator.webhooks.delivery import Meta
from wbot.simulator.webhooks.evidence import Evidence
from wbot.simulator.webhooks.samples import sample_of, tapped
from wbot.simulator.webhooks.statuses import Statuses
from wbot.simulator.webhooks.wire import inbound_id

MODEL = "simulated-model"  # the chat endpoint's default
STATUS_DELAYS_S = (0.1, 0.25, 0.4)
RETRY_DELAYS_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STOP_TIMEOUT_S = 2.0


class Simulator:
    """Everything outside wbot, on loopback.

    `status_delays_s` are seconds from acceptance to sent, delivered and read; a read of None
    waits for the customer's phone. `retry_delays_s` are the delays between attempts at a
    webhook that was not answered 200; the last one repeats, and an empty list means no retry.
    `send_delay_s` is the delay between accepting a message and answering the call.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        app_secret: str,
        verify_token: str,
        access_token: str = "simulated-token",  # noqa: S107 - a token of the simulator's own
        api_key: str = "simulated-key",
        businesses: Sequence[SimulatedBusiness],
        customers: Sequence[SimulatedCustomer],
        webhook_url: str | None = None,
        seed: int = 0,
        status_delays_s: tuple[float, float, float | None] = STATUS_DELAYS_S,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        models: Sequence[str] = (MODEL,),
        model_delay_s: float = 0.0,
        send_delay_s: float = 0.0,
    ) -> None:
        self.businesses = tuple(businesses)
        self.customers = tuple(customers)
        self.base_url = ""
        """Set by `serve`; while it is empty, webhooks carry no media URLs."""
        self.faults = Faults(seed=seed)
        self.evidence = Evidence()
        self.on_kill: Callable[[], None] | None = None
        """Kills the service, if the caller can do that; raises ValueError while it is down."""
        self._clock = clock
        # The same seed gives the same ids; nothing here is a secret.
        self._random = Random(seed)  # noqa: S311
        self._notifier = Notifier()
        self._record = Record(self._notifier)
        self._background = Background(self._notifier)
        self._fault_injector = FaultInjector(clock)
        self._people = People(customers)
        self._media = MediaStore(self._random)
        self._lookups = Lookups(
            clock=clock,
            access_token=access_token,
            businesses=self.businesses,
            media=self._media,
            faults=self.faults,
            fault_injector=self._fault_injector,
            webhook_url=lambda: self.webhook_url,
        )
        self._messages = Messages(
            clock=clock,
            random=self._random,
            access_token=access_token,
            businesses=self.businesses,
            people=self._people,
            faults=self.faults,
            record=self._record,
            evidence=self.evidence,
            fault_injector=self._fault_injector,
            send_delay_s=send_delay_s,
            has_media=self._lookups.has_media,
        )
        self._chat_completions = ChatCompletions(
            clock=clock,
            random=self._random,
            api_key=api_key,
            models=models,
            delay_s=model_delay_s,
            faults=self.faults,
            record=self._record,
            evidence=self.evidence,
            fault_injector=self._fault_injector,
        )
        self._meta = Meta(
            clock=clock,
            app_secret=app_secret,
            verify_token=verify_token,
            webhook_url=webhook_url,
            retry_delays_s=retry_delays_s,
            people=self._people,
            record=self._record,
            evidence=self.evidence,
            background=self._background,
            is_subscribed=self._lookups.is_subscribed,
        )
        self._statuses = Statuses(
            clock=clock,
            delays_s=status_delays_s,
            meta=self._meta,
            people=self._people,
            faults=self.faults,
            background=self._background,
        )
        self._pages = Pages()
        self._chats = Chats(clock=clock, people=self._people, publish=self._pages.publish)
        self._fault_buttons = FaultButtons(self.faults)
        self._proof: dict[str, Any] | None = None
        self._listen()

    def _listen(self) -> None:
        self._record.send_listeners += [self._chats.sent, self._statuses.follow]
        self._record.read_listeners.append(self._chats.marked)
        self._meta.acknowledged_listeners.append(self._chats.acknowledged)
        self._statuses.listeners.append(self._chats.status)
        self.faults.listeners.append(
            lambda: self._pages.publish("troubles", {"troubles": self._fault_buttons.state()})
        )

    def build_app(self) -> web.Application:
        """The application to serve; webhooks are delivered while it runs."""
        phone = Phone(
            network=self,
            chats=self._chats,
            pages=self._pages,
            fault_buttons=self._fault_buttons,
            proof=lambda: self._proof,
            media=self._media,
            businesses=self.businesses,
            customers=self.customers,
        )
        app = web.Application(
            middlewares=[graph_errors, completion_errors],
            client_max_size=BODY_BYTES_MAX,
        )
        app.cleanup_ctx.extend([self._meta.session_ctx, self._background.running_ctx])
        app.on_shutdown.extend([self._fault_injector.on_shutdown, self._pages.on_shutdown])
        for part in (self._messages, self._lookups, self._chat_completions, phone):
            app.add_routes(part.routes())
        return app

    @property
    def webhook_url(self) -> str | None:
        """Where webhooks are delivered; while it is None, deliveries are retried."""
        return self._meta.webhook_url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        self._meta.webhook_url = url

    @property
    def responder(self) -> Responder | None:
        """Scripts the chat endpoint's answers in place of the offline interpreter."""
        return self._chat_completions.responder

    @responder.setter
    def responder(self, responder: Responder | None) -> None:
        self._chat_completions.responder = responder

    @property
    def sends(self) -> tuple[Send, ...]:
        """Every accepted send, oldest first."""
        return tuple(self._record.sends)

    @property
    def send_attempts(self) -> tuple[SendAttempt, ...]:
        """Every POST of a message, including refused and lost ones."""
        return tuple(self._record.attempts)

    @property
    def reads(self) -> tuple[ReadMark, ...]:
        """Every read mark and typing indicator."""
        return tuple(self._record.reads)

    @property
    def completions(self) -> tuple[dict[str, Any], ...]:
        """Every well-formed request for a chat completion."""
        return tuple(self._record.completions)

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """Every webhook that was acknowledged or abandoned."""
        return tuple(self._record.deliveries)

    def customer(self, name: str) -> SimulatedCustomer:
        """By name, phone number or user id; KeyError when there is none."""
        return self._people.find(name)

    def business(self, phone_number_id: str) -> SimulatedBusiness:
        """KeyError when there is none."""
        for business in self.businesses:
            if business.phone_number_id == phone_number_id:
                return business
        raise KeyError(phone_number_id)

    async def handshake(self) -> None:
        """Meta's verification of the webhook URL.

        Raises RejectedError for a wrong answer, RetryableError when it cannot be reached.
        """
        await self._meta.handshake()

    async def deliver(self, body: bytes | dict[str, Any]) -> DeliveryResult:
        """One signed POST, now, without faults and without a retry."""
        return await self._meta.deliver(body)

    def learn_from(self, body: bytes) -> None:
        """Record the senders in a body that another client delivers, so they can be answered."""
        self._meta.learn_from(body)

    def hold_webhooks(self) -> None:
        """Meta stops delivering webhooks and queues them."""
        self._meta.hold()

    def release_webhooks(self, *, updates_max: int = UPDATES_MAX) -> None:
        """Deliver the queued updates, at most `updates_max` to a body."""
        self._meta.release(updates_max=updates_max)

    async def say(
        self,
        customer: SimulatedCustomer | str,
        text: str,
        *,
        business: SimulatedBusiness | None = None,
        message_id: str | None = None,
        sent_at: datetime | None = None,
    ) -> str:
        """A customer writes to a business (by default the first); returns the message id."""
        content = {"type": "text", "text": {"body": text}}
        return await self.send_inbound(
            customer, content, business=business, message_id=message_id, sent_at=sent_at
        )

    async def send_inbound(
        self,
        customer: SimulatedCustomer | str,
        message: dict[str, Any] | str,
        *,
        business: SimulatedBusiness | None = None,
        message_id: str | None = None,
        sent_at: datetime | None = None,
    ) -> str:
        """A customer sends a message given by type and body, or a sample of one of `KINDS`."""
        customer = self._customer_of(customer)
        business = business or self.businesses[0]
        if isinstance(message, str):
            message = self._sample_of(message, business, customer)
        message_id = message_id or inbound_id(self._random, customer.key)
        sent_at = sent_at or self._clock.now()
        update = message_update(business, customer, message, message_id=message_id, sent_at=sent_at)
        self._chats.said(customer, business, message, message_id=message_id, at=sent_at)
        self.evidence.said(customer, message, message_id=message_id, at=sent_at)
        self._meta.post(update, self.faults.next_fault(Endpoint.WEBHOOK, update.about))
        return message_id

    async def tap(
        self,
        customer: SimulatedCustomer | str,
        button_id: str,
        title: str,
        context_wamid: str,
        *,
        business: SimulatedBusiness | None = None,
    ) -> str:
        """A customer taps a button, or a row of a list, of a message the business sent."""
        business = business or self.businesses[0]
        found = (send for send in reversed(self._record.sends) if send.wamid == context_wamid)
        content = tapped(next(found, None), button_id=button_id, title=title)
        context = {"from": business.display_phone_number, "id": context_wamid}
        return await self.send_inbound(customer, content | {"context": context}, business=business)

    def cause_trouble(self, name: str, *, wanted: bool) -> None:
        """Start or end one fault, as the page's switches do."""
        self._fault_buttons.cause(name, wanted=wanted)

    def kill(self) -> None:
        """Kill the service at once; raises ValueError if it cannot or it is already down."""
        if self.on_kill is None:
            raise ValueError("this simulator has no service to kill")
        self.on_kill()

    def show_proof(self, proof: dict[str, Any]) -> None:
        """Show this proof on every page, replacing the previous one."""
        self._proof = proof
        self._pages.publish("proof", proof)

    def read(self, wamids: Sequence[str]) -> None:
        """A customer's phone shows these messages."""
        self._statuses.read(wamids)

    def replies_to(self, customer: SimulatedCustomer | str) -> tuple[Send, ...]:
        """The sends to one customer, oldest first."""
        customer = self._customer_of(customer)
        return tuple(send for send in self._record.sends if send.customer == customer)

    async def wait_for_sends(self, count: int, *, timeout_s: float) -> tuple[Send, ...]:
        """All sends, once there are this many; raises TimeoutError if there are not in time."""
        await self.until(lambda: self._record.sends_total >= count, timeout_s=timeout_s)
        return self.sends

    async def wait_for_reply_to(
        self, customer: SimulatedCustomer | str, *, after: int, timeout_s: float
    ) -> Send:
        """The send to this customer that follows the first `after` of them."""
        await self.until(lambda: len(self.replies_to(customer)) > after, timeout_s=timeout_s)
        return self.replies_to(customer)[after]

    async def wait_until_quiet(self, *, timeout_s: float) -> None:
        """Return once every delivery is done; raises TimeoutError if some are not in time."""
        await self.until(lambda: self._background.idle, timeout_s=timeout_s)

    async def until(self, is_true: Callable[[], bool], *, timeout_s: float) -> None:
        """Return once the condition holds; it is checked after every recorded change."""
        await self._notifier.until(is_true, timeout_s=timeout_s)

    def on_send(self, listener: Callable[[Send], None]) -> Callable[[], None]:
        """Call `listener` for each accepted send; returns a function that removes it."""
        self._record.send_listeners.append(listener)
        return lambda: self._record.send_listeners.remove(listener)

    def _customer_of(self, customer: SimulatedCustomer | str) -> SimulatedCustomer:
        return self.customer(customer) if isinstance(customer, str) else customer

    def _sample_of(
        self, kind: str, business: SimulatedBusiness, customer: SimulatedCustomer
    ) -> dict[str, Any]:
        def store(data: bytes, mime_type: str) -> tuple[MediaFile, str | None]:
            file = self._media.put(
                data, mime_type=mime_type, phone_number_id=business.phone_number_id
            )
            url = self._lookups.download_url(file, base_url=self.base_url)
            return file, url if self.base_url else None

        return sample_of(kind, business=business, customer=customer, store=store)


@asynccontextmanager
async def serve(
    simulator: Simulator, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Run the simulator in the background; yields its base URL.

    Raises ConfigurationError if the address cannot be used.
    """
    app = simulator.build_app()
    async with listening(app, host=host, port=port, shutdown_timeout_s=STOP_TIMEOUT_S) as bound:
        simulator.base_url = f"http://{host}:{bound}"
        yield simulator.base_url
