"""Media in memory: what customers attach and what businesses upload."""

import base64
import hashlib
import struct
import zlib
from collections import OrderedDict
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from random import Random

import msgspec

MEDIA_KEPT_BYTES = 64 * 1024 * 1024  # the oldest files go first
URL_LIFE = timedelta(minutes=5)
FILE_MAX_BYTES = 16 * 1024 * 1024
BODY_BYTES_MAX = FILE_MAX_BYTES + 64 * 1024  # of a request: a file and its multipart framing

_WIDTH, _HEIGHT = 360, 240


class MediaFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file under its media id."""

    id: str
    phone_number_id: str
    mime_type: str
    data: bytes

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    @property
    def sha256_base64(self) -> str:
        """As webhooks write it; the Graph API writes hex."""
        return base64.b64encode(self.sha256).decode()


class MediaStore:
    """Files by id, and the short-lived URLs they are downloaded from."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._files: OrderedDict[str, MediaFile] = OrderedDict()
        self._bytes = 0
        self._tickets: OrderedDict[str, tuple[str, datetime]] = OrderedDict()

    def put(self, data: bytes, *, mime_type: str, phone_number_id: str) -> MediaFile:
        file = MediaFile(
            id=str(self._random.randrange(10**14, 10**15)),
            phone_number_id=phone_number_id,
            mime_type=mime_type,
            data=data,
        )
        self._files[file.id] = file
        self._bytes += len(data)
        while self._bytes > MEDIA_KEPT_BYTES and len(self._files) > 1:
            self._bytes -= len(self._files.popitem(last=False)[1].data)
        return file

    def get(self, media_id: str) -> MediaFile | None:
        return self._files.get(media_id)

    def delete(self, media_id: str) -> bool:
        """Whether there was such a file."""
        file = self._files.pop(media_id, None)
        self._bytes -= len(file.data) if file else 0
        return file is not None

    def ticket_for(self, file: MediaFile, *, now: datetime) -> str:
        """A new token for the download URL, valid for `URL_LIFE`."""
        ticket = f"{self._random.getrandbits(128):032x}"
        self._tickets[ticket] = (file.id, now + URL_LIFE)
        while next(iter(self._tickets.values()))[1] < now:
            self._tickets.popitem(last=False)
        return ticket

    def by_ticket(self, ticket: str, *, now: datetime) -> MediaFile | None:
        media_id, expires_at = self._tickets.get(ticket, ("", now))
        return self._files.get(media_id) if now < expires_at else None


@cache
def picture() -> bytes:
    """A small PNG that stands for any photograph: an evening sky over hills."""
    rows = b"".join(b"\x00" + _row(y) for y in range(_HEIGHT))
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data)
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    )


@cache
def voice_note() -> bytes:
    """An Ogg/Opus file: a synthetic voice asks "What's my balance?" (made with espeak-ng)."""
    return (files("wbot.simulator.phone") / "page" / "voice-note.ogg").read_bytes()


def _row(y: int) -> bytes:
    sky = (255 - y // 2, 190 - y // 3, 140 + y // 4)
    return b"".join(bytes(_ground(x, y) or sky) for x in range(_WIDTH))


def _ground(x: int, y: int) -> tuple[int, int, int] | None:
    sun = (x - 250) ** 2 + (y - 110) ** 2
    far, near = 150 + abs(x - 120) // 4, 185 + abs(x - 290) // 7
    if y > near:
        return (38, 70, 83)
    if y > far:
        return (42, 120, 110)
    return (255, 236, 179) if sun < 30**2 else None


def _chunk(name: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + checksum
