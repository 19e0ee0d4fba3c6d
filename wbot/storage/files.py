"""The database's files on disk: made for their owner alone, and watched while they are open."""

import glob
import os
import struct
from pathlib import Path
from typing import NamedTuple

from wbot.domain.errors import ConfigurationError

PRIVATE = 0o600
"""Whatever holds customers' words and money is for its owner alone."""

_SHM_HEADER_BYTES = 136
_NUMBER = struct.Struct("=I")


def open_private(path: Path, flags: int) -> int:
    """A descriptor of the file; where there is none, it is made for its owner alone.

    Root makes it for the owner of its folder: the service runs as another user. Raises OSError.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, PRIVATE)
    except FileExistsError:
        return os.open(path, flags)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def files_of(path: Path) -> list[Path]:
    """The database's file, and what lies beside it: the copies before its upgrades too."""
    resolved = path.resolve()
    names = [f"{resolved.name}{end}" for end in ("", "-wal", "-shm", ".lock")]
    copies = resolved.parent.glob(f"{glob.escape(resolved.name)}.before-*")
    return [*(resolved.with_name(name) for name in names), *sorted(copies)]


def is_wide(path: Path) -> bool:
    """Whether others than its owner may do anything with the file."""
    try:
        return bool(path.stat().st_mode & ~PRIVATE & 0o777)
    except OSError:
        return False


def is_empty(path: Path) -> bool:
    """Whether there is no file, or one without a byte; raises ConfigurationError for a folder."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError) as error:
        raise unusable(path, error) from error
    if path.is_dir():
        raise ConfigurationError(f"The database {path} is a folder; name a file.")
    return status.st_size == 0


def check_access(path: Path) -> None:
    """Raise ConfigurationError where this user may not write: SQLite would only read."""
    is_effective = os.access in os.supports_effective_ids
    try:
        is_there = path.exists()
    except (OSError, ValueError) as error:
        raise unusable(path, error) from error
    if is_there and not os.access(path, os.R_OK | os.W_OK, effective_ids=is_effective):
        raise unusable(path, PermissionError())


def unusable(path: Path, error: Exception) -> ConfigurationError:
    """The operator's sentence for a database that the operating system does not give."""
    if isinstance(error, PermissionError):
        return ConfigurationError(
            f"This user may not use the database {path}; run the command as the user of the "
            f"service (`sudo -u {_owner(path)} wbot ...`), or make that user its owner."
        )
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigurationError(f"The database {path} cannot be used: {reason}.")


def _owner(path: Path) -> str:
    for one in (path, *path.parents):
        try:
            return one.owner()
        except (OSError, KeyError):
            continue
    return "wbot"


class Identity(NamedTuple):
    """What a file is, under whatever name."""

    device: int
    inode: int


def identity_of(path: Path) -> Identity | None:
    """The file's identity; None where nothing can be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Identity(status.st_dev, status.st_ino)


class _State(NamedTuple):
    """What only SQLite changes of an open database file: by a checkpoint, and nothing else."""

    modified_ns: int
    size: int


class Watched:
    """The files of an open database: whether its path still leads to them.

    Made after the first connection, for that makes the files, and closed after the last: closing a
    descriptor takes away every lock that this process has on the file. Raises ConfigurationError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        resolved = path.resolve()
        self._beside = [resolved.with_name(f"{resolved.name}{end}") for end in ("-wal", "-shm")]
        try:
            self._shm = os.open(self._beside[-1], os.O_RDONLY | os.O_CLOEXEC)
            self._state = _state(self._path.stat())
        except OSError as error:
            raise unusable(path, error) from error
        self._known = {one: identity_of(one) for one in (self._path, *self._beside)}
        self._checkpoint = self._read_checkpoint()

    @property
    def identity(self) -> Identity | None:
        """The identity of the database file itself."""
        return self._known[self._path]

    def close(self) -> None:
        os.close(self._shm)

    def trouble(self) -> str | None:
        """What has become of the files, in words; None while they are those that were opened."""
        before = self._read_checkpoint()
        for path, known in self._known.items():
            found = identity_of(path)
            if found is None:
                return f"{path} is gone"
            if found != known:
                return f"{path} is another file now"
        return self._overwriting(before)

    def _overwriting(self, before: tuple[int, ...]) -> str | None:
        """Whether the file changed although no checkpoint did it: copied over, or cut off."""
        try:
            state = _state(self._path.stat())
        except OSError:  # since the moment before
            return f"{self._path} is gone"
        after = self._read_checkpoint()
        is_explained = before != self._checkpoint or after != before or _is_under_way(after)
        was, self._state, self._checkpoint = self._state, state, before
        if state != was and not is_explained:
            return f"{self._path} was overwritten"
        return None

    def _read_checkpoint(self) -> tuple[int, ...]:
        # https://sqlite.org/walformat.html: the salts change when the WAL begins anew, the other
        # two count the frames that are in the database file, and that were to be.
        header = os.pread(self._shm, _SHM_HEADER_BYTES, 0)
        return tuple(_NUMBER.unpack_from(header, at)[0] for at in (32, 36, 96, 128))


def _is_under_way(checkpoint: tuple[int, ...]) -> bool:
    *_, copied, to_be_copied = checkpoint
    return copied != to_be_copied


def _state(status: os.stat_result) -> _State:
    return _State(status.st_mtime_ns, status.st_size)
