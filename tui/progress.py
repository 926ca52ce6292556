"""Protocol events as a person or a script sees them: bars on a terminal, plain lines in a pipe, JSON lines with --json.

All three read the same events, whoever sends them: the loop in this process, later the daemon.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from protocol.messages import Event, JobProgress, LogLine, RunEpoch, SurfaceRow

Arrays = Mapping[str, NDArray[Any]]
NOTES_FROM = 76  # columns; on a narrower terminal the numbers give way to the bar
LINE_EVERY_S = 10.0  # a plain line of progress at most this often


class Display(Protocol):
    """Where events of the current job go."""

    def start(self, title: str) -> None:
        """A job begins."""

    def event(self, event: Event, arrays: Arrays) -> None:
        """Something happened."""

    def done(self, text: str) -> None:
        """The job ended well; what it gave, in a few words."""

    def failed(self, text: str) -> None:
        """The job ended badly; why."""

    def say(self, text: str) -> None:
        """A line for a person, above the bars."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def display(*, as_json: bool, console: Console | None = None) -> Display:
    """The display that fits: JSON lines, bars on a terminal, plain lines elsewhere."""
    if as_json:
        return JsonLines()
    console = console or Console()
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


# ---------------------------------------------------------------- words


def seconds_text(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def number_text(value: float) -> str:
    """A measured number, four figures: `0.0312`, `2.1e+10`, `nan`."""
    return f"{value:.4g}"


def metrics_text(metrics: Mapping[str, float]) -> str:
    """`train loss 0.61, 81.2 %   test loss 0.74, 77.9 %`: loss and accuracy of each split that is known."""
    words = []
    for split in ("train", "test"):
        if f"{split}_loss" in metrics:
            accuracy = metrics.get(f"{split}_accuracy", math.nan)
            share = "" if math.isnan(accuracy) else f", {100 * accuracy:.1f} %"
            words.append(f"{split} loss {number_text(metrics[f'{split}_loss'])}{share}")
    return "   ".join(words)


def short_metrics(metrics: Mapping[str, float]) -> str:
    """The same of the test split alone where it is known: what fits at the end of a bar."""
    return metrics_text({k: v for k, v in metrics.items() if k.startswith("test_")}) or metrics_text(metrics)


# ---------------------------------------------------------------- displays


class _Eta(ProgressColumn):
    def render(self, task: Task) -> Text:
        """The time left; when finished, the time it took."""
        if task.fields["ended"]:
            return Text(seconds_text(task.fields["took"]), style="progress.elapsed")
        eta = task.fields["eta"]
        return Text("" if eta is None else f"{seconds_text(eta)} left", style="progress.remaining")


class Bars:
    """One bar a job: what, how far, how long still, and the newest numbers."""

    def __init__(self, console: Console) -> None:
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", table_column=Column(width=16, no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=6)),
            TaskProgressColumn(),
            _Eta(table_column=Column(width=16, no_wrap=True, justify="right")),
        ]
        if console.width >= NOTES_FROM:
            columns.append(TextColumn("{task.fields[note]}", table_column=Column(width=27, no_wrap=True)))
        self._progress = Progress(*columns, console=console, expand=True)
        self._task: Any = None
        self._started = 0.0
        self._lowest = math.inf

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._task is not None:
            self._progress.update(self._task, eta=None)
        self._progress.stop()

    def start(self, title: str) -> None:
        """A new bar."""
        self._started = time.monotonic()
        self._task = self._progress.add_task(title, total=None, note="", eta=None, took=0.0, ended=False)
        self._lowest = math.inf

    def event(self, event: Event, arrays: Arrays) -> None:
        """Move the bar."""
        if isinstance(event, JobProgress):
            self._progress.update(self._task, completed=event.done, total=event.total, eta=event.eta_s)
            if event.note:
                self._progress.update(self._task, note=event.note)
        elif isinstance(event, RunEpoch):
            self._progress.update(self._task, note=short_metrics(event.metrics))
        elif isinstance(event, SurfaceRow) and "loss" in arrays:
            finite = arrays["loss"][np.isfinite(arrays["loss"])]
            self._lowest = min(self._lowest, float(finite.min(initial=math.inf)))
            self._progress.update(self._task, note=f"lowest loss {number_text(self._lowest)}")
        elif isinstance(event, LogLine):
            self._progress.console.print(Text(event.text))

    def done(self, text: str) -> None:
        """Fill the bar and leave it standing."""
        total = self._progress.tasks[-1].total or 1
        took = time.monotonic() - self._started
        self._progress.update(self._task, total=total, completed=total, note=text, took=took, eta=None, ended=True)

    def failed(self, text: str) -> None:
        """Leave the bar where it stands, and print why above it."""
        took = time.monotonic() - self._started
        self._progress.update(self._task, note="failed", took=took, eta=None, ended=True)
        self.say(text)

    def say(self, text: str) -> None:
        """Print above the bars; what is said is data, never markup."""
        self._progress.console.print(Text(text))


class Lines:
    """Plain lines for a pipe or a log: the start, an epoch each, progress now and then, the end."""

    def __init__(self) -> None:
        self._title = ""
        self._next = 0.0
        self._started = 0.0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, title: str) -> None:
        """Say what begins."""
        self._title = title
        self._started = time.monotonic()
        self._next = self._started + LINE_EVERY_S
        self.say(f"{title} ...")

    def event(self, event: Event, arrays: Arrays) -> None:
        """Say what is worth a line."""
        if isinstance(event, RunEpoch):
            self.say(f"{self._title}: epoch {event.epoch}  {metrics_text(event.metrics)}")
            self._next = time.monotonic() + LINE_EVERY_S
        elif isinstance(event, JobProgress):
            now = time.monotonic()
            if now >= self._next:
                self._next = now + LINE_EVERY_S
                left = "" if event.eta_s is None else f", {seconds_text(event.eta_s)} left"
                self.say(f"{self._title}: {100 * event.done / max(1, event.total):.0f} %{left}")
        elif isinstance(event, LogLine):
            self.say(event.text)

    def done(self, text: str) -> None:
        """Say what it gave."""
        self.say(f"{self._title}: {text} ({seconds_text(time.monotonic() - self._started)})")

    def failed(self, text: str) -> None:
        """Say why."""
        self.say(f"{self._title}: {text}")

    def say(self, text: str) -> None:
        """One line, at once."""
        print(text, flush=True)


class JsonLines:
    """The events themselves, one JSON object a line; arrays as lists, NaN and infinities as text."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, title: str) -> None:
        """Nothing: the events say it."""

    def event(self, event: Event, arrays: Arrays) -> None:
        """Print the event with its arrays."""
        print_json({**msgspec.to_builtins(event), **{name: a.tolist() for name, a in arrays.items()}})

    def done(self, text: str) -> None:
        """Nothing: the command prints its result."""

    def failed(self, text: str) -> None:
        """Nothing: the events say it."""

    def say(self, text: str) -> None:
        """Nothing: words are for people."""


def print_json(value: Any) -> None:
    """One line of JSON on stdout; NaN and infinities as the strings "nan", "inf", "-inf"."""
    sys.stdout.write(json_text(value) + "\n")
    sys.stdout.flush()


def json_text(value: Any) -> str:
    """JSON of structs, dicts, lists and numbers; NaN and infinities as the strings "nan", "inf", "-inf"."""
    return msgspec.json.encode(_finite(msgspec.to_builtins(value))).decode()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
