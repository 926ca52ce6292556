"""Whole pictures against kept ones. `python tests/test_renderer_golden.py` draws them anew: look at each of them.

On the machine that drew them (the same GL renderer, Pillow and FreeType, named in golden/renderer.txt) pictures are
equal to the bit; elsewhere at most 0.05 % of the pixels may differ by more than 8 / 255. What differs is left in
golden/got: the picture, the kept one, and their difference eightfold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import scenes
from numpy.typing import NDArray
from PIL import Image, features

from protocol.files import Surface
from protocol.view import PRESETS, override
from renderer.picture import Renderer
from renderer.scene import Scene

GOLDEN = Path(__file__).parent / "golden"
PICTURES: dict[str, tuple[Callable[[], Surface], str, dict[str, Any]]] = {
    "contours-2d": (scenes.resnet, "contours-2d", {}),
    "contours-3d": (scenes.resnet, "contours-3d", {}),
    "contours-air-dark": (scenes.vgg, "contours-air", {"theme": "dark"}),
    "mesh-leaving": (scenes.leaving, "mesh", {}),
    "solid-huge-dark": (scenes.ODD["huge"], "solid", {"theme": "dark"}),
    "heat-holes": (scenes.holes, "heat", {"layers.contours": True, "colormap": "rainbow"}),
}


def draw(name: str) -> NDArray[np.uint8]:
    surface, preset, changes = PICTURES[name]
    scene = Scene(override(PRESETS[preset], changes))
    scene.apply(surface())
    scenes.renderer()  # skips where there is none
    renderer = Renderer()  # one of its own: slanted text depends in the last bit on its place in the atlas
    renderer.draw(scene, 640, 400, 1.0, samples=4)
    pixels = renderer.pixels().copy()
    renderer.release()
    return pixels


def machine() -> str:
    freetype = features.version("freetype2")
    return f"{scenes.renderer().name}; Pillow {PIL.__version__}, FreeType {freetype}\n"


def differing(got: NDArray[np.uint8], want: NDArray[np.uint8]) -> float:
    """The share of pixels that differ by more than 8 / 255."""
    return float((np.abs(got.astype(int) - want).max(-1) > 8).mean())


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_the_kept_one(name: str) -> None:
    got = draw(name)
    want = np.asarray(Image.open(GOLDEN / f"{name}.png").convert("RGB"))
    same_machine = (GOLDEN / "renderer.txt").read_text() == machine()
    if np.array_equal(got, want) or (not same_machine and differing(got, want) <= 0.0005):
        return
    folder = GOLDEN / "got"
    folder.mkdir(exist_ok=True)
    amplified = np.clip(np.abs(got.astype(int) - want) * 8, 0, 255).astype(np.uint8)
    for kind, image in (("got", got), ("want", want), ("diff", amplified)):
        Image.fromarray(image).save(folder / f"{name}-{kind}.png")
    pytest.fail(f"{name}: {100 * differing(got, want):.3f} % of the pixels differ; see {folder}")


def test_the_comparison_sees_a_line_that_moved() -> None:
    want = draw("contours-2d")
    assert differing(np.roll(want, 1, axis=1), want) > 0.0005


if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        Image.fromarray(draw(name)).save(GOLDEN / f"{name}.png", optimize=True)
    (GOLDEN / "renderer.txt").write_text(machine())
