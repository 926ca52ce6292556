"""CURVE keys of a workspace: the server's pair and named clients', in `<workspace>/keys/`; and the ZAP answer.

    keys/server.key_secret            the daemon's pair
    keys/clients/NAME.key             a client's public key: it stands for being allowed in
    keys/clients/NAME.key_secret      its pair and the server's public key; this one file is what a remote client needs

Folders are 0700, files 0600, in the form of ZeroMQ's own certificates. A key that is revoked is gone from the list at
the next handshake.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import zmq
from zmq.utils import z85

from protocol.errors import InputError
from protocol.files import replacing

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
LOCAL = "local"
"""The client key that programs with access to the workspace use, where the daemon listens on TCP."""

_FIELD = re.compile(r'^\s*([a-z-]+)\s*=\s*"([^"]*)"\s*$')


@dataclass(frozen=True)
class Keys:
    """What a key file holds; keys in Z85, 40 characters each."""

    name: str
    public: bytes
    secret: bytes | None = None
    server: bytes | None = None  # the server's public key, in a client's file
    created: str = ""

    def __repr__(self) -> str:
        return f"Keys({self.name!r}, public={self.public!r})"  # a secret must not get into a log


def create(workspace: str | os.PathLike[str], name: str) -> Path:
    """Make a client's keys; the file with the secret, to be handed to that client. Raises InputError (`exists`)."""
    folder, stem = _clients(workspace), _checked(name)
    if (folder / f"{stem}.key").exists():
        raise InputError(f"key '{name}': it exists already: revoke it first, or choose another name", code="exists")
    ours = server(workspace)
    _folder(folder)
    public, secret = zmq.curve_keypair()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    file = folder / f"{stem}.key_secret"
    _write(file, Keys(stem, public, secret, ours.public, created))
    _write(folder / f"{stem}.key", Keys(stem, public, created=created))
    return file


def revoke(workspace: str | os.PathLike[str], name: str) -> None:
    """Delete a client's keys. Raises InputError (`not_found`), listing the known names."""
    folder, stem = _clients(workspace), _checked(name)
    if not (folder / f"{stem}.key").exists():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.key"))) or "none"
        raise InputError(f"key '{name}': expected one of {known}", code="not_found")
    (folder / f"{stem}.key").unlink()
    (folder / f"{stem}.key_secret").unlink(missing_ok=True)


def clients(workspace: str | os.PathLike[str]) -> list[Keys]:
    """The named client keys, by name; without their secrets. Raises InputError for a damaged file."""
    return [read(f) for f in sorted(_clients(workspace).glob("*.key"))]


def server(workspace: str | os.PathLike[str]) -> Keys:
    """The server's pair, made at the first call. Raises InputError (`integrity`) for a damaged file: it is not made
    anew, because every client would have to be told."""
    file = Path(workspace) / "keys" / "server.key_secret"
    if not file.exists():
        _folder(file.parent)
        public, secret = zmq.curve_keypair()
        _write(file, Keys("server", public, secret, created=datetime.now(UTC).isoformat(timespec="seconds")))
    keys = read(file)
    if keys.secret is None:
        raise _damaged(file, "it has no secret key")
    return keys


def client(file: str | os.PathLike[str]) -> Keys:
    """A client's pair from its file. Raises InputError, naming the file, for anything that is not one."""
    keys = read(file)
    if keys.secret is None:
        raise InputError(f"{file}: expected a client's secret key (NAME.key_secret), this is a public one")
    return keys


def allowed(workspace: str | os.PathLike[str]) -> frozenset[bytes]:
    """The public keys that are let in, 32 bytes each as ZAP gives them. A damaged file lets nobody in."""
    keys = set()
    for file in _clients(workspace).glob("*.key"):
        try:
            keys.add(z85.decode(read(file).public))
        except InputError:
            continue
    return frozenset(keys)


def read(file: str | os.PathLike[str]) -> Keys:
    """A key file, checked: complete, both keys valid and belonging together. Raises InputError, naming the file."""
    try:
        text = Path(file).read_text(encoding="ascii")
    except FileNotFoundError as e:
        raise InputError(f"{file}: expected a key file, found no file there", code="not_found") from e
    except UnicodeDecodeError as e:
        raise _damaged(file, "it is not text") from e
    except OSError as e:
        raise InputError(f"{file}: cannot read this key file ({e.strerror})", code="unavailable") from e
    found = {m[1]: m[2] for line in text.splitlines() if (m := _FIELD.match(line))}
    if "public-key" not in found:
        raise _damaged(file, "it has no public key")
    public = _key(file, found["public-key"], "public")
    secret = _key(file, found["secret-key"], "secret") if "secret-key" in found else None
    ours = _key(file, found["server-key"], "server's") if "server-key" in found else None
    if Path(file).suffix == ".key_secret" and secret is None:
        raise _damaged(file, "it has no secret key")
    if secret is not None and zmq.curve_public(secret) != public:
        raise _damaged(file, "its two keys do not belong together")
    return Keys(found.get("name", Path(file).stem), public, secret, ours, found.get("created", ""))


def zap_reply(frames: Sequence[bytes], let_in: Container[bytes]) -> list[bytes] | None:
    """The answer to a ZAP 1.0 request (ZeroMQ RFC 27) that was received as `frames`: 200 for CURVE with a key of
    `let_in`, 400 for everything else. Total: never raises; None where there is nobody to answer."""
    if len(frames) < 2:
        return None
    version, request = frames[0], frames[1]
    good = (
        len(frames) == 7
        and version == b"1.0"
        and frames[5] == b"CURVE"
        and len(frames[6]) == 32
        and bytes(frames[6]) in let_in
    )
    status, text = (b"200", b"OK") if good else (b"400", b"this key is not allowed here")
    user = z85.encode(bytes(frames[6])) if good else b""
    return [b"1.0", request, status, text, user, b""]


def _clients(workspace: str | os.PathLike[str]) -> Path:
    return Path(workspace) / "keys" / "clients"


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise InputError(f"key '{name}': expected 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit")
    return name


def _folder(folder: Path) -> None:
    for f in (folder.parent, folder) if folder.name == "clients" else (folder,):
        f.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(f, 0o700)


def _write(file: Path, keys: Keys) -> None:
    lines = ["#   A CURVE key of thalweg." + ("  Keep this file secret." if keys.secret else ""), "", "metadata"]
    lines += [f'    name = "{keys.name}"', f'    created = "{keys.created}"', "curve"]
    lines += [f'    public-key = "{keys.public.decode()}"']
    if keys.secret is not None:
        lines += [f'    secret-key = "{keys.secret.decode()}"']
    if keys.server is not None:
        lines += [f'    server-key = "{keys.server.decode()}"']
    with replacing(file) as out:
        os.chmod(out.fileno(), 0o600)
        out.write(("\n".join(lines) + "\n").encode())


def _key(file: str | os.PathLike[str], text: str, which: str) -> bytes:
    try:
        if len(text) == 40 and len(z85.decode(text.encode("ascii"))) == 32:
            return text.encode("ascii")
    except (ValueError, KeyError, IndexError, OverflowError, UnicodeEncodeError):
        pass
    except Exception as e:  # z85 packs with struct, whose error has no base but Exception
        raise _damaged(file, f"its {which} key is not one") from e
    raise _damaged(file, f"its {which} key is not one")


def _damaged(file: str | os.PathLike[str], why: str) -> InputError:
    return InputError(
        f"{file}: corrupted or truncated key file ({why}): copy it again, or revoke it and create a new one",
        code="integrity",
    )
