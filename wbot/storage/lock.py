"""One service a database file, by whatever name: advisory locks that die with their process."""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from wbot.domain.errors import ConfigurationError
from wbot.storage.files import open_private, unusable


@contextmanager
def locked(path: Path, *, creates: bool = False) -> Iterator[None]:
    """Hold the database file; raises ConfigurationError if somebody has it, or there is none.

    Where it may be created, so may its folder.
    """
    with ExitStack() as held:
        try:
            _hold(path, held, creates=creates)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"Another wbot already serves the database {path}; stop it first."
            ) from error
        except OSError as error:
            raise unusable(path, error) from error
        yield


def _hold(path: Path, held: ExitStack, *, creates: bool) -> None:
    resolved = Path(os.path.realpath(path))
    if creates:
        resolved.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not resolved.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    # The name, against whoever finds a new file under it; then the file itself, against another
    # name of it: a hard link, or a mount of this one file.
    beside = _open(resolved.with_name(f"{resolved.name}.lock"), held)
    fcntl.flock(beside, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file = _open(resolved, held)
    if sys.platform == "linux":  # elsewhere flock would stand in the way of SQLite's own locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _open(path: Path, held: ExitStack) -> int:
    descriptor = open_private(path, os.O_RDWR | os.O_CLOEXEC)
    held.callback(os.close, descriptor)
    return descriptor
