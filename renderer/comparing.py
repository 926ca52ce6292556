"""What several surfaces have in common and what tells them apart, in words: titles, notes, the foot. Pure.

What is the same everywhere is said once, for the whole picture; what differs stands at each panel, after its letter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from protocol.files import SurfaceMeta
from renderer import facts, words
from renderer.facts import Fact
from renderer.scene import Scene

LETTERS = "abcd"
MOST = 4  # surfaces in one picture
MAGNIFIED = 1.5  # times that one surface is seen from nearer than another, from which the picture says so
Ground = Literal["plane", "ranges", "shapes"]


@dataclass(frozen=True)
class Names:
    """The words of one picture of several surfaces; `panels` and `notes` have one entry a surface, `foot` what is
    common and then what is each one's."""

    title: str
    subtitle: str
    panels: tuple[str, ...]
    notes: tuple[str, ...]
    foot: tuple[str, ...]


def _plane(meta: SurfaceMeta) -> str:
    kind = meta.plane.kind
    return words.PLANE.get(kind, f"{kind} plane" if kind else "")


def _batch_norm(policy: str) -> str:
    return {"frozen": "batch norm frozen", "batch": "batch norm of each batch"}.get(policy, "batch norm recalibrated")


FIRST: tuple[Callable[[SurfaceMeta], str], ...] = (lambda m: m.model, lambda m: m.data, _plane)
THEN: tuple[Callable[[SurfaceMeta], str], ...] = (  # until no two panels have the same words
    lambda m: _batch_norm(m.batch_norm),
    lambda m: words.origin(m.plane.origin) if m.plane.origin else "",
    lambda m: f"plane seed {m.plane.seed}" if m.plane.seed is not None else "",
    lambda m: f"{m.plane.options['normalize']}-normalised" if m.plane.options.get("normalize") else "",
    lambda m: f"{m.split} split" if m.split else "",
    lambda m: m.precision,
    lambda m: m.loss.replace("_", " "),
    lambda m: f"{m.samples} samples" if m.samples else "",
    lambda m: m.name,
    lambda m: f"plane {m.plane.hash[:6]}" if m.plane.hash else "",
    lambda m: f"surface {m.id[-6:]}" if m.id else "",
)


def telling(metas: Sequence[SurfaceMeta]) -> list[str]:
    """A name for each surface out of what differs between them: model, data and plane first, then whatever tells those
    apart that would have one name; "surface 1" and so on where nothing does."""
    found = [[facet(meta) for meta in metas] for facet in FIRST]
    used = [texts for texts in found if len(set(texts)) > 1]
    first = [[texts[k] for texts in used if texts[k]] for k in range(len(metas))]
    more: list[list[str]] = [[] for _ in metas]  # it stands early: a name may be cut at its end

    def names() -> list[list[str]]:
        return [[*one[:1], *other, *one[1:]] for one, other in zip(first, more)]

    for facet in THEN:
        for k, same in enumerate(_alike(names())):
            if len({facet(metas[other]) for other in same}) > 1 and (text := facet(metas[k])):
                more[k].append(text)
    for k, (same, name) in enumerate(zip(_alike(names()), names())):
        if len(same) > 1 or not name:
            more[k].append(f"surface {k + 1}")
    return [", ".join(name) for name in names()]


def _alike(names: Sequence[Sequence[str]]) -> list[list[int]]:
    """For each name, which ones are equal to it."""
    return [[other for other, name in enumerate(names) if list(name) == list(mine)] for mine in names]


def letters(found: Sequence[str]) -> str:
    """Letters as read aloud: "a", "a and c", "a, c and d"."""
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def _listed(texts: Sequence[str], kinds: str) -> str:
    """The different ones among the texts: by name where there are at most two."""
    found = list(dict.fromkeys(t for t in texts if t))
    return " and ".join(found) if len(found) <= 2 else f"{len(found)} {kinds}"


def common(lists: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """What stands in all lists, and what is left of each."""
    shared = [text for text in lists[0] if all(text in other for other in lists[1:])]
    return shared, [[text for text in texts if text not in shared] for texts in lists]


def names(scenes: Sequence[Scene]) -> Names:
    """The words of a picture of these scenes; the first one's view serves all."""
    metas, view = [scene.meta for scene in scenes], scenes[0].view
    models, data = _listed([m.model for m in metas], "models"), _listed([m.data for m in metas], "data sets")
    what = f"{models} on {data}" if models and data else models or data
    plane = _plane(metas[0]) if len({_plane(m) for m in metas}) == 1 else ""
    title = view.title or ", ".join(part for part in (what, plane) if part) or f"{len(scenes)} loss landscapes"
    said, notes = common([words.subtitle(scene).split(" · ") for scene in scenes])
    if view.shared_scale:
        said.append("one scale for all")
    else:
        said.append("each on its own scale: compare shapes, not colours")
    if view.arrange != "overlay":  # the legend of an overlay says it
        said += _extents(scenes)
    feet, rests = common([words.provenance(scene).split(" · ") for scene in scenes])
    foot = [" · ".join(feet)] if feet else []
    foot += [f"{LETTERS[k]}: {' · '.join(rest)}" for k, rest in enumerate(rests) if rest]
    lowest, panels = [_lowest(scene) for scene in scenes], telling(metas)
    notes = [[text for text in note if text not in panel] for note, panel in zip(notes, panels)]
    if not view.shared_scale:
        notes = [[_spaced(scene), *note] for scene, note in zip(scenes, notes)]
    return Names(
        title=title,
        subtitle=" · ".join(said),
        panels=tuple(panels),
        notes=tuple(" · ".join(t for t in (low, *note) if t) for low, note in zip(lowest, notes)),
        foot=tuple(foot),
    )


def _lowest(scene: Scene) -> str:
    """The best measured point, in a few words."""
    if scene.axes is None or scene.scale.lowest is None:
        return "nothing is measured yet" if not scene.scale.diverged else "every measured point diverged"
    i, j = scene.scale.lowest
    word = "highest" if scene.view.metric == "accuracy" else "lowest"
    at = facts.place(float(scene.axes[0][j]), float(scene.axes[1][i]))
    height, width = scene.n.shape
    border = ", on the border" if i in (0, height - 1) or j in (0, width - 1) else ""
    return f"{word} {facts.value(float(scene.shown[i, j]))} at {at}{border}"


def _spaced(scene: Scene) -> str:
    """How a panel's own scale is spaced."""
    return ("logarithmic" if scene.scale.log_color else "linear") if scene.scale.measured else ""


def _extents(scenes: Sequence[Scene]) -> list[str]:
    """A warning where one box shows far more of its plane than another: what looks flat may only be seen from near."""
    ends = [(letter, s.axes[0]) for letter, s in zip(LETTERS, scenes) if s.axes is not None]
    spans = [float(axis[-1] - axis[0]) for _, axis in ends]
    if len(spans) < 2 or max(spans) < MAGNIFIED * min(spans):
        return []
    ranges: dict[str, list[str]] = {}
    for letter, a in ends:
        ranges.setdefault(f"{facts.number(float(a[0]), 2)} to {facts.number(float(a[-1]), 2)}", []).append(letter)
    told = (f"{range_} in {letters(found)}" for range_, found in ranges.items())
    return ["axes differ: α from " + ", ".join(told)]


def ground(scenes: Sequence[Scene]) -> Ground:
    """What two surfaces in one box can be compared by: places (one plane), places' numbers (planes of the same
    ranges), or only their shapes."""
    planes = [(scene.meta.plane.hash, scene.meta.model) for scene in scenes]
    if planes[0][0] and len(set(planes)) == 1:
        return "plane"
    axes = [scene.axes for scene in scenes if scene.axes is not None]
    ends = np.array([[a[0], a[-1], b[0], b[-1]] for a, b in axes])
    if len(ends) < 2 or np.allclose(ends, ends[0], rtol=1e-6, atol=1e-9):
        return "ranges"
    return "shapes"


def overlay(scenes: Sequence[Scene]) -> Fact:
    """The sentence that says what an overlay compares."""
    how = ground(scenes)
    own = "" if scenes[0].view.shared_scale else "; each height on its own scale"
    if how == "plane":
        return Fact("One plane", (f"a place is the same weights in both{own}",))
    if how == "ranges":
        return Fact("Two planes, same ranges", (f"a place is other weights in each{own}",))
    assert scenes[1].axes is not None
    alpha, beta = scenes[1].axes
    spans = ", ".join(
        f"{letter} from {facts.number(float(axis[0]), 3)} to {facts.number(float(axis[-1]), 3)}"
        for letter, axis in (("α", alpha), ("β", beta))
    )
    return Fact("Two planes, other ranges", (f"only shapes compare: b fills the box with {spans}{own}",))
