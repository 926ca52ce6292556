"""Videos decode to the pictures that went in, at a constant rate, and leave nothing behind when they fail."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import msgspec
import numpy as np
import pytest
import scenes

from protocol.errors import InputError
from protocol.view import PRESETS, Camera, override
from renderer import frame, record
from renderer.record import Recorder
from renderer.scene import Scene

pytest.importorskip("imageio_ffmpeg")


def decoded(file: Path, size: tuple[int, int]) -> np.ndarray:
    """All frames (n, h, w, 3) of a video."""
    done = subprocess.run(
        [record.encoder(), "-v", "error", "-i", str(file), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"],
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, size[1], size[0], 3)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels."""
    error = float(((a.astype(float) - b) ** 2).mean())
    return 10 * np.log10(255**2 / max(error, 1e-9))


def grey(level: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    return np.full((size[1], size[0], 3), level, np.uint8)


def levels(file: Path) -> list[int]:
    """The mean of each frame."""
    return [round(float(f.mean())) for f in decoded(file, (64, 48))]


def near(got: list[int], wanted: list[int]) -> bool:
    return len(got) == len(wanted) and all(abs(a - b) <= 3 for a, b in zip(got, wanted))


def test_a_frame_equals_the_still_that_went_in(tmp_path):
    scene = Scene(override(PRESETS["contours-3d"], {"camera.azimuth": 20, "camera.elevation": 40}))
    scene.apply(scenes.resnet())
    renderer = scenes.renderer()
    renderer.draw(scene, 480, 300, samples=2)
    still = renderer.pixels()
    with Recorder(tmp_path / "x.mp4", (480, 300), 30, wait=True) as video:
        for k in range(3):
            video.frame(still, k / 30)
        video.close()
    frames = decoded(tmp_path / "x.mp4", (480, 300))
    assert len(frames) == 3
    assert min(psnr(f, still) for f in frames) > 34  # 38: colour at half resolution costs thin coloured lines most
    assert psnr(np.roll(still, 1, axis=1), still) < 20  # the bound tells a picture that moved by a pixel


def test_irregular_pictures_become_a_constant_rate(tmp_path):
    file = tmp_path / "x.mp4"
    with Recorder(file, (64, 48), 10, wait=True) as video:
        for level, time in ((50, 100.0), (60, 100.02), (100, 100.31), (150, 100.35), (200, 100.5)):
            video.frame(grey(level), time)
        video.close(100.8)
    # of two within a tenth the last counts; each stays until the next one's time
    assert near(levels(file), [60, 60, 60, 150, 150, 200, 200, 200])
    assert video.seconds == 0.8


def test_a_recording_that_does_not_wait_keeps_its_time(tmp_path):
    file = tmp_path / "x.mp4"
    big = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    with Recorder(file, (640, 480), 30) as video:
        for k in range(60):  # as fast as they come: more than the encoder takes
            video.frame(np.roll(big, k, axis=0), k / 30)
        video.close()
    assert len(decoded(file, (640, 480))) == video.frames == 60


def test_odd_sides_are_made_even_and_another_size_is_laid_into_the_middle(tmp_path):
    file = tmp_path / "x.mp4"
    with Recorder(file, (63, 47), 5, wait=True) as video:
        video.frame(grey(80, (63, 47)), 0.0)
        video.frame(grey(200, (31, 101)), 0.2)
        video.close()
    assert video.size == (64, 48)
    assert near(levels(file), [80, 200])


def test_a_smaller_picture_is_laid_into_the_middle_and_a_larger_one_is_seen_whole():
    image = np.random.default_rng(1).integers(0, 255, (3, 5, 3), np.uint8)
    small = record.fitted(image, (8, 6))
    assert np.array_equal(small[1:4, 1:6], image)
    assert np.array_equal(small[:, 0], small[:, 1])  # the edge goes on
    for shape, size, box in (
        ((200, 100), (40, 40), (20, 40)),
        ((90, 300), (60, 61), (60, 18)),
        ((1, 999), (8, 8), (8, 1)),
    ):
        wide = np.full((*shape, 3), 90, np.uint8)
        wide[0], wide[-1], wide[:, 0], wide[:, -1] = 200, 200, 10, 10
        out = record.fitted(wide, size)
        assert out.shape == (size[1], size[0], 3)
        inner = out[(size[1] - box[1]) // 2 :, (size[0] - box[0]) // 2 :][: box[1], : box[0]]
        assert np.all(inner[:, 0] < inner[:, box[0] // 2])  # both ends of it are there
        assert np.all(inner[:, -1] < inner[:, box[0] // 2])


def test_a_fresh_video_never_overwrites(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"old")
    with Recorder(tmp_path / "x.mp4", (64, 48), fresh=True) as video:
        video.frame(grey(9), 0)
        video.hold(1.0)
        assert video.close() == tmp_path / "x-2.mp4"
    assert (tmp_path / "x.mp4").read_bytes() == b"old"
    assert len(decoded(tmp_path / "x-2.mp4", (64, 48))) == 31  # held for a second, and then one frame
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x-2.mp4", "x.mp4"]


def test_any_player_is_told_what_it_is(tmp_path):
    file = tmp_path / "x.mp4"
    with Recorder(file, (64, 48), 24, texts={"title": "a name", "comment": '{"mode": "3d"}'}) as video:
        video.frame(grey(10), 0)
        video.close()
    said = subprocess.run([record.encoder(), "-i", str(file)], capture_output=True, text=True).stderr
    for words in ("h264 (High)", "yuv420p(tv, bt709", "64x48", "24 fps", "a name", '{"mode": "3d"}'):
        assert words in said
    data = file.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # the index comes first: it plays before all of it has come


def test_a_cancelled_recording_leaves_what_was_there(tmp_path):
    file = tmp_path / "x.mp4"
    file.write_bytes(b"old")
    with Recorder(file, (64, 48)) as video:  # as any exception leaves it
        video.frame(grey(1), 0)
    assert file.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]
    assert video._child.poll() is not None


def test_a_recording_without_pictures_is_refused_and_leaves_nothing(tmp_path):
    with Recorder(tmp_path / "x.mp4", (64, 48)) as video, pytest.raises(InputError, match="no picture"):
        video.close()
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_dies_is_one_sentence(tmp_path):
    with Recorder(tmp_path / "x.mp4", (64, 48)) as video:
        video._child.kill()
        for k in range(40):
            video.frame(grey(k), k / 10)
        with pytest.raises(InputError, match="encoder failed"):
            video.close()
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path):
    with pytest.raises(InputError, match="cannot write there"):
        Recorder(tmp_path / "no" / "x.mp4", (64, 48))


def test_a_missing_encoder_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(InputError, match="pip install 'thalweg"):
        Recorder(tmp_path / "x.mp4", (64, 48))

    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", types.SimpleNamespace(get_ffmpeg_exe=none))
    with pytest.raises(InputError, match="no ffmpeg program"):
        Recorder(tmp_path / "x.mp4", (64, 48))
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_cannot_be_run_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    with pytest.raises(InputError, match="cannot run"):
        Recorder(tmp_path / "x.mp4", (64, 48))
    assert not list(tmp_path.iterdir())


def test_a_turntable_turns_evenly_and_comes_back():
    lens = Camera(azimuth=-35, elevation=40)
    way = [c.azimuth for c in record.turntable(lens, 0.8, 8)]
    assert way[0] == -35
    steps = np.diff(np.unwrap(np.radians([*way, -35])))
    assert np.allclose(np.degrees(steps), 45)
    back = [c.azimuth for c in record.turntable(lens, 0.8, 8, turns=-2)]
    assert np.allclose(np.degrees(np.diff(np.unwrap(np.radians(back)))), -90)
    assert {(c.elevation, c.target) for c in record.turntable(lens, 0.8, 8)} == {(40, (0.0, 0.0, 0.4))}


def test_the_box_keeps_its_size_as_it_turns():
    scene = Scene(PRESETS["mesh"])
    scene.apply(scenes.resnet())
    widths = []
    for camera in record.turntable(Camera(azimuth=0, elevation=35), frame.box_top(scene.view), 12):
        scene.apply(msgspec.structs.replace(scene.view, camera=camera))
        made = frame.make(scene, 640, 400, 1.0)
        p = made.pixels(np.array([[0, 0, 0], [0, 0, made.top]]))
        widths.append(float(np.linalg.norm(p[1, :2] - p[0, :2])))
    assert max(widths) - min(widths) < 0.01 * max(widths)
