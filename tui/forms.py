"""Forms for jobs, pure: what is asked, what was typed, and the spec or the sentences at the fields that come of it.

    form = form_of("train", catalogue, known)
    form.set("recipe.epochs", "20")
    form.errors()        # {path: sentence}, empty when it can be submitted
    form.submission()    # the jobs, in one transaction
    form.command()       # the same as a command line

The catalogue is the daemon's; which fields there are depends on what was chosen (a direction has its own options).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from protocol import grid as grids
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.messages import (
    PRESETS,
    AnalysisSpec,
    Execution,
    ExportSpec,
    ImportSpec,
    PlaneSpec,
    Recipe,
    Spec,
    SurfaceSpec,
    TrainSpec,
)
from protocol.requests import JobEstimate, Submitted
from tui import typed
from tui.fields import Choice, Field, Raw, of_schema, of_struct
from tui.flags import HELP

Tree = dict[str, Any]
JOB_HELP = {
    "name": "Name for the job and its result, instead of an id.",
    "priority": "Higher ones are done first.",
    "on_conflict": "Where the same was asked before: take that result, do it anew, or refuse.",
}
THEN = (
    Choice("nothing"),
    Choice("pca", "PCA plane and surface"),
    Choice("random", "random plane and surface"),
    Choice("both", "both planes and surfaces"),
)
CONFLICTS = (
    Choice("existing", "take it", "give the earlier result at once"),
    Choice("new", "do it anew"),
    Choice("error", "refuse"),
)
OWN = "own"
NO_RUN = "expected a run to cut through, there is none yet: train one first"
NO_PLANE = "expected a plane to measure on, there is none yet: cut one first"
NO_SURFACE = "expected a surface, there is none yet: measure one first"


@dataclass(frozen=True)
class Known:
    """What the workspace has, newest first, to choose from; `kinds`: the kind of each plane, by its id; `names`: of
    surfaces that have one."""

    runs: tuple[Choice, ...] = ()
    planes: tuple[Choice, ...] = ()
    surfaces: tuple[Choice, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


def known(
    runs: Iterable[Mapping[str, Any]] = (),
    planes: Iterable[Mapping[str, Any]] = (),
    surfaces: Iterable[Mapping[str, Any]] = (),
) -> Known:
    """From the daemon's records of runs, planes and surfaces."""
    kinds: dict[str, str] = {}
    names: dict[str, str] = {}

    def plane(r: Mapping[str, Any]) -> Choice:
        id = str(r.get("hash") or r.get("id") or "")
        meta = r.get("meta") or {}
        kinds[id] = str(meta.get("kind", ""))
        return Choice(id, _title(r, id, f"{kinds[id]} plane".strip()), str(meta.get("origin", ""))[:40])

    def run(r: Mapping[str, Any]) -> Choice:
        recipe = r.get("recipe") or {}
        words = f"{recipe.get('model', 'run')} on {recipe.get('dataset', '?')}"
        return Choice(
            str(r["id"]),
            _title(r, str(r["id"]), words),
            str(r.get("note") or f"{r.get('checkpoints') or 0} checkpoints"),
        )

    def surface(r: Mapping[str, Any]) -> Choice:
        meta = r.get("meta") or {}
        names[str(r["id"])] = str(r.get("name") or "")
        words = " ".join(w for w in (str(meta.get("model", "")), f"{(meta.get('plane') or {}).get('kind', '')}") if w)
        return Choice(str(r["id"]), _title(r, str(r["id"]), words), str(meta.get("data", "")))

    return Known(tuple(map(run, runs)), tuple(map(plane, planes)), tuple(map(surface, surfaces)), kinds, names)


def _title(record: Mapping[str, Any], id: str, words: str) -> str:
    return " ".join(w for w in (str(record.get("name") or ""), words, id[-6:]) if w)


class Form:
    """The base of forms. A subclass says its `fields` and how the values become a `tree`, the spec as plain data."""

    kind = ""
    title = ""
    spec_type: type[Any] = TrainSpec

    def __init__(self, catalogue: Mapping[str, Any], known: Known | None = None, preset: str | None = None) -> None:
        self.catalogue, self.known = catalogue, known or Known()
        self.raw: dict[str, Raw] = {}
        self.refused: dict[str, str] = {}  # what the daemon said, until the field is changed
        if preset is not None:
            self.set("preset", preset)

    # ------------------------------------------------------------ to be said by each

    def fields(self) -> list[Field]:
        """What is asked now, in order."""
        raise NotImplementedError

    def tree(self) -> Tree:
        """The spec as plain data. Raises InputError with the path of the first field at fault."""
        raise NotImplementedError

    def fill(self, spec: Mapping[str, Any]) -> None:
        """Take over a spec (plain data), to edit it."""
        raise NotImplementedError

    def words(self, spec: Any) -> list[str]:
        """The command's words for a spec."""
        raise NotImplementedError

    # ------------------------------------------------------------ values

    def field(self, path: str) -> Field | None:
        """The field at this path, if it is asked now."""
        return next((f for f in self.fields() if f.path == path), None)

    def shown(self, asked: Field) -> Raw:
        """What the control of a field holds."""
        return self.raw.get(asked.path, asked.show(asked.default))

    def set(self, path: str, raw: Raw) -> None:
        """Type something into a field."""
        self.raw[path] = raw
        for refused in list(self.refused):
            if refused in ("", path) or path in ("preset", self.chooser):
                del self.refused[refused]
        if path == "preset":
            self.take(str(raw))

    chooser = ""  # the field that changes which others there are

    def take(self, preset: str) -> None:
        """Fill the fields of a preset."""

    def value(self, path: str, default: Any = None) -> Any:
        """What a field says now; its default where it is not asked. Raises InputError as its `read` does."""
        asked = self.field(path)
        return default if asked is None else asked.read(self.shown(asked))

    def values(self) -> dict[str, Any]:
        """Every field by path. Raises InputError for the first that cannot be read."""
        return {f.path: f.read(self.shown(f)) for f in self.fields()}

    def changed(self, paths: Iterable[str]) -> dict[str, Any]:
        """Of these fields those whose value is not the default."""
        out = {}
        for asked in self.fields():
            if asked.path in paths:
                value = asked.read(self.shown(asked))
                if value != asked.default:
                    out[asked.path] = value
        return out

    # ------------------------------------------------------------ what comes of it

    def errors(self) -> dict[str, str]:
        """A sentence for each field at fault; under "" what concerns no single field."""
        out: dict[str, str] = {}
        for asked in self.fields():
            try:
                asked.read(self.shown(asked))
            except InputError as e:
                out[asked.path] = e.msg
        if not out:
            try:
                self.spec()
            except InputError as e:
                out[self.place(e.path, e.msg)] = e.msg
        for path, sentence in self.refused.items():
            out.setdefault(path, sentence)
        return out

    def spec(self) -> Any:
        """The spec. Raises InputError."""
        tree = self.tree()
        try:
            return msgspec.convert(tree, self.spec_type)
        except msgspec.ValidationError as e:
            text, _, where = str(e).partition(" - at `")
            raise InputError(text[:1].lower() + text[1:], path=where.rstrip("`") or None) from e

    def refuse(self, error: InputError) -> str:
        """Take over what the daemon said; the path of the field that it concerns ("" for none)."""
        path = self.place(error.path, error.msg)
        asked = self.field(path)
        sentence = error.msg
        if asked is not None:
            head, colon, rest = sentence.partition(": ")
            if colon and rest and head in (path, path.rpartition(".")[2], asked.label):
                sentence = rest
        self.refused[path] = sentence
        return path

    def place(self, path: str | None, msg: str = "") -> str:
        """The field that a path of the wire names: `$.jobs[0].spec.grid.alpha.count` -> `grid.alpha.count`. Where there
        is no field of that path the nearest above it, or below it; then what the sentence begins with; else ""."""
        asked = [f.path for f in self.fields()]
        inner = typed.inner(path)
        if inner is not None and (job := typed.job_of(path)):
            return self.later(job, inner, asked)
        parts = [p for p in (inner or "").split(".") if p]
        while parts:
            here = ".".join(parts)
            if here in asked:
                return here
            for under in asked:
                if under.startswith(here + "."):
                    return under
            parts = parts[:-1]
        for name in (inner, inner and "job." + inner, inner and "execution." + inner):
            if name in asked:
                return str(name)
        head = msg.partition(":")[0].replace(" ", "_")
        return next((p for p in asked if p == head or p.rpartition(".")[2] == head), "")

    def later(self, job: int, inner: str, asked: Sequence[str]) -> str:
        """The field for what concerns a later job of the submission."""
        return (
            "then.grid"
            if inner.startswith("grid") and "then.grid" in asked
            else next((p for p in asked if p == "then"), "")
        )

    def execution(self) -> Execution:
        """How it is to run."""
        made = {
            p.partition(".")[2]: v for p, v in self.values().items() if p.startswith("execution.") and v is not None
        }
        return msgspec.convert(made, Execution)

    def submitted(self, spec: Spec, *, named: bool = True, job: str | None = None) -> Submitted:
        """One job of the submission."""
        on, said = self.execution(), self.values()
        return Submitted(
            job=job or new_id(),
            spec=spec,
            name=said.get("job.name") or "" if named else "",
            priority=said.get("job.priority", 0),
            device=on.device,
            execution=None if on == Execution() else on,
            on_conflict=said.get("job.on_conflict", "existing"),
        )

    def submission(self) -> tuple[Submitted, ...]:
        """The jobs, to be submitted in one transaction. Raises InputError."""
        if errors := {p: s for p, s in self.errors().items() if p not in self.refused}:
            path, sentence = next(iter(errors.items()))
            raise InputError(sentence, path=f"$.{path}")
        first = self.submitted(self.spec())
        return (first, *self.chain(first))

    def chain(self, first: Submitted) -> Iterator[Submitted]:
        """The jobs after the first."""
        return iter(())

    def estimate(self) -> JobEstimate | None:
        """What to ask for an estimate; None where something is wrong or nothing is known of such jobs."""
        if self.kind not in ("train", "surface") or any(p not in self.refused for p in self.errors()):
            return None
        return JobEstimate(id=new_id(), spec=self.spec(), device=self.execution().device)

    def command(self) -> str:
        """The same as a command line. Raises InputError where the command line cannot say it."""
        spec = self.spec()
        said = self.values()
        words = [*self.words(spec), *typed.execution(self.execution())]
        if said.get("job.name"):
            words += ["--name", said["job.name"]]
        if said.get("job.priority"):
            words += [f"--priority={said['job.priority']}"]
        if said.get("job.on_conflict", "existing") != "existing":
            words += ["--on-conflict", said["job.on_conflict"]]
        return " && ".join([typed.line(words), *self.further()])

    def further(self) -> list[str]:
        """The commands of the jobs after the first."""
        return []

    # ------------------------------------------------------------ fields that several have

    def job_fields(self, *execution: str) -> list[Field]:
        """Name, priority, what to do where it is there already; how it runs."""
        on = {f.path: f for f in of_struct(Execution, "execution.", HELP[Execution])}
        group = "How it runs"
        return [
            Field("job.name", "text", "name", "", longest=200, help=JOB_HELP["name"], group=group, empty="its id"),
            *(
                on[f"execution.{name}"].but(group=group, empty="chosen when it starts")
                for name in execution
                if f"execution.{name}" in on
            ),
            Field(
                "job.priority", "integer", "priority", 0, lo=-100, hi=100, help=JOB_HELP["priority"], group=group
            ),
            Field(
                "job.on_conflict", "choice", "if it is there", "existing",
                choices=CONFLICTS, help=JOB_HELP["on_conflict"], group=group,
            ),
        ]  # fmt: skip

    def options_of(self, table: str, name: str, prefix: str = "options.") -> list[Field]:
        """The options of an entry of the catalogue, as fields. The words about them are shown at the first."""
        entry = self.entry(table, name)
        schema = (entry or {}).get("options") or {}
        made = of_schema(schema, prefix)
        about = " ".join(str(_described(schema)).split())
        return [f.but(group=f"Options of {name}", help=_sentence(about, f.path.rpartition(".")[2])) for f in made]

    def entry(self, table: str, name: str) -> Mapping[str, Any] | None:
        """An entry of a table of the catalogue by name."""
        return next((e for e in self.catalogue.get(table, ()) if e["name"] == name), None)

    def with_held(self, path: str, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        """The choices, and the id that is held already, where it is not among them (an old one)."""
        held = str(self.raw.get(path, ""))
        if len(held) < 26 or any(c.value == held for c in choices):
            return choices
        return (*choices, Choice(held, f"{path} {held[-6:]}"))

    def names(self, table: str) -> tuple[Choice, ...]:
        """The entries of a table of the catalogue."""
        return tuple(
            Choice(e, "", "") if isinstance(e, str) else Choice(e["name"], "", str(e.get("summary", "")))
            for e in self.catalogue.get(table, ())
        )

    def datasets(self) -> tuple[Choice, ...]:
        """The data sets; those that are not on the daemon's machine say so."""
        return tuple(
            Choice(d["name"], "", d["summary"] if d.get("where") else f"not there yet: thalweg data fetch {d['name']}")
            for d in self.catalogue.get("datasets", ())
        )

    def fill_options(self, options: Mapping[str, Any], prefix: str = "options.") -> None:
        """Take over options into their fields, as far as they are asked."""
        for asked in self.fields():
            name = asked.path.removeprefix(prefix)
            if asked.path.startswith(prefix) and name in options:
                self.raw[asked.path] = asked.show(options[name])


def _described(schema: Mapping[str, Any]) -> str:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return str(schema.get("$defs", {}).get(name, schema).get("description", ""))


def _sentence(about: str, name: str) -> str:
    """The sentence of an options' description that is about one option: "`normalize`: filter (Li et al.), ..."."""
    start = about.find(f"`{name}`")
    if start < 0:
        return about if "`" not in about else ""
    ends = [e for e in (about.find(". `", start), about.find("; `", start)) if e >= 0]
    return about[start : min(ends) + 1 if ends else None].replace(f"`{name}`: ", "").replace("`", "").strip()


class TrainForm(Form):
    """A recipe, with what it starts from and what is to come after it."""

    kind, title, spec_type, chooser = "train", "Train a network", TrainSpec, "recipe.model"
    COMMON = ("model", "dataset", "epochs", "lr", "batch_size", "optimizer", "schedule", "seed")

    def fields(self) -> list[Field]:
        made = {f.path.removeprefix("recipe."): f for f in of_struct(Recipe, "recipe.", HELP[Recipe])}
        made["model"] = made["model"].but(
            kind="choice", choices=self.names("models"), help="Network to train. A letter opens the list."
        )
        made["dataset"] = made["dataset"].but(kind="choice", choices=self.datasets())
        made["image_size"] = made["image_size"].but(empty="the data's own")
        made["checkpoint_every"] = made["checkpoint_every"].but(empty="after each epoch")
        del made["model_options"]
        if self.raw.get("recipe.optimizer") == "adamw":
            del made["nesterov"]
        model = str(self.raw.get("recipe.model", made["model"].default))
        if not (self.entry("models", model) or {}).get("pretrained", True):
            del made["pretrained"]
        presets = tuple(Choice(name, "", f"{r.model} on {r.dataset}, {r.epochs} epochs") for name, r in PRESETS.items())
        out = [
            Field(
                "preset", "choice", "start from", "demo", group="Recipe",
                choices=(*presets, Choice(OWN, "", "what is below, whatever it came from")),
                help="Fills the fields below; each can then be changed.",
            )
        ]  # fmt: skip
        out += [made.pop(n).but(group="Recipe") for n in self.COMMON]
        out += self.options_of("models", model, "recipe.model_options.")
        out += [f.but(group="More of the recipe") for f in made.values()]
        out += [
            Field(
                "then", "choice", "then", "nothing", choices=THEN, group="Afterwards",
                help="What to do with the run when it is trained, submitted together with it.",
            )
        ]  # fmt: skip
        if self.raw.get("then", "nothing") != "nothing":
            out.append(grid_count("then.grid", "Afterwards"))
        return out + self.job_fields("device", "threads")

    def __init__(self, catalogue: Mapping[str, Any], known: Known | None = None, preset: str | None = "demo") -> None:
        super().__init__(catalogue, known, preset)

    def take(self, preset: str) -> None:
        if preset in PRESETS:
            self._take(msgspec.to_builtins(PRESETS[preset]))

    def _take(self, recipe: Mapping[str, Any]) -> None:
        self.raw = {p: r for p, r in self.raw.items() if not p.startswith("recipe.")}
        for name, value in recipe.items():
            if name != "model_options":
                self.raw[f"recipe.{name}"] = _raw(value)
        self.fill_options(recipe.get("model_options") or {}, "recipe.model_options.")

    def tree(self) -> Tree:
        said = self.values()
        recipe = {p.removeprefix("recipe."): v for p, v in said.items() if p.startswith("recipe.")}
        options = {p.removeprefix("model_options."): recipe.pop(p) for p in list(recipe) if "." in p}
        plain = {f.path.rpartition(".")[2]: f.default for f in self.fields() if ".model_options." in f.path}
        recipe["model_options"] = {n: v for n, v in options.items() if v != plain[n]}
        self._fits(recipe)
        return {"kind": "train", "recipe": recipe}

    def _fits(self, recipe: Tree) -> None:
        """Whether the model takes the data's images, as far as the catalogue says."""
        model, data = self.entry("models", recipe["model"]), self.entry("datasets", recipe["dataset"])
        if model is None or data is None:
            return
        size = recipe.get("image_size") or data.get("image_size") or 0
        least, multiple = model.get("min_image_size") or 1, model.get("image_multiple") or 1
        # Models whose smallest size depends on their options declare that of the default options.
        if size and not recipe["model_options"] and (size < least or size % multiple):
            wanted = -(-max(size, least) // multiple) * multiple
            also = f", a multiple of {multiple}" if multiple > 1 else ""
            raise InputError(
                f"expected at least {least}{also} for {recipe['model']}, got {size}: type {wanted}",
                path="$.recipe.image_size",
            )

    def fill(self, spec: Mapping[str, Any]) -> None:
        self.raw["preset"] = OWN
        self._take(msgspec.to_builtins(msgspec.convert(spec.get("recipe") or {}, Recipe)))

    def chain(self, first: Submitted) -> Iterator[Submitted]:
        then = self.value("then")
        for direction in ("pca", "random"):
            if then in (direction, "both"):
                plane = PlaneSpec(
                    direction=direction,
                    origin=None if direction == "pca" else f"job:{first.job}@last",
                    trajectory=f"job:{first.job}",
                )
                cut = self.submitted(plane, named=False)
                yield cut
                yield self.submitted(surface_of(cut.job, self.value("then.grid")), named=False)

    def words(self, spec: TrainSpec) -> list[str]:
        return typed.train(spec, str(self.raw.get("preset", "")))

    def further(self) -> list[str]:
        then, out = self.value("then"), []
        for direction in ("pca", "random"):
            if then in (direction, "both"):
                out += [f"thalweg plane --run last --direction {direction}", _surface_last(self.value("then.grid"))]
        return out


def grid_count(path: str, group: str) -> Field:
    """How many points a side."""
    return Field(
        path, "integer", "points a side", 25, lo=grids.MIN_COUNT, hi=grids.MAX_COUNT, group=group,
        help="The surface is measured on so many by so many points.",
    )  # fmt: skip


def surface_of(plane_job: str, count: int) -> SurfaceSpec:
    """A surface over the plane that another job of the submission cuts."""
    axis = grids.AxisSpec(count=count)
    return SurfaceSpec(plane=f"job:{plane_job}", grid=grids.GridSpec(alpha=axis, beta=axis))


def _surface_last(count: int) -> str:
    return "thalweg surface last" + ("" if count == grids.AxisSpec().count else f" --grid {count}") + " --passes 1"


def _raw(value: Any) -> Raw:
    return Field("", "switch" if isinstance(value, bool) else "number").show(value)


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
            yield self.submitted(surface_of(first.job, self.value("then.grid")), named=False)

    def words(self, spec: PlaneSpec) -> list[str]:
        return typed.plane(spec)

    def further(self) -> list[str]:
        return [_surface_last(self.value("then.grid"))] if self.value("then") == "surface" else []


DIRECTIONS = {
    "random": "two normalised random directions through the trained weights (Li et al. 2018)",
    "pca": "the two directions in which training moved most",
}
SEED_COUNT = "26"
SEED_RANGES = {"random": ("-0.5", "0.5"), "pca": ("-9", "9.75")}


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
        out += [made["passes"].but(group=group), made["until"].but(group=group, label="until sem", empty="all passes")]
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
            if asked.path.split(".")[0] in whole:
                self.raw[asked.path] = asked.show(node)

    def words(self, spec: SurfaceSpec) -> list[str]:
        return typed.surface(spec)


class AnalysisForm(Form):
    """What to find on a surface."""

    kind, title, chooser = "analysis", "Analyse a surface", "analysis"
    spec_type: type[Any] = AnalysisSpec
    table = "analyses"
    every = True  # whether options are said even where they are the default, as the command line does

    def fields(self) -> list[Field]:
        surfaces, group = self.with_held("target", self.known.surfaces), self.title.partition(" ")[2].capitalize()
        entries = self.names(self.table)
        name = str(self.raw.get(self.chooser, entries[0].value if entries else ""))
        out = [
            Field("target", "choice", "surface", surfaces[0].value if surfaces else "", choices=surfaces, group=group,
                  none=NO_SURFACE),
            Field(self.chooser, "choice", self.chooser, name, choices=entries, group=group,
                  help=str((self.entry(self.table, name) or {}).get("summary", ""))),
        ]  # fmt: skip
        return out + self.options_of(self.table, name) + self.extra() + self.job_fields()

    def extra(self) -> list[Field]:
        """Fields of this form alone."""
        return []

    def tree(self) -> Tree:
        target = self.value("target")
        asked = [f.path for f in self.fields() if f.path.startswith("options.")]
        options = {p: self.value(p) for p in asked} if self.every else self.changed(asked)
        return {
            "kind": self.kind,
            "target": target,
            self.chooser: self.value(self.chooser),
            "options": {p.removeprefix("options."): v for p, v in options.items()},
        }

    def fill(self, spec: Mapping[str, Any]) -> None:
        self.raw |= {"target": str(spec.get("target", "")), self.chooser: str(spec.get(self.chooser, ""))}
        self.fill_options(spec.get("options") or {})

    def words(self, spec: Any) -> list[str]:
        return typed.analysis(spec)


class ExportForm(AnalysisForm):
    """A surface as files; `out` is where they are fetched to."""

    kind, title, chooser = "export", "Export a surface", "format"
    spec_type = ExportSpec
    table, every = "exports", False

    def extra(self) -> list[Field]:
        return [
            Field(
                "out", "text", "into folder", ".", longest=1000, group="Files",
                help="Folder on this machine where the files are put; it must exist.",
            )
        ]  # fmt: skip

    def out(self) -> Path:
        """Where the files go. Raises InputError."""
        place = Path(self.value("out")).expanduser().absolute()
        if not place.is_dir():
            raise InputError(f"expected a folder that exists, found none at {place}", path="$.out")
        return place

    def tree(self) -> Tree:
        self.out()
        tree = super().tree()
        name = self.known.names.get(tree["target"], "")[:100].replace("/", "-")
        tree["options"] = {"name": name or tree["target"][-6:], **tree["options"]}
        return tree

    def words(self, spec: Any) -> list[str]:
        return typed.export(spec, str(self.value("out")))


class ImportForm(Form):
    """A file of this machine, as a surface or a run. `upload` is filled in when its pieces were sent."""

    kind, title, spec_type, chooser = "import", "Import a file", ImportSpec, "format"
    ENDINGS: ClassVar = {".npz": "npz", ".csv": "csv", ".ply": "ply", ".safetensors": "checkpoints"}

    def fields(self) -> list[Field]:
        entries = self.names("imports")
        name = self._format()
        options = self.options_of("imports", name)
        out = [
            Field("file", "text", "file", "", longest=1000, group="File",
                  help="File or folder on this machine; it is sent to the daemon."),
            Field("format", "choice", "format", name, choices=entries, group="File",
                  help=str((self.entry("imports", name) or {}).get("summary", ""))),
        ]  # fmt: skip
        for asked in options:
            if asked.path != "options.recipe":
                out.append(asked)
        if any(f.path == "options.recipe" for f in options):
            out += self._foreign()
        return out + self.job_fields()

    def _foreign(self) -> list[Field]:
        group = "For checkpoints that do not say"
        made = {f.path: f for f in of_struct(Recipe, "options.recipe.", HELP[Recipe])}
        return [
            made["options.recipe.model"].but(
                kind="choice", choices=self.names("models"), default=None, optional=True, group=group,
                empty="as the files say",
            ),
            made["options.recipe.dataset"].but(
                kind="choice", choices=self.datasets(), default=None, optional=True, group=group,
                empty="as the files say",
            ),
            made["options.recipe.image_size"].but(group=group, empty="the data's own"),
        ]  # fmt: skip

    def _format(self) -> str:
        if "format" in self.raw:
            return str(self.raw["format"])
        file = str(self.raw.get("file", "")).strip()
        return self.ENDINGS.get(Path(file[:1000]).suffix.lower(), "checkpoints" if file.endswith("/") else "npz")

    def file(self) -> Path:
        """The file. Raises InputError."""
        typed_path = self.value("file")
        if not typed_path:
            raise InputError("expected a file or a folder, got nothing", path="$.file")
        place = Path(typed_path).expanduser().absolute()
        try:
            there = place.exists()
        except (OSError, ValueError):
            there = False
        if not there:
            raise InputError("expected a file or a folder, found nothing there", code="not_found", path="$.file")
        return place

    def tree(self) -> Tree:
        options: Tree = {}
        recipe: Tree = {}
        self.file()
        for path, value in self.changed([f.path for f in self.fields() if f.path.startswith("options.")]).items():
            inner = path.removeprefix("options.")
            if inner.startswith("recipe."):
                recipe[inner.removeprefix("recipe.")] = value
            else:
                options[inner] = value
        if recipe:
            options["recipe"] = msgspec.to_builtins(msgspec.convert(recipe, Recipe))
        name = self.value("format")
        if name != "checkpoints":
            options.setdefault("name", (self.value("job.name") or self.file().name.partition(".")[0])[:100])
        return {"kind": "import", "upload": "", "format": name, "options": options}

    def fill(self, spec: Mapping[str, Any]) -> None:
        self.raw["format"] = str(spec.get("format", "npz"))
        self.fill_options(spec.get("options") or {})

    def submitted(self, spec: Spec, *, named: bool = True, job: str | None = None) -> Submitted:
        made = super().submitted(spec, named=named, job=job)
        return msgspec.structs.replace(made, name=made.name or self.file().name.partition(".")[0][:200])

    def words(self, spec: ImportSpec) -> list[str]:
        return typed.importing(spec, str(self.value("file")))


FORMS: dict[str, type[Form]] = {
    f.kind: f for f in (TrainForm, PlaneForm, SurfaceForm, AnalysisForm, ExportForm, ImportForm)
}


def form_of(kind: str, catalogue: Mapping[str, Any], known: Known | None = None) -> Form:
    """An empty form of that kind, its defaults filled in."""
    return FORMS[kind](catalogue, known)


def again(spec: Mapping[str, Any], catalogue: Mapping[str, Any], known: Known | None = None, name: str = "") -> Form:
    """A form filled with the spec of a job (plain data), to be edited. Raises InputError for what no form can say."""
    form = FORMS[str(spec["kind"])](catalogue, known)
    form.fill(spec)
    if name:
        form.raw["job.name"] = name
    return form
