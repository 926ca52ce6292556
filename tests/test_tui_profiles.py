"""Named ways to a daemon, and the config file that holds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import InputError
from tui import profiles
from tui.profiles import Config, Profile

EXAMPLE = """
# mine
theme = "nord"
default = "gpu1"
[profiles.gpu1]
ssh = "me@gpu1"
remote_workspace = "/big/thalweg"
[profiles.lab]
connect = "tcp://h:1,tcp://h:2"
key = "~/laptop.key_secret"
[keys]
train = "ctrl+n"
"""


def test_without_a_file_there_is_the_daemon_of_this_machine(tmp_path):
    config = profiles.load(tmp_path / "none.toml")
    assert config == Config()
    assert list(config.profiles) == ["local"]


def test_a_config_is_read(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(EXAMPLE)
    config = profiles.load(file)
    assert config.problems == ()
    assert config.default == "gpu1"
    assert config.profiles["gpu1"].kind == "ssh"
    assert config.profiles["lab"].key == Path("~/laptop.key_secret").expanduser()
    assert config.keys == {"train": "ctrl+n"}
    assert config.theme == "nord"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profiles.a]\n", "expected one of workspace, ssh and connect"),
        ('[profiles.a]\nssh = "h"\nconnect = "tcp://a,tcp://b"\n', "expected one of workspace, ssh and connect"),
        ('[profiles.a]\nhost = "h"\n', "got 'host'"),
        ("[profiles.a]\nssh = 3\n", "expected a text, got 3"),
        ('[profiles.a]\nconnect = "tcp://h:1"\n', "(cmd, evt)"),
        ("profiles = 3\nkeys = 4\n[", "cannot be read"),
        ('default = "x"\n', "got 'x'"),
        ("[keys]\ntrain = 3\n", "keys.train"),
    ],
)
def test_what_is_wrong_is_told_and_the_rest_holds(tmp_path, text, said):
    file = tmp_path / "config.toml"
    file.write_text(text)
    config = profiles.load(file)
    assert "local" in config.profiles
    assert any(said in p for p in config.problems), config.problems


def test_saving_a_profile_leaves_the_rest_of_the_file(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(EXAMPLE)
    profiles.save("new", Profile(name="new", ssh="you@there"), file)
    profiles.save("lab", None, file)
    profiles.save_theme("dracula", file)
    config = profiles.load(file)
    assert config.problems == ()
    assert config.profiles["new"].ssh == "you@there"
    assert "lab" not in config.profiles
    assert config.theme == "dracula"
    assert "# mine" in file.read_text()


def test_flags_lead_a_command_to_the_same_daemon():
    assert Profile().flags() == ""
    assert Profile(name="x", ssh="h", remote_workspace="/a b").flags() == " --ssh h --remote-workspace '/a b'"


CONFIG = profiles.parse({"profiles": {"gpu1": {"ssh": "me@gpu1"}}})


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ([], "the default workspace"),
        (["--profile", "gpu1"], "ssh me@gpu1"),
        (["--workspace", "/w"], "/w"),
        (["--workspace=/w"], "/w"),
        (["--ssh", "h", "--remote-workspace", "/r"], "ssh h, /r"),
        (["--connect", "tcp://h:1,tcp://h:2", "--key", "k"], "tcp://h:1"),
    ],
)
def test_flags_alone_open_the_app_on_that_daemon(words, where):
    found = profiles.typed(words, CONFIG)
    assert found is not None
    assert found.where == where


@pytest.mark.parametrize("words", [["train"], ["--help"], ["--workspace", "/w", "train"], ["-x"], ["--web"]])
def test_other_words_are_for_the_command_line(words):
    assert profiles.typed(words, CONFIG) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--profile", "x"], "expected one of local, gpu1"),
        (["--profile", "gpu1", "--ssh", "h"], "expected it alone"),
        (["--ssh", "h", "--workspace", "/w"], "expected one of workspace, ssh and connect"),
        (["--workspace"], "expected a value"),
        (["--key", "k"], "expected one of workspace, ssh and connect"),
    ],
)
def test_flags_that_cannot_be_are_told_in_a_sentence(words, said):
    with pytest.raises(InputError, match=said):
        profiles.typed(words, CONFIG)
