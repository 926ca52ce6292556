"""What a window shows: surfaces, each in a scene, one view for all of them, and how far they are. Pure.

heard -> Stage.hear -> dirty scenes -> drawn when the loop comes to it
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.files import PATH_DTYPE, Surface, SurfaceMeta
from protocol.messages import PathDone, SurfaceBegin, SurfaceDone, SurfaceRow
from protocol.snapshots import Restored
from protocol.view import View
from renderer import words
from renderer.layers.notes import Note
from renderer.link import Followed, Gone, Heard, Linked, Told, Whole
from renderer.link import State as LinkState
from renderer.scene import CLEAN, EVERYTHING, Dirty, Scene

UPLOAD = "upload:"


@dataclass(eq=False)
class Shown:
    """One surface on the stage. `key`: its id, `upload:<id>`, or the path of a file of this machine."""

    key: str
    scene: Scene
    gone: str = ""  # why the daemon has it no more
    _undrawn: WeakKeyDictionary[object, Dirty] = field(default_factory=WeakKeyDictionary)

    @property
    def live(self) -> bool:
        """Whether it comes from the daemon."""
        return not self.key.startswith(UPLOAD) and "/" not in self.key and not self.key.endswith(".npz")

    @property
    def rows(self) -> tuple[int, int]:
        """Rows that have values, and all of them."""
        n = self.scene.n
        return int((n > 0).any(1).sum()), len(n)

    def mark(self, dirty: Dirty) -> None:
        """Something changed, for everybody who draws it."""
        for who in self._undrawn:
            self._undrawn[who] |= dirty

    def dirty_for(self, who: object) -> Dirty:
        """What changed since `who` has drawn it; everything at first."""
        return self._undrawn.get(who, EVERYTHING)

    def drawn_by(self, who: object) -> None:
        """Everything that is here is on the GPU of `who`."""
        self._undrawn[who] = CLEAN


def restored(told: Restored) -> Surface:
    """A snapshot of a surface's topic as a surface. Raises InputError where it is not one."""
    arrays = told.arrays
    try:
        alpha, beta = (np.asarray(arrays[name], np.float64) for name in ("alpha", "beta"))
        n = np.asarray(arrays["n"], np.int64)
        nan = np.full(n.shape, np.nan)
        loss, accuracy, sem = (np.asarray(arrays.get(name, nan), np.float64) for name in ("loss", "accuracy", "sem"))
        meta = msgspec.convert(told.state.get("meta", {}), SurfaceMeta)
        if not meta.id:
            meta = msgspec.structs.replace(meta, id=told.topic.split("/")[1])
        return Surface(
            alpha=alpha, beta=beta, loss=loss, accuracy=accuracy, sem=sem, n=n, meta=meta, path=_path(arrays)
        )
    except (KeyError, ValueError, TypeError, IndexError, msgspec.ValidationError) as e:
        raise InputError(f"snapshot of {told.topic}: expected a surface ({e})", code="integrity") from e


def _path(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.void]:
    columns = {name: arrays[f"path.{name}"] for name in PATH_DTYPE.names or () if f"path.{name}" in arrays}
    path = np.zeros(len(next(iter(columns.values()))) if columns else 0, PATH_DTYPE)
    for name, values in columns.items():
        path[name] = values
    return path


class Stage:
    """The state of a window. `revision` grows whenever its picture is another one."""

    def __init__(self, view: View | None = None) -> None:
        self.view = view or View()
        self.shown: list[Shown] = []
        self.link: LinkState = "none"
        self.why = ""  # the daemon is not there
        self.revision = 0  # what is drawn changed
        self.unfit = 0  # events that did not fit their surface

    @property
    def scenes(self) -> list[Scene]:
        return [shown.scene for shown in self.shown]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(shown.key for shown in self.shown)

    @property
    def following(self) -> tuple[str, ...]:
        """The surfaces that come from the daemon."""
        return tuple(shown.key for shown in self.shown if shown.live)

    @property
    def title(self) -> str:
        """One line for lists and the window's frame."""
        names = [words.title(s.scene) for s in self.shown if s.scene.axes is not None]
        if not names:
            return self.view.title or "no surface yet"
        return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")

    @property
    def rows(self) -> tuple[int, int]:
        """Rows that have values, and all of them, of every surface shown."""
        return self._counted(self.shown)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What is to be told over the picture; nothing where all is well."""
        out = []
        gone = [shown for shown in self.shown if shown.gone]
        for shown in gone:
            if shown.scene.axes is None:
                out.append(Note(shown.gone, "bad"))
        if any(shown.scene.axes is not None for shown in gone):
            out.append(Note("Deleted: the daemon has it no more, this is its last picture", "bad"))
        if self.link == "lost" and self.following:
            out.append(Note("Reconnecting to the daemon ...", "busy"))
        elif self.link == "connecting" and any(s.live and s.scene.axes is None for s in self.shown):
            out.append(Note("Looking for the daemon ..." + (f" ({self.why})" if self.why else ""), "busy"))
        if not self.shown:
            out.append(Note("No surface is shown: thalweg window show SURFACE"))
        waiting = [s for s in self.shown if s.live and not s.gone]
        done, total = self._counted(waiting)
        if any(s.scene.axes is None for s in waiting):
            out.append(Note("Waiting for the first row ..."))
        elif done < total:
            out.append(Note(f"{done} of {total} rows", share=done / total))
        return tuple(out)

    @staticmethod
    def _counted(shown: Sequence[Shown]) -> tuple[int, int]:
        counts = [s.rows for s in shown]
        return sum(a for a, _ in counts), sum(b for _, b in counts)

    # ------------------------------------------------------------ changes

    def look(self, view: View) -> bool:
        """Take a view for all surfaces; whether it changed anything."""
        if view == self.view:
            return False
        self.view = view
        for shown in self.shown:
            shown.mark(shown.scene.apply(view))
        self.revision += 1
        return True

    def put(self, keys: Sequence[str], known: Mapping[str, Surface]) -> None:
        """Show these surfaces and no others: those that are shown already as they are, `known` ones from what is given,
        the rest as soon as they come."""
        before = {shown.key: shown for shown in self.shown}
        shown = []
        for key in keys:
            one = before.get(key) or Shown(key, Scene(self.view))
            if key in known:
                one.mark(one.scene.apply(known[key]))
            shown.append(one)
        self.shown = shown
        self.revision += 1

    def hear(self, heard: Heard) -> None:
        """What the link tells."""
        match heard:
            case Linked(state, why):
                self.link, self.why = state, why
            case Gone(surface, why):
                for shown in self._of(surface):
                    shown.gone = why
            case Whole(surface, whole):
                for shown in self._of(surface):
                    self._apply(shown, whole, {})
            case Told(surface, Restored() as told, _):
                for shown in self._of(surface):
                    self._restore(shown, told)
            case Told(surface, (SurfaceBegin() | SurfaceRow() | PathDone() | SurfaceDone()) as event, arrays):
                for shown in self._of(surface):
                    self._apply(shown, event, arrays)
            case Told() | Followed():
                pass

    def _of(self, surface: str) -> list[Shown]:
        return [shown for shown in self.shown if shown.key == surface]

    def _restore(self, shown: Shown, told: Restored) -> None:
        if "alpha" not in told.arrays:  # known by name, and nothing of it yet
            return
        try:
            surface = restored(told)
        except InputError:
            self.unfit += 1
            return
        scene = shown.scene
        if scene.id == surface.meta.id and len(scene.critical) and scene.n.shape == surface.n.shape:
            surface = dataclasses.replace(surface, critical=scene.critical)  # a snapshot does not carry them
        self._apply(shown, surface, {})

    def _apply(self, shown: Shown, event: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
        try:
            dirty = shown.scene.apply(event, arrays)
        except InputError:
            self.unfit += 1
            return
        shown.gone = ""
        if dirty:
            shown.mark(dirty)
            self.revision += 1
