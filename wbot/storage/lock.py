"""One service per database file, by any of its names: advisory locks that end with the process."""

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
    """Hold the database file; raises ConfigurationError if it is in use, or there is none.

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
    # The name, in case a new file replaces this one; then the file itself, in case it has another
    # name: a hard link, or a mount of this one file.
    beside = _open(resolved.with_name(f"{resolved.name}.lock"), held)
    fcntl.flock(beside, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file = _open(resolved, held)
    if sys.platform == "linux":  # elsewhere flock would stand in the way of SQLite's own locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_name(path: Path) -> None:
    """Raise ConfigurationError where a service has the file open by a hard link of another name.

    SQLite has a WAL beside each name, and two of them would corrupt the file.
    """
    resolved = Path(os.path.realpath(path))
    try:
        if resolved.stat().st_nlink == 1 or not _is_held(resolved):
            return
        if _is_held(resolved.with_name(f"{resolved.name}.lock")):
            return
    except OSError as error:
        raise unusable(path, error) from error
    raise ConfigurationError(
        f"A running wbot serves the database {path} by another name of the same file; use that one."
    )


def _is_held(path: Path) -> bool:
    with ExitStack() as held:
        try:
            fcntl.flock(_open(path, held), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _open(path: Path, held: ExitStack) -> int:
    descriptor = open_private(path, os.O_RDWR | os.O_CLOEXEC)
    held.callback(os.close, descriptor)
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether a service runs on the database file."""
    lock = Path(os.path.realpath(path))
    lock = lock.with_name(f"{lock.name}.lock")
    return lock.exists() and _is_held(lock)
