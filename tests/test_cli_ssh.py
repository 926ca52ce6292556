"""--ssh against a real sshd on loopback: sockets forwarded both ways, cleaned up, and refused in one sentence."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import zmq
from cli import Place, alive, children, line_with, place, until

from tui import forward

SSHD = shutil.which("sshd") or next((p for p in ("/usr/sbin/sshd",) if Path(p).exists()), None)
pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None, reason="no sshd here"
)
REMOTE = ("--remote-command", f"{sys.executable} -P -m tui.cli")


@dataclass
class Server:
    """An sshd of our own, and the program that logs in to it."""

    folder: Path
    child: subprocess.Popen[bytes]
    ssh: str  # for $THALWEG_SSH

    @property
    def host(self) -> str:
        return "loop"


def serve(folder: Path, *extra: str) -> Server:
    """Start sshd on a free port with a host key and a user key made here, whatever the machine's own settings are."""
    folder.chmod(0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder / 'host'}", "StrictModes no", "UsePAM no",
        f"AuthorizedKeysFile {folder / 'authorized'}", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
        f"PidFile {folder / 'sshd.pid'}", "PermitRootLogin yes", *extra,
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = open(folder / "sshd.log", "wb")  # noqa: SIM115 - the child's
    child = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")], stdout=log, stderr=log)
    log.close()
    import getpass

    (folder / "config").write_text(
        f"Host loop\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder / 'user'}\n  IdentitiesOnly yes\n  BatchMode yes\n  StrictHostKeyChecking no\n"
        f"  UserKnownHostsFile {folder / 'known'}\n  LogLevel ERROR\n"
    )
    ssh = f"ssh -F {folder / 'config'}"

    def answers() -> bool:
        assert child.poll() is None, (folder / "sshd.log").read_text()
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    until(answers, "sshd", 10)
    done = subprocess.run([*ssh.split(), "loop", "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        child.kill()
        pytest.skip(f"this machine's sshd lets nobody in: {done.stderr.strip()}")
    return Server(folder, child, ssh)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = serve(tmp_path_factory.mktemp("sshd"))
    yield server
    server.child.terminate()
    server.child.wait(5)


@pytest.fixture
def far() -> Iterator[Place]:
    """The other machine's workspace."""
    with place() as p:
        yield p


def words(server: Server, far: Place) -> tuple[str, ...]:
    return ("--ssh", server.host, "--remote-workspace", str(far.workspace), *REMOTE)


def leftovers(folder: Path) -> list[Path]:
    return [*folder.glob("thalweg-ssh-*"), *folder.glob("fwd-*")]


def test_commands_work_through_one_ssh_and_leave_nothing_behind(sshd: Server, far: Place, tmp_path: Path) -> None:
    near = Place(tmp_path)
    near.env |= {"THALWEG_SSH": sshd.ssh, "TMPDIR": str(tmp_path)}
    ssh = words(sshd, far)
    refused = near.run("jobs", "list", *ssh, code=2)
    assert "daemon start" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "is started" in near.run("daemon", "start", *ssh).stdout  # typed over there
    trained = near.run("train", "--model", "mlp", "--dataset", "digits", "--epochs", "2", *ssh).stdout
    assert "epoch 2" in trained
    assert "--ssh loop" in trained  # what to type next reaches the same daemon
    near.run("plane", "--run", "last", *ssh)
    near.run("surface", "last", "--grid", "5", "--out", tmp_path / "far.npz", *ssh)
    assert (tmp_path / "far.npz").is_file()
    assert "mlp" in near.run("runs", "list", *ssh).stdout
    assert near.run("keys", "create", "laptop", *ssh).stdout.startswith("key 'laptop'")
    assert (far.workspace / "keys").is_dir()
    assert not near.workspace.exists()
    assert leftovers(tmp_path) + leftovers(far.workspace) == []


def test_ctrl_c_through_ssh_leaves_the_job_and_ends_ssh(sshd: Server, far: Place, tmp_path: Path) -> None:
    near = Place(tmp_path)
    near.env |= {"THALWEG_SSH": sshd.ssh, "TMPDIR": str(tmp_path)}
    far.run("daemon", "start")
    command = near.start("train", "--model", "mlp", "--dataset", "digits", "--epochs", "3000", *words(sshd, far))
    line_with(command.stdout, "epoch 1 ")
    tunnels = children(command.pid)
    assert len(tunnels) == 1  # one ssh carries both sockets
    command.send_signal(2)
    _, said = command.communicate(timeout=20)
    assert command.returncode == 130
    assert "jobs cancel" in said
    assert not alive(tunnels[0])
    assert far.job()["state"] == "running"
    far.run("jobs", "cancel", "last")


def test_sockets_go_both_ways(sshd: Server, far: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """-L of the daemon's, -R of one of ours, as a window on a laptop needs; no socket file is left on either side."""
    monkeypatch.setenv("THALWEG_SSH", sshd.ssh)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    far.run("daemon", "start")
    remote = forward.status(sshd.host, [sys.executable, "-P", "-m", "tui.cli"], str(far.workspace))
    context = zmq.Context()
    window, caller = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    with place() as mine:
        window.bind(f"ipc://{mine.base}/window")
        with forward.Forward(sshd.host, remote, {"window": mine.base / "window"}) as tunnel:
            with tunnel.client() as client:
                assert client.hello is not None
                assert client.hello.store == remote.store
            caller.connect(f"ipc://{tunnel.theirs['window']}")
            caller.send(b"from over there")
            assert window.poll(5000)
            assert window.recv_multipart()[1] == b"from over there"
            pid = tunnel.pid
        assert not alive(pid)
    for made in (window, caller):
        made.close(0)
    context.term()
    assert leftovers(tmp_path) + leftovers(far.workspace) == []


@pytest.mark.parametrize("setting", ["AllowStreamLocalForwarding no", "DisableForwarding yes"])
def test_server_that_forbids_forwarding_is_told_in_one_sentence(
    setting: str, far: Place, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = serve(tmp_path_factory.mktemp("strict"), setting, "AllowTcpForwarding no")
    try:
        near = Place(tmp_path)
        near.env |= {"THALWEG_SSH": server.ssh, "TMPDIR": str(tmp_path)}
        far.run("daemon", "start")
        refused = near.run("jobs", "list", *words(server, far), code=2)
        assert refused.stderr.count("\n") == 1
        assert "forbids forwarding of sockets" in refused.stderr
        assert leftovers(tmp_path) == []
    finally:
        server.child.terminate()
        server.child.wait(5)


def test_wrong_hosts_and_commands_are_one_sentence(sshd: Server, far: Place, tmp_path: Path) -> None:
    near = Place(tmp_path)
    near.env |= {"THALWEG_SSH": sshd.ssh}
    for typed, word in (
        (["jobs", "list", "--ssh", "nowhere.invalid"], "cannot log in to nowhere.invalid"),
        (["jobs", "list", "--ssh", "loop", "--remote-command", "no-such-thalweg"], "--remote-command"),
        (["keys", "list", "--ssh", "loop", "--remote-command", "no-such-thalweg"], "--remote-command"),
    ):
        refused = near.run(*typed, code=2)
        assert refused.stderr.splitlines()[-1].startswith("thalweg: ")
        assert word in refused.stderr
