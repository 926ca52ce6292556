"""The one exception that carries a sentence for a person, and the codes that name its kind on the wire."""

from __future__ import annotations

from typing import Literal

Code = Literal[
    "bad_frame",
    "bad_request",
    "unknown_command",
    "unsupported_proto",
    "not_found",
    "ambiguous",
    "id_reused",
    "expired",
    "exists",
    "wrong_state",
    "too_large",
    "busy",
    "unavailable",
    "no_space",
    "integrity",
    "internal",
]


class InputError(ValueError):
    """Something that was asked for cannot be done as asked; nothing was changed.

    The message is one sentence: what was expected, what came, what to do. `code` is its kind on the wire, `path`
    the JSON path of the offending field (`$.recipe.lr`) where there is one.
    """

    def __init__(self, msg: str, *, code: Code = "bad_request", path: str | None = None) -> None:
        super().__init__(msg)
        self.msg = msg
        self.code: Code = code
        self.path = path


def unknown_name(what: str, name: str, known: object) -> InputError:
    """`not_found` for a name that is not in a registry; the sentence lists the known names."""
    names = ", ".join(sorted(str(k) for k in known))  # type: ignore[attr-defined]
    return InputError(f"{what}: expected one of {names}; got '{name}'", code="not_found")
