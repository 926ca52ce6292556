"""bytes <-> message: one MessagePack header of at most 64 KiB, then at most 8 raw little-endian array buffers.

    [header] [buffer]*

The header is a map tagged by `t`; `bufs: [{name, dtype, shape}]` in it describes the buffers. Nothing untyped goes
further than `decode`: the header is converted to a tagged union of structs, each buffer is checked against its shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any, TypeVar

import msgpack
import msgspec
import numpy as np
from msgspec import inspect
from numpy.typing import NDArray

from protocol.errors import InputError

MAX_HEADER = 64 * 1024
MAX_BUFFERS = 8
MAX_FRAME = 16 * 1024 * 1024
MAX_DIMENSIONS = 8
DTYPES = frozenset({"<f8", "<f4", "<i8", "<i4", "|u1"})

Arrays = Mapping[str, NDArray[Any]]
Described = tuple[tuple[str, str, tuple[int, ...]], ...]
"""Name, dtype and shape of buffers."""
T = TypeVar("T")
_ENCODER = msgspec.msgpack.Encoder()


def encode(message: msgspec.Struct, arrays: Arrays | None = None) -> list[bytes]:
    """The frames of a message and its arrays. Raises InputError (`too_large`, `bad_request`) before it is sent."""
    buffers: list[bytes] = []
    described: list[tuple[str, str, tuple[int, ...]]] = []
    if arrays:
        if len(arrays) > MAX_BUFFERS:
            raise InputError(f"message: expected at most {MAX_BUFFERS} arrays, got {len(arrays)}", code="too_large")
        for name, array in arrays.items():
            dtype = _little(array.dtype)
            if dtype not in DTYPES:
                raise InputError(f"message: array '{name}' has dtype {dtype}, expected one of {sorted(DTYPES)}")
            if array.nbytes > MAX_FRAME:
                raise InputError(f"message: array '{name}' is over {MAX_FRAME} bytes: send pieces", code="too_large")
            described.append((name, dtype, array.shape))
            buffers.append((array if array.dtype.str == dtype else array.astype(dtype)).tobytes())
    packed = _packed(message, tuple(described) if arrays else None)
    if len(packed) > MAX_HEADER:
        raise InputError(f"message: header of {len(packed)} bytes, expected at most {MAX_HEADER}", code="too_large")
    return [packed, *buffers]


def _packed(message: msgspec.Struct, described: Described | None) -> bytes:
    """The header."""
    if _is_plain(type(message)):
        with suppress(ValueError, OverflowError):  # what is wrong is said below
            header = _ENCODER.encode(message)
            if described is None:
                return header
            if 0x80 <= header[0] < 0x8F:  # a map of up to 14 fields: one more, at its end
                return b"%c%b%b" % (header[0] + 1, header[1:], _bufs(described))
    fields: dict[str, Any] = msgspec.to_builtins(message)
    if described is not None:
        fields["bufs"] = _described(described)
    try:
        packed: bytes = msgpack.packb(fields)
    except (ValueError, OverflowError) as e:  # UnicodeEncodeError is a ValueError
        if isinstance(e, OverflowError):
            why = "a number of more than 64 bits"
        else:
            why = "text that is no Unicode" if isinstance(e, UnicodeError) else "values nested too deep"
        raise InputError(f"message: it holds {why}, which MessagePack cannot carry: change that value") from e
    return packed


def _described(described: Described) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": dtype, "shape": list(shape)} for name, dtype, shape in described]


@lru_cache(maxsize=256)
def _bufs(described: Described) -> bytes:
    """`bufs` with its key; the rows of a surface all have the same."""
    return bytes(msgpack.packb("bufs")) + bytes(msgpack.packb(_described(described)))


@cache
def _little(dtype: np.dtype[Any]) -> str:
    return dtype.newbyteorder("<").str


@cache
def _is_plain(kind: type[msgspec.Struct]) -> bool:
    """Whether all fields are numbers, texts and tuples of them: then msgspec writes the very bytes of msgpack at once.
    (Bytes, times and whatever a free field may hold become texts on the way through `to_builtins`.)"""

    def plain(of: inspect.Type) -> bool:
        if isinstance(of, inspect.VarTupleType):
            return plain(of.item_type)
        if isinstance(of, inspect.UnionType):
            return all(map(plain, of.types))
        return isinstance(of, (inspect.IntType, inspect.FloatType, inspect.StrType, inspect.BoolType, inspect.NoneType))

    about = inspect.type_info(kind)
    return isinstance(about, inspect.StructType) and all(plain(field.type) for field in about.fields)


class _Buf(msgspec.Struct, frozen=True):
    name: str
    dtype: str
    shape: tuple[int, ...]


class _Bufs(msgspec.Struct, frozen=True):
    bufs: tuple[_Buf, ...] = ()


@cache
def _decoder(type: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(type)


@cache
def _holder(type: Any) -> Any:
    """A struct around a message: what msgspec has to know of a union it works out anew each time (90 us of a request),
    that of a struct it keeps."""
    return msgspec.defstruct("Holder", [("of", type)])


def decode(
    frames: Sequence[bytes | memoryview], type: type[T] | Any, *, ours: bool = False
) -> tuple[T, dict[str, NDArray[Any]]]:
    """A message of the tagged union `type`, and its arrays (read-only views into the frames).
    `ours`: from a process of ours; faster, and what an unknown field holds is not looked at.

    Raises InputError: `bad_frame` for what is not a message at all, `unknown_command` for an unknown `t`,
    `bad_request` with the JSON path for a wrong shape or type.
    """
    if not frames or len(frames) > 1 + MAX_BUFFERS:
        raise InputError(
            f"message: expected a header and at most {MAX_BUFFERS} buffers, got {len(frames)} frames", code="bad_frame"
        )
    if len(frames[0]) > MAX_HEADER:
        raise InputError(f"message: header of {len(frames[0])} bytes, expected at most {MAX_HEADER}", code="bad_frame")
    described: tuple[_Buf, ...]
    if ours:
        try:
            message = _decoder(type).decode(frames[0])  # type: ignore[arg-type]
            described = _decoder(_Bufs).decode(frames[0]).bufs
        except (ValueError, RecursionError, OverflowError):
            ours = False  # what is wrong is found out below
    if not ours:
        message, described = _checked(frames[0], type)
    if len(described) != len(frames) - 1:
        raise InputError(f"message: {len(described)} buffers described, {len(frames) - 1} came", code="bad_frame")
    if len({buf.name for buf in described}) != len(described):
        raise InputError("message: expected a name of its own for each buffer", path="$.bufs")
    arrays = {}
    for buf, frame in zip(described, frames[1:]):
        if buf.dtype not in DTYPES:
            raise InputError(f"message: buffer '{buf.name}' has dtype {buf.dtype}, expected one of {sorted(DTYPES)}")
        # An empty array may claim any other side: each is bounded, or reshape raises what is no InputError.
        fits = len(buf.shape) <= MAX_DIMENSIONS and all(0 <= s <= MAX_FRAME for s in buf.shape)
        if not fits or math.prod(buf.shape) * np.dtype(buf.dtype).itemsize != len(frame):
            raise InputError(
                f"message: buffer '{buf.name}' of {len(frame)} bytes does not fill shape {list(buf.shape)} "
                f"of {buf.dtype}"
            )
        arrays[buf.name] = np.frombuffer(frame, dtype=buf.dtype).reshape(buf.shape)
    return message, arrays


def _checked(data: bytes | memoryview, type: Any) -> tuple[Any, tuple[_Buf, ...]]:
    """A header's message and the buffers that it describes."""
    try:
        header = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError, TypeError) as e:  # UnicodeDecodeError is a ValueError
        raise InputError(f"message: header is not MessagePack ({e.__class__.__name__})", code="bad_frame") from e
    if not isinstance(header, dict) or not isinstance(header.get("t"), str):
        raise InputError("message: expected a map with a text field 't'", code="bad_frame")
    try:
        try:
            message = msgspec.convert({"of": header}, type=_holder(type)).of
        except (msgspec.ValidationError, RecursionError, OverflowError):
            message = msgspec.convert(header, type=type)  # says where
        described = msgspec.convert(header, type=_Bufs).bufs
    except msgspec.ValidationError as e:
        text, _, path = str(e).partition(" - at `")
        code = "unknown_command" if text.startswith("Invalid value") and path.startswith("$.t`") else "bad_request"
        raise InputError(f"message: {text}", code=code, path=path.rstrip("`") or None) from e  # type: ignore[arg-type]
    except (RecursionError, OverflowError) as e:
        raise InputError(f"message: header cannot be read ({e.__class__.__name__})", code="bad_frame") from e
    return message, described
