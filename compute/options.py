"""Options that come as plain data, as the struct that declares them; one sentence where they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from protocol.errors import InputError

T = TypeVar("T", bound=msgspec.Struct)


def converted(what: str, options: Mapping[str, Any], type: type[T], path: str = "$.options") -> T:
    """The options as the struct. Raises InputError that names the wrong one, its choices where it has some, and the
    known ones where it is not known."""
    try:
        return msgspec.convert(dict(options), type)
    except msgspec.ValidationError as e:
        fields = {f.encode_name: f for f in msgspec.structs.fields(type)}
        strange = sorted(set(options) - set(fields))
        known = ", ".join(sorted(fields)) or "none"
        if strange:
            raise InputError(
                f"options of the {what}: expected some of {known}; got '{strange[0]}'", path=f"{path}.{strange[0]}"
            ) from e
        text, _, where = str(e).partition(" - at `$.")
        name = where.rstrip("`")
        choices = choices_of(fields[name].type) if name in fields else None
        wanted = f"expected one of {', '.join(choices)}" if choices else text[0].lower() + text[1:]
        got = f"; got {options[name]!r}" if name in options else ""
        raise InputError(f"{name or what}: {wanted}{got}", path=f"{path}.{name}" if name else path) from e


def choices_of(annotation: Any) -> list[str] | None:
    """The values of a Literal, or None."""
    info = msgspec.inspect.type_info(annotation)
    for one in (info, *getattr(info, "types", ())):
        if isinstance(one, msgspec.inspect.LiteralType):
            return sorted(map(str, one.values))
    return None
