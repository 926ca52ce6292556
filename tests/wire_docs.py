"""The tables of docs/protocol.md, written from the structs.

    python tests/wire_docs.py           print the page as it should be
    python tests/wire_docs.py --write   write the tables into it

Each table stands between `<!-- table NAME -->` and `<!-- end -->`; the text around it is written by hand.
"""

from __future__ import annotations

import inspect as python
import re
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import inspect

from protocol import requests
from protocol.errors import Code
from protocol.messages import EventMessage, Spec, State
from protocol.requests import REPLIES, Request
from protocol.schema import UNIONS, tag
from protocol.windows import EVERY_REPLY, WINDOW_REPLIES

PAGE = Path(__file__).parent.parent / "docs" / "protocol.md"
BASE = {"id", "proto", "expires_at"}  # of every request


def kind_of(info: inspect.Type, seen: dict[str, type]) -> str:
    """A type in few words; the structs it needs are added to `seen`."""
    match info:
        case inspect.NoneType():
            return "nil"
        case inspect.BoolType():
            return "bool"
        case inspect.StrType():
            if info.pattern and "26" in info.pattern:
                return "ULID"
            if info.pattern and "/" in info.pattern:
                return "file name"
            return "hex" if info.pattern else "text"
        case inspect.IntType() | inspect.FloatType():
            name = "int" if isinstance(info, inspect.IntType) else "float"
            low = (
                f"≥ {_number(info.ge)}"
                if info.ge is not None
                else f"> {_number(info.gt)}"
                if info.gt is not None
                else ""
            )
            high = (
                f"≤ {_number(info.le)}"
                if info.le is not None
                else f"< {_number(info.lt)}"
                if info.lt is not None
                else ""
            )
            return " ".join(filter(None, (name, low, high)))
        case inspect.LiteralType(values=values):
            return (
                "state"
                if set(values) == set(get_args(State))
                else "code"
                if set(values) == set(get_args(Code))
                else (" \\| ".join(f"`{v}`" for v in values))
            )
        case inspect.AnyType():
            return "any"
        case inspect.DictType(value_type=value):
            return f"map of {kind_of(value, seen)}"
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return f"list of {kind_of(item, seen)}"
        case inspect.TupleType(item_types=items):
            return "[" + ", ".join(kind_of(i, seen) for i in items) + "]"
        case inspect.UnionType(types=types):
            structs = {t.cls for t in types if isinstance(t, inspect.StructType)}
            if structs == set(get_args(Spec)):
                for cls in structs:
                    seen[cls.__name__] = cls
                return "spec"
            return " or ".join(kind_of(t, seen) for t in types if not isinstance(t, inspect.NoneType))
        case inspect.StructType(cls=cls):
            seen[cls.__name__] = cls
            return f"[{cls.__name__}](#structures)"
        case inspect.Metadata(type=inner):
            return kind_of(inner, seen)
    raise NotImplementedError(str(info))


def _number(value: float) -> str:
    if isinstance(value, int) and value > 10**6:
        power = value.bit_length() - (0 if value & (value + 1) == 0 else 1)
        return f"2^{power} - 1" if value & (value + 1) == 0 else f"2^{power}" if value == 2**power else str(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def fields_of(cls: type[msgspec.Struct], seen: dict[str, type], leave: frozenset[str] = frozenset()) -> str:
    """`name` type = default, for each field."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    out = []
    for f in info.fields:
        if f.encode_name in leave:
            continue
        text = f"`{f.encode_name}` {kind_of(f.type, seen)}"
        if not f.required:
            text += _default(f)
        out.append(text)
    return "; ".join(out)


def _default(f: inspect.Field) -> str:
    value: Any = f.default
    if value is msgspec.NODEFAULT:
        value = f.default_factory()
    if value is None:
        return "?"
    if isinstance(value, msgspec.Struct):
        return "?"
    if value in ((), {}, "") and not isinstance(value, bool | int | float):
        return "?"
    return f" = {msgspec.json.encode(value).decode()}"


def says(cls: type) -> str:
    """The first paragraph of its docstring, as one line."""
    text = python.cleandoc(cls.__doc__ or "").split("\n\n")[0]
    return " ".join(text.replace("|", "\\|").split())


def tables() -> dict[str, str]:
    seen: dict[str, type] = {}
    out = {
        "requests": _table(
            ("`t`", "fields", "result", "what"),
            [(f"`{tag(r)}`", fields_of(r, seen, frozenset(BASE)), _result(r, seen), says(r)) for r in REPLIES],
        ),
        "common": _table(("field", "type"), _rows(Request, seen)),
        "replies": _table(
            ("`t`", "fields", "what"),
            [(f"`{tag(k)}`", fields_of(k, seen), says(k)) for k in (requests.Ok, requests.Err)],
        ),
        "codes": ", ".join(f"`{c}`" for c in get_args(Code)),
        "events": _table(
            ("`t`", "fields", "what"),
            [(f"`{tag(k)}`", fields_of(k, seen, frozenset({"seq"})), says(k)) for k in UNIONS["events"]],
        ),
        "event": _table(("field", "type"), _rows(EventMessage, seen)),
        "windows": _table(
            ("`t`", "fields", "result", "what"),
            [
                (f"`{tag(r)}`", fields_of(r, seen, frozenset(BASE)), _result(r, seen), says(r))
                for r in WINDOW_REPLIES
                if r not in REPLIES
            ],
        ),
        "from_window": _table(
            ("`t`", "fields", "what"),
            [(f"`{tag(k)}`", fields_of(k, seen), says(k)) for k in UNIONS["from_window"]],
        ),
        "states": ", ".join(f"`{s}`" for s in get_args(State)),
    }
    done: dict[str, tuple[str, str]] = {}
    todo = list(seen)
    while todo:
        name = todo.pop()
        if name not in done:
            cls, before = seen[name], set(seen)
            done[name] = (fields_of(cls, seen), says(cls))
            todo += [n for n in seen if n not in before]
    rows = [
        (f"{n} `{seen[n].__struct_config__.tag}`" if seen[n].__struct_config__.tag else n, *done[n])
        for n in sorted(done)
    ]
    out["structures"] = _table(("name", "fields", "what"), rows)
    return out


def _rows(cls: type[msgspec.Struct], seen: dict[str, type]) -> list[tuple[str, str]]:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return [(f"`{f.encode_name}`", kind_of(f.type, seen) + ("" if f.required else _default(f))) for f in info.fields]


def _result(request: type[Request], seen: dict[str, type]) -> str:
    result = EVERY_REPLY[request]
    return fields_of(result, seen) if result is not requests.Nothing else ""


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell or " " for cell in line) + " |" for line in lines)


def page(text: str) -> str:
    """The page with its tables as the structs say. Raises KeyError for a table that nobody makes."""
    made = tables()
    return re.sub(
        r"(<!-- table (\w+) -->\n)(?:.*?\n)??(<!-- end -->)",
        lambda m: m[1] + made[m[2]] + "\n" + m[3],
        text,
        flags=re.S,
    )


if __name__ == "__main__":
    now = page(PAGE.read_text(encoding="utf-8"))
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(now, encoding="utf-8")
    else:
        sys.stdout.write(now)
