"""What is logged, and what never is."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from wbot.logs import configure_logs, get_log, shortened


def break_with(secret: str) -> None:
    """Raise in a frame that holds a secret."""
    raise ValueError("broken" if secret else "")


def logged(style: str) -> str:
    """One event with an exception from such a frame."""
    stream = io.StringIO()
    configure_logs(level="info", style=style, stream=stream)
    try:
        break_with("sword" + "fish")
    except ValueError as error:
        get_log().error("turn.crashed", exc_info=error)
    finally:
        configure_logs(level="critical", style="json")
    return stream.getvalue()


def test_a_failure_is_one_json_line_without_anybodys_variables() -> None:
    line = json.loads(logged("json"))
    assert (line["event"], line["level"]) == ("turn.crashed", "error")
    assert "ValueError: broken" in line["exception"]
    assert "swordfish" not in json.dumps(line)


def test_on_a_terminal_too_a_failure_shows_no_variables() -> None:
    text = logged("console")
    assert "ValueError: broken" in text
    assert "swordfish" not in text


def test_a_number_is_shortened_to_its_end() -> None:
    assert (shortened("15550101001"), shortened(None)) == ("…1001", None)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged meanwhile, as JSON lines."""
    stream = io.StringIO()
    configure_logs(level="info", style="json", stream=stream)
    yield stream
    configure_logs(level="critical", style="json")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, 1.5),
        (None, None),
        ("\N{THUMBS UP SIGN}", "\N{THUMBS UP SIGN}"),
        ("half \ud83d", "half \ufffd"),
        (2**70, 2**70),
        (object, "<class 'object'>"),
        (Exception("odd"), "Exception('odd')"),
    ],
)
def test_any_value_makes_one_json_line(lines: io.StringIO, value: Any, shown: Any) -> None:
    get_log().info("something.happened", value=value)
    (line,) = lines.getvalue().splitlines()
    assert json.loads(line)["value"] == shown


def test_a_record_of_a_library_is_an_event_too(lines: io.StringIO) -> None:
    logging.getLogger("library").warning("%s of %s", "one", 2)
    line = json.loads(lines.getvalue())
    assert (line["event"], line["level"]) == ("library.logged", "warning")
    assert line["message"] == "one of 2"
    assert line["timestamp"].endswith("Z")


def test_a_record_whose_arguments_do_not_fit_is_logged_as_it_is(lines: io.StringIO) -> None:
    (ours,) = [one for one in logging.getLogger().handlers if type(one).__module__ == "wbot.logs"]
    ours.emit(logging.LogRecord("library", logging.WARNING, "", 0, "%d of %d", ("one",), None))
    assert json.loads(lines.getvalue())["message"] == "%d of %d"


def test_what_is_below_the_level_is_not_logged(lines: io.StringIO) -> None:
    get_log().debug("something.happened")
    logging.getLogger("library").debug("anything")
    assert lines.getvalue() == ""


def test_a_closed_stream_ends_nothing() -> None:
    stream = io.StringIO()
    configure_logs(level="info", style="json", stream=stream)
    stream.close()
    get_log().info("something.happened")
    configure_logs(level="critical", style="json")
