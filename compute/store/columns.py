"""A record <-> a row of its table: one column a field, by name; what SQLite has no type for as JSON text.

JSON with Python's NaN and Infinity: measured values are kept as they are, and `sqlite3` shows them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def pack(value: Any) -> str:
    """Any struct, dict or list as JSON text."""
    return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))


def unpack(text: str, type: Any) -> Any:
    """The value of this type that `pack` made the text of."""
    return msgspec.convert(json.loads(text), type)


def _plain(type: Any) -> bool:
    """Whether SQLite has a type for it: text, a number, a truth value, or None."""
    if get_origin(type) is Literal:
        return True
    parts = get_args(type) if get_origin(type) in (Union, UnionType) else (type,)
    return all(p in (str, int, float, bool, NoneType) or get_origin(p) is Literal for p in parts)


@cache
def _fields(type: type[msgspec.Struct]) -> tuple[tuple[str, Any, bool], ...]:
    return tuple((f.name, f.type, _plain(f.type)) for f in msgspec.structs.fields(type))


@cache
def _names(type: type[msgspec.Struct]) -> str:
    return ", ".join(name for name, _, _ in _fields(type))


def select(type: type[T]) -> str:
    """The columns of a record, for SELECT."""
    return _names(type)


def values(record: msgspec.Struct) -> list[Any]:
    """A record as the values of its columns, in the order of `select`."""
    out: list[Any] = []
    for name, _, plain in _fields(record.__class__):
        value = getattr(record, name)
        out.append(value if plain or value is None else pack(value))
    return out


def record(type: type[T], row: Iterable[Any]) -> T:
    """The record of a row whose columns are those of `select`."""
    fields: dict[str, Any] = {}
    for (name, declared, plain), value in zip(_fields(type), row):
        fields[name] = value if plain or value is None else json.loads(value)
        if declared is bool:
            fields[name] = bool(value)
    return msgspec.convert(fields, type)


def insert(db: sqlite3.Connection, table: str, record: msgspec.Struct, *, key: str, **more: Any) -> None:
    """Insert a record, or replace the one with its key (column names, joined by ", "). `more`: further columns."""
    names = [name for name, _, _ in _fields(record.__class__)] + list(more)
    keys = key.split(", ")
    sets = ", ".join(f"{n} = excluded.{n}" for n in names if n not in keys)
    db.execute(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {sets}",
        [*values(record), *more.values()],
    )
