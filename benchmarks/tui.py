"""The terminal UI's figures: first paint, memory, CPU while idle, a key while rows rain, a slow terminal.

    python benchmarks/tui.py [paint idle busy slow leet]

Without a name: all of them. The app runs on a pseudo-terminal of 120 x 36 against tests/busy_daemon.py: 10,000 runs in
its list, 5,000 rows a second. The rival is W&B LEET, on one run of its own: 0.46 s, 109 MB with its core on two idle
cores. It is measured too where $WANDB names a `wandb` program (pip install wandb, in an environment of its own).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
WATCH_S = 8.0
TICKS = os.sysconf("SC_CLK_TCK")


def say(what: str, value: str, wanted: str = "") -> None:
    """A line of the table."""
    print(f"{what:58} {value:>18}   {wanted}", flush=True)


class Terminal:
    """A program on a pseudo-terminal; what it writes is read as it comes, or at most `rate` bytes a second."""

    def __init__(
        self,
        command: list[str],
        env: dict[str, str],
        *,
        size: tuple[int, int] = (36, 120),
        rate: int = 0,
        words: tuple[bytes, ...] = (b"thalweg", b"Runs"),
        folder: Path | None = None,
    ):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.began = time.monotonic()
        self.child = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "OMP_NUM_THREADS": "1", **env},
        )  # fmt: skip
        os.close(slave)
        self.rate = rate
        self.bytes = 0
        self.first = float("nan")  # seconds until all these words were on the screen
        self.words = words
        self._seen = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536 if not self.rate else max(64, self.rate // 50))
            except OSError:
                return
            if not data:
                return
            self.bytes += len(data)
            if self.first != self.first:
                self._seen += data
                if all(word in self._seen for word in self.words):
                    self.first = time.monotonic() - self.began
            if self.rate:
                time.sleep(len(data) / self.rate)

    def send(self, keys: bytes) -> None:
        """Type."""
        os.write(self.master, keys)

    def memory(self, *, whole: bool = False) -> float:
        """Resident MB of the process; `whole`: and of those that it began."""
        total, left = 0, [self.child.pid]
        while left:
            pid = left.pop()
            total += int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])
            if whole:
                left += [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return total / 1024

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def close(self) -> None:
        """Leave."""
        if self.child.poll() is None:
            self.child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(5)
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        with contextlib.suppress(ProcessLookupError):  # what it began and left behind: a rival's core
            os.killpg(self.child.pid, signal.SIGTERM)
        os.close(self.master)


@contextlib.contextmanager
def daemon(runs: int, rate: float, side: int = 51) -> Iterator[Path]:
    """A busy daemon; its folder."""
    with tempfile.TemporaryDirectory(prefix="thw-") as name:
        child = subprocess.Popen(
            [sys.executable, str(TESTS / "busy_daemon.py"), name, str(runs), str(rate), str(side)],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield Path(name)
        finally:
            child.kill()
            child.wait()


PROBE = """
import asyncio, json, sys, time
from tui import app, profiles
class Probed(app.ThalwegApp):
    def on_ready(self):
        self.marks, self.lags = [], []
        write = self._driver.write
        def noted(data):
            write(data)
            self.marks.append((time.monotonic(), self.main.sidebar._where()))
        self._driver.write = noted
        self.run_worker(self.lag())
    async def lag(self):
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self.lags.append((began, time.monotonic() - began - 0.01))
out = sys.argv[1]
probed = Probed(None, profiles.Config())
probed.run()
from pathlib import Path
rows = {k: d.version for k, d in probed.store.surface_details.items()}
Path(out).write_text(json.dumps({"marks": probed.marks, "lags": probed.lags, "skipped": probed.gate.skipped,
    "drawn": probed.drawn, "rows": sum(rows.values()), "runs": len(probed.store.runs)}))
"""


def environment(folder: Path) -> dict[str, str]:
    """Of the app under test."""
    return {
        "THALWEG_WORKSPACE": str(folder), "THALWEG_CONFIG": str(folder / "none.toml"), "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(folder / "state"), "SSH_CONNECTION": "", "SSH_TTY": "", "SSH_CLIENT": "",
    }  # fmt: skip


def command() -> list[str]:
    """`thalweg`, as installed."""
    return [str(Path(sys.executable).with_name("thalweg"))]


def started(command: list[str], env: dict[str, str], **how: Any) -> tuple[list[float], list[float], list[float]]:
    """Of seven starts the seconds to the first paint, and the MB some seconds later, alone and with its children."""
    times, sizes, whole = [], [], []
    for _ in range(7):
        t = Terminal(command, env, **how)
        deadline = time.monotonic() + 20
        while t.first != t.first and time.monotonic() < deadline:
            time.sleep(0.005)
        times.append(t.first)
        time.sleep(2.5)
        sizes.append(t.memory())
        whole.append(t.memory(whole=True))
        t.close()
    return times, sizes, whole


LEET = """
import wandb
run = wandb.init(mode="offline", project="p")
for step in range(50):
    run.log({"loss": 1 / (step + 1), "accuracy": step / 50})
run.finish()
"""


def leet() -> None:
    """The rival on one run of two curves."""
    program = os.environ.get("WANDB", "")
    if not program:
        say("W&B LEET", "not measured", "$WANDB names no program")
        return
    with tempfile.TemporaryDirectory(prefix="thw-") as name:
        env = {"HOME": name, "WANDB_MODE": "offline", "WANDB_DIR": name, "WANDB_ERROR_REPORTING": "false"}
        python = str(Path(program).with_name("python"))
        log = ["-c", LEET]
        subprocess.run([python, *log], env={**os.environ, **env}, cwd=name, check=True, capture_output=True)
        times, _, sizes = started([program, "leet"], env, words=(b"loss", b"accuracy"), folder=Path(name))
    say("W&B LEET: first paint, median of 7 (s)", f"{statistics.median(times):.2f}")
    say("W&B LEET: memory with its core (MB)", f"{max(sizes):.0f}")


def paint() -> None:
    """From the start of the process to the first frame."""
    with daemon(30, 0) as folder:
        times, sizes, whole = started(command(), environment(folder))
    say("first paint, median of 7 (s)", f"{statistics.median(times):.2f}", "under 0.5; LEET 0.46")
    say("  slowest", f"{max(times):.2f}")
    say("memory after 3 s, 30 runs (MB)", f"{max(sizes):.0f}", "under 90; LEET 109")
    say("  with the process that draws the picture", f"{max(whole):.0f}")


def idle() -> None:
    """CPU and memory with 10,000 runs and nothing to do."""
    with daemon(10_000, 0) as folder:
        t = Terminal(command(), environment(folder))
        time.sleep(12)
        before, sent = t.cpu(), t.bytes
        time.sleep(10)
        say("CPU while idle (% of a core)", f"{10 * (t.cpu() - before):.1f}", "about 0")
        say("bytes a second while idle", f"{(t.bytes - sent) / 10:.0f}")
        say("memory, 10,000 runs listed (MB)", f"{t.memory():.0f}", "under 90")
        t.close()


def probe(folder: Path, *, keys: int, rate: int = 0, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Type `down` again and again, on the Surface tab, while rows come; what the app noted of itself."""
    out = folder / "probe.json"
    t = Terminal([sys.executable, "-c", PROBE, str(out)], {**environment(folder), **(env or {})}, rate=rate)
    time.sleep(12)  # until all runs are listed
    t.send(b"3")
    time.sleep(1)
    t.send(b"\x1b")  # back to the list
    time.sleep(1)
    sent = t.bytes
    time.sleep(WATCH_S)
    watched = (t.bytes - sent) / WATCH_S
    cpu, sent, began = t.cpu(), t.bytes, time.monotonic()
    pressed = []
    for _ in range(keys):
        pressed.append(time.monotonic())
        t.send(b"\x1b[B")
        time.sleep(0.12)
    took = time.monotonic() - began
    result: dict[str, Any] = {
        "watched": watched,
        "cpu": (t.cpu() - cpu) / took,
        "bytes_s": (t.bytes - sent) / took,
        "memory": t.memory(),
    }
    t.send(b"q")
    with contextlib.suppress(subprocess.TimeoutExpired):
        t.child.wait(20)
    noted = json.loads(out.read_text())
    result |= {k: noted[k] for k in ("skipped", "drawn", "rows", "runs")}
    result["lags"] = sorted(lag for at, lag in noted["lags"] if began <= at <= began + took)
    result["latency"] = latencies(pressed, noted["marks"])
    t.close()
    return result


def latencies(pressed: list[float], marks: list[list[float]]) -> list[float]:
    """Seconds from each key to the first write after the cursor had moved, sorted. Each press moves by one."""
    start = next((int(where) for at, where in reversed(marks) if at <= pressed[0]), 0)
    out = []
    for k, at in enumerate(pressed):
        done = next((t for t, where in marks if t > at and where >= start + k + 1), None)
        if done is not None:
            out.append(done - at)
    return sorted(out)


def quantile(values: list[float], q: float) -> float:
    """Of a sorted list."""
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def busy() -> None:
    """5,000 rows a second, 10,000 runs in the list."""
    with daemon(10_000, 5000) as folder:
        found = probe(folder, keys=100)
    say("runs listed, row versions taken in", f"{found['runs']}, {found['rows']}")
    say("key to repaint, p50 (ms)", f"{1000 * quantile(found['latency'], 0.5):.0f}")
    say("key to repaint, p95 (ms)", f"{1000 * quantile(found['latency'], 0.95):.0f}", "under 50")
    say("loop lag, p99 (ms)", f"{1000 * quantile(found['lags'], 0.99):.0f}", "under 20")
    say("CPU (% of a core)", f"{100 * found['cpu']:.0f}")
    say("bytes a second, watching; with 8 keys a second", f"{found['watched']:.0f}, {found['bytes_s']:.0f}")
    say("memory (MB)", f"{found['memory']:.0f}", "under 90")


def slow() -> None:
    """The same over SSH to a terminal that takes 100 kB a second."""
    with daemon(1000, 5000) as folder:
        found = probe(folder, keys=40, rate=100_000, env={"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"})
    say("slow terminal: bytes a second, watching", f"{found['watched']:.0f}", "at most 30,000")
    say("slow terminal: bytes a second, with 8 keys a second", f"{found['bytes_s']:.0f}")
    say("slow terminal: key to repaint, p95 (ms)", f"{1000 * quantile(found['latency'], 0.95):.0f}")
    say("slow terminal: loop lag, p99 (ms)", f"{1000 * quantile(found['lags'], 0.99):.0f}", "under 20")
    say("slow terminal: frames skipped, drawn", f"{found['skipped']}, {found['drawn']}")


def main() -> None:
    """Those that are named, or all."""
    known = {f.__name__: f for f in (paint, idle, busy, slow, leet)}
    for name in sys.argv[1:] or known:
        known[name]()


if __name__ == "__main__":
    main()
