"""How the terminal says states, numbers and times: pure, without a heavy import."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

SHORT = 6  # characters of an id in a list

GLYPHS = {
    "waiting": "◌", "queued": "◐", "running": "●", "pausing": "◑", "paused": "‖",
    "cancelling": "◑", "done": "✓", "failed": "✗", "cancelled": "–", "kept": "·",
    "diverged": "✗", "missing": "!", "open": "▣", "filling": "●", "partial": "◍",
}  # fmt: skip

COLOURS = {
    "running": "green", "filling": "green", "pausing": "yellow", "paused": "yellow", "cancelling": "yellow",
    "queued": "cyan", "waiting": "cyan", "failed": "red", "diverged": "red", "missing": "red", "cancelled": "magenta",
    "done": "blue", "open": "blue", "kept": "white", "partial": "white",
    "live": "green", "connecting": "cyan", "stale": "yellow", "lost": "red",
}  # fmt: skip
"""Colours of the terminal's own palette: they follow its theme. Never the only sign of a state."""


def number(value: Any) -> str:
    """Four figures, or a dash: `.613`, `12.4`, `2.1e+10`, `nan`."""
    if value is None:
        return "-"
    try:
        x = float(value)
    except (TypeError, ValueError):
        return str(value)
    if not math.isfinite(x):
        return "nan" if math.isnan(x) else ("inf" if x > 0 else "-inf")
    text = f"{x:.4g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def coordinate(value: Any) -> str:
    """A place on an axis in at most seven characters: `-.312`, `12.41`, `2e-05`, `0`."""
    x = float(value)
    if x == 0:
        return "0"
    if not math.isfinite(x):
        return number(x)
    if not 0.001 <= abs(x) < 10_000:
        return f"{x:.0e}".replace("e-0", "e-").replace("e+0", "e")
    text = f"{x:.3f}".rstrip("0").rstrip(".") if abs(x) < 10 else f"{x:.5g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def percent(value: Any) -> str:
    """`81.2 %`, or a dash."""
    if value is None:
        return "-"
    x = float(value)
    return f"{100 * x:.1f} %" if math.isfinite(x) else number(x)


def duration(seconds: float | None) -> str:
    """`0.8 s`, `42 s`, `3 min 10 s`, `2 h 5 min`, or a dash."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60} s" if s % 60 else f"{s // 60} min"
    if s < 86400:
        return f"{s // 3600} h {s % 3600 // 60} min"
    return f"{s // 86400} d {s % 86400 // 3600} h"


def clock(stamp: str) -> str:
    """A time of the store as local time: `11-24 12:03`."""
    try:
        at = datetime.fromisoformat(stamp).astimezone()
    except ValueError:
        return "-"
    return at.strftime("%m-%d %H:%M" if at.year == datetime.now().year else "%Y-%m-%d")


def seconds_between(start: str, end: str = "") -> float | None:
    """From one time of the store to another, or until now."""
    try:
        begin = datetime.fromisoformat(start)
        stop = datetime.fromisoformat(end) if end else datetime.now(begin.tzinfo)
    except ValueError:
        return None
    return max(0.0, (stop - begin).total_seconds())


def short(id: str) -> str:
    """The end of an id, as lists show it."""
    return id[-SHORT:]


def plain(text: str) -> str:
    """Data made safe to draw: control characters become a dot, a tab a space. (Markup is never parsed.)"""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else (" " if c in "\t\n" else "·") for c in text)


def bar(share: float, width: int, *, ascii_only: bool = False) -> str:
    """A bar of `width` cells, filled to `share` in eighths."""
    share = min(1.0, max(0.0, share))
    if ascii_only:
        n = round(share * width)
        return "#" * n + "-" * (width - n)
    eighths = round(share * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")).ljust(width, "░")[:width]


def counted(n: int, what: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def time_of_day(stamp: str) -> str:
    """`12:03:11`, local."""
    try:
        return datetime.fromisoformat(stamp).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return ""
