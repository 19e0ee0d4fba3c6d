"""Why a message has no reply: one cause, with the operator's next step."""

from wbot.admin.message_timeline import SILENCES
from wbot.domain.delivery import Verdict, verdict_of
from wbot.domain.states import MessageState, ReplyState, SendOutcome, TurnOutcome
from wbot.storage import errors, timeline
from wbot.storage.timeline import Message
from wbot.storage.tx import Tx

NOT_RUNNING = (
    "No service is running on this database; start it with `wbot serve` "
    "(under systemd: `systemctl start wbot`)."
)
NOT_DELIVERED_HINT = (
    "If they wrote, look for webhook.answered in the log: with code 401 the signature was refused, "
    "so WBOT_APP_SECRET is not the app secret in Meta's dashboard; without any line Meta does not "
    "reach this service, and `wbot check` shows where Meta delivers to."
)
_SILENT_STEPS = {
    "window_closed": (
        "see in the log why the service was down or unreachable; the customer has to write again"
    ),
    "asked_about": "no action needed: it continues when the customer taps the button",
}
_OUTCOMES = {
    TurnOutcome.BLOCKED: "The attempt is blocked and continues by itself once this is "
    "fixed: {detail} `wbot check` shows what to fix.",
    TurnOutcome.RETRY: "The last attempt failed and is repeated by itself: {detail} "
    "If it keeps failing, `wbot check` shows what to fix.",
}
_ARRIVED = frozenset({ReplyState.DELIVERED, ReplyState.READ, ReplyState.PLAYED})


def cause_of(tx: Tx, message_id: str, *, is_served: bool) -> str | None:
    """The cause, or None if the customer has a reply; `is_served`: a service is running."""
    message = timeline.message(tx, message_id)
    if message is None:
        return None
    match MessageState(message.state):
        case MessageState.SILENT:
            return _silence(message)
        case MessageState.FAILED:
            return _failure(tx, message_id)
        case MessageState.ANSWERED:
            return _delivery(tx, message, is_served=is_served) or _open_question(tx, message)
        case MessageState.WAITING | MessageState.BEGUN:
            return _stopped(message, is_served=is_served) or _turn(tx, message)


def _stopped(message: Message, *, is_served: bool) -> str | None:
    """The cause that stops every message and reply of the business, if there is one."""
    if message.business_status == "paused":
        business_id = message.business_id
        return (
            f"The business {business_id} is paused, so messages and replies wait; "
            f"`wbot business resume {business_id}` lets them continue."
        )
    return None if is_served else NOT_RUNNING


def _turn(tx: Tx, message: Message) -> str:
    if message.ahead and message.conversation_id is not None:
        first = timeline.first_unfinished(tx, message.conversation_id)
        return (
            f"The customer's earlier messages go first, and the first is unfinished; "
            f"`wbot why {first}` says why."
        )
    turns = timeline.turns(tx, message.message_id)
    if turns and turns[-1].outcome is not None and turns[-1].outcome in _OUTCOMES:
        return _OUTCOMES[TurnOutcome(turns[-1].outcome)].format(detail=turns[-1].detail)
    return (
        "Its turn has not ended yet; run this again in a few seconds, and if nothing changes see "
        "/health for the reason."
    )


def _silence(message: Message) -> str:
    reason = str(message.reason)
    words = SILENCES.get(reason, reason.replace("_", " "))
    if reason == "unknown_number":
        number = message.phone_number_id
        return (
            f"No business here has the phone number id {number}, to which it was sent; set it with "
            f"`wbot business set ID phone_number_id={number}`, or add the business with `wbot "
            "business add`; it is then answered if it is not older than 24 hours."
        )
    step = _SILENT_STEPS.get(reason, "no action needed")
    return f"It gets no reply: {words}; {step}."


def _failure(tx: Tx, message_id: str) -> str | None:
    found = [row for row in errors.of_message(tx, message_id) if row.state == "open"]
    if not found:
        return (
            "It failed for good, and the record of the cause was purged; the customer has to write "
            "again."
        )
    return (
        f"It failed for good: {str(found[-1].error_message).rstrip('.')}; once the cause is "
        f"fixed, `wbot errors retry {found[-1].id}` processes it again."
    )


def _delivery(tx: Tx, message: Message, *, is_served: bool) -> str | None:
    unsettled = [
        row for row in timeline.replies(tx, message.message_id) if row.state not in _ARRIVED
    ]
    if not unsettled:
        return None
    reply = unsettled[0]
    match ReplyState(reply.state):
        case ReplyState.FAILED:
            return (
                f"{str(reply.error).rstrip('.')}: WhatsApp does not deliver the reply, and it "
                "is not sent again; `wbot errors list` shows all such failures."
            )
        case ReplyState.UNKNOWN:
            return _stopped(message, is_served=is_served) or (
                "It is unknown whether WhatsApp accepted the reply; it is sent again after "
                "WBOT_UNKNOWN_GRACE seconds, unless WhatsApp reports it before that."
            )
        case ReplyState.ACCEPTED | ReplyState.SENT:
            return (
                "WhatsApp accepted the reply and has not reported it delivered: the phone may be "
                "off, or Meta's statuses do not arrive; `wbot check` shows whether the webhook is "
                "subscribed."
            )
        case _:
            return _stopped(message, is_served=is_served) or _send(tx, message)


def _open_question(tx: Tx, message: Message) -> str | None:
    if message.prompt_id is None or not timeline.is_unanswered(tx, message.prompt_id):
        return None
    return (
        f"The reply is a question: {SILENCES['asked_about']} (WBOT_STALE_AFTER); "
        f"{_SILENT_STEPS['asked_about']}."
    )


def _send(tx: Tx, message: Message) -> str:
    attempts = [
        row for row in timeline.attempts(tx, message.message_id) if row.closed_at is not None
    ]
    if not attempts:
        return (
            "The reply is stored and waits to be sent; run this again in a few seconds, and if "
            "nothing changes see /health for the reason."
        )
    latest = attempts[-1]
    detail = str(latest.detail).rstrip(".")
    is_refused = latest.outcome == SendOutcome.REFUSED
    if not is_refused or verdict_of(latest.code, 0) is not Verdict.ACCOUNT:
        return (
            f"The last attempt to send the reply failed and is repeated by itself: {detail}. If it "
            "keeps failing, `wbot check` shows what to fix."
        )
    return (
        f"WhatsApp refuses the business's token or account: {detail} (code {latest.code}); put "
        f"a valid token where `wbot business show {message.business_id}` says it is kept and "
        "restart the service; the reply is then sent by itself. `wbot check` tests the token."
    )
