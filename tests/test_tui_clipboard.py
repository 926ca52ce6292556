"""Copying: the terminal is always asked, tmux too where it is in between, and it is said which."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tui import clipboard


def test_the_terminal_is_asked_with_osc_52():
    written: list[str] = []
    how = clipboard.copy("grüße", written.append, {})
    assert written == ["\x1b]52;c;" + base64.b64encode("grüße".encode()).decode() + "\a"]
    assert "OSC 52" in how
    assert "tmux" not in how


def test_a_text_that_no_terminal_takes_is_refused():
    with pytest.raises(ValueError, match="at most"):
        clipboard.copy("x" * 100_000, lambda _: None, {})


def test_without_the_program_the_terminal_is_still_asked():
    written: list[str] = []
    how = clipboard.copy("a", written.append, {"TMUX": "/nowhere,1,0", "PATH": "/nowhere"})
    assert written
    assert "could not be asked" in how


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
def test_in_tmux_its_buffer_holds_the_text():
    with tempfile.TemporaryDirectory(prefix="thw-") as folder:
        socket = Path(folder) / "s"
        base = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        env = {**os.environ, "TERM": "xterm-256color"}
        subprocess.run([*base, "new-session", "-d", "sleep 60"], check=True, env=env)
        try:
            how = clipboard.copy("01K4F2K9A", lambda _: None, {**env, "TMUX": f"{socket},1,0"})
            got = subprocess.run([*base, "show-buffer"], capture_output=True, text=True, check=True, env=env)
        finally:
            subprocess.run([*base, "kill-server"], check=False, env=env)
        assert got.stdout == "01K4F2K9A"
        assert "tmux's buffer" in how
