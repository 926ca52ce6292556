"""Take the guards away one at a time, in a copy, and see which test goes red for each. One that stays green is a hole.

    python tests/mutants.py [part of a name ...]

Ends with status 1 where a guard could be removed and nothing noticed, or is not where this file looks for it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("protocol", "compute", "renderer", "tui", "tests", "docs")
TIMEOUT_S = 600
FAULTS, REQUESTS = "tests/test_daemon_faults.py", "tests/test_daemon_requests.py"


@dataclass(frozen=True)
class Mutant:
    """A guard, the lines that are it, what stands there without it, and the tests that should notice."""

    guard: str
    file: str
    old: str
    new: str
    tests: str  # of pytest


MUTANTS = (
    Mutant(
        "lock before bind",
        "compute/lock.py",
        "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        f"{FAULTS} -k second_daemon",
    ),
    Mutant(
        "a socket file in use is left alone",
        "compute/daemon.py",
        "if who is not None:",
        "if False:",
        f"{FAULTS} -k socket_file_in_use",
    ),
    Mutant(
        "hash check of weights",
        "compute/tensorfile.py",
        "if expected and self.sha256 not in expected:",
        "if False:",
        f"{FAULTS} -k damaged_weights",
    ),
    Mutant(
        "size check of weights at the start",
        "compute/store/sweep.py",
        "if size is not None and found != size:",
        "if False:",
        f"{FAULTS} -k cut_checkpoint",
    ),
    Mutant(
        "checksum of a row",
        "compute/store/sums.py",
        "if zlib.crc32(blob) != crc:",
        "if False:",
        "tests/test_compute_store_open.py",
    ),
    Mutant(
        "commit before publish (told, then committed 20 ms later)",
        "compute/store/thread.py",
        "            self._commit(before)\n            return group\n",
        "            self._hand_out(group)\n            time.sleep(0.02)\n"
        "            self._commit(before)\n            return []\n",
        f"{FAULTS} -k told_is_committed",
    ),
    Mutant(
        "the pass in the rows' key",
        "compute/store/schema.py",
        "PRIMARY KEY (surface, i, pass)",
        "PRIMARY KEY (surface, i)",
        "tests/test_compute_store.py",
    ),
    Mutant(
        "size check of headers",
        "protocol/codec.py",
        "if len(frames[0]) > MAX_HEADER:",
        "if False:",
        f"{FAULTS} -k worst_headers",
    ),
    Mutant(
        "size check of buffers against their shape",
        "protocol/codec.py",
        "if not fits or math.prod(buf.shape) * np.dtype(buf.dtype).itemsize != len(frame):",
        "if not fits:",
        "tests/test_protocol_codec.py tests/test_protocol_wire.py",
    ),
    Mutant(
        "size limit of frames",
        "compute/daemon.py",
        "made.setsockopt(zmq.MAXMSGSIZE, codec.MAX_FRAME)",
        "pass",
        f"{FAULTS} -k oversized",
    ),
    Mutant(
        "high-water mark of events",
        "compute/daemon.py",
        "SEND_HWM, EVENT_HWM = 1000, 200",
        "SEND_HWM, EVENT_HWM = 1000, 0",
        f"{FAULTS} -k stopped_subscriber -m 'not slow'",
    ),
    Mutant(
        "watchdog of workers",
        "compute/worker.py",
        "        os._exit(3)\n",
        "        return\n",
        "tests/test_compute_worker.py -k parent_does",
    ),
    Mutant(
        "ZAP",
        "compute/daemon.py",
        "self._zap.bind(ZAP)",
        'self._zap.bind("inproc://nobody")',
        f"{FAULTS} -k 'right_key'",
    ),
    Mutant(
        "NaN is refused in requests",
        "compute/desk.py",
        "            check_plain(request)\n",
        "",
        f"{FAULTS} -k worst_headers",
    ),
    Mutant(
        "one client's requests are counted",
        "compute/desk.py",
        "if bucket.tokens < 1:",
        "if False:",
        f"{FAULTS} -k flood",
    ),
    Mutant(
        "an id is used once, stored",
        "compute/desk.py",
        "if stored[0] == digest else self._err(request.id, reused)",
        "",
        f"{REQUESTS} -k same_id",
    ),
    Mutant(
        "an id is used once, while it is being done",
        "compute/desk.py",
        "            if known == digest:\n",
        "            if True:\n",
        f"{REQUESTS} -k id_is_reused",
    ),
    Mutant(
        "what is in use is not deleted",
        "compute/desk.py",
        "if id in used or id in msgspec.json.encode(job.spec).decode():",
        "if False:",
        f"{REQUESTS} -k in_use",
    ),
    Mutant(
        "errors are cut",
        "compute/desk.py",
        "MAX_MESSAGE = 2000",
        "MAX_MESSAGE = 10**9",
        f"{FAULTS} {REQUESTS} -k 'worst_headers or repeat'",
    ),
    Mutant(
        "pages are cut",
        "compute/answers.py",
        "if k and size > PAGE_BYTES:",
        "if False:",
        f"{REQUESTS} -k 'header_ends or hundred'",
    ),
    Mutant(
        "a row that kills three workers is left out",
        "compute/dialogue.py",
        "ROW_DEATHS = 3",
        "ROW_DEATHS = 99",
        f"{REQUESTS} -k kills_three",
    ),
    Mutant(
        "deaths count only since something was stored",
        "compute/jobs.py",
        "return _put(table, msgspec.structs.replace(table.get(job), tries=0))",
        "return table",
        f"{REQUESTS} -k different_rows",
    ),
    Mutant(
        "a worker that does not obey is ended",
        "compute/crew.py",
        "if worker.deadline is not None and now >= worker.deadline:",
        "if False:",
        f"{REQUESTS} -k obey",
    ),
    Mutant(
        "a worker's nonsense is not the daemon's end",
        "compute/daemon.py",
        "except Exception as e:  # of a process of ours",
        "except InputError as e:  # of a process of ours",
        f"{REQUESTS} -k nonsense",
    ),
    Mutant(
        "a full disk is told as such by whoever writes weights",
        "compute/checkpoints.py",
        'code="no_space" if full else "unavailable"',
        'code="unavailable"',
        f"{FAULTS} -k full_disk_pauses_a_training",
    ),
    Mutant(
        "durations on a monotonic clock",
        "compute/daemon.py",
        "clock=time.monotonic)",
        "clock=time.time)",
        f"{FAULTS} -k clock",
    ),
    Mutant(
        "pieces that are not taken are bounded",
        "compute/desk.py",
        "OWED, OWED_S = 24 * 1024 * 1024",
        "OWED, OWED_S = 10**12",
        "tests/test_daemon_debts.py",
    ),
    Mutant(
        "the catalogue's process ends with the daemon",
        "compute/catalogue.py",
        "watch(args.watch)",
        "pass",
        "tests/test_daemon_config.py -k ends_with",
    ),
    Mutant(
        "a job stays off the devices that it did not ask for",
        "compute/places.py",
        "return place.kind == (kind or best(places))",
        "return True",
        "tests/test_daemon_config.py tests/test_compute_places.py -k 'asks_for'",
    ),
    Mutant(
        "a client looks where its daemon is now",
        "protocol/wires.py",
        "return now if now != address else None",
        "return None",
        "tests/test_protocol_moved.py -k alone",
    ),
)


def run(folder: Path, tests: str) -> tuple[int, list[str], str]:
    """Exit status of pytest in the copy, the tests that went red, and what it said."""
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{folder / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {tests}"
    child = subprocess.Popen(
        command, shell=True, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said = child.communicate(timeout=TIMEOUT_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return 1, [f"it did not end in {TIMEOUT_S} s"], ""
    return child.returncode, re.findall(r"^(?:FAILED|ERROR) \S+::(\S+)", said, re.M), said


def main() -> None:
    """Print a line a guard."""
    chosen = [m for m in MUTANTS if not sys.argv[1:] or any(a in m.guard for a in sys.argv[1:])]
    holes, green = [], dict[str, str]()  # what is wrong with these tests while every guard is in its place
    for mutant in chosen:
        with tempfile.TemporaryDirectory(prefix="thw-") as name:
            folder, began = Path(name), time.monotonic()
            for room in ROOMS:
                shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "pyproject.toml", folder)
            source = (folder / mutant.file).read_text()
            if mutant.tests not in green:
                code, red, _ = run(folder, mutant.tests)
                green[mutant.tests] = ", ".join(red) or ("" if code == 0 else f"pytest ended with {code}")
            if green[mutant.tests]:
                result = f"RED WITH THE GUARD: {green[mutant.tests]}"
                holes.append(mutant.guard)
            elif source.count(mutant.old) != 1:
                result = f"NOT FOUND in {mutant.file}: it stands there {source.count(mutant.old)} times"
                holes.append(mutant.guard)
            else:
                (folder / mutant.file).write_text(source.replace(mutant.old, mutant.new))
                code, red, said = run(folder, mutant.tests)
                result = f"red: {', '.join(red)}" if red else f"GREEN: a hole (pytest ended with {code})"
                if not red:
                    holes.append(mutant.guard)
                    if code not in (0, 1):
                        result += "\n" + said[-1500:]
            print(f"{mutant.guard:58} {result}   {time.monotonic() - began:.0f} s", flush=True)
    print(f"{len(chosen) - len(holes)} of {len(chosen)} guards have a test that fails without them")
    sys.exit(bool(holes))


if __name__ == "__main__":
    main()
