"""config.toml of a workspace: what must not depend on who started the daemon. No torch.

    data = "/srv/datasets"                          # looked into after --data and $THALWEG_DATA
    plugins = ["my_models.py", "package.module"]    # imported by workers: models and data sets of your own
    devices = ["cuda:0", "cuda:1"]                  # one worker each; default: all that are found
    passes = "grow"                                 # of a surface, where --passes is not typed; default: 1

The first `--data` that a daemon is started with is written into it. Paths are relative to the workspace.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.errors import InputError, nearest
from protocol.files import replacing

FILE = "config.toml"
DEVICE = re.compile(r"cpu|mps|cuda(:\d{1,3})?")


@dataclass(frozen=True)
class Config:
    """The settings, defaults filled in. `devices` None: all that are found."""

    data: Path | None = None
    plugins: tuple[str, ...] = ()
    devices: tuple[str, ...] | None = None
    passes: int | str = 1

    def plain(self) -> dict[str, Any]:
        """The settings that are not left out, as plain data."""
        data = None if self.data is None else str(self.data)
        found = {"data": data, "plugins": list(self.plugins), "devices": self.devices, "passes": self.passes}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items() if v not in (None, [])}


def read(workspace: Path) -> Config:
    """The workspace's settings; the defaults where it has no file.

    Raises InputError with the file, the key, what was expected and what came.
    """
    file = workspace / FILE
    try:
        found = tomllib.loads(file.read_bytes().decode())
    except FileNotFoundError:
        return Config()
    except OSError as e:
        raise InputError(f"{file}: cannot read the settings ({e.strerror})") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise InputError(f"{file}: expected TOML, cannot read it: {e}") from e
    known = {}
    for key, value in found.items():
        if key not in SETTINGS:
            near = nearest(key, SETTINGS)
            hint = f"did you mean {near[0]}? The" if near else "the"
            raise InputError(f"{file}: '{key}' is not a setting: {hint} settings are {', '.join(SETTINGS)}")
        expected, take = SETTINGS[key]
        try:
            known[key] = take(value, workspace)
        except ValueError:
            got = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:80]} ..."
            raise InputError(f"{file}: {key}: expected {expected}, got {got}") from None
    return Config(**known)


def keep_data(workspace: Path, data: str) -> None:
    """Write the data folder into the settings, whatever else they say left as it is."""
    import tomlkit  # 40 ms that most starts do not need

    file = workspace / FILE
    document = tomlkit.parse(file.read_text(encoding="utf-8")) if file.exists() else tomlkit.document()
    document["data"] = data
    with replacing(file) as out:
        out.write(tomlkit.dumps(document).encode())


def path(given: str, workspace: Path) -> Path:
    """A path of the settings: `~` is the user's home, a relative one is seen from the workspace."""
    return workspace / Path(given).expanduser()


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def _several(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError
    return value


def _devices(value: Any, _: Path) -> tuple[str, ...]:
    names = tuple(_text(v) for v in _several(value))
    if not names or not all(DEVICE.fullmatch(name) for name in names):
        raise ValueError
    return names


def _passes(value: Any, _: Path) -> int | str:
    if value != "grow" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError
    return value


SETTINGS: dict[str, tuple[str, Callable[[Any, Path], Any]]] = {
    "data": ('a folder, as "/srv/datasets"', lambda value, workspace: path(_text(value), workspace)),
    "plugins": (
        'a list of files and modules, as ["my_models.py", "package.module"]',
        lambda value, _: tuple(_text(v) for v in _several(value)),
    ),
    "devices": ('a list of cpu, mps, cuda and cuda:N, as ["cuda:0", "cuda:1"]', _devices),
    "passes": ('a number of at least 1, or "grow"', _passes),
}
