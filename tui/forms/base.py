"""What every form does: values by path, the sentences at the fields, the jobs, the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.messages import Execution, Spec, TrainSpec
from protocol.requests import JobEstimate, Submitted
from tui import typed
from tui.fields import Choice, Field, Raw, of_schema, of_struct
from tui.flags import HELP
from tui.forms.known import Known

Tree = dict[str, Any]
JOB_HELP = {
    "name": "Name for the job and its result, instead of an id.",
    "priority": "Higher ones are done first.",
    "on_conflict": "Where the same was asked before: take that result, do it anew, or refuse.",
}
CONFLICTS = (
    Choice("existing", "take it", "give the earlier result at once"),
    Choice("new", "do it anew"),
    Choice("error", "refuse"),
)
OWN = "own"  # the preset of a form that was filled in by hand


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
