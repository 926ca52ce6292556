"""Ways to a daemon that have a name: `config.toml` in the platform's folder for configuration.

[profiles.gpu1]
ssh = "me@gpu1"                 # through the system's ssh; remote_workspace, remote_command where needed

[profiles.lab]
connect = "tcp://10.0.0.5:5555,tcp://10.0.0.5:5556"
key = "~/keys/laptop.key_secret"

[profiles.scratch]
workspace = "~/scratch/thalweg"

[keys]                          # the keymap: id of a row of the table = keys, with commas
"train" = "n,ctrl+n"
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol.errors import InputError

LOCAL = "local"
FIELDS = ("workspace", "ssh", "remote_workspace", "remote_command", "connect", "key")


@dataclass(frozen=True, slots=True)
class Profile:
    """One way to a daemon: a workspace here (None: the default one), an ssh host, or endpoints with a key."""

    name: str = LOCAL
    workspace: Path | None = None
    ssh: str | None = None
    remote_workspace: str | None = None
    remote_command: str = "thalweg"
    connect: str | None = None
    key: Path | None = None

    @property
    def kind(self) -> str:
        """`ssh`, `tcp` or `local`."""
        return "ssh" if self.ssh else "tcp" if self.connect else "local"

    @property
    def where(self) -> str:
        """In a few words, for lists and the head line."""
        if self.ssh:
            return f"ssh {self.ssh}" + (f", {self.remote_workspace}" if self.remote_workspace else "")
        if self.connect:
            return self.connect.partition(",")[0]
        return str(self.workspace) if self.workspace else "the default workspace"

    def flags(self) -> str:
        """The flags that make a command of the command line speak to the same daemon, with a space before each."""
        import shlex

        words: list[str] = []
        for name in FIELDS:
            value = getattr(self, name)
            if value is None or (name == "remote_command" and (value == "thalweg" or not self.ssh)):
                continue
            words += ["--" + name.replace("_", "-"), shlex.quote(str(value))]
        return "".join(f" {w}" for w in words)


@dataclass(frozen=True, slots=True)
class Config:
    """What the user's config file says of the terminal UI. `problems`: what was wrong with it, in sentences."""

    profiles: dict[str, Profile] = field(default_factory=lambda: {LOCAL: Profile()})
    keys: dict[str, str] = field(default_factory=dict)
    theme: str = ""
    default: str = LOCAL
    problems: tuple[str, ...] = ()


def config_file() -> Path:
    """Where it is: $THALWEG_CONFIG, else `config.toml` in the platform's folder."""
    if given := os.environ.get("THALWEG_CONFIG"):
        return Path(given).expanduser()
    import platformdirs

    return platformdirs.user_config_path("thalweg") / "config.toml"


def load(file: Path | None = None) -> Config:
    """The config; defaults where there is none. What is wrong in it is left out, and told in `problems`."""
    import tomllib

    file = file or config_file()
    try:
        with open(file, "rb") as f:
            raw = tomllib.load(f)
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError) as e:  # TOMLDecodeError is one
        return Config(problems=(f"{file}: cannot be read ({e}): its settings are left out",))
    return parse(raw, str(file))


def parse(raw: Mapping[str, Any], where: str = "config") -> Config:
    """The config of a TOML document."""
    problems: list[str] = []
    profiles = {LOCAL: Profile()}
    sections = raw.get("profiles", {})
    for name, section in (sections if isinstance(sections, dict) else {}).items():
        try:
            profiles[name] = profile(name, section)
        except InputError as e:
            problems.append(f"{where}: {e.msg}")
    keys = {}
    for id, value in raw.get("keys", {}).items() if isinstance(raw.get("keys", {}), dict) else ():
        if isinstance(value, str) and value.strip():
            keys[str(id)] = value
        else:
            problems.append(f'{where}: keys.{id}: expected keys such as "n,ctrl+n", got {value!r}')
    default = str(raw.get("default", LOCAL))
    if default not in profiles:
        problems.append(f"{where}: default: expected one of {', '.join(profiles)}, got '{default}'")
        default = LOCAL
    return Config(profiles, keys, str(raw.get("theme", "")), default, tuple(problems))


def profile(name: str, section: Any) -> Profile:
    """One profile. Raises InputError with the field's name."""
    if not isinstance(section, dict):
        raise InputError(f"profiles.{name}: expected a table, got {section!r}")
    unknown = sorted(set(section) - set(FIELDS))
    if unknown:
        raise InputError(f"profiles.{name}: expected {', '.join(FIELDS)}, got '{unknown[0]}'")
    for key, value in section.items():
        if not isinstance(value, str) or not value:
            raise InputError(f"profiles.{name}.{key}: expected a text, got {value!r}")
    ways = [w for w in ("workspace", "ssh", "connect") if w in section]
    if len(ways) != 1:
        raise InputError(
            f"profiles.{name}: expected one of workspace, ssh and connect, got {' and '.join(ways) or 'none'}"
        )
    if "connect" in section and len(section["connect"].split(",")) != 2:
        raise InputError(f"profiles.{name}.connect: expected tcp://HOST:PORT,tcp://HOST:PORT (cmd, evt)")
    values: dict[str, Any] = {k: Path(v).expanduser() if k in ("workspace", "key") else v for k, v in section.items()}
    return Profile(name=name, **values)


def typed(words: Sequence[str], config: Config) -> Profile | None:
    """The profile that flags mean, as typed after a bare `thalweg`: --profile NAME, or --workspace, --ssh, --connect
    and theirs. None where there is a word that is none of these. Raises InputError for flags that cannot be together.
    """
    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name not in (*FIELDS, "profile"):
            return None
        if not equals:
            if not rest:
                raise InputError(f"{flag}: expected a value after it")
            value = rest.pop(0)
        given[name] = value
    if "profile" in given:
        if len(given) > 1:
            raise InputError("--profile: expected it alone: it says all of the way to a daemon")
        if given["profile"] not in config.profiles:
            known = ", ".join(config.profiles)
            raise InputError(f"--profile: expected one of {known}, got '{given['profile']}': add it to {config_file()}")
        return config.profiles[given["profile"]]
    if not given:
        return config.profiles[config.default]
    try:
        return profile("given", given)
    except InputError as e:
        raise InputError(e.msg.replace("profiles.given", "thalweg")) from e


def save(name: str, new: Profile | None, file: Path | None = None) -> None:
    """Write a profile into the config file (None: remove it), leaving everything else in it as it stands."""
    import tomlkit

    file = file or config_file()
    document = tomlkit.parse(file.read_text(encoding="utf-8")) if file.exists() else tomlkit.document()
    section = document.setdefault("profiles", tomlkit.table(is_super_table=True))
    if new is None:
        section.pop(name, None)
    else:
        table = tomlkit.table()
        for key in FIELDS:
            value = getattr(new, key)
            if value is not None and not (key == "remote_command" and value == "thalweg"):
                table[key] = str(value)
        section[name] = table
    write(file, tomlkit.dumps(document))


def save_theme(theme: str, file: Path | None = None) -> None:
    """Remember the theme."""
    import tomlkit

    file = file or config_file()
    document = tomlkit.parse(file.read_text(encoding="utf-8")) if file.exists() else tomlkit.document()
    document["theme"] = theme
    write(file, tomlkit.dumps(document))


def write(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
