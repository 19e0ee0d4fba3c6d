"""What storage functions use: one open transaction, of any engine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

_Struct = TypeVar("_Struct")

Parameters = Sequence[Any] | Mapping[str, Any]
"""Values for `?` placeholders in order, or for `:name` placeholders by name."""


class Row(Protocol):
    """One row of a result, read by column name or position."""

    def __getitem__(self, key: str | int, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def keys(self) -> list[str]: ...


class Cursor(Protocol):
    """The result of one statement."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Tx(Protocol):
    """One transaction: committed or rolled back as a whole by the caller that opened it."""

    def execute(self, sql: str, parameters: Parameters = ..., /) -> Cursor: ...

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> Cursor: ...


def typed(kind: type[_Struct], row: Row) -> _Struct:
    """The row as a struct whose fields are columns of it; what the struct leaves out is not read.

    Not by msgspec.convert, which would refuse what an operator has written by hand.
    """
    return kind(**{name: row[name] for name in kind.__struct_fields__})  # type: ignore[attr-defined]


def typed_or_none(kind: type[_Struct], row: Row | None) -> _Struct | None:
    """The same of a row that may not be there."""
    return None if row is None else typed(kind, row)
