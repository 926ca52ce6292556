"""JSON Schema of every message, written from the structs themselves.

python -m protocol.schema > docs/schema.json
"""

from __future__ import annotations

import sys
from typing import Any, get_args

import msgspec

from protocol.messages import PROTO, Event, FromWorker, ToWorker
from protocol.requests import REPLIES, AnyRequest, Err, Ok
from protocol.windows import WINDOW_REPLIES, AnyWindowRequest, FromWindow

UNIONS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "requests": get_args(AnyRequest),
    "replies": (Ok, Err),
    "events": get_args(Event),
    "from_worker": get_args(FromWorker),
    "to_worker": get_args(ToWorker),
    "to_window": get_args(AnyWindowRequest),
    "from_window": get_args(FromWindow),
}
"""Every message by the direction it goes."""


def tag(kind: type[msgspec.Struct]) -> str:
    """The `t` of a message."""
    return str(kind.__struct_config__.tag)


def schema() -> dict[str, Any]:
    """The schema: under each direction the messages by their `t`; under `results` what `ok` holds for each request."""
    results = dict.fromkeys([*REPLIES.values(), *WINDOW_REPLIES.values()])
    kinds = list(dict.fromkeys(kind for union in UNIONS.values() for kind in union))
    refs, components = msgspec.json.schema_components([*kinds, *results], ref_template="#/$defs/{name}")
    ref = dict(zip([*kinds, *results], refs))
    for kind in kinds:
        components[kind.__name__]["properties"]["bufs"] = {"$ref": "#/$defs/Buffers"}
    components["Buffers"] = {
        "title": "Buffers",
        "description": "The arrays beside the header, in the order of their frames.",
        "type": "array",
        "maxItems": 8,
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "dtype": {"enum": ["<f8", "<f4", "<i8", "<i4", "|u1"]},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            },
            "required": ["name", "dtype", "shape"],
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"thalweg wire, version {PROTO}",
        "proto": PROTO,
        **{name: {tag(kind): ref[kind] for kind in union} for name, union in UNIONS.items()},
        "results": {tag(request): ref[result] for request, result in REPLIES.items()},
        "window_results": {tag(request): ref[result] for request, result in WINDOW_REPLIES.items()},
        "$defs": dict(sorted(components.items())),
    }


def text() -> str:
    """The schema as it stands in docs/schema.json and as the daemon answers `schema`."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=1).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
