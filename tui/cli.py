"""The `thalweg` command: what was typed becomes a call of one function of tui/verbs, what goes wrong one sentence.

Exit codes: 0 done, 1 something broke (the sentence names a log), 2 wrong input (nothing was changed), 130 Ctrl-C.
Nothing heavy is imported here: `thalweg --help` loads neither numpy nor torch.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, UnknownCommandError, UnusedCliTokensError

from tui.commands import COMMANDS, GROUPS

if TYPE_CHECKING:
    from tui.profiles import Config, Profile

EPILOGUE = """Start with `thalweg demo --quick`. Every command has its own --help with examples.
`thalweg` alone opens the terminal UI, `thalweg --web` the same in a browser of this machine (--port, --workspace)."""


def app() -> App:
    """The command tree, built from the table; a command's module is imported when it is chosen."""
    root = App(
        name="thalweg",
        help="Measure and draw loss landscapes of neural networks: train, cut a plane through weight space, measure "
        "the loss on it, see the picture with the descent path.",
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        version=_version,
        default_command=_next_steps,
    )
    root["--help"].group = root["--version"].group = "Also"
    groups = {
        name: App(name=name, help=text, help_format="plaintext", help_epilogue="") for name, text in GROUPS.items()
    }
    for order, command in enumerate(COMMANDS):
        group, _, verb = command.id.rpartition(" ")
        parent = groups[group] if group else root
        parent.command(
            command.run,
            name=verb,
            help=command.help,
            help_epilogue=_reflow(command.more),
            sort_key=order,
            help_format="plaintext",
        )
    for order, group_app in enumerate(groups.values()):
        group_app.sort_key = 100 + order
        root.command(group_app)
    return root


def _version() -> str:
    from importlib.metadata import version  # 27 ms

    return f"thalweg {version('thalweg')}"


def _reflow(text: str) -> str:
    """Paragraphs as one line each, for the terminal to wrap; indented lines as they stand."""
    blocks = text.strip().split("\n\n")
    return "\n\n".join(b if "\n  " in b else " ".join(b.split()) for b in blocks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; ends the process with an exit code."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _opened(typed) if _on_a_terminal() and all(t.startswith("--") for t in typed[:1]) else None
        code = run(typed) if code is None else code
        sys.stdout.flush()
    except BrokenPipeError:  # `thalweg runs list | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)


def run(typed: Sequence[str]) -> int:
    """Do what was typed; the exit code. What goes wrong is one sentence on stderr."""
    try:
        if (host := _meant_for(typed)) is not None:
            from tui.elsewhere import do

            return do(host, typed)
        if typed[:1] == ["--web"] and not any(t in ("--help", "-h") for t in typed):
            return _web(typed)
        app()(typed, exit_on_error=False, print_error=False, result_action="return_value")
        return 0
    except CycloptsError as e:
        return _fail(2, f"{_typing_error(e)} (see {_help_of(typed)})", typed)
    except KeyboardInterrupt:
        return _fail(130, "stopped", typed)
    except BrokenPipeError:
        raise
    except Exception as e:
        return _explain(e, typed)


def _web(typed: Sequence[str]) -> int:
    """The terminal UI in a browser."""
    try:
        from tui.web import serve
    except ModuleNotFoundError as e:
        from protocol.errors import InputError

        missing = f"--web: {e.name} is not installed here: pip install 'thalweg[tui]'"
        raise InputError(missing, code="unavailable") from e
    return serve(typed)


def _meant_for(typed: Sequence[str]) -> str | None:
    """The host of --ssh, for a command that is done over there; None for all others, and for their help."""
    if any(t in ("--help", "-h") for t in typed):
        return None
    for k, word in enumerate(typed):
        flag, equals, host = word.partition("=")
        if flag == "--ssh":
            names = {c.id for c in COMMANDS if c.there}
            there = any(" ".join(typed[:n]) in names for n in (1, 2))
            return (host if equals else " ".join(typed[k + 1 : k + 2])) if there else None
    return None


def _explain(error: Exception, typed: Sequence[str]) -> int:
    from protocol.errors import InputError
    from tui.children import ChildError
    from tui.interrupt import Interrupted, Left

    if isinstance(error, Left):
        return _fail(130, error.kept, typed)
    if isinstance(error, InputError):
        from tui.flags import name_the_flag

        return _fail(2, name_the_flag(error.msg, typed), typed, error.code, error.path)
    if isinstance(error, Interrupted):
        return _fail(130, f"stopped: {error.kept}" if error.kept else "stopped", typed)
    if isinstance(error, ChildError):
        return _fail(1, str(error), typed)
    return _fail(
        1, f"an error that thalweg did not expect ({type(error).__name__}); details are in {_crash(typed)}", typed
    )


def _fail(code: int, sentence: str, typed: Sequence[str], kind: str = "internal", path: str | None = None) -> int:
    """Say one sentence on stderr; with --json also as an object on stdout."""
    words = " ".join(sentence.split()).rstrip(".")
    if "--json" in typed:
        from tui.progress import print_json

        kind = {130: "cancelled", 2: kind if kind != "internal" else "bad_request"}.get(code, kind)
        print_json({"t": "err", "code": kind, "msg": words, "path": path})
    print(f"thalweg: {words}", file=sys.stderr)
    return code


def _typing_error(error: CycloptsError) -> str:
    """What is wrong with the words that were typed, as one sentence without a full stop."""
    if isinstance(error, (UnknownCommandError, UnusedCliTokensError)):
        import difflib

        unused = getattr(error, "unused_tokens", None) or ["?"]
        near = difflib.get_close_matches(unused[0], [c.id for c in COMMANDS] + list(GROUPS), n=1)
        return f"expected a command, got '{unused[0]}'" + (f"; did you mean {near[0]}?" if near else "")
    return " ".join(str(error).split()).rstrip(".").replace(". Choose from: ", ", expected one of ").replace(". ", "; ")


def _help_of(typed: Sequence[str]) -> str:
    names = [c.id for c in COMMANDS] + list(GROUPS)
    command = next((c for words in (2, 1) if (c := " ".join(typed[:words])) in names), "")
    return f"thalweg {command} --help" if command else "thalweg --help"


def _crash(typed: Sequence[str]) -> Path:
    """Write the traceback of an unforeseen error to a file; where it is."""
    import tempfile

    fd, name = tempfile.mkstemp(prefix="thalweg-crash-", suffix=".log")
    with os.fdopen(fd, "w", encoding="utf-8") as log:
        log.write(f"thalweg {' '.join(typed)}\n{traceback.format_exc()}")
    return Path(name)


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _opened(typed: Sequence[str]) -> int | None:
    """The exit code of the terminal UI, where nothing but the way to a daemon was typed; None for the command line."""
    from protocol.errors import InputError
    from tui import profiles

    if typed[:1] in (["--help"], ["--version"], ["--web"]):
        return None
    config = profiles.load()
    try:
        profile = profiles.typed(typed, config)
    except InputError as e:
        return _fail(2, e.msg, typed, e.code)
    return None if profile is None else _open_app(profile, config)


def _open_app(profile: Profile, config: Config) -> int:
    """The terminal UI, where what it needs is installed; else what to type next."""
    try:
        from tui.app import open_app
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in ("textual", "textual_plot"):
            raise
        _next_steps()
        print("\nThe terminal UI needs one more line: pip install 'thalweg[tui]'")
        return 0
    return open_app(profile, config)


def _next_steps() -> None:
    """What a person who typed only `thalweg` can do next."""
    print("thalweg: loss landscapes of neural networks\n\nWhat to type next:")
    for command in COMMANDS[:5]:
        print(f"  thalweg {command.id:<10}{command.help}")
    print("\nJobs are kept by a daemon and outlive the command that asked for them: `thalweg jobs list`.")
    print("`thalweg demo --quick` shows all of it in half a minute; `thalweg --help` lists everything.")


if __name__ == "__main__":
    main()
