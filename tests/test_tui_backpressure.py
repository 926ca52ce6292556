"""A terminal that does not take what is drawn must cost frames, not the loop."""

from __future__ import annotations

import asyncio
import os
import pty
import threading
import time
from queue import Queue
from types import SimpleNamespace

import pytest
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

from tui import backpressure


def app_with(writer: object) -> SimpleNamespace:
    return SimpleNamespace(_driver=SimpleNamespace(_writer_thread=writer))


def test_the_writer_of_textual_is_still_what_is_looked_at():
    writer = WriterThread(SimpleNamespace(write=lambda _: None, flush=lambda: None))  # type: ignore[arg-type]
    assert isinstance(writer._queue, Queue)
    assert writer._queue.maxsize == MAX_QUEUED_WRITES
    assert backpressure.waiting(app_with(writer)) == 0
    writer._queue.put("frame")
    assert backpressure.waiting(app_with(writer)) == 1


@pytest.mark.parametrize("app", [SimpleNamespace(), SimpleNamespace(_driver=None), app_with(None)])
def test_without_a_writer_nothing_waits(app):
    assert backpressure.Gate(app).open()


def test_a_frame_is_skipped_while_one_is_on_its_way():
    writer = WriterThread(SimpleNamespace())  # type: ignore[arg-type]
    gate = backpressure.Gate(app_with(writer))  # type: ignore[arg-type]
    assert gate.open()
    writer._queue.put("frame")
    assert not gate.open()
    assert gate.skipped == 1
    writer._queue.get()
    assert gate.open()


def test_a_slow_terminal_never_blocks_the_loop():
    """A pseudo-terminal that takes 100 kB a second, frames of 20 kB ten times a second: twice what it takes."""
    master, slave = pty.openpty()
    os.set_blocking(master, True)
    stop = threading.Event()

    def read() -> None:
        while data := os.read(master, 2000):
            if not stop.is_set():
                time.sleep(len(data) / 100_000)
            if data.endswith(b"end"):
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with os.fdopen(slave, "w", buffering=1) as out:
        writer = WriterThread(out)
        writer.start()
        gate = backpressure.Gate(app_with(writer))  # type: ignore[arg-type]
        lags: list[float] = []

        async def frames() -> int:
            drawn = 0
            for _ in range(80):
                began = time.monotonic()
                if gate.open():
                    writer.write("x" * 20_000)
                    drawn += 1
                lags.append(time.monotonic() - began)
                await asyncio.sleep(0.01)
            return drawn

        drawn = asyncio.run(frames())
        stop.set()  # the rest is taken at once
        writer.write("end")
        writer.stop()
        reader.join(5)
    os.close(master)
    assert gate.skipped > 0
    assert drawn < 40
    assert max(lags) < 0.1


@pytest.mark.parametrize(
    ("environment", "hz"),
    [
        ({}, 10.0),
        ({"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"}, 2.0),
        ({"SSH_TTY": "/dev/pts/3"}, 2.0),
        ({"SSH_TTY": "/dev/pts/3", "THALWEG_HZ": "5"}, 5.0),
        ({"THALWEG_HZ": "1000"}, 30.0),
        ({"THALWEG_HZ": "fast"}, 10.0),
    ],
)
def test_frames_a_second_by_where_the_terminal_is(environment, hz):
    assert 1 / backpressure.frame_s(environment) == pytest.approx(hz)
