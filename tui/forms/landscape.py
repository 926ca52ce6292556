"""The forms of a plane and of a surface over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from protocol import grid as grids
from protocol.errors import InputError
from protocol.messages import PlaneSpec, SurfaceSpec
from protocol.requests import Submitted
from tui import typed
from tui.fields import Choice, Field, of_struct
from tui.flags import HELP
from tui.forms.base import OWN, Form, Tree
from tui.forms.chains import grid_count, surface_last, surface_of

NO_RUN = "expected a run to cut through, there is none yet: train one first"
NO_PLANE = "expected a plane to measure on, there is none yet: cut one first"
DIRECTIONS = {
    "random": "two normalised random directions through the trained weights (Li et al. 2018)",
    "pca": "the two directions in which training moved most",
}
SEED_COUNT = "26"
SEED_RANGES = {"random": ("-0.5", "0.5"), "pca": ("-9", "9.75")}


class PlaneForm(Form):
    """A plane through a run."""

    kind, title, spec_type, chooser = "plane", "Cut a plane", PlaneSpec, "direction"

    def fields(self) -> list[Field]:
        runs = self.with_held("run", self.known.runs)
        directions = tuple(Choice(d["name"], "", DIRECTIONS.get(d["name"], "")) for d in self.catalogue["directions"])
        direction = str(self.raw.get("direction", "pca" if len(directions) > 1 else directions[0].value))
        out = [
            Field("run", "choice", "run", runs[0].value if runs else "", choices=runs, group="Plane",
                  help="Whose weights the plane goes through.", none=NO_RUN),
            Field("direction", "choice", "direction", direction, choices=directions, group="Plane",
                  help=DIRECTIONS.get(direction, "")),
            Field("at", "text", "centre at", None, longest=60, group="Plane", empty="the last checkpoint",
                  help="Checkpoint in the middle: first, last, epoch:3, or a step. Empty: the last.",
                  pattern=r"^(first|last|epoch:\d+|\d+)$", optional=True),
        ]  # fmt: skip
        out += self.options_of("directions", direction)
        after = (Choice("nothing"), Choice("surface", "measure a surface over it"))
        words = "Submitted together with it."
        out.append(Field("then", "choice", "then", "nothing", group="Afterwards", choices=after, help=words))
        if self.raw.get("then", "nothing") != "nothing":
            out.append(grid_count("then.grid", "Afterwards"))
        return out + self.job_fields("device", "threads")

    def tree(self) -> Tree:
        run, direction, at = self.value("run"), self.value("direction"), self.value("at")
        options = self.changed([f.path for f in self.fields() if f.path.startswith("options.")])
        # A PCA plane without a centre goes through the last checkpoint that is on the path.
        origin = f"{run}@{at or 'last'}" if at or direction != "pca" else None
        return {
            "kind": "plane",
            "direction": direction,
            "origin": origin,
            "trajectory": run,
            "options": {p.removeprefix("options."): v for p, v in options.items()},
        }

    def fill(self, spec: Mapping[str, Any]) -> None:
        run, _, at = str(spec.get("origin") or "").partition("@")
        trajectory = spec.get("trajectory")
        if not isinstance(trajectory, str | None):
            raise InputError("this plane was cut through a list of checkpoints: the form knows runs only")
        self.raw |= {"direction": str(spec.get("direction", "random")), "run": trajectory or run}
        self.raw["at"] = "" if at == "last" and spec.get("direction") != "pca" else at
        self.fill_options(spec.get("options") or {})

    def place(self, path: str | None, msg: str = "") -> str:
        inner = typed.inner(path)
        if not typed.job_of(path) and inner in ("origin", "trajectory"):
            return "at" if inner == "origin" and self.raw.get("at") else "run"
        return super().place(path, msg)

    def chain(self, first: Submitted) -> Iterator[Submitted]:
        if self.value("then") == "surface":
            yield self.submitted(surface_of(first.job, self.value("then.grid"), self.known.passes), named=False)

    def words(self, spec: PlaneSpec) -> list[str]:
        return typed.plane(spec)

    def further(self) -> list[str]:
        return [surface_last(self.value("then.grid"), self.known.passes)] if self.value("then") == "surface" else []


class SurfaceForm(Form):
    """A grid over a plane, and what is measured on it."""

    kind, title, spec_type, chooser = "surface", "Measure a surface", SurfaceSpec, "plane"

    def fields(self) -> list[Field]:
        made = {f.path: f for f in of_struct(SurfaceSpec, "", HELP[SurfaceSpec])}
        planes = self.with_held("plane", self.known.planes)
        runs = self.with_held("path", self.known.runs)
        out = [
            made["plane"].but(kind="choice", choices=planes, default=planes[0].value if planes else "", group="Surface",
                              help="The plane to measure on.", none=NO_PLANE),
            Field("preset", "choice", "start from", "own", group="Surface", help="Fills grid and ranges.", choices=(
                Choice(OWN, "", "what is below"),
                Choice("seed", "", "26 x 26 points, +-0.5 on a random plane, -9 to 9.75 on a PCA plane"))),
        ]  # fmt: skip
        for name, words in (("alpha", "first axis (alpha)"), ("beta", "second axis (beta)")):
            group = words.capitalize()
            out += [
                made[f"grid.{name}.count"].but(group=group, label="points", help=""),
                made[f"grid.{name}.lo"].but(group=group, label="from", empty="automatic"),
                made[f"grid.{name}.hi"].but(group=group, label="to", empty="automatic"),
            ]
        group = "What is measured"
        losses, metrics = self.names("losses"), self.names("metrics")
        out += [
            made["split"].but(group=group),
            made["limit"].but(group=group, empty="the whole split"),
            made["metrics"].but(group=group, choices=metrics or tuple(Choice(m) for m in made["metrics"].default)),
            made["batch_norm"].but(group=group),
        ]
        if self.raw.get("batch_norm") == "recalibrate":
            out.append(made["calibration"].but(group=group))
        out += [
            made["passes"].but(group=group, default=self.known.passes),
            made["until"].but(group=group, label="until sem", empty="all passes"),
        ]
        more = "More of what is measured"
        out += [
            made["data"].but(
                kind="choice", optional=True, choices=self.datasets(), group=more, empty="what was trained on"
            ),
            made["loss"].but(kind="choice", choices=losses or (Choice("cross_entropy"),), group=more),
            made["precision"].but(group=more),
            made["seed"].but(group=more),
            made["path"].but(
                kind="choice", optional=True, choices=runs, group=more, empty="the plane's own",
                help="Run whose path is projected onto the plane.",
            ),
        ]  # fmt: skip
        return out + self.job_fields("device", "threads", "batch_size")

    def take(self, preset: str) -> None:
        if preset != "seed":
            return
        kind = self.known.kinds.get(str(self.value("plane", "")), "")
        lo, hi = SEED_RANGES.get(kind, ("", ""))
        self.raw["passes"] = "1"
        for axis in ("alpha", "beta"):
            self.raw |= {f"grid.{axis}.count": SEED_COUNT, f"grid.{axis}.lo": lo, f"grid.{axis}.hi": hi}

    def tree(self) -> Tree:
        said = {p: v for p, v in self.values().items() if not p.startswith(("job.", "execution.")) and p != "preset"}
        if not said["metrics"]:
            raise InputError("expected at least one metric, got none: tick one", path="$.metrics")
        tree: Tree = {"kind": "surface", "grid": {"alpha": {}, "beta": {}}}
        for path, value in said.items():
            node, parts = tree, path.split(".")
            for part in parts[:-1]:
                node = node[part]
            node[parts[-1]] = value
        for name in ("alpha", "beta"):
            axis = tree["grid"][name]
            if (axis["lo"] is None) != (axis["hi"] is None):
                missing = "lo" if axis["lo"] is None else "hi"
                raise InputError(
                    "expected both a start and an end, or neither, got one: give the other too",
                    path=f"$.grid.{name}.{missing}",
                )
            if axis["lo"] is not None:
                try:
                    grids.axis(axis["lo"], axis["hi"], axis["count"], f"grid.{name}")
                except InputError as e:
                    sentence = e.msg.partition(": ")[2] or e.msg
                    raise InputError(sentence, path=e.path or f"$.grid.{name}.lo") from e
        if tree.get("until") is not None and tree["passes"] == 1:
            raise InputError("expected several passes or grow beside it, got 1: type grow", path="$.passes")
        return tree

    def fill(self, spec: Mapping[str, Any]) -> None:
        whole = msgspec.to_builtins(msgspec.convert({**spec, "kind": "surface"}, SurfaceSpec))
        if not isinstance(whole["path"], str | None):
            raise InputError("the path of this surface is a list of checkpoints: the form knows runs only")
        self.raw["batch_norm"] = whole["batch_norm"]
        self.raw["preset"] = OWN
        for asked in self.fields():
            node: Any = whole
            for part in asked.path.split("."):
                node = node.get(part) if isinstance(node, dict) else None
            if asked.path.split(".")[0] in spec:  # what it leaves out is the form's default
                self.raw[asked.path] = asked.show(node)

    def words(self, spec: SurfaceSpec) -> list[str]:
        return typed.surface(spec)
