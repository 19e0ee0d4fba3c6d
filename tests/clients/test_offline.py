"""The built-in interpreter: from sentences to a model's tool calls."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from wbot.clients.model import Answer, ModelClient, ToolCall, Usage
from wbot.clients.offline import Offline, completion_of, interpret
from wbot.clients.offline_reading import TEXT_LENGTH_MAX

Calls = list[tuple[str, dict[str, Any]]]

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {}}}
    for name in ("transfer", "cancel", "balance", "statement")
]


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def calls_of(answer: Answer) -> Calls:
    return [(call.name, json.loads(call.arguments)) for call in answer.tool_calls]


def said(text: str) -> Answer:
    return interpret([{"role": "system", "content": "You are a bank."}, user(text)])


def transfer(amount: str, to: str, memo: str | None = None) -> tuple[str, dict[str, Any]]:
    return "transfer", {"amount": amount, "to": to} | ({} if memo is None else {"memo": memo})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Transfer $100 to John", [transfer("$100", "John")]),
        ("transfer 20 to john for lunch", [transfer("20", "john", "lunch")]),
        ("Pay Mary 15.50", [transfer("15.50", "Mary")]),
        ("Pay Mary 15.50.", [transfer("15.50", "Mary")]),
        ("pay $15 to Mary", [transfer("$15", "Mary")]),
        ("send John 20 dollars", [transfer("20 dollars", "John")]),
        ("Send 20 USD to +15550001111", [transfer("20 USD", "+15550001111")]),
        ("send 20 to +1 555 000 1111", [transfer("20", "+1 555 000 1111")]),
        ("send 20 to 15550001111 for gas", [transfer("20", "15550001111", "gas")]),
        ("send +15550001111 20", [transfer("20", "+15550001111")]),
        ("give bob 5", [transfer("5", "bob")]),
        ("PAY BOB 5", [transfer("5", "BOB")]),
        ("please could you send $5 to Ann Lee?", [transfer("$5", "Ann Lee")]),
        ("Can you send $5 to Ann, please?", [transfer("$5", "Ann")]),
        ("Hi! I'd like to send 5 to Ann. Thanks!", [transfer("5", "Ann")]),
        ("I\N{RIGHT SINGLE QUOTATION MARK}d like to pay Mary 5", [transfer("5", "Mary")]),
        ("i want to send 5 to Ann now", [transfer("5", "Ann")]),
        ("I want you to send 5 to Ann", [transfer("5", "Ann")]),
        ("yes, send 5 to Ann 🙏", [transfer("5", "Ann")]),
        ("SEND 5 TO ANN!!!", [transfer("5", "ANN")]),
        ("  send   5   to   Ann  ", [transfer("5", "Ann")]),
        ("send\N{NO-BREAK SPACE}5 to Ann", [transfer("5", "Ann")]),
        ("send to Ann 5", [transfer("5", "Ann")]),
        ("make a transfer of $1,000.50 to Ann", [transfer("$1,000.50", "Ann")]),
        ("send 5 from my account to Ann", [transfer("5", "Ann")]),
        ("Wire 1 000,00 € to Ann", [transfer("1 000,00 €", "Ann")]),
        ("send 1.000,50 € to Ann", [transfer("1.000,50 €", "Ann")]),
        ("pay Ann USD 5", [transfer("USD 5", "Ann")]),
        ("pay Ann Rs.500", [transfer("Rs.500", "Ann")]),
        ("pay Mary 15 €", [transfer("15 €", "Mary")]),
        ("send .50 to Ann", [transfer(".50", "Ann")]),
        ("send 5 to Dr. Ann Lee", [transfer("5", "Dr. Ann Lee")]),
        ("send 5 to J. R. Smith", [transfer("5", "J. R. Smith")]),
        ("send 5 to O'Brien", [transfer("5", "O'Brien")]),
        (
            "send 5 to O\N{RIGHT SINGLE QUOTATION MARK}Brien",
            [transfer("5", "O\N{RIGHT SINGLE QUOTATION MARK}Brien")],
        ),
        ("send 5 to Zoë van Dyk", [transfer("5", "Zoë van Dyk")]),
        ("send 5 to राम", [transfer("5", "राम")]),
        ("send 5 to my landlord", [transfer("5", "my landlord")]),
        ("send 5 to Ann for fish and chips", [transfer("5", "Ann", "fish and chips")]),
        ("send 5 to Ann for invoice 12", [transfer("5", "Ann", "invoice 12")]),
        ('send 5 to Ann with the note "rent"', [transfer("5", "Ann", "rent")]),
        ("send 5 to Ann, memo: May rent please", [transfer("5", "Ann", "May rent")]),
        ("pay Ann 5 dollars for the cat's food", [transfer("5 dollars", "Ann", "the cat's food")]),
        # What is not an amount goes to the tool whole, which refuses it.
        ("send -5 to Ann", [transfer("-5", "Ann")]),
        ("send $-5 to Ann", [transfer("$-5", "Ann")]),
        ("send 1e9 to Ann", [transfer("1e9", "Ann")]),
        ("send 5k to Ann", [transfer("5k", "Ann")]),
        ("pay Ann 5%", [transfer("5%", "Ann")]),
        ("send 5½ to Ann", [transfer("5½", "Ann")]),
        ("send 5-6 to Ann", [transfer("5-6", "Ann")]),
        ("send 5 euros to Ann", [transfer("5 euros", "Ann")]),
        # The words and signs that the tool reads are cut out with the figure.
        ("send Rs. 50,000/- to Ann", [transfer("Rs. 50,000/-", "Ann")]),
        ("send 5 thousand to Ann", [transfer("5 thousand", "Ann")]),
        ("send 1.5 lakh rupees to Ann", [transfer("1.5 lakh rupees", "Ann")]),
        ("pay Ann 1,5 juta", [transfer("1,5 juta", "Ann")]),
        ("send 2 mil pesos to Ann", [transfer("2 mil pesos", "Ann")]),
        ("send 500 руб. to Ann", [transfer("500 руб.", "Ann")]),
        ("send 500 ر.س to Ann", [transfer("500 ر.س", "Ann")]),
        ("send ٢٠ to Ann", [transfer("٢٠", "Ann")]),
        ("send 5000円 to Ann", [transfer("5000円", "Ann")]),
        ("send US$ 20 to Ann", [transfer("US$ 20", "Ann")]),
        ("send 20,- € to Ann", [transfer("20,- €", "Ann")]),
        ("send 5 to Mark", [transfer("5", "Mark")]),
        ("send 5 to Lucas", [transfer("5", "Lucas")]),
    ],
)
def test_a_request_to_send_money_becomes_a_transfer(text: str, expected: Calls) -> None:
    answer = said(text)
    assert calls_of(answer) == expected
    assert answer.text == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("send 5 to Ann and 6 to Bob", [transfer("5", "Ann"), transfer("6", "Bob")]),
        (
            "Send 5 to Ann, $6.50 to Bob & 7 USD to Cy.",
            [transfer("5", "Ann"), transfer("$6.50", "Bob"), transfer("7 USD", "Cy")],
        ),
        (
            "send 5 to Ann for lunch and 6 to Bob for the taxi",
            [transfer("5", "Ann", "lunch"), transfer("6", "Bob", "the taxi")],
        ),
        ("Pay Ann 5. Then pay Bob 6!", [transfer("5", "Ann"), transfer("6", "Bob")]),
        ("send 5 usd to Ann. 6 to Bob", [transfer("5 usd", "Ann"), transfer("6", "Bob")]),
        ("send 5 to Ann\nsend 6 to Bob", [transfer("5", "Ann"), transfer("6", "Bob")]),
        (
            "send 15.50 to Ann and 1,000 to Bob",
            [transfer("15.50", "Ann"), transfer("1,000", "Bob")],
        ),
        ("cancel that and send 6 to Bob", [("cancel", {}), transfer("6", "Bob")]),
        ("send 5 to Ann and show my balance", [transfer("5", "Ann"), ("balance", {})]),
        ("what's my balance and last 3 transfers?", [("balance", {}), ("statement", {"limit": 3})]),
    ],
)
def test_several_requests_become_calls_in_their_order(text: str, expected: Calls) -> None:
    assert calls_of(said(text)) == expected


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("Cancel that", {}),
        ("cancel", {}),
        ("Cancel!", {}),
        ("undo", {}),
        ("stop that", {}),
        ("No wait, cancel it", {}),
        ("Oops, undo that please", {}),
        ("can you cancel that?", {}),
        ("cancel my last payment", {}),
        ("please reverse the latest transfer", {}),
        ("take that back", {}),
        ("cancel transfer T12", {"transfer": "T12"}),
        ("cancel T12", {"transfer": "T12"}),
        ("undo t12.", {"transfer": "t12"}),
        ("cancel payment number 12", {"transfer": "12"}),
        ("cancel transfer #12", {"transfer": "12"}),
    ],
)
def test_taking_money_back_becomes_a_cancel(text: str, arguments: dict[str, Any]) -> None:
    assert calls_of(said(text)) == [("cancel", arguments)]


@pytest.mark.parametrize(
    "text",
    [
        "What's my balance?",
        "What\N{RIGHT SINGLE QUOTATION MARK}s my balance?",
        "whats my balance",
        "balance",
        "Balance please",
        "show me my current balance",
        "can I see my balance?",
        "I want to know my balance",
        "how much do I have?",
        "How much money do I have left?",
        "how much is left",
        "what's in my account?",
        "Hello, what is my balance?",
        "and the balance of my wallet is?",
    ],
)
def test_a_question_for_money_left_becomes_a_balance(text: str) -> None:
    assert calls_of(said(text)) == [("balance", {})]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("statement", {}),
        ("history", {}),
        ("My transactions, please.", {}),
        ("send me my account statement", {}),
        ("show my last 5 transactions", {"limit": 5}),
        ("last 10 payments", {"limit": 10}),
        ("what was my last transfer?", {}),
        ("show me the last few transfers", {}),
        ("what was in my history", {}),
        ("what did I spend", {}),
        ("what did I spend this week?", {}),
        ("who did I pay?", {}),
        ("where did all my money go?", {}),
    ],
)
def test_a_look_back_becomes_a_statement(text: str, arguments: dict[str, Any]) -> None:
    assert calls_of(said(text)) == [("statement", arguments)]


@pytest.mark.parametrize(
    "text",
    [
        "don't send 5 to Ann",
        "don\N{RIGHT SINGLE QUOTATION MARK}t send 5 to Ann",
        "dont send 5 to Ann",
        "do not transfer 5 to Ann",
        "please do not pay Mary 5",
        "never pay Mary 5",
        "did you send 5 to Ann?",
        "have you sent 5 to Ann?",
        "why did you pay Mary 5",
        "should I send 5 to Ann?",
        "if I send 5 to Ann, what is left?",
        "what if you send 5 to Ann",
        "when you send 5 to Ann tell me",
        "send 5 to Ann?",
        "pay Mary 5?",
        "can I send 5 to Ann?",
        "send 5 to Ann if she asks",
        "send 5 to Ann for lunch if she comes",
        "send 5 to Ann for lunch but not yet",
        "send 5 to Ann for lunch, don\N{RIGHT SINGLE QUOTATION MARK}t do it yet",
        "send 5 to Ann and don't tell Bob",
        "send 5 to Ann unless I say no",
        "send 5 to Ann no",
        "no, send 5 to Ann",
        "I did not send 5 to Ann",
    ],
)
def test_doubt_moves_no_money_and_says_so(text: str) -> None:
    answer = said(text)
    assert calls_of(answer) == []
    assert "moved no money" in answer.text


@pytest.mark.parametrize(
    "text",
    [
        "He told me: send 5 to Ann",
        'My boss wrote "send 5 to Ann"',
        "You send 5 to Ann",
        "I sent 5 to Ann",
        "I will send 5 to Ann",
        "5 to Ann",
        "send 5 to Ann and Bob",
        "send 5 each to Ann and Bob",
        "send 5 to Ann tomorrow",
        "send 5 to Ann every week",
        "send 5 to Ann. She needs it",
        "send 5 to Ann and 6 for Bob",
        "send 5 to Ann for lunch and 6 for Bob",
        "send 5 or 6 to Ann",
        "send 5 apples to Ann",
        "send 50 cents to Ann",
        "give Ann 5 cents",
        "send 5% of my balance to Ann",
        "send 5 to ann@example.com",
        "send 5 to 12",
        "send 5 to Ann, hop on one leg, and whistle",
        "send 5 to Ann and dance",
        "send 5 from Bob to Ann",
        "sned 5 to Ann",
        "asdf",
        "Ann",
        "20",
        "",
        " \n ",
        "🙂",
        "x" * 5_000,
        "send 5 to Ann for " + "x" * TEXT_LENGTH_MAX,
    ],
)
def test_what_is_not_understood_is_answered_with_what_can_be_done(text: str) -> None:
    answer = said(text)
    assert calls_of(answer) == []
    assert "Send 20 to John" in answer.text


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("transfer", "How much should I send, and to whom?"),
        ("send money", "How much should I send, and to whom?"),
        ("I'd like to make a payment of $5", "Whom should I send it to?"),
        ("send $5", "Whom should I send it to?"),
        ("please send 20 dollars", "Whom should I send it to?"),
        ("send 5 to", "Whom should I send it to?"),
        ("pay 20 for lunch", "Whom should I send it to?"),
        ("send him 5", "Whom should I send it to?"),
        ("give me 5", "Whom should I send it to?"),
        ("pay John", "How much should I send?"),
        ("send money to John", "How much should I send?"),
        ("send twenty dollars to John", "How much should I send?"),
        ("transfer my balance to John", "How much should I send?"),
        ("pay +15550001111", "How much should I send?"),
    ],
)
def test_a_transfer_that_lacks_something_asks_for_it(text: str, question: str) -> None:
    answer = said(text)
    assert calls_of(answer) == []
    assert answer.text.startswith(question)


@pytest.mark.parametrize(
    "text",
    [
        "don't cancel",
        "can I cancel?",
        "cancel?",
        "cancel the 20 to John",
        "stop",
        "refund me",
        "cancel T12 and T13",
    ],
)
def test_an_unclear_cancel_cancels_nothing_and_explains(text: str) -> None:
    answer = said(text)
    assert calls_of(answer) == []
    assert "cancelled nothing" in answer.text


def test_two_cancels_in_one_message_are_not_started() -> None:
    answer = said("cancel T12 and cancel T13")
    assert calls_of(answer) == []
    assert "one by one" in answer.text


@pytest.mark.parametrize(
    ("texts", "opening"),
    [
        (
            ["hi", "Hello", "good morning", "hey there", "Hi!", "hello 👋", "hey, how are you?"],
            "Hello!",
        ),
        (
            ["help", "what can you do", "What can you do?", "menu", "how do I send money?"],
            "I can send",
        ),
        (["thanks", "Thank you so much!", "ok thanks", "ty"], "You are welcome"),
        (["bye", "Goodbye!", "thanks, bye"], "Goodbye"),
        (
            ["yes", "no", "confirm", "OK", "yes please", "No!", "go ahead"],
            "Please say in one message",
        ),
    ],
)
def test_small_talk_is_answered_without_a_call(texts: list[str], opening: str) -> None:
    for text in texts:
        answer = said(text)
        assert (calls_of(answer), answer.text[: len(opening)]) == ([], opening), text


def turn(text: str, results: Sequence[Mapping[str, Any] | str]) -> list[dict[str, Any]]:
    """A chat in which the calls of one answer have been made, with these results."""
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "transfer", "arguments": "{}"}}
        for n in range(1, len(results) + 1)
    ]
    contents = [one if isinstance(one, str) else json.dumps(one) for one in results]
    return [
        user(text),
        {"role": "assistant", "content": None, "tool_calls": calls},
        *(
            {"role": "tool", "tool_call_id": call["id"], "content": content}
            for call, content in zip(calls, contents, strict=True)
        ),
    ]


SENT = {"ok": True, "state": "posted", "transfer": "T1", "to": "John", "amount": "20.00"}
SENT_TO_CUSTOMER = {"ok": True, "state": "posted", "transfer": "T1", "to": "+15550001111"}
CANCELLED = {"ok": True, "state": "reversed", "transfer": "T1", "reversal": "T2", "to": "John"}
BALANCE = {"ok": True, "available": "400.00"}
NO_MONEY = {"ok": False, "error": "There is not enough money for this."}
REFUSED = NO_MONEY | {"refusal": "insufficient_funds", "to": "John"}
NO_AMOUNT = {"ok": False, "error": "I could not read that amount."}


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([SENT], "If that was a mistake, say “Cancel”."),
        ([SENT, SENT], "If one of them was a mistake, say “Cancel” and its reference."),
        ([SENT_TO_CUSTOMER], "Anything else?"),
        ([CANCELLED], "Anything else?"),
        ([BALANCE], "Anything else?"),
        ([NO_MONEY], "There is not enough money for this."),
        ([REFUSED], "Anything else?"),
        ([SENT, REFUSED], "If that was a mistake, say “Cancel”."),
        ([SENT, NO_MONEY], "There is not enough money for this."),
        (
            [NO_AMOUNT, NO_MONEY],
            "I could not read that amount. There is not enough money for this.",
        ),
        ([NO_MONEY, NO_MONEY], "There is not enough money for this."),
        (["not JSON"], "Sorry, that did not work."),
        (["[]"], "Sorry, that did not work."),
        ([{"ok": False}], "Sorry, that did not work."),
        ([{"ok": False, "error": 5}], "Sorry, that did not work."),
    ],
)
def test_after_the_tools_it_says_little_or_passes_the_failure_on(
    results: Sequence[Mapping[str, Any] | str], words: str
) -> None:
    answer = interpret(turn("send 20 to John", results))
    assert (answer.text, answer.tool_calls) == (words, ())


def test_results_of_an_earlier_turn_do_not_answer_the_new_message() -> None:
    chat = [*turn("send 20 to John", [SENT]), {"role": "assistant", "content": "Done."}]
    assert calls_of(interpret([*chat, user("balance")])) == [("balance", {})]


def test_call_ids_go_on_from_those_in_the_chat_and_are_the_same_each_time() -> None:
    chat = [*turn("send 20 to John", [SENT, SENT]), user("send 5 to Ann and 6 to Bob")]
    assert [call.id for call in interpret(chat).tool_calls] == ["call_3", "call_4"]
    assert interpret(chat) == interpret(chat)
    assert [call.id for call in said("balance").tool_calls] == ["call_1"]


def test_text_in_parts_is_read_like_text() -> None:
    parts = [{"type": "image_url"}, {"type": "text", "text": "send 5 to Ann"}]
    assert calls_of(interpret([user(parts)])) == [transfer("5", "Ann")]


@pytest.mark.parametrize("chat", [[], [{"role": "system", "content": "x"}], [user(None)]])
def test_a_chat_without_a_question_gets_words(chat: list[dict[str, Any]]) -> None:
    answer = interpret(chat)
    assert answer.text
    assert answer.tool_calls == ()


async def test_the_client_answers_like_any_model() -> None:
    client: ModelClient = Offline()
    answer = await client.complete([user("send 5 to Ann")], model="ignored", tools=TOOLS)
    assert (answer.model, calls_of(answer)) == ("offline", [transfer("5", "Ann")])
    assert answer.usage == Usage(prompt_tokens=4, completion_tokens=7)


async def test_a_tool_that_is_not_offered_is_not_called() -> None:
    chat = [user("send 5 to Ann and show my balance")]
    everything_but_transfer = await Offline().complete(chat, model="offline", tools=TOOLS[1:])
    assert calls_of(everything_but_transfer) == [("balance", {})]
    nothing = await Offline().complete(chat, model="offline", tools=[])
    assert (calls_of(nothing), nothing.text) == ([], "Sorry, I cannot do that here.")


def test_a_completion_with_calls_is_what_the_openai_package_reads() -> None:
    answer = said("send 5 to Ann")
    body = completion_of(answer, created=1_700_000_000, completion_id="chatcmpl-1")
    completion = ChatCompletion.model_validate(json.loads(json.dumps(body)), strict=True)
    choice = completion.choices[0]
    assert (completion.id, completion.object, completion.created, completion.model) == (
        "chatcmpl-1",
        "chat.completion",
        1_700_000_000,
        "offline",
    )
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert ToolCall(call.id, call.function.name, call.function.arguments) == answer.tool_calls[0]
    assert completion.usage
    assert completion.usage.prompt_tokens == answer.usage.prompt_tokens > 0
    assert completion.usage.total_tokens == (
        completion.usage.prompt_tokens + completion.usage.completion_tokens
    )


def test_a_completion_with_words_is_what_the_openai_package_reads() -> None:
    body = completion_of(said("hi"), created=1, completion_id="chatcmpl-2")
    choice = ChatCompletion.model_validate(body, strict=True).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.content
    assert choice.message.content.startswith("Hello!")
    assert choice.message.tool_calls is None


FRAGMENTS = """
    send pay give transfer make payment of to for and then please could you if don't not he me
    , . ? ! & 5 6 $5 .50 -5 1,000 1 000 15.50 5k 1e9 € USD dollars cents +15550001111 +1 555
    Ann Bob Zoë Dr. राम cancel that T12 balance statement lunch with note
"""
sentences = st.lists(st.sampled_from([*FRAGMENTS.split(), "\n"]), max_size=12).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(st.text() | sentences | st.builds("send {} to {}".format, st.text(), st.text()))
def test_any_text_is_answered_and_transfers_are_cut_whole_from_it(text: str) -> None:
    answer = said(text)
    assert answer.text or answer.tool_calls
    for name, arguments in calls_of(answer):
        if name != "transfer":
            continue
        amount, to = arguments["amount"], arguments["to"]
        assert any(c.isdigit() for c in amount)
        assert re.search(rf"(?<!\S){re.escape(amount)}(?=[\s.,;:!?]|$)", text)
        assert to.strip()
        assert to in text
        assert arguments.get("memo", "") in text


@settings(max_examples=200, deadline=None)
@given(sentences)
def test_a_negation_anywhere_keeps_money_where_it_is(sentence: str) -> None:
    for text in (f"don't {sentence}", f"{sentence} not", f"if {sentence}"):
        assert "transfer" not in dict(calls_of(said(text))), text
