"""The database's files on disk: created for their owner alone, and watched while they are open."""

import glob
import os
import struct
from pathlib import Path
from typing import NamedTuple

from wbot.domain.errors import ConfigurationError

PRIVATE = 0o600
"""Files with customers' words and money are for their owner alone."""


def open_private(path: Path, flags: int) -> int:
    """A descriptor of the file; where there is none, it is created for its owner alone.

    Root creates it for the owner of its folder: the service runs as another user. Raises OSError.
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
    """The database's file and those beside it, also what upgrades and restores have kept."""
    resolved = path.resolve()
    names = [f"{resolved.name}{end}" for end in ("", "-wal", "-shm", ".lock")]
    copies = [
        path
        for kind in ("before", "replaced")
        for path in sorted(resolved.parent.glob(f"{glob.escape(resolved.name)}.{kind}-*"))
    ]
    return [*(resolved.with_name(name) for name in names), *copies]


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
    """The operator's sentence for a database that the operating system refuses to open."""
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
    """What identifies a file under any name."""

    device: int
    inode: int


def identity_of(path: Path) -> Identity | None:
    """The file's identity; None where it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Identity(status.st_dev, status.st_ino)


class Trouble(NamedTuple):
    """What happened to an open database's files, in words."""

    words: str
    is_overwritten: bool = False
    """Whether another program wrote the file: SQLite's own pages would then corrupt it."""


class _Index(NamedTuple):
    """The head of the -shm file (https://sqlite.org/walformat.html)."""

    page_code: int
    frames: int
    salts: bytes
    """They change when the WAL is restarted."""
    copied: int
    """Frames that a checkpoint has copied into the database file."""
    to_be_copied: int

    @property
    def checkpoint(self) -> tuple[bytes, int, int]:
        return self.salts, self.copied, self.to_be_copied

    @property
    def is_copying(self) -> bool:
        return self.copied != self.to_be_copied

    @property
    def wal_bytes(self) -> int:
        """The least size of the WAL; a page of 65,536 bytes is written as 1."""
        page_bytes = (self.page_code & 0xFE00) + ((self.page_code & 1) << 16)
        return self.frames * (page_bytes + _FRAME_HEADER_BYTES)


_INDEX = struct.Struct("=14xHI12x8s56xI28xI4x")
_FRAME_HEADER_BYTES = 24


class Watched:
    """The files of an open database: whether its path still leads to them.

    Created after the first connection, which creates the files, and closed after the last: closing
    a descriptor releases every lock that this process has on the file. Raises ConfigurationError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        resolved = path.resolve()
        self._wal = resolved.with_name(f"{resolved.name}-wal")
        index_path = resolved.with_name(f"{resolved.name}-shm")
        self._known = {one: identity_of(one) for one in (self._path, self._wal, index_path)}
        try:
            self._index_file = os.open(index_path, os.O_RDONLY | os.O_CLOEXEC)
            self._index = self._read_index()
            self._changed_at = self._path.stat().st_mtime_ns
        except (OSError, struct.error) as error:
            raise unusable(path, error) from error

    @property
    def identity(self) -> Identity | None:
        """The identity of the database file itself."""
        return self._known[self._path]

    def close(self) -> None:
        os.close(self._index_file)

    def trouble(self) -> Trouble | None:
        """What happened to the files; None while they are those that were opened."""
        try:
            before = self._read_index()
            database, wal, index = (path.stat() for path in self._known)
            after = self._read_index()
        except (FileNotFoundError, NotADirectoryError) as error:
            return Trouble(f"{error.filename} is gone")
        except (OSError, struct.error) as error:
            return Trouble(f"{self._path} cannot be looked at ({error})", is_overwritten=True)
        found = (database, wal, index)
        for (path, known), status in zip(self._known.items(), found, strict=True):
            if (status.st_dev, status.st_ino) != known:
                return Trouble(f"{path} is another file now")
        if self._is_overwritten(before, database.st_mtime_ns, after):
            return Trouble(f"{self._path} was overwritten", is_overwritten=True)
        if before == after and wal.st_size < after.wal_bytes:
            return Trouble(f"{self._wal} was cut off", is_overwritten=True)
        return None

    def _is_overwritten(self, before: _Index, changed_at: int, after: _Index) -> bool:
        """Whether the file changed without a checkpoint, which alone may change it in WAL mode."""
        known, was = self._index.checkpoint, self._changed_at
        self._index, self._changed_at = before, changed_at
        is_same = before.checkpoint == after.checkpoint == known
        return changed_at != was and is_same and not after.is_copying

    def _read_index(self) -> _Index:
        return _Index(*_INDEX.unpack(os.pread(self._index_file, _INDEX.size, 0)))
