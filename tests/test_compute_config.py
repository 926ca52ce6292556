"""config.toml: what it may say, what is wrong in one sentence, and plug-ins that it names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute import config, models, plugins
from compute.config import Config
from protocol.errors import InputError

PLUGIN = """
from compute.models import ModelEntry
from compute.models.mlp import Mlp, MlpOptions

ENTRIES = (
    ModelEntry(
        name="{name}", family="mine", summary="mine", make=Mlp, heads=("fc",), min_image_size=1, options=MlpOptions
    ),
)
"""


@pytest.fixture
def registered() -> Iterator[None]:
    """Whatever a test registers is gone afterwards."""
    before = dict(models.MODELS)
    yield
    models.MODELS.clear()
    models.MODELS.update(before)
    plugins._loaded.clear()


def written(folder: Path, text: str | bytes) -> Path:
    (folder / config.FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_no_file_is_the_defaults(tmp_path: Path) -> None:
    assert config.read(tmp_path) == Config()
    assert config.read(written(tmp_path, "")) == Config()
    assert Config().plain() == {"passes": 1}


def test_every_setting_is_read(tmp_path: Path) -> None:
    text = 'data = "sets"\nplugins = ["a.py", "b.c"]\ndevices = ["cuda:1", "cpu"]\npasses = "grow"\n'
    found = config.read(written(tmp_path, text))
    assert found == Config(tmp_path / "sets", ("a.py", "b.c"), ("cuda:1", "cpu"), "grow")
    assert json.loads(json.dumps(found.plain()))["devices"] == ["cuda:1", "cpu"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("passes = 1\ndata == 2", ["TOML", "line 2"]),
        (b"data = '\xff'", ["TOML"]),
        ("dvices = []", ["'dvices'", "devices?", "plugins"]),
        ("data = 3", ["data: ", "a folder", "got 3"]),
        ("data = ''", ["data: ", "got ''"]),
        ("plugins = 'a.py'", ["plugins: ", "a list", "'a.py'"]),
        ("plugins = [1]", ["plugins: ", "[1]"]),
        ("devices = []", ["devices: ", "cuda:N", "got []"]),
        ("devices = ['gpu']", ["devices: ", "['gpu']"]),
        ("devices = ['cuda:']", ["devices: "]),
        ("passes = 0", ["passes: ", "at least 1", "got 0"]),
        ("passes = true", ["passes: ", "got True"]),
        ("passes = 1.5", ["passes: ", "1.5"]),
        ("passes = 'all'", ["passes: ", "grow", "'all'"]),
        ("[data]\nx = 1", ["data: ", "{'x': 1}"]),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    with pytest.raises(InputError) as e:
        config.read(written(tmp_path, text))
    assert e.value.msg.startswith(str(tmp_path / config.FILE))
    assert "\n" not in e.value.msg
    assert all(word in e.value.msg for word in words), e.value.msg


def test_the_data_folder_is_kept_beside_what_stands_there(tmp_path: Path) -> None:
    config.keep_data(tmp_path, "/a")
    assert config.read(tmp_path).data == Path("/a")
    written(tmp_path, "# mine\npasses = 3  # three\n")
    config.keep_data(tmp_path, "/b")
    assert config.read(tmp_path) == Config(data=Path("/b"), passes=3)
    assert "# mine\npasses = 3  # three\n" in (tmp_path / config.FILE).read_text()


# ---------------------------------------------------------------- plug-ins


@pytest.mark.usefixtures("registered")
def test_a_plug_in_file_adds_its_models(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.format(name="mine"))
    written(tmp_path, 'plugins = ["mine.py"]')
    plugins.load(tmp_path)
    plugins.load(tmp_path)  # again: nothing is taken
    model = models.build("mine", num_classes=3, in_channels=1, image_size=8, options={"width": 4})
    assert sum(p.numel() for p in model.parameters()) == 64 * 4 + 4 + 4 * 4 + 4 + 4 * 3 + 3


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["expected a Python file", "mine.py"]),
        ("1 / 0", ["cannot be imported", "ZeroDivisionError", "division by zero"]),
        ("def", ["SyntaxError"]),
        ("raise SystemExit(1)", ["SystemExit"]),
        ("x = 1", ["expected ENTRIES"]),
        ("ENTRIES = (3,)", ["ModelEntry", "got int"]),
        (PLUGIN.format(name="resnet20"), ["'resnet20' is taken"]),
    ],
)
def test_a_wrong_plug_in_is_named(tmp_path: Path, text: str | None, words: list[str]) -> None:
    written(tmp_path, 'plugins = ["mine.py"]')
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError) as e:
        plugins.load(tmp_path)
    assert e.value.msg.startswith("plug-in mine.py: ")
    assert "\n" not in e.value.msg
    assert all(word in e.value.msg for word in words), e.value.msg


@pytest.mark.usefixtures("registered")
def test_a_plug_in_registers_all_or_nothing_and_may_be_mended(tmp_path: Path) -> None:
    written(tmp_path, 'plugins = ["mine.py"]')
    two = PLUGIN.format(name="mine") + PLUGIN.format(name="mlp").replace("ENTRIES = (", "ENTRIES += (")
    (tmp_path / "mine.py").write_text(two)
    with pytest.raises(InputError, match="'mlp' is taken"):
        plugins.load(tmp_path)
    assert "mine" not in models.MODELS
    (tmp_path / "mine.py").write_text(two.replace('"mlp"', '"second"'))
    plugins.load(tmp_path)
    assert {"mine", "second"} <= set(models.MODELS)


@pytest.mark.usefixtures("registered")
def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plug-in no\.such: .*ModuleNotFoundError"):
        plugins.load(written(tmp_path, 'plugins = ["no.such"]'))


def test_the_stamp_changes_with_a_plug_in(tmp_path: Path) -> None:
    stamps = [plugins.stamp(tmp_path, ["mine.py"])]
    for text in ("x = 1", "x = 2"):
        (tmp_path / "mine.py").write_text(text)
        stamps.append(plugins.stamp(tmp_path, ["mine.py"]))
    assert len({json.dumps(s) for s in stamps}) == 3
    assert "torch" in stamps[0]


def test_reading_the_settings_loads_neither_torch_nor_tomlkit(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from compute import config, catalogue; config.read(Path(sys.argv[1])); "
        "catalogue.is_current(Path(sys.argv[1]), ()); print([m for m in ('torch', 'tomlkit') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
