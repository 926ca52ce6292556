"""What a job will cost, from what was measured: seconds per point and sample of surfaces, per epoch of trainings, by
what they depend on."""

from __future__ import annotations

from typing import Any

import msgspec

from compute import lookup
from compute.store import Tables
from protocol.files import SurfaceMeta
from protocol.messages import Execution, Recipe, Spec, SurfaceSpec, TrainSpec, WorkerBegin
from protocol.requests import EstimateReply

ROW_BYTES = 20  # of sums a point and pass: two <f8 and one <i4


def key(meta: SurfaceMeta) -> str:
    """What a surface's speed depends on; the number of threads comes last, so that any of them can be looked for."""
    execution = meta.execution
    parts = (
        meta.model, sorted(meta.model_options.items()), meta.data, meta.batch_norm, meta.precision,
        execution.get("device"),
    )  # fmt: skip
    return f"surface:{msgspec.json.encode(parts).decode()}:{execution.get('threads')}"


def train_key(recipe: Recipe, execution: Execution) -> str:
    """What a training's speed depends on, the number of threads last."""
    parts = (
        recipe.model, sorted(recipe.model_options.items()), recipe.dataset, recipe.image_size, recipe.augmentation,
        recipe.optimizer, recipe.batch_size, recipe.precision, execution.device,
    )  # fmt: skip
    return f"train:{msgspec.json.encode(parts).decode()}:{execution.threads}"


def expected_s(t: Tables, spec: Spec, device: str | None) -> float | None:
    """Seconds that a job will take, by what such jobs took before; None where there was none."""
    if not isinstance(spec, TrainSpec):
        return known(t, spec, device).seconds
    like = train_key(spec.recipe, Execution(device=device or "cpu"))  # type: ignore[arg-type]
    found = t.similar_calibration(like.rpartition(":")[0])
    return None if found is None else found.seconds * spec.recipe.epochs


def known(t: Tables, spec: Spec, device: str | None) -> EstimateReply:
    """From earlier surfaces of the same kind; without seconds where there were none."""
    if not isinstance(spec, SurfaceSpec):
        return EstimateReply()
    recipe = lookup.plane(t, spec.plane).recipe
    points = spec.grid.alpha.count * spec.grid.beta.count
    if recipe is None:
        return EstimateReply(points=points)
    meta = SurfaceMeta(
        model=recipe.model,
        model_options=recipe.model_options,
        data=spec.data or recipe.dataset,
        batch_norm=spec.batch_norm,
        precision=spec.precision,
        execution={"device": device or "cpu"},
    )
    found = t.similar_calibration(key(meta).rpartition(":")[0])
    if found is None:
        return EstimateReply(points=points)
    samples = min(spec.limit or found.samples, found.samples)
    return EstimateReply(
        points=points,
        samples=samples,
        bytes=points * ROW_BYTES,
        seconds=found.seconds * points * samples,
        how="measured" if found.samples == samples else "similar",
    )


def of_begin(spec: Any, begin: WorkerBegin) -> EstimateReply:
    """From a worker that timed the first steps or points."""
    if isinstance(spec, SurfaceSpec):
        points = spec.grid.alpha.count * spec.grid.beta.count
        samples = begin.meta.samples if begin.meta else 0
        size = points * ROW_BYTES * max(1, len(begin.shares))
        return EstimateReply(points=points, samples=samples, bytes=size, seconds=begin.seconds, how="measured")
    return EstimateReply(points=begin.total, seconds=begin.seconds, how="measured" if begin.seconds else "unknown")


def remember(t: Tables, begin: WorkerBegin, reply: EstimateReply) -> None:
    """Keep what was timed for the next who asks."""
    if begin.meta is not None and reply.seconds and reply.points and reply.samples:
        each = reply.seconds / (reply.points * reply.samples)
        t.put_calibration(key(begin.meta), each, reply.samples, reply.points)
