"""Videos of a window: a recording of what it shows, its turntable, and what becomes of them when something fails."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scenes
from test_renderer_record import decoded
from windows import PATIENCE_S, Window, until

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.steering import WindowClient
from protocol.windows import (
    CameraOrbit,
    CameraSet,
    FramesStart,
    RecordDone,
    RecordStart,
    RecordStop,
    Screenshot,
    ShotReply,
    Turntable,
    ViewGet,
    ViewSet,
    WindowChanged,
    WindowClose,
    WindowWatch,
)

pytest.importorskip("imageio_ffmpeg")
SIZE = (320, 200)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenes.renderer()  # skips where there is no OpenGL
    return scenes.resnet().save(tmp_path_factory.mktemp("surface") / "surface.npz")


@pytest.fixture(scope="module")
def shared(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    with Window(tmp_path_factory.mktemp("window"), file, "--headless", "--size", "320x200") as window:
        window.clients[0].request(WindowWatch(id=new_id()))
        yield window


@pytest.fixture
def client(shared: Window) -> WindowClient:
    client = shared.clients[0]
    client.request(ViewSet(id=new_id(), view={"preset": "mesh"}))
    client.request(CameraSet(id=new_id(), azimuth=0, elevation=30))
    client.poll()
    return client


def ended(client: WindowClient) -> RecordDone:
    """What watchers are told of the next video that ends."""

    def look() -> RecordDone | None:
        return next((m for m, _ in client.poll(0.1) if isinstance(m, RecordDone)), None)

    return until(look, "the video's end")


def video(shot: ShotReply | None) -> np.ndarray:
    """Its frames (n, h, w, 3), as signed numbers."""
    assert shot is not None
    assert shot.saved is not None
    return decoded(Path(shot.saved), (shot.width, shot.height)).astype(int)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """How much two frames differ."""
    return float(np.abs(a - b).mean())


# ---------------------------------------------------------------- recordings


def test_a_recording_shows_what_the_window_shows_at_a_constant_rate(client: WindowClient) -> None:
    began = time.monotonic()
    client.request(RecordStart(id=new_id(), save="orbit", fps=20))
    while time.monotonic() < began + 1.0:
        client.request(CameraOrbit(id=new_id(), azimuth=12))
        time.sleep(0.05)
    made = client.request(RecordStop(id=new_id()), timeout_s=PATIENCE_S)
    took = time.monotonic() - began
    frames = video(made)
    assert (made.width, made.height) == SIZE
    assert 15 <= len(frames) <= 20 * took + 2  # it begins with the first picture
    assert sum(apart(a, b) > 0.5 for a, b in itertools.pairwise(frames)) >= 5
    reply, arrays = client.call(Screenshot(id=new_id()), timeout_s=PATIENCE_S)
    assert apart(frames[-1], png(client.picture(reply, arrays))) < 4  # it ends as the window is
    assert ended(client).shot == made
    assert not client.request(ViewGet(id=new_id())).recording


def png(data: bytes) -> np.ndarray:
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_a_window_where_nothing_happens_is_recorded_cheaply_and_in_full_quality(
    shared: Window, client: WindowClient
) -> None:
    client.request(RecordStart(id=new_id(), save="still", fps=10, seconds=1.5))
    time.sleep(0.7)
    before = shared.cpu_s()
    shot = ended(client).shot
    assert shared.cpu_s() - before < 0.5
    frames = video(shot)
    assert len(frames) == 15
    reply, arrays = client.call(Screenshot(id=new_id()), timeout_s=PATIENCE_S)
    assert apart(frames[-1], png(client.picture(reply, arrays))) < 1.5


def test_others_get_their_pictures_while_one_is_recorded(shared: Window, client: WindowClient) -> None:
    client.request(RecordStart(id=new_id(), save="among", fps=20))
    viewer = shared.client()
    viewer.request(FramesStart(id=new_id(), width=64, height=40, fps=30))
    for k in range(8):
        client.request(CameraOrbit(id=new_id(), azimuth=10))
        if k % 3 == 0:
            client.request(Screenshot(id=new_id(), width=100, height=300, scale=1), timeout_s=PATIENCE_S)
        time.sleep(0.03)
    assert until(lambda: viewer.poll(0.1), "a frame")
    frames = video(client.request(RecordStop(id=new_id()), timeout_s=PATIENCE_S))
    assert frames.shape[1:] == (200, 320, 3)
    corners = frames[:, :4, :4].reshape(len(frames), -1)
    assert corners.min() > 230  # paper all over, never another picture laid into this one
    assert frames[:, 60:140, 100:220].std(axis=(1, 2, 3)).min() > 10


def test_only_one_video_is_made_at_a_time_and_only_one_that_runs_is_stopped(client: WindowClient) -> None:
    with pytest.raises(InputError, match="nothing is being recorded"):
        client.request(RecordStop(id=new_id()))
    client.request(RecordStart(id=new_id(), save="one"))
    for more in (RecordStart(id=new_id(), save="two"), Turntable(id=new_id(), save="two")):
        with pytest.raises(InputError, match="already"):
            client.request(more)
    client.request(Turntable(id=new_id(), turns=0))  # of no concern to a recording
    assert client.request(RecordStop(id=new_id()), timeout_s=PATIENCE_S).saved.endswith("one.mp4")
    with pytest.raises(InputError, match="nothing is being recorded"):
        client.request(RecordStop(id=new_id()))


def test_names_stay_in_the_folder_and_never_overwrite(shared: Window, client: WindowClient) -> None:
    shared.pictures.mkdir(exist_ok=True)
    (shared.pictures / "mine.mp4").write_bytes(b"mine")
    client.request(RecordStart(id=new_id(), save="mine.MP4", seconds=0.1))
    assert Path(str(ended(client).shot.saved)).name == "mine-2.mp4"
    assert (shared.pictures / "mine.mp4").read_bytes() == b"mine"
    for name in ("../out", "a/b", ".hidden", "", "x" * 121, "a\\b", "a\x00b", "a\n", "ü" * 120):
        with pytest.raises(InputError):
            client.request(RecordStart(id=new_id(), save=name))
    assert not [f for f in shared.pictures.iterdir() if f.name.startswith(".")]


def test_a_window_closed_while_it_is_recorded_leaves_a_video(file: Path, tmp_path: Path) -> None:
    with Window(tmp_path, file, "--headless", "--size", "160x100") as window:
        client = window.clients[0]
        client.request(WindowWatch(id=new_id()))
        client.request(RecordStart(id=new_id(), save="last", fps=10))
        time.sleep(0.4)
        client.request(WindowClose(id=new_id()))
        shot = ended(client).shot
        assert window.child.wait(10) == 0
    assert len(video(shot)) >= 3
    assert [f.name for f in window.pictures.iterdir()] == ["last.mp4"]


def test_a_full_disk_is_told_and_the_window_goes_on(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tmp_path / "ffmpeg"
    encoder.write_text("#!/bin/sh\necho 'av_interleaved_write_frame(): No space left on device' >&2\nexit 1\n")
    encoder.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(encoder))
    with Window(tmp_path, file, "--headless", "--size", "160x100") as window:
        client = window.clients[0]
        client.request(WindowWatch(id=new_id()))
        client.request(RecordStart(id=new_id(), save="full"))
        done = ended(client)
        assert done.shot is None
        assert "no space left" in str(done.error)
        assert "full.mp4" in str(done.error)
        assert not window.state().recording
        encoder.unlink()
        with pytest.raises(InputError, match="cannot run"):
            client.request(RecordStart(id=new_id(), save="none"))
        assert not list(window.pictures.iterdir())


def test_a_window_that_cannot_write_there_says_so(file: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").write_bytes(b"no folder")
    with Window(tmp_path, file, "--headless", "--size", "160x100") as window, pytest.raises(InputError, match="cannot"):
        window.clients[0].request(RecordStart(id=new_id(), save="x"))


# ---------------------------------------------------------------- turntables


def test_a_saved_turntable_comes_round_to_where_it_began(client: WindowClient) -> None:
    client.request(Turntable(id=new_id(), seconds=0.6, turns=2, fps=10, save="turn"))
    frames = video(ended(client).shot)
    assert len(frames) == 12
    for k in range(6):  # the second turn is the first one again
        assert apart(frames[k], frames[k + 6]) < 1
    assert min(apart(frames[k], frames[k + 1]) for k in range(11)) > 2
    assert client.request(ViewGet(id=new_id())).view.camera.azimuth == 0  # the window itself stays as it is


def test_others_are_answered_while_a_turntable_is_drawn(client: WindowClient) -> None:
    client.request(Turntable(id=new_id(), seconds=600, fps=60, save="long"))
    with pytest.raises(InputError, match="turns 0"):
        client.request(RecordStop(id=new_id()))
    waits, said = [], []
    for k in range(10):
        began = time.monotonic()
        client.request(CameraSet(id=new_id(), azimuth=k))
        waits.append(time.monotonic() - began)
        said += [m.recorded for m, _ in client.poll(0.05) if isinstance(m, WindowChanged)]
    assert sorted(waits)[5] < 0.5
    until(lambda: [m for m, _ in client.poll(0.1) if isinstance(m, WindowChanged) and m.recorded > 0], "progress")
    client.request(Turntable(id=new_id(), turns=0))
    done = ended(client)
    assert done.shot is None
    assert "no video was kept" in str(done.error)
    state = client.request(ViewGet(id=new_id()))
    assert not state.recording


def test_a_turntable_on_the_window_ends_where_it_began(client: WindowClient) -> None:
    client.request(Turntable(id=new_id(), seconds=0.4, turns=-1))
    seen = set()

    def azimuth() -> float:
        return float(client.request(ViewGet(id=new_id())).view.camera.azimuth)

    until(lambda: seen.add(round(azimuth())) or len(seen) > 2, "a turn")
    until(lambda: abs(azimuth()) < 1e-6, "the end of it")
    time.sleep(0.1)
    assert abs(azimuth()) < 1e-6
    client.request(Turntable(id=new_id(), seconds=0.4, turns=100))
    client.request(Turntable(id=new_id(), turns=0))
    before = azimuth()
    time.sleep(0.1)
    assert azimuth() == before


def test_a_turntable_is_told_what_it_cannot_do(client: WindowClient) -> None:
    with pytest.raises(InputError, match="3600 s"):
        client.request(Turntable(id=new_id(), seconds=600, turns=7, save="x"))
    client.request(ViewSet(id=new_id(), view={"mode": "2d"}))
    for save in (None, "x"):
        with pytest.raises(InputError, match="3d"):
            client.request(Turntable(id=new_id(), save=save))


def test_a_window_closed_on_a_turntable_keeps_nothing(file: Path, tmp_path: Path) -> None:
    with Window(tmp_path, file, "--headless", "--size", "160x100") as window:
        window.clients[0].request(Turntable(id=new_id(), save="long", seconds=60))
        time.sleep(0.2)
        window.clients[0].request(WindowClose(id=new_id()))
        assert window.child.wait(10) == 0
    assert not list(window.pictures.iterdir())
    assert not [d for d in os.listdir(tmp_path) if d.endswith(".tmp")]
