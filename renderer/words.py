"""The words of a picture: title, axes, colour bar, provenance. Pure."""

from __future__ import annotations

import re

from protocol.files import SurfaceMeta
from protocol.view import View
from renderer.auto import Scale
from renderer.scene import Scene
from renderer.ticks import number

METRIC = {"loss": "Loss", "accuracy": "Accuracy", "sem": "Standard error of the loss"}
PLANE = {
    "random": "random plane",
    "pca": "PCA plane of the descent",
    "hessian": "Hessian plane",
    "top2": "Hessian plane",
    "through": "plane through models",
}


def _loss(meta: SurfaceMeta) -> str:
    """The loss by name; empty for an imported surface that does not tell."""
    return meta.loss.replace("_", "-") if meta.loss == "cross_entropy" else meta.loss.replace("_", " ")


def title(scene: Scene) -> str:
    """Model, data and plane; or what the view says instead."""
    if scene.view.title:
        return scene.view.title
    meta = scene.meta
    what = f"{meta.model} on {meta.data}" if meta.model and meta.data else meta.model or meta.data
    plane = PLANE.get(meta.plane.kind, f"{meta.plane.kind} plane" if meta.plane.kind else "")
    return ", ".join(part for part in (what, plane) if part) or meta.name or "Loss landscape"


def subtitle(scene: Scene) -> str:
    """What was measured, over which samples, and how the plane was made."""
    meta, view = scene.meta, scene.view
    loss = f"{_loss(meta)} loss".strip()
    metric = {"loss": loss, "accuracy": "accuracy", "sem": f"standard error of the {loss}"}
    parts = [metric[view.metric]]
    if meta.samples:
        parts[0] += f" over {meta.samples:,} {meta.split} samples".replace("  ", " ").replace(",", " ")
    elif meta.split:
        parts[0] += f" over the {meta.split} split"
    plane = meta.plane
    if plane.explained_variance_ratio:
        share = sum(plane.explained_variance_ratio)
        text = f"the plane explains {100 * share:.1f} % of the descent's variance"
        if plane.random_walk_ratio:
            text += f" (a random walk of as many steps: {100 * sum(plane.random_walk_ratio):.1f} %)"
        parts.append(text)
    if plane.kind == "random" and plane.options.get("normalize"):
        how = str(plane.options["normalize"])
        parts.append("directions not normalised" if how == "none" else f"directions {how}-normalised")
    if measured_here(meta) or meta.batch_norm not in ("frozen", ""):
        parts.append(
            {"frozen": "batch norm frozen", "batch": "batch norm of each batch"}.get(
                meta.batch_norm, "batch norm recalibrated"
            )
        )
    return " · ".join(parts)


def measured_here(meta: SurfaceMeta) -> bool:
    """Whether the record was made with the measurement; an imported surface has only the record's defaults."""
    return bool(meta.execution or meta.versions)


def axis(scene: Scene, which: int) -> str:
    """The label of alpha (0) or beta (1): the direction and its unit."""
    meta = scene.meta
    letter, direction = ("α", "δ") if which == 0 else ("β", "η")
    plane = meta.plane
    if plane.kind == "pca":
        text = f"{letter}, distance along principal component {which + 1}"
        if plane.explained_variance_ratio:
            text += f" ({100 * plane.explained_variance_ratio[which]:.1f} %)"
        return text
    if plane.kind == "random":
        return f"{letter}, multiples of the random direction {direction}"
    if plane.kind:
        return f"{letter}, multiples of direction {direction}"
    return f"{letter}, along direction {direction}"


def axis_short(scene: Scene, which: int) -> str:
    """The label of an axis in 3d, where room is short."""
    plane = scene.meta.plane
    letter, direction = ("α", "δ") if which == 0 else ("β", "η")
    if plane.kind == "pca":
        ratio = plane.explained_variance_ratio
        return f"{letter}, along PC {which + 1}" + (f" ({100 * ratio[which]:.1f} %)" if ratio else "")
    return f"{letter}, multiples of {direction}" if plane.kind else f"{letter}, along {direction}"


def bar(scene: Scene) -> tuple[str, str]:
    """Heading of the colour bar and the line under it."""
    view, scale = scene.view, scene.scale
    heading = METRIC[view.metric]
    if view.metric == "loss" and scene.meta.loss:
        heading = f"{heading} ({_loss(scene.meta)})"
    if view.normalise:
        heading = f"{METRIC[view.metric]}, normalised"
    kind = {True: "logarithmic", False: "linear"}
    if view.mode == "2d" or scale.log_color == scale.log_height:
        note = f"{kind[scale.log_color]} scale"
        if view.mode == "3d":
            note = f"colour and height {kind[scale.log_color]}"
    else:
        note = f"colour {kind[scale.log_color]}, height {kind[scale.log_height]}"
    return heading, note


def normalised(scale: Scale) -> str:
    """What 0 and 1 of a normalised scale are."""
    kind = "logarithmic" if scale.log_color else "linear"
    return f"{kind}: 0 is {number(scale.lo, 3)}, 1 is {number(scale.hi, 3)}"


def provenance(scene: Scene) -> str:
    """One line on where the values come from."""
    meta = scene.meta
    height, width = scene.n.shape
    plane = meta.plane
    parts = [meta.name, f"{width} × {height} points"]
    if measured_here(meta):
        parts.append(meta.precision)
    if plane.seed is not None:
        parts.append(f"plane seed {plane.seed}")
    if plane.checkpoints:
        parts.append(f"{plane.checkpoints} checkpoints")
    if plane.origin:
        parts.append(origin(plane.origin))
    if meta.limit:
        parts.append(f"sample of {meta.limit}, seed {meta.seed}")
    if plane.hash:
        parts.append(f"plane {plane.hash[:6]}")
    if meta.id:
        parts.append(f"surface {meta.id[-6:]}")
    if meta.created:
        parts.append(meta.created[:10])
    parts.append(re.sub(r"\b[0-9A-HJKMNP-TV-Z]{20}([0-9A-HJKMNP-TV-Z]{6})\b", r"\1", meta.note))  # ids, shortened
    return " · ".join(p for p in parts if p)


def origin(address: str) -> str:
    """What theta* is: "run 5ZB0DT, step 120" for a checkpoint of a run, whose id is long; else as it stands."""
    found = re.fullmatch(r"([0-9A-Za-z]{26})@(\d+)", address)
    return f"run {found[1][-6:]}, step {found[2]}" if found else f"origin {address}"


def view_note(view: View) -> str:
    """How the surface is drawn between its points."""
    return {
        "none": "each point a flat tile",
        "bilinear": "linear between points",
        "catmull-rom": "smooth through the points",
    }[view.smoothing]
