"""What is counted and timed, in one place: plain numbers for /health, Prometheus for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from wbot.domain.states import MessageState

_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 120_000)


class Metrics:
    """The counters of one running service; each app has its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.processed = 0
        self.errors = 0
        self.duplicates = 0
        self.cache_hits = 0
        self.cache_misses = 0
        self.webhooks = self._counter("webhooks", "Webhooks answered.", "code")
        self.messages = self._counter("messages", "Messages ended.", "state")
        self.message_duplicates = self._counter("message_duplicates", "Deliveries ignored.")
        self.unknown_numbers = self._counter(
            "messages_for_unknown_numbers", "Messages for a number that no business has."
        )
        self.replies = self._counter("send_attempts", "Attempts to send.", "outcome")
        self.statuses = self._counter("reply_statuses", "Delivery statuses recorded.", "status")
        self.fallback_answers = self._counter(
            "fallback_answers", "Answers of the second model in place of the first."
        )
        self.response_ms = self._histogram("webhook_response_ms", "Webhook to answer.")
        self.commit_ms = self._histogram("webhook_store_ms", "Storing a webhook, commit included.")
        self.total_ms = self._histogram("message_total_ms", "Receipt to stored reply.")
        self.queue_ms = self._histogram("message_queue_ms", "Receipt to the start of the turn.")
        self.model_ms = self._histogram("message_model_ms", "Model calls of one turn.")
        self.tools_ms = self._histogram("message_tools_ms", "Tool steps of one turn.")
        self.send_ms = self._histogram("reply_send_ms", "One send to the Graph API.")

    def count_ended(self, state: MessageState) -> None:
        """A message ended in answered, silent or failed."""
        self.messages.labels(state).inc()
        if state is MessageState.FAILED:
            self.errors += 1
        else:
            self.processed += 1

    def count_duplicates(self, number: int) -> None:
        """Deliveries of known messages were ignored."""
        self.duplicates += number
        self.message_duplicates.inc(number)

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        return Counter(f"wbot_{name}", help_, labels, registry=self.registry)

    def _histogram(self, name: str, help_: str) -> Histogram:
        return Histogram(f"wbot_{name}", help_, buckets=_MS, registry=self.registry)
