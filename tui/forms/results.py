"""The forms of what is made of a surface: an analysis, an export; and of a file that comes in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from protocol.errors import InputError
from protocol.messages import AnalysisSpec, ExportSpec, ImportSpec, Recipe, Spec
from protocol.requests import Submitted
from tui import typed
from tui.fields import Field, of_struct
from tui.flags import HELP
from tui.forms.base import Form, Tree

NO_SURFACE = "expected a surface, there is none yet: measure one first"


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
        said = {"target": spec.get("target"), self.chooser: spec.get(self.chooser)}
        self.raw |= {path: str(value) for path, value in said.items() if value}
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
