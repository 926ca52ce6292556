"""Golden byte vectors: one of every message, with every field filled in, as the bytes on the wire.

    python tests/wire_vectors.py          print what belongs into tests/golden/wire.json
    python tests/wire_vectors.py --write  write it

A change of the file is a change of the wire: bytes may be added (a field with a default), never taken away.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import numpy as np
from msgspec import inspect

from protocol import codec
from protocol.files import PATH_DTYPE
from protocol.messages import PROTO
from protocol.requests import Ok
from protocol.schema import UNIONS, tag
from protocol.windows import EVERY_REPLY

FILE = Path(__file__).parent / "golden" / "wire.json"
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

ROW = {"loss": np.array([0.5, np.nan, np.inf], "<f4"), "sem": np.array([0.25, 0.0, -np.inf], "<f4")}
PATH = {name: np.array([0, 1], "<i8" if name == "step" else "<f8") for name in PATH_DTYPE.names or ()}
PIECE = {"piece": np.arange(5, dtype="|u1")}
ARRAYS: dict[str, codec.Arrays] = {
    "surface.row": ROW,
    "surface.begin": {"alpha": np.array([-1.0, 0.0, 1.0]), "beta": np.array([-1.0, 1.0])},
    "wrk.begin": {"alpha": np.array([-1.0, 0.0, 1.0]), "beta": np.array([-1.0, 1.0])},
    "wrk.row": {"loss_sum": np.array([1.5, np.nan]), "correct": np.array([3, 4], "<i4")},
    "path.done": PATH,
    "wrk.path": PATH,
    "upload": PIECE,
    "frames.frame": {"image": np.arange(12, dtype="|u1")},
    "ok screenshot": PIECE,
    "ok picture.get": PIECE,
    "ok file.get": PIECE,
    "ok snapshot": {"loss": np.array([[0.5, 1.0], [np.nan, 2.0]], "<f4"), "n": np.array([[1, 2], [0, 3]], "<i8")},
    "ok events.since": {"events": np.frombuffer(msgpack.packb([b"\x80", []]), "|u1")},
    "ok schema": {"schema": np.frombuffer(b"{}", "|u1")},
    "ok catalogue": {"catalogue": np.frombuffer(b"{}", "|u1")},
    "ok log.tail": {"text": np.frombuffer("η = 0.1\n".encode(), "|u1")},
}
"""The arrays that travel with a message, small."""


def sample(kind: Any) -> Any:
    """A value of this type with every field filled in, none by its default where that can be."""
    return msgspec.convert(_sample(inspect.type_info(kind)), kind)


def _sample(info: inspect.Type) -> Any:
    match info:
        case inspect.NoneType():
            return None
        case inspect.BoolType():
            return True
        case inspect.StrType(pattern=str(pattern)):
            return ULID if "26" in pattern else "0123456789abcdef" * 4
        case inspect.StrType():
            return "text"
        case inspect.IntType():
            return int(_bounded(info, 7))
        case inspect.FloatType():
            return _bounded(info, 0.625)
        case inspect.LiteralType(values=values):
            return values[-1]
        case inspect.AnyType():
            return [1, 0.5, "x", None, False]
        case inspect.DictType(value_type=value):
            return {"key": _sample(value)}
        case inspect.TupleType(item_types=items):
            return [_sample(i) for i in items]
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return [_sample(i) for i in _choices(item)]
        case inspect.UnionType(types=types):
            return _sample(next(t for t in types if not isinstance(t, inspect.NoneType)))
        case inspect.StructType(fields=fields):
            tagged = {} if info.tag is None else {info.tag_field: info.tag}
            return tagged | {f.encode_name: _field(f) for f in fields}
        case inspect.Metadata(type=inner):
            return _sample(inner)
    raise NotImplementedError(f"no sample for {info}")


def _field(f: inspect.Field) -> Any:
    return PROTO if f.name.startswith("proto") else _sample(f.type)


def _choices(info: inspect.Type) -> list[inspect.Type]:
    """What a list of these holds: one, or for a struct with a field of any kind of spec, one with each kind."""
    if isinstance(info, inspect.StructType):
        for k, f in enumerate(info.fields):
            if isinstance(f.type, inspect.UnionType) and all(isinstance(t, inspect.StructType) for t in f.type.types):
                return [_with(info, k, t) for t in f.type.types]
    return [info]


def _with(info: inspect.StructType, k: int, kind: inspect.Type) -> inspect.StructType:
    fields = list(info.fields)
    fields[k] = msgspec.structs.replace(fields[k], type=kind)
    return msgspec.structs.replace(info, fields=tuple(fields))


def _bounded(info: inspect.IntType | inspect.FloatType, value: float) -> float:
    low = info.ge if info.ge is not None else info.gt
    high = info.le if info.le is not None else info.lt
    if low is not None and value < low:
        value = low + (0 if info.ge is not None else 1)
    return value if high is None or value <= high else high / 2


@functools.cache
def frames() -> dict[str, tuple[str, list[bytes]]]:
    """name -> (direction, frames) of every message there is; replies by the request that they answer."""
    out: dict[str, tuple[str, list[bytes]]] = {}
    for union, kinds in UNIONS.items():
        for kind in kinds:
            if kind is Ok:
                for request, result in EVERY_REPLY.items():
                    name = f"ok {tag(request)}"
                    reply = Ok(id="text", result=msgspec.to_builtins(sample(result)))
                    out[name] = (union, codec.encode(reply, ARRAYS.get(name)))
            elif tag(kind) not in out:  # `hello`, `ping` and `upload` go to the daemon and to windows
                out[tag(kind)] = (union, codec.encode(sample(kind), ARRAYS.get(tag(kind))))
    return out


def text() -> str:
    """The golden file: for each message the readable header, and the frames in hexadecimal."""
    vectors = {
        name: {"union": union, "header": msgpack.unpackb(made[0]), "frames": [f.hex() for f in made]}
        for name, (union, made) in frames().items()
    }
    return msgspec.json.format(msgspec.json.encode(vectors), indent=1).decode() + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())
