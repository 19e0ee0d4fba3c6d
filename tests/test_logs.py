"""What is logged, and what never is."""

import io
import json

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
