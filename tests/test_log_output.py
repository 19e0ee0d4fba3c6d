"""Writing a log line blocks no caller, and lost lines are reported."""

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wbot.log_output import LINES_WAITING_MAX, Event, Output, Pipe, RotatingFile

WAIT_S = 20.0


class Slow:
    """An output that accepts no line until it is told to, and records those it accepted."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.is_asked = threading.Event()
        self.lines: list[str] = []

    def write(self, line: bytes) -> None:
        self.is_asked.set()
        assert self.may_write.wait(WAIT_S)
        self.lines.append(line.decode())

    def reopen(self) -> None: ...


class Broken(Slow):
    """An output that loses its first line."""

    def write(self, line: bytes) -> None:
        if not self.is_asked.is_set():
            self.is_asked.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        self.lines.append(line.decode())


def output_to(place: Slow) -> Output:
    return Output(place, line_of=lambda event: str(event["event"]), lost_line=lambda n: f"lost {n}")


def event(text: object) -> Event:
    return {"event": text}


def test_what_does_not_fit_is_counted_and_reported_when_there_is_room_again() -> None:
    place = Slow()
    output = output_to(place)
    output.put(event("first"))
    assert place.is_asked.wait(WAIT_S)
    for number in range(LINES_WAITING_MAX + 3):
        output.put(event(number))
    assert output.dropped == 3
    place.may_write.set()
    output.stop(WAIT_S)
    assert place.lines[:3] == ["first\n", "lost 3\n", "0\n"]
    assert place.lines[-1] == f"{LINES_WAITING_MAX - 1}\n"
    assert len(place.lines) == LINES_WAITING_MAX + 2


def test_a_place_that_takes_nothing_does_not_keep_the_process_from_ending() -> None:
    place = Slow()
    output = output_to(place)
    output.put(event("never written"))
    assert place.is_asked.wait(WAIT_S)
    output.stop(0.01)
    assert place.lines == []
    place.may_write.set()


def test_a_line_that_is_lost_is_reported_after_the_next_one() -> None:
    place = Broken()
    output = output_to(place)
    output.put(event("lost"))
    output.put(event("kept"))
    output.stop(WAIT_S)
    assert place.lines == ["kept\n", "lost 1\n"]
    assert output.dropped == 1


def test_a_record_that_cannot_be_written_out_takes_no_other_with_it() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    place = Slow()
    place.may_write.set()
    output = output_to(place)
    output.put(event(Mute()))
    output.put(event("kept"))
    output.stop(WAIT_S)
    assert place.lines == ["kept\n", "lost 1\n"]


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            assert descriptor == reader


def test_a_pipe_that_was_made_not_to_wait_gets_whole_lines(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    line = b"x" * 300_000 + b"\n"
    thread = threading.Thread(target=Pipe(writer).write, args=(line,))
    thread.start()
    output = b""
    while len(output) < len(line):
        output += os.read(reader, 65_536)
    thread.join(WAIT_S)
    assert output == line


def test_a_pipe_without_a_reader_loses_the_line(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        Pipe(writer).write(b"line\n")


def test_a_file_is_rotated_and_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "wbot.log"
    file = RotatingFile(path, bytes_max=10, kept=2)
    for number in range(5):
        file.write(f"line {number}\n".encode())
    names = {one.name: one.read_text() for one in tmp_path.iterdir()}
    assert names == {
        "wbot.log": "line 4\n",
        "wbot.log.1": "line 3\n",
        "wbot.log.2": "line 2\n",
    }


def test_a_file_that_was_moved_or_removed_is_made_anew_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "wbot.log"
    file = RotatingFile(path)
    file.write(b"one\n")
    path.rename(tmp_path / "moved.log")
    file.write(b"two\n")
    assert (path.read_text(), (tmp_path / "moved.log").read_text()) == ("two\n", "one\n")
    path.unlink()
    path.parent.rmdir()
    file.write(b"three\n")
    assert path.read_text() == "three\n"
    file.reopen()
    file.write(b"four\n")
    assert path.read_text() == "three\nfour\n"


def test_a_file_whose_folder_cannot_be_made_loses_lines_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    file = RotatingFile(folder / "wbot.log")
    (folder / "wbot.log").unlink()
    folder.rmdir()
    folder.write_text("in the way")
    with pytest.raises(OSError, match="File exists"):
        file.write(b"lost\n")
    folder.unlink()
    file.write(b"kept\n")
    assert (folder / "wbot.log").read_text() == "kept\n"


def test_a_line_that_a_full_disk_cut_off_spoils_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wbot.log"
    file = RotatingFile(path)
    write, room = os.write, [4, 0]

    def nearly_full(descriptor: int, data: memoryview) -> int:
        if not room:
            return write(descriptor, data)
        size = room.pop(0)
        if size == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:size])

    with monkeypatch.context() as full:
        full.setattr(os, "write", nearly_full)
        with pytest.raises(OSError, match="No space"):
            file.write(json.dumps({"event": "cut off"}).encode() + b"\n")
    file.write(b'{"event": "whole"}\n')
    assert path.read_text().splitlines()[1:] == ['{"event": "whole"}']
