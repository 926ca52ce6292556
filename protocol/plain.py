"""What may stand in a request: text, whole numbers of 64 bits, finite numbers, lists and maps of them.

msgspec lets NaN into a float field, and MessagePack can put bytes or time stamps where a spec's options
are free in form. The client checks before it sends, the daemon after it has decoded; both with this function.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from protocol.errors import InputError


def check_plain(message: msgspec.Struct) -> None:
    """Raises InputError (`bad_request`, with the path) for NaN, infinities, huge whole numbers, bytes and the like."""
    for name in message.__struct_fields__:
        _check(getattr(message, name), f"$.{name}")


def _check(value: Any, path: str) -> None:
    match value:
        case None | bool() | str():
            return
        case int():
            if -(2**63) <= value < 2**63:
                return
            got = "a whole number of more than 64 bits"
        case float():
            if math.isfinite(value):
                return
            got = str(value)
        case list() | tuple():
            for k, item in enumerate(value):
                _check(item, f"{path}[{k}]")
            return
        case dict():
            for key, item in value.items():
                _check(item, f"{path}.{key}")
            return
        case msgspec.Struct():
            for name in value.__struct_fields__:
                _check(getattr(value, name), f"{path}.{name}")
            return
        case _:
            got = type(value).__name__
    raise InputError(
        f"request: {path.removeprefix('$.')}: expected text, a finite number or a list or map of these, got {got}",
        path=path,
    )
