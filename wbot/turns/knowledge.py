"""A business's file of knowledge, as it is now: read again whenever it has changed."""

from pathlib import Path

import msgspec

from wbot.domain.business import Business
from wbot.domain.errors import MalformedError
from wbot.domain.json_access import cleaned
from wbot.logs import Log

BYTES_MAX = 64 * 1024
"""Some 16,000 tokens of English; every call of the model reads them."""


class _Read(msgspec.Struct, frozen=True):
    path: str
    stamp: tuple[int, int]
    text: str


def read_knowledge(path: Path) -> str:
    """The file's text; raises MalformedError, whose sentence names the file and the fix."""
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > BYTES_MAX:
        raise MalformedError(
            f"knowledge: {path} is larger than {BYTES_MAX // 1024} KiB, which every call of the "
            "model would read; shorten it."
        )
    try:
        return str(cleaned(data.decode("utf-8-sig"))).strip()
    except UnicodeDecodeError as error:
        raise MalformedError(f"knowledge: {path} is not a text file in UTF-8.") from error


def _unreadable(path: Path, error: OSError) -> MalformedError:
    return MalformedError(f"knowledge: {path} cannot be read: {error.strerror}.")


class Knowledge:
    """Reads the files of all businesses; what cannot be read costs no turn."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._read: dict[str, _Read] = {}
        self.problems: dict[str, str] = {}
        """By business: why its file is not read."""

    def of(self, business: Business) -> str:
        """The text of the business's file, empty where there is none or it cannot be read."""
        if not business.knowledge:
            self._read.pop(business.id, None)
            self.problems.pop(business.id, None)
            return ""
        try:
            known = self._current(business.id, business.knowledge)
        except MalformedError as error:
            if business.id not in self.problems:
                self._log.error("knowledge.unreadable", business=business.id, error=str(error))
            self._read.pop(business.id, None)
            self.problems[business.id] = "its knowledge file cannot be used"
            return ""
        self.problems.pop(business.id, None)
        return known

    def _current(self, business_id: str, path: str) -> str:
        try:
            found = Path(path).stat()
        except OSError as error:
            raise _unreadable(Path(path), error) from error
        stamp = (found.st_mtime_ns, found.st_size)
        known = self._read.get(business_id)
        if known is None or (known.path, known.stamp) != (path, stamp):
            known = self._read[business_id] = _Read(path, stamp, read_knowledge(Path(path)))
        return known.text
