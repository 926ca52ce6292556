"""The form of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from protocol.errors import InputError
from protocol.messages import PRESETS, PlaneSpec, Recipe, TrainSpec
from protocol.requests import Submitted
from tui import typed
from tui.fields import Choice, Field, Raw, of_struct
from tui.flags import HELP
from tui.forms.base import OWN, Form, Tree
from tui.forms.chains import THEN, grid_count, surface_last, surface_of
from tui.forms.known import Known


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
                yield self.submitted(surface_of(cut.job, self.value("then.grid"), self.known.passes), named=False)

    def words(self, spec: TrainSpec) -> list[str]:
        return typed.train(spec, str(self.raw.get("preset", "")))

    def further(self) -> list[str]:
        then, out = self.value("then"), []
        for direction in ("pca", "random"):
            if then in (direction, "both"):
                out.append(f"thalweg plane --run last --direction {direction}")
                out.append(surface_last(self.value("then.grid"), self.known.passes))
        return out


def _raw(value: Any) -> Raw:
    return Field("", "switch" if isinstance(value, bool) else "number").show(value)
