"""A command that concerns the other machine itself (its daemon's process, keys, data sets): the same words typed there,
through one `ssh` whose input, output and exit code are this command's own."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence

from protocol.errors import InputError
from tui import forward

OURS = {"--ssh": None, "--remote-workspace": "--workspace", "--remote-command": None}
"""Flags that this side reads, and what each becomes on the other one."""


def do(host: str, typed: Sequence[str]) -> int:
    """Type the words on the host; their exit code. Raises InputError where ssh cannot."""
    command, words = words_there(typed)
    line = forward.there(forward.checked(host), [*command, *words])
    if os.isatty(0) and os.isatty(1):
        line.insert(line.index("-T"), "-t")  # it may ask before it deletes
        line.remove("-T")
    code = subprocess.run(line, check=False).returncode
    if code in (126, 127):
        raise InputError(
            f"--ssh: {host} has no '{command[0]}' on its PATH: say how to run it there with --remote-command",
            code="unavailable",
        )
    if code == 255:
        raise InputError(f"--ssh: cannot log in to {host}", code="unavailable")
    return code


def words_there(typed: Sequence[str]) -> tuple[list[str], list[str]]:
    """How thalweg is run there, and the words after it."""
    command, words, flags = ["thalweg"], [], iter(typed)
    for word in flags:
        flag, equals, value = word.partition("=")
        if flag not in OURS:
            if flag == "--workspace":
                raise InputError("--workspace: expected --remote-workspace beside --ssh: it names a folder there")
            words.append(word)
            continue
        value = value if equals else next(flags, "")
        if flag == "--remote-command":
            command = shlex.split(value) or command
        elif OURS[flag]:
            words += [OURS[flag] or "", value]
    return command, words
