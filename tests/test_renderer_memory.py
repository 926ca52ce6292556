"""What a picture of a fine surface costs in memory, and that the thrift loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol.files import Surface, SurfaceMeta
from protocol.messages import SurfaceBegin, SurfaceRow
from renderer.scene import Dirty, Scene

# A window's life at 1001 squared: half of the rows, the still, twenty rows more, the still again.
LIFE = """
import numpy as np
from protocol.files import SurfaceMeta
from protocol.messages import SurfaceBegin, SurfaceRow
from renderer.picture import Renderer
from renderer.scene import CLEAN, Scene

axis = np.linspace(-5, 5, 1001)
scene, renderer = Scene(), Renderer()
print(renderer.name)
scene.apply(SurfaceBegin(surface="a", meta=SurfaceMeta(id="a"), passes=1), {"alpha": axis, "beta": axis})
for rows in (range(0, 1001, 2), range(1, 41, 2)):
    dirty = CLEAN
    for i in rows:
        z = ((axis**2 + axis[i] - 11) ** 2 + (axis + axis[i] ** 2 - 7) ** 2).astype(np.float32)
        values = {"loss": z, "accuracy": z, "sem": z}
        dirty |= scene.apply(SurfaceRow(surface="a", i=i, pass_=0, n=512), values)
    renderer.draw(scene, samples=1, dirty=dirty)
    while renderer.refine():
        pass
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")))
"""


def begun(height: int = 3) -> Scene:
    """A surface of four columns, nothing of it measured."""
    scene = Scene()
    event = SurfaceBegin(surface="a", meta=SurfaceMeta(id="a"), passes=1)
    scene.apply(event, {"alpha": np.arange(4.0), "beta": np.arange(float(height))})
    return scene


def told(scene: Scene, i: int, loss: object, n: int = 7) -> Dirty:
    return scene.apply(SurfaceRow(surface="a", i=i, pass_=0, n=n), {"loss": np.asarray(loss)})


def test_values_are_kept_in_float32_only_where_that_holds_each_of_them() -> None:
    scene = begun()
    told(scene, 0, [0.5, np.nan, np.inf, -3.25])
    assert scene.values["loss"].dtype == np.float32
    told(scene, 1, [0.1, 1e300, 1e6 + 0.001, 2.0])
    assert scene.values["loss"].dtype == np.float64
    np.testing.assert_array_equal(
        scene.values["loss"][:2], [[0.5, np.nan, np.inf, -3.25], [0.1, 1e300, 1e6 + 0.001, 2]]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_surface_keeps_its_values_to_the_bit(dtype: type[np.floating[Any]]) -> None:
    z = (np.arange(12.0).reshape(3, 4) + 0.1).astype(dtype).astype(np.float64)
    x, y, n = np.arange(4.0), np.arange(3.0), np.ones((3, 4), np.int64)
    whole = Surface(alpha=x, beta=y, loss=z, accuracy=z, sem=z, n=n)
    scene = Scene()
    scene.apply(whole)
    assert scene.values["loss"].dtype == dtype
    np.testing.assert_array_equal(scene.values["loss"], whole.loss)
    assert not np.shares_memory(scene.values["loss"], whole.loss)


def test_row_that_float32_does_not_hold_makes_the_drafts_anew() -> None:
    scene = begun(5)
    told(scene, 0, [0.5] * 4)
    told(scene, 2, [1.5] * 4)
    assert scene.draft[1, 0] == 1.0
    assert told(scene, 4, [0.1] * 4).all
    assert scene.draft[3, 0] == (1.5 + 0.1) / 2


def test_drafts_take_no_memory_once_every_row_is_measured() -> None:
    scene = begun()
    told(scene, 0, [1.0] * 4)
    told(scene, 2, [2.0] * 4)
    assert scene.draft[1, 0] == 1.5
    told(scene, 1, [4.0] * 4)
    assert scene._draft is None


def test_points_of_more_samples_than_int32_holds_are_counted_right() -> None:
    scene = begun()
    told(scene, 0, [1.0] * 4, n=5)
    told(scene, 1, [1.0] * 4, n=1 << 40)
    assert scene.n[:, 0].tolist() == [5, 1 << 40, 0]


def test_points_over_a_threshold_that_float32_does_not_hold_are_counted_right() -> None:
    scene = begun()
    told(scene, 0, np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    assert scene.tally.above(0.1) == 4  # float32's 0.1 is a little more
    assert scene.tally.above(float(np.float32(0.1))) == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_window_of_a_million_points_takes_less_than_150_megabytes_of_its_own() -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", LIFE], capture_output=True, text=True, check=True, cwd=root)
    name, kilobytes = done.stdout.splitlines()
    if "llvmpipe" not in name:
        pytest.skip("the figure is the software renderer's")
    assert int(kilobytes) * 1024 < 150e6
