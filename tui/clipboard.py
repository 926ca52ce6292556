"""Copying: OSC 52 to the terminal always; in tmux its own buffer too, where OSC 52 does not arrive by default.

`tmux load-buffer -w -` sets tmux's buffer and passes it on to the terminal outside (tmux 3.2 and later).
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable, Mapping

LIMIT = 74_994  # bytes that xterm takes in one OSC 52
PATIENCE_S = 2.0


def osc52(text: str) -> str:
    """The sequence that asks the terminal to take a text into its clipboard. Raises ValueError where it is too long."""
    data = text.encode()
    if len(data) > LIMIT:
        raise ValueError(f"expected at most {LIMIT} bytes to copy, got {len(data)}")
    return f"\x1b]52;c;{base64.b64encode(data).decode()}\a"


def copy(text: str, write: Callable[[str], object], environment: Mapping[str, str] = os.environ) -> str:
    """Copy a text; the words for how. `write` brings a sequence to the terminal."""
    write(osc52(text))
    if not environment.get("TMUX"):
        return "through the terminal (OSC 52)"
    try:
        done = subprocess.run(
            ["tmux", "load-buffer", "-w", "-"],
            input=text.encode(), capture_output=True, timeout=PATIENCE_S, check=False, env=dict(environment),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "through the terminal (OSC 52); tmux could not be asked"
    if done.returncode:
        return "through the terminal (OSC 52); tmux refused it"
    return "into tmux's buffer, and through the terminal (OSC 52)"
