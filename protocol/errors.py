"""The one exception that carries a sentence for a person, and the codes that name its kind on the wire."""

from __future__ import annotations

from collections.abc import Iterable
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


SHOWN = 12  # names of a list that a command prints whole


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """At most three of the known names that look like this one, the nearest first; capitals do not count."""
    from difflib import get_close_matches  # only where something is wrong

    plain = {str(k).lower(): str(k) for k in known}
    return [plain[near] for near in get_close_matches(name[:100].lower(), plain, 3)]


def unknown_name(what: str, name: str, known: Iterable[str], command: str | None = None) -> InputError:
    """`not_found` for a name that is not in a registry: what was typed, the names that look like it, then the list.
    Where a `command` prints the list, a long one is cut here."""
    names = sorted(str(k) for k in known)
    near = nearest(name, names)
    several = " or ".join([", ".join(near[:-1]), near[-1]] if near[1:] else near)
    meant = f"did you mean {several}? Expected" if near else "expected"
    cut = command is not None and len(names) > SHOWN
    rest = f" and {len(names) - SHOWN} more: `{command}` lists them" if cut else ""
    listed = ", ".join(names[: SHOWN if cut else None]) or "none"
    shown = name if len(name) <= 100 else f"{name[:100]}..."
    return InputError(f"{what}: '{shown}' is not known, {meant} one of {listed}{rest}", code="not_found")
