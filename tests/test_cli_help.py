"""The help of every command: there, with examples that can be typed, and without a heavy import."""

import json
import shlex
import subprocess
import sys

import pytest
from cyclopts import App

from tui import cli
from tui.commands import COMMANDS, GROUPS

IDS = [c.id for c in COMMANDS]


def help_of(command: str, capsys) -> str:
    assert cli.run([*command.split(), "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_every_command_has_a_help_with_examples(command, capsys):
    text = " ".join(help_of(command.id, capsys).split())
    assert " ".join(command.help.split()) in text
    assert "Examples:" in text
    for flag in ("--workspace", "--data", "--json"):
        assert flag in text


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_every_example_can_be_typed_as_it_stands(command):
    examples = command.more.replace("\\\n", " ").partition("Examples:")[2].strip().splitlines()
    assert examples
    for example in examples:
        program, *words = shlex.split(example)
        assert program == "thalweg"
        function, _bound, _ = cli.app().parse_args(words, exit_on_error=False, print_error=False)
        assert f"{function.__module__}:{function.__name__}" == command.run


def test_examples_fit_a_terminal_of_80_columns():
    for command in COMMANDS:
        for line in command.more.partition("Examples:")[2].splitlines():
            assert len(line) <= 80, line


def test_root_help_lists_every_command(capsys):
    text = help_of("", capsys)
    for command in COMMANDS:
        assert command.id.split()[0] in text
    for group in GROUPS:
        assert group in text


@pytest.mark.parametrize("arguments", [["--help"], [], ["train", "--help"], ["render", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    heavy = ["torch", "moderngl", "textual", "glfw", "PIL", "scipy", "compute", "renderer"]
    if "train" not in arguments and "render" not in arguments:
        heavy += ["numpy", "zmq"]  # the root of the tree needs no numbers at all
    script = (
        "import sys, json, contextlib, io\nfrom tui import cli\n"
        f"with contextlib.redirect_stdout(io.StringIO()): assert cli.run({arguments!r}) == 0\n"
        f"print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_bare_command_says_what_to_do_next(capsys):
    assert cli.run([]) == 0
    assert "thalweg demo --quick" in capsys.readouterr().out


def test_unforeseen_error_is_one_sentence_and_a_file(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)

    def broken(*_a, **_k):
        raise ZeroDivisionError("secret local value")

    monkeypatch.setattr(App, "__call__", broken)
    assert cli.run(["runs", "list"]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said
    (log,) = tmp_path.glob("thalweg-crash-*.log")
    assert str(log) in said
    assert "ZeroDivisionError" in log.read_text()
