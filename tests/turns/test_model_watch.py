"""Whether a failure is the model's or one message's, when many messages are under way at once."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from wbot.clients.model import Answer
from wbot.clock import Clock
from wbot.domain.errors import BlockedError, OutageError, RetryableError
from wbot.storage.database import Database
from wbot.turns.model_health import QUESTION, ModelWatch

NAME = "model"


class Model:
    """Answers everybody but those who wrote "hang", whom it fails when `release` is set."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.asked: list[Sequence[Mapping[str, Any]]] = []

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]],
    ) -> Answer:
        assert (model, tools) == (NAME, ())
        self.asked.append(messages)
        if messages == words("hang"):
            await self.release.wait()
            raise OutageError("The model did not answer in time.", may_be_request=True)
        await asyncio.sleep(0)
        return Answer(text="Yes?")


def words(text: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": text},)


def watch_of(model: Model, folder: Path, *, has_stand_in: bool) -> ModelWatch:
    return ModelWatch(
        model,
        database=Database(folder / "wbot.db", clock=Clock()),
        default_model=NAME,
        clock=Clock(),
        on_recovery=lambda _: None,
        has_stand_in=has_stand_in,
    )


def ask(watch: ModelWatch, text: str) -> asyncio.Task[Answer]:
    return asyncio.ensure_future(watch.complete(words(text), model=NAME, tools=()))


async def begun(model: Model, count: int) -> None:
    while len(model.asked) < count:  # noqa: ASYNC110  no event to wait for
        await asyncio.sleep(0)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_one_who_hangs_while_others_are_answered_takes_the_model_from_nobody(
    tmp_path: Path, *, is_cancelled: bool
) -> None:
    model = Model()
    watch = watch_of(model, tmp_path, has_stand_in=True)
    hanging = ask(watch, "hang")
    await begun(model, 1)
    assert (await ask(watch, "hello")).text == "Yes?"
    if is_cancelled:
        hanging.cancel()
    model.release.set()
    with pytest.raises(asyncio.CancelledError if is_cancelled else RetryableError):
        await hanging
    assert watch.refusal_of(NAME) is None
    assert (await ask(watch, "hello")).text == "Yes?"


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_one_who_hangs_while_nobody_is_answered_sends_the_others_to_the_fallback(
    tmp_path: Path, *, is_cancelled: bool
) -> None:
    model = Model()
    watch = watch_of(model, tmp_path, has_stand_in=True)
    assert (await ask(watch, "hello")).text == "Yes?"
    hanging = ask(watch, "hang")
    await begun(model, 2)
    if is_cancelled:
        hanging.cancel()
    model.release.set()
    with pytest.raises(asyncio.CancelledError if is_cancelled else BlockedError):
        await hanging
    assert watch.is_down(NAME)


async def test_one_harmless_question_tells_for_all_who_failed_together(tmp_path: Path) -> None:
    model = Model()
    watch = watch_of(model, tmp_path, has_stand_in=False)
    hanging = [ask(watch, "hang") for _ in range(100)]
    await begun(model, len(hanging))
    model.release.set()
    failures = await asyncio.gather(*hanging, return_exceptions=True)
    assert {type(failure) for failure in failures} == {RetryableError}
    assert model.asked.count(QUESTION) <= 2  # the second for those who failed after the first
