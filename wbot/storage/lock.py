"""One service a database file: an advisory lock that dies with its process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wbot.domain.errors import ConfigurationError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the database file; raises ConfigurationError if somebody has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f"{path.name}.lock").open("a")
    except OSError as error:
        raise ConfigurationError(f"The folder of {path} cannot be used: {error}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"Another wbot already serves the database {path}; stop it first."
            ) from error
        yield


def is_locked(path: Path) -> bool:
    """Whether a service runs on the database file."""
    try:
        with path.with_name(f"{path.name}.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # nobody has ever served it
        return False
    return False
