"""A folder of safetensors checkpoints, or an archive of it, as a run.

Each file is read, held against the model of the recipe, and written anew as `step-NNNNNNNN.safetensors` with this
project's metadata: parameters in the model's own type (float16 and bfloat16 widened, float64 rounded), buffers, each
tensor once. The names that wrappers put before every tensor (`module.`, `_orig_mod.`) are taken off.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from protocol.errors import InputError
from protocol.files import sync_folder
from protocol.messages import Recipe

from .sources import opened

if TYPE_CHECKING:
    from torch import nn

    from compute.checkpoints import TensorFile

WRAPPERS = ("module.", "_orig_mod.")
MAX_STEP = 99_999_999  # eight digits


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`recipe` says what was trained, above all model, model_options and dataset; it may be left out where the files
    carry one. `order`: steps by the step that each file tells, names by name with numbers as numbers, auto steps where
    all tell one. By name the first file is step 0, each further one `steps_between` steps and one epoch later."""

    recipe: Recipe | None = None
    order: Literal["auto", "names", "steps"] = "auto"
    steps_between: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1


@dataclass(frozen=True)
class Place:
    """A file and where it stands in the run."""

    file: Path
    step: int
    epoch: float
    metrics: Mapping[str, float]


def make(source: Path, folder: Path, options: Options) -> Generator[tuple[int, int], None, list[Path]]:
    """Write the run into `folder`, which must not exist yet, and give its files, first to last.

    Everything is checked before anything is written; then (done, total) counts files. The folder appears by one
    rename, so it is whole or not there.
    """
    from compute.checkpoints import write_checkpoint

    if folder.exists():
        raise InputError(f"{folder}: expected no run there yet, found one: choose another id", code="exists")
    stage = folder.with_name(f".{folder.name}.importing")
    try:
        shutil.rmtree(stage, ignore_errors=True)  # of an import that was killed
        stage.mkdir(parents=True)
        with opened(source, stage) as files:
            found = [f for f in files if f.suffix == ".safetensors" and not f.name.startswith("resume-")]
            if not found:
                raise InputError(f"{source}: expected .safetensors checkpoints, found none in it", code="not_found")
            yield 0, len(found)
            abouts = {f: _about(f) for f in found}
            recipe = options.recipe or _carried(source, abouts)
            model = _model(recipe)
            for file in found:
                _check(file, model)
            places = arrange(source, abouts, options)
            made = stage / "run"
            made.mkdir()
            names = []
            for k, place in enumerate(places):
                _load(place.file, model)
                written, _ = write_checkpoint(
                    made, model, step=place.step, epoch=place.epoch, recipe=recipe, metrics=place.metrics
                )
                names.append(written.name)
                yield k + 1, len(places)
        os.rename(made, folder)
        sync_folder(folder.parent)
    except OSError as e:
        raise InputError(f"{folder}: cannot write the run there ({e.strerror})", code="unavailable") from e
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return [folder / name for name in names]


def natural(name: str) -> list[str | int]:
    """A key that sorts epoch_9 before epoch_10."""
    return [int(part) if k % 2 else part for k, part in enumerate(re.split(r"(\d+)", name))]


def arrange(source: Path, abouts: Mapping[Path, Mapping[str, Any]], options: Options) -> list[Place]:
    """The files in order, each with its step, epoch and metrics. Raises InputError for steps that are not told, told
    twice or over eight digits."""
    steps = {f: about.get("step") for f, about in abouts.items()}
    silent = next((f for f, s in steps.items() if type(s) is not int or s < 0), None)
    if options.order == "names" or (options.order == "auto" and silent is not None):
        ordered = sorted(abouts, key=lambda f: natural(f.as_posix()))
        places = [Place(f, k * options.steps_between, float(k), {}) for k, f in enumerate(ordered)]
    elif silent is not None:
        raise InputError(f"{silent}: expected the step in its metadata, found none: use order=names")
    else:
        ordered = sorted(abouts, key=lambda f: steps[f])  # type: ignore[arg-type,return-value]
        for a, b in itertools.pairwise(ordered):
            if steps[a] == steps[b]:
                raise InputError(f"{b}: expected a step of its own, it has {steps[a]} like {a.name}: use order=names")
        places = [
            Place(f, int(steps[f] or 0), _number(abouts[f].get("epoch"), float(k)), _metrics(abouts[f]))
            for k, f in enumerate(ordered)
        ]
    if places[-1].step > MAX_STEP:
        raise InputError(
            f"{source}: expected steps of at most {MAX_STEP:,}, got {places[-1].step:,}: use smaller steps_between"
        )
    return places


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else default


def _metrics(about: Mapping[str, Any]) -> dict[str, float]:
    given = about.get("metrics")
    out = {}
    for name, value in given.items() if isinstance(given, dict) else ():
        try:
            out[str(name)] = float(value)
        except (TypeError, ValueError):
            continue  # a note of another program, no measured value
    return out


def _about(file: Path) -> Mapping[str, Any]:
    from compute.checkpoints import TensorFile

    with closing(TensorFile(file)) as opened_file:
        about = opened_file.about
    return about if isinstance(about, dict) else {}


def _carried(source: Path, abouts: Mapping[Path, Mapping[str, Any]]) -> Recipe:
    for about in abouts.values():
        if "recipe" in about:
            try:
                return msgspec.convert(about["recipe"], Recipe)
            except msgspec.ValidationError:
                continue
    raise InputError(
        f"{source}: expected options.recipe, with the model and data set that the checkpoints are of: "
        "the files do not say",
        path="$.options.recipe",
    )


def _model(recipe: Recipe) -> nn.Module:
    from compute import recipes

    untrained = msgspec.structs.replace(recipe, pretrained=False)  # the weights come from the files
    recipes.check(untrained)
    return recipes.build_model(untrained)


def _names(file: TensorFile) -> dict[str, str]:
    """The file's own name of each tensor, by the name without wrappers."""
    names = {name: name for name in file.entries}
    for _ in range(len(WRAPPERS)):
        for wrapper in WRAPPERS:
            if names and all(n.startswith(wrapper) for n in names):
                names = {n.removeprefix(wrapper): own for n, own in names.items()}
    return names


def _check(file: Path, model: nn.Module) -> None:
    """Refuse a file that is not of this model: every parameter, every buffer, nothing else."""
    from compute.checkpoints import TensorFile, deduplicated
    from compute.parameters import Layout, mismatch

    layout = Layout.of(model)
    with closing(TensorFile(file, check_hash=False)) as tensors:
        shapes = {name: tensors.entries[own].shape for name, own in _names(tensors).items()}
    wrong = mismatch(layout, shapes, str(file))
    if wrong:
        raise wrong
    state = model.state_dict()
    needed = {n: tuple(v.shape) for n, v in deduplicated(model).items() if n in layout.buffers}
    for name, shape in needed.items():
        if shapes.get(name, None if not name.endswith("num_batches_tracked") else shape) != shape:
            raise InputError(
                f"{file}: does not belong to this model: expected the buffer '{name}' of shape {list(shape)}, got "
                f"{list(shapes[name]) if name in shapes else 'none'}: name the model that it was trained with",
                code="integrity",
            )
    extra = next((name for name in shapes if name not in state), None)
    if extra is not None:
        raise InputError(
            f"{file}: does not belong to this model: it holds '{extra}', which the model has not: name the model that "
            "it was trained with",
            code="integrity",
        )


def _load(file: Path, model: nn.Module) -> None:
    from compute.checkpoints import TensorFile

    with closing(TensorFile(file, check_hash=False)) as tensors:
        state = {name: tensors.tensor(own) for name, own in _names(tensors).items()}
    model.load_state_dict(state, strict=False)  # all that is needed is there: `_check`; a tied tensor comes once
