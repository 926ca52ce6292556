"""A remote daemon's sockets here, and sockets of ours there, through one process of the system's `ssh`.

    ssh -N -T -o ExitOnForwardFailure=yes -o ControlMaster=no -L here/cmd:there/cmd -L here/evt:there/evt HOST

Every forwarded socket gets a fresh name in a 0700 folder, because ssh leaves the socket files behind when it ends.
Options that a host needs (user, port, key, jumps) belong into ~/.ssh/config; $THALWEG_SSH names another program or
adds options, as "ssh -F FILE" does.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from protocol.client import Client
from protocol.errors import InputError
from tui import children

READY_S = 30.0  # authentication may ask a person
ANSWER_S = 10.0
SOCKET_PATH_LIMIT = 90
FORBIDDEN = ("administratively prohibited", "forwarding disabled", "port forwarding failed", "open failed")


class Remote(msgspec.Struct, frozen=True):
    """What `thalweg daemon status --json` says on the other machine."""

    cmd: str
    evt: str
    proto: int
    pid: int
    boot: str
    store: str


def program() -> list[str]:
    """`ssh`, or what $THALWEG_SSH says. Raises InputError where it is not installed."""
    line = shlex.split(os.environ.get("THALWEG_SSH") or "ssh")
    if shutil.which(line[0]) is None:
        raise InputError(f"--ssh: expected the program {line[0]} on this machine, found none: install an SSH client")
    return line


def checked(host: str) -> str:
    """The host, where ssh cannot take it for an option."""
    if not host or host.startswith("-") or any(c.isspace() for c in host):
        raise InputError(f"--ssh: expected [USER@]HOST, got '{host}'")
    return host


def there(host: str, words: Sequence[str]) -> list[str]:
    """The command line that runs these words on the host, each one quoted for its shell."""
    return [*program(), "-T", "-o", "ControlMaster=no", checked(host), shlex.join(words)]


def status(host: str, command: Sequence[str], workspace: str | None) -> Remote:
    """Where the remote workspace's daemon listens. Raises InputError: in one sentence why it cannot be known."""
    words = [*command, "daemon", "status", "--json", *(["--workspace", workspace] if workspace else [])]
    done = subprocess.run(there(host, words), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    line = next((x for x in reversed(done.stdout.splitlines()) if x.startswith("{")), "")
    if done.returncode == 0:
        try:
            return msgspec.json.decode(line, type=Remote)
        except msgspec.MsgspecError as e:
            raise InputError(f"--ssh: {host} answered `{shlex.join(words)}` with something else ({e})") from e
    said = (done.stderr.strip().splitlines() or [""])[-1].removeprefix("thalweg: ")
    if done.returncode == 255:
        raise InputError(f"--ssh: cannot log in to {host}: {said or 'ssh failed'}", code="unavailable")
    if done.returncode in (126, 127):
        raise InputError(
            f"--ssh: {host} has no '{command[0]}' on its PATH: say how to run it there with --remote-command",
            code="unavailable",
        )
    if "none runs" in said or "has stopped" in said:
        where = f" --workspace {shlex.quote(workspace)}" if workspace else ""
        raise InputError(
            f"--ssh: no daemon runs on {host}: start it with: ssh {host} {shlex.join(command)} daemon start{where}",
            code="unavailable",
        )
    raise InputError(f"--ssh: on {host}: {said or f'exit code {done.returncode}'}", code="unavailable")


class Forward:
    """One ssh process with the sockets of a daemon; use as a context manager.

    `mine` are sockets of this machine, by name, which the other machine reaches under `theirs[name]`.
    """

    def __init__(self, host: str, remote: Remote, mine: dict[str, Path] | None = None) -> None:
        self.host, self.remote = checked(host), remote
        for end in (remote.cmd, remote.evt):
            if not end.startswith("ipc://"):
                raise InputError(f"--ssh: the daemon on {host} listens on {end}: use --connect with a --key")
        base = None if len(os.fsencode(tempfile.gettempdir())) < SOCKET_PATH_LIMIT - 30 else "/tmp"
        self.folder = Path(tempfile.mkdtemp(prefix="thalweg-ssh-", dir=base))  # mode 0700
        token = secrets.token_hex(4)
        there_folder = PurePosixPath(remote.cmd.removeprefix("ipc://")).parent  # 0700, of the same user
        self.theirs = {name: str(there_folder / f"fwd-{name}-{token}") for name in mine or {}}
        words: list[str] = []
        for name, end in (("cmd", remote.cmd), ("evt", remote.evt)):
            words += ["-L", f"{self.folder / name}:{end.removeprefix('ipc://')}"]
        for name, file in (mine or {}).items():
            words += ["-R", f"{self.theirs[name]}:{file}"]
        self._said: IO[str] = open(self.folder / "said", "w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - close
        self._words = words
        self._let_in = False
        self._child = self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        options = ["-N", "-T", "-o", "ExitOnForwardFailure=yes", "-o", "ControlMaster=no", "-o", "ControlPath=none"]
        options += ["-o", "ServerAliveInterval=15", "-o", "LogLevel=INFO"]  # it tells what is prohibited at that level
        return subprocess.Popen(
            [*program(), *options, *self._words, self.host],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=not os.isatty(0),  # on a terminal it may have to ask for a password
        )

    @property
    def pid(self) -> int:
        """The ssh process."""
        return self._child.pid

    def endpoint(self, name: str) -> str:
        """The end here of the remote socket `cmd` or `evt`."""
        return f"ipc://{self.folder / name}"

    def said(self) -> str:
        """The last line that ssh printed."""
        self._said.seek(0)
        return (self._said.read().strip().splitlines() or [""])[-1].strip()

    def wait(self) -> None:
        """Until the sockets are here. Raises InputError in one sentence where ssh ends instead."""
        deadline = time.monotonic() + READY_S
        while not all((self.folder / name).exists() for name in ("cmd", "evt")):
            self.check()
            if time.monotonic() > deadline:
                raise InputError(f"--ssh: {self.host} did not let us in within {READY_S:.0f} s", code="unavailable")
            time.sleep(0.02)

    def check(self) -> None:
        """Raise InputError where ssh has ended, or the server does not let sockets through."""
        said = self.said()
        if any(words in said for words in FORBIDDEN):
            if self._let_in:  # the server words it as it does what it forbids
                raise InputError(f"--ssh: the daemon on {self.host} has ended: start it again", code="unavailable")
            raise InputError(
                f"--ssh: {self.host} forbids forwarding of sockets: its sshd_config needs AllowStreamLocalForwarding "
                "yes, or use --connect with a --key",
                code="unavailable",
            )
        if self._child.poll() is not None:
            raise InputError(
                f"--ssh: the connection to {self.host} ended {children.how_it_ended(self._child.returncode)}"
                + (f": {said}" if said else ""),
                code="unavailable",
            )

    @property
    def alive(self) -> bool:
        """Whether ssh still runs."""
        return self._child.poll() is None

    def again(self) -> None:
        """Begin anew, with the same names on both sides, after ssh has ended; whoever is connected to them finds its
        way by itself. Raises InputError in one sentence where it is not let in."""
        self._end()
        if self.theirs:  # what is left there of the last time is in the way
            try:
                done = self._sweep()
            except subprocess.TimeoutExpired:
                raise InputError(f"--ssh: {self.host} does not answer", code="unavailable") from None
            if done.returncode == 255:
                raise InputError(f"--ssh: cannot log in to {self.host}", code="unavailable")
        for name in ("cmd", "evt"):
            (self.folder / name).unlink(missing_ok=True)
        self._said.seek(0)
        self._said.truncate()
        self._child = self._begin()
        self.wait()

    def client(self) -> Client:
        """A client of the remote daemon. Raises InputError in one sentence."""
        self.wait()
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                made = Client.connect(endpoints=[self.endpoint("cmd"), self.endpoint("evt")], timeout_s=1.0)
                self._let_in = True
                return made
            except InputError as e:
                self.check()
                if e.code != "unavailable" or time.monotonic() > deadline:
                    raise

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End ssh and remove the sockets of both sides."""
        self._end()
        self._said.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.theirs:
            self._sweep()

    def _end(self) -> None:
        if self._child.poll() is None:
            self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(3)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def _sweep(self) -> subprocess.CompletedProcess[bytes]:
        """Remove our sockets over there. Raises TimeoutExpired."""
        return subprocess.run(
            there(self.host, ["rm", "-f", *self.theirs.values()]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
