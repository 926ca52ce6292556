"""The window without a display: everything that can be asked of it, and what it does when a daemon comes and goes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import windows
import zmq
from fake_daemon import FakeDaemon
from windows import PATIENCE_S, Window, until, with_surfaces

from protocol import codec, keys
from protocol.errors import InputError
from protocol.exchange import ClientError, new_id
from protocol.files import Surface
from protocol.messages import PathDone, SurfaceRow, ThingDeleted
from protocol.requests import (
    Err,
    Nothing,
    Ping,
    WindowAnnounce,
    WindowLeave,
)
from protocol.steering import WindowClient, picture
from protocol.view import preset
from protocol.windows import (
    CameraOrbit,
    CameraPreset,
    CameraSet,
    CameraZoom,
    Frame,
    FramesStart,
    FramesStop,
    Pick,
    PictureGet,
    RecordDone,
    RecordStart,
    RecordStop,
    Screenshot,
    Show,
    Turntable,
    ViewGet,
    ViewSet,
    WindowChanged,
    WindowClose,
    WindowWatch,
)
from renderer import layout

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
OTHER = "01ARZ3NDEKTSV4RRFFQ69G5FAX"
H, W = 13, 11
SIZE = (320, 200)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenes.renderer()  # skips where there is no OpenGL
    return scenes.resnet().save(tmp_path_factory.mktemp("surface") / "surface.npz")


@pytest.fixture(scope="module")
def shared(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    with Window(tmp_path_factory.mktemp("window"), file, "--headless", "--size", "320x200") as window:
        yield window


@pytest.fixture
def window(shared: Window) -> Window:
    """One window for many tests; each begins with the same view."""
    shared.clients[0].request(ViewSet(id=new_id(), view={"preset": "contours-3d"}))
    return shared


@pytest.fixture
def client(window: Window) -> WindowClient:
    return window.clients[0]


def shot(client: WindowClient, **how: Any) -> np.ndarray:
    """What a screenshot shows, (h, w, 3)."""
    import io

    from PIL import Image

    reply, arrays = client.call(Screenshot(id=new_id(), **how), timeout_s=PATIENCE_S)
    return np.asarray(Image.open(io.BytesIO(client.picture(reply, arrays))).convert("RGB"))


# ---------------------------------------------------------------- commands


def test_it_says_what_it_shows(window: Window, client: WindowClient, file: Path) -> None:
    state = client.request(ViewGet(id=new_id()))
    assert (state.window, state.surfaces, state.view) == (window.id, (str(file),), preset("contours-3d"))
    assert (state.width, state.height, state.screen, state.live) == (320, 200, False, False)
    assert client.hello is not None
    assert client.hello.boot == window.id


def test_a_change_of_the_view_is_whole_or_nothing(client: WindowClient) -> None:
    state = client.request(ViewSet(id=new_id(), view={"preset": "mesh", "theme": "dark", "camera.zoom": 2}))
    assert (state.view.preset, state.view.theme, state.view.camera.zoom) == ("mesh", "dark", 2)
    for wrong in ({"height": 0.5, "theme": "pink"}, {"theme": "light", "nothing": 1}, {"height": 11}):
        with pytest.raises(InputError):
            client.request(ViewSet(id=new_id(), view=wrong))
        assert client.request(ViewGet(id=new_id())).view == state.view


def test_the_camera_is_moved_by_commands(client: WindowClient) -> None:
    set_ = client.request(CameraSet(id=new_id(), azimuth=30, elevation=40, projection="orthographic")).view.camera
    assert (set_.azimuth, set_.elevation, set_.projection) == (30, 40, "orthographic")
    turned = client.request(CameraOrbit(id=new_id(), azimuth=15, elevation=-10)).view.camera
    assert (turned.azimuth, turned.elevation) == pytest.approx((45, 30))
    zoomed = client.request(CameraZoom(id=new_id(), factor=2)).view.camera
    assert zoomed.zoom == pytest.approx(2 * turned.zoom)
    top = client.request(CameraPreset(id=new_id(), name="top")).view.camera
    assert (top.azimuth, top.elevation) == (0, 90)


def test_pick_tells_the_measured_point(client: WindowClient) -> None:
    client.request(ViewSet(id=new_id(), view={"preset": "heat"}))
    surface = scenes.resnet()
    hit = next(h for x in (0.3, 0.4, 0.5) if (h := client.request(Pick(id=new_id(), x=x, y=0.5))).hit)
    assert hit.loss == pytest.approx(surface.loss[hit.i, hit.j])
    assert abs(surface.alpha[hit.j] - hit.alpha) <= np.diff(surface.alpha).max() / 2 + 1e-9
    assert not client.request(Pick(id=new_id(), x=0.999, y=0.999)).hit


def framed(client: WindowClient) -> None:
    """Wait for a frame that shows the window as it is."""
    until(lambda: any(isinstance(m, Frame) and m.still for m, _ in client.poll(0.1)), "a frame")


@pytest.mark.parametrize("preset", ["heat", "solid"])
def test_pick_and_zoom_count_in_the_stream_of_who_asks(client: WindowClient, preset: str) -> None:
    client.request(FramesStop(id=new_id()))
    with pytest.raises(InputError, match=r"begin with frames.start"):
        client.request(Pick(id=new_id(), x=0.5, y=0.5, stream=True))
    client.request(ViewSet(id=new_id(), view={"preset": preset}))
    client.request(FramesStart(id=new_id(), width=60, height=112, fps=30, format="raw", scale=0.5, bare=True))
    try:
        framed(client)
        before = client.request(Pick(id=new_id(), x=0.6, y=0.55, stream=True))
        assert before.hit
        apart = client.request(Pick(id=new_id(), x=0.6, y=0.55))  # another shape, with words around the plot
        assert not apart.hit or abs(apart.alpha - before.alpha) + abs(apart.beta - before.beta) > 0.02
        client.request(CameraZoom(id=new_id(), factor=1.5, x=0.6, y=0.55, stream=True))
        framed(client)
        after = client.request(Pick(id=new_id(), x=0.6, y=0.55, stream=True))
        assert (after.alpha, after.beta) == pytest.approx((before.alpha, before.beta), abs=2e-3)
    finally:
        client.request(FramesStop(id=new_id()))


def test_a_turn_counted_in_the_stream_keeps_its_size(client: WindowClient) -> None:
    """What was fitted automatically into the stream's shape becomes a zoom of that shape, not of the window's."""
    client.request(FramesStart(id=new_id(), width=60, height=112, fps=30, format="raw", scale=0.5, bare=True))
    try:
        framed(client)
        first = edges(client)
        client.request(CameraOrbit(id=new_id(), azimuth=0.01, stream=True))
        framed(client)
        assert edges(client) == pytest.approx(first, abs=0.015)
    finally:
        client.request(FramesStop(id=new_id()))


def edges(client: WindowClient) -> tuple[float, float]:
    """The first and the last share of the stream's width, half way down, where something is drawn."""
    places = np.linspace(0.01, 0.99, 99).tolist()
    hits = [x for x in places if client.request(Pick(id=new_id(), x=x, y=0.5, stream=True)).hit]
    return hits[0], hits[-1]


def test_a_screenshot_has_the_size_and_view_that_were_asked_for(client: WindowClient) -> None:
    assert shot(client).shape == (200, 320, 3)
    dark = shot(client, width=160, height=100, scale=2, view={"theme": "dark"})
    assert dark.shape == (200, 320, 3)
    assert dark[0, 0].max() < 60
    assert client.request(ViewGet(id=new_id())).view.theme == "light"  # for that picture only


def test_saved_pictures_never_overwrite_and_stay_in_their_folder(window: Window, client: WindowClient) -> None:
    names = [
        Path(client.request(Screenshot(id=new_id(), save=name), timeout_s=PATIENCE_S).saved).name
        for name in ("one", "one.png", "one")
    ]
    assert names == ["one.png", "one-2.png", "one-3.png"]
    assert sorted(f.name for f in window.pictures.iterdir()) == sorted(names)
    for name in ("../out", "a/b", ".hidden", "", "x" * 200, "a\\b", "a\x00b"):
        with pytest.raises(InputError):
            client.request(Screenshot(id=new_id(), save=name))
    assert len(list(window.pictures.iterdir())) == 3


def test_unknown_pictures_and_offsets_are_refused(client: WindowClient) -> None:
    with pytest.raises(InputError, match="keeps it no more"):
        client.request(PictureGet(id=new_id(), picture=new_id()))
    made = client.request(Screenshot(id=new_id()), timeout_s=PATIENCE_S)
    with pytest.raises(InputError, match="offset"):
        client.request(PictureGet(id=new_id(), picture=made.picture, offset=made.total + 1))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3840, 2160)])
def test_pictures_of_any_size(client: WindowClient, width: int, height: int) -> None:
    assert shot(client, width=width, height=height, scale=1, view={"preset": "heat"}).shape == (height, width, 3)


def test_a_picture_that_would_not_fit_is_refused(client: WindowClient) -> None:
    with pytest.raises(InputError, match="million pixels") as e:
        client.request(Screenshot(id=new_id(), width=8192, height=8192, scale=8))
    assert e.value.code == "too_large"


def test_files_are_shown_by_upload_and_never_by_path(window: Window, client: WindowClient, tmp_path: Path) -> None:
    one = scenes.vgg().save(tmp_path / "vgg.npz")
    key = f"upload:{client.upload(one)}"
    before = client.request(ViewGet(id=new_id()))
    assert client.request(Show(id=new_id(), surfaces=(*before.surfaces, key))).surfaces == (*before.surfaces, key)
    assert shot(client).shape == (200, 320, 3)  # both in one picture
    for wrong in (str(one), "/etc/passwd", "upload:" + new_id(), "x"):
        with pytest.raises(InputError):
            client.request(Show(id=new_id(), surfaces=(wrong,)))
    with pytest.raises(InputError, match="no daemon"):
        client.request(Show(id=new_id(), surfaces=(new_id(),)))
    assert client.request(ViewGet(id=new_id())).surfaces == (*before.surfaces, key)
    client.request(Show(id=new_id(), surfaces=before.surfaces[:1]))


def test_an_upload_that_is_no_surface_is_refused(client: WindowClient, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputError, match="upload"):
        client.upload(tmp_path / "x.npz")


# ---------------------------------------------------------------- streams and watchers


def pushes(client: WindowClient, kind: type, enough: Any, patience_s: float = PATIENCE_S) -> list[Any]:
    """What the window sends of a kind, until `enough(list)`."""
    got: list[Any] = []
    end = time.monotonic() + patience_s
    while not enough(got):
        assert time.monotonic() < end, got
        got += [(m, a) for m, a in client.poll(0.2) if isinstance(m, kind)]
    return got


def test_a_stream_ends_with_a_lossless_picture_and_starts_again_with_a_change(window: Window) -> None:
    client = window.client()
    client.request(FramesStart(id=new_id(), width=160, height=100, fps=30))
    got = pushes(client, Frame, lambda g: g and g[-1][0].still)
    assert got[-1][0].format == "png"
    assert picture(*got[-1]).shape == (100, 160, 3)
    assert not [m for m, _ in client.poll(0.6) if isinstance(m, Frame)]  # still: nothing more to send
    client.request(ViewSet(id=new_id(), view={"theme": "dark"}))
    got = pushes(client, Frame, lambda g: g and g[-1][0].still)
    assert got[0][0].format == "jpeg"
    assert picture(*got[-1])[0, 0].max() < 60
    client.request(FramesStop(id=new_id()))
    client.request(ViewSet(id=new_id(), view={"theme": "light"}))
    assert not [m for m, _ in client.poll(0.5) if isinstance(m, Frame)]


def test_at_most_two_frames_wait_for_an_acknowledgement(window: Window) -> None:
    client = window.client()
    client.request(FramesStart(id=new_id(), width=64, height=40, fps=60, format="raw", bare=True))
    end = time.monotonic() + 2
    turn = 0
    while time.monotonic() < end:  # requests are answered, pushes pile up unread: nothing is acknowledged
        turn += 1
        client.request(CameraOrbit(id=new_id(), azimuth=3))
        time.sleep(0.02)
    frames = [(m, a) for m, a in client._exchange.pushed if isinstance(m, Frame)]
    assert turn > 20
    assert [m.number for m, _ in frames] == [1, 2]
    assert picture(*frames[0]).shape == (40, 64, 3)
    got = pushes(client, Frame, lambda g: len(g) >= 3)  # they are acknowledged now
    assert [m.number for m, _ in got[:3]] == [1, 2, 3]


def test_raw_frames_are_for_small_pictures(client: WindowClient) -> None:
    with pytest.raises(InputError, match="jpeg"):
        client.request(FramesStart(id=new_id(), width=4096, height=4096, format="raw"))


def test_watchers_are_told_of_changes_ten_times_a_second_at_most(window: Window) -> None:
    watcher = window.client()
    watcher.request(WindowWatch(id=new_id()))
    pushes(watcher, WindowChanged, lambda g: g)
    began = time.monotonic()
    for k in range(60):
        window.clients[0].request(CameraSet(id=new_id(), azimuth=k))
        time.sleep(0.01)
    got = pushes(watcher, WindowChanged, lambda g: g and g[-1][0].state.view.camera.azimuth == 59)
    assert 2 <= len(got) <= 10 * (time.monotonic() - began) + 2
    watcher.request(WindowWatch(id=new_id(), on=False))
    window.clients[0].request(CameraSet(id=new_id(), azimuth=0))
    assert not [m for m, _ in watcher.poll(0.4) if isinstance(m, WindowChanged)]


# ---------------------------------------------------------------- videos


def test_a_recording_is_a_video_in_the_folder(window: Window, client: WindowClient) -> None:
    with pytest.raises(InputError, match="nothing is being recorded"):
        client.request(RecordStop(id=new_id()))
    client.request(RecordStart(id=new_id(), save="film", fps=20))
    assert client.request(ViewGet(id=new_id())).recording
    with pytest.raises(InputError, match="already"):
        client.request(RecordStart(id=new_id(), save="other"))
    for _ in range(5):
        client.request(CameraOrbit(id=new_id(), azimuth=10))
        time.sleep(0.05)
    made = client.request(RecordStop(id=new_id()), timeout_s=PATIENCE_S)
    assert made.saved == str(window.pictures / "film.mp4")
    data = client.picture(made)
    assert data[4:8] == b"ftyp"
    assert Path(made.saved).read_bytes() == data
    assert not client.request(ViewGet(id=new_id())).recording
    assert [f.name for f in window.pictures.iterdir() if f.suffix != ".png"] == ["film.mp4"]


def test_a_turntable_turns_the_picture_or_becomes_a_video(window: Window, client: WindowClient) -> None:
    watcher = window.client()
    watcher.request(WindowWatch(id=new_id()))
    client.request(CameraSet(id=new_id(), azimuth=0, elevation=30))
    client.request(Turntable(id=new_id(), seconds=0.8, turns=0.25))
    until(lambda: client.request(ViewGet(id=new_id())).view.camera.azimuth == pytest.approx(90), "a quarter")
    client.request(Turntable(id=new_id(), seconds=0.5, fps=4, save="turn"))
    done = pushes(watcher, RecordDone, lambda g: g)
    assert done[0][0].error is None
    assert Path(done[0][0].shot.saved).stat().st_size == done[0][0].shot.total
    assert client.request(ViewGet(id=new_id())).view.camera.azimuth == pytest.approx(90)
    client.request(ViewSet(id=new_id(), view={"mode": "2d"}))
    with pytest.raises(InputError, match="3d"):
        client.request(Turntable(id=new_id()))


# ---------------------------------------------------------------- garbage


def test_garbage_on_the_command_socket_is_answered_and_changes_nothing(window: Window, client: WindowClient) -> None:
    before = client.request(ViewGet(id=new_id()))
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(window.endpoint)
    rng = random.Random(0)
    good = codec.encode(ViewSet(id=new_id(), view={"height": 2.0}))
    sent = 0
    for k in range(300):
        frames = [bytearray(good[0])]
        match k % 5:
            case 0:
                frames = [bytearray(rng.randbytes(rng.randrange(200)))]
            case 1:
                for _ in range(3):
                    frames[0][rng.randrange(len(frames[0]))] = rng.randrange(256)
            case 2:
                frames = frames[:1] + [bytearray(b"x")] * rng.randrange(1, 12)
            case 3:
                del frames[0][rng.randrange(len(frames[0])) :]
            case 4:
                frames = [bytearray(b"\x81" * 70_000)]
        with suppress(InputError):
            codec.decode([bytes(f) for f in frames], ViewSet)
            continue  # it is a good request after all
        socket.send_multipart([bytes(f) for f in frames])
        sent += 1
    replies = 0
    while replies < sent and socket.poll(5000):
        reply, _ = codec.decode(socket.recv_multipart(), Err)
        assert reply.code in ("bad_frame", "bad_request", "unknown_command", "busy")
        replies += 1
    socket.close(0)
    context.term()
    assert replies == sent
    assert client.request(ViewGet(id=new_id())) == before


def test_a_flood_of_one_peer_is_refused_and_others_are_answered(window: Window, client: WindowClient) -> None:
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.connect(window.endpoint)
    for _ in range(3000):
        socket.send_multipart(codec.encode(Ping(id=new_id())))
    began = time.monotonic()
    client.request(ViewGet(id=new_id()))
    assert time.monotonic() - began < 2
    codes = []
    while socket.poll(300):
        header = socket.recv_multipart()
        with suppress(InputError):
            codes.append(codec.decode(header, Err)[0].code)
    assert "busy" in codes
    socket.close(0)
    context.term()


def test_tcp_lets_in_only_listed_keys(file: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="--keys"):
        Window(tmp_path, file, "--headless", "--cmd", "tcp://127.0.0.1:*")
    keys.server(tmp_path)
    mine = keys.client(keys.create(tmp_path, "laptop"))
    stranger = keys.client(keys.create(tmp_path / "elsewhere", "stranger"))
    words = ("--headless", "--cmd", "tcp://127.0.0.1:*", "--keys", tmp_path)
    server = keys.server(tmp_path).public.decode()
    made = Window(tmp_path, file, *words)
    try:
        with WindowClient.open(made.endpoint, keys=mine) as client:
            assert client.request(ViewGet(id=new_id())).window == made.id
        with pytest.raises(ClientError):
            WindowClient.open(made.endpoint, keys=stranger, server_key=server, timeout_s=1.0)
    finally:
        made.__exit__(None)


# ---------------------------------------------------------------- its end


def test_it_ends_when_asked_and_leaves_no_socket(file: Path, tmp_path: Path) -> None:
    with Window(tmp_path, file, "--headless") as window:
        window.clients[0].request(WindowClose(id=new_id()))
        assert window.child.wait(10) == 0
        socket = Path(window.endpoint.removeprefix("ipc://"))
        assert not socket.exists()
        assert not socket.parent.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.npz",), "nowhere.npz"),
        (("--surface", ID), "--workspace"),
        (("--size", "big"), "--size"),
        (("--view", "height=99"), "view.height"),
        (("--cmd", "udp://x"), "--cmd"),
        (("--scale", "99"), "--scale"),
    ],
)
def test_wrong_words_are_one_sentence(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=said) as e:
        Window(tmp_path, *words, "--headless")
    assert str(e.value).strip().count("\n") == 0
    assert str(e.value).startswith("thalweg: ")


# ---------------------------------------------------------------- a daemon


def loss(i: int) -> np.ndarray:
    return np.linspace(1, 2, W).astype("<f4") + np.float32(i)


def begin(daemon: FakeDaemon, surface: str = ID) -> None:
    windows.begin(daemon, surface, W, H)


def row(daemon: FakeDaemon, i: int, surface: str = ID) -> None:
    windows.row(daemon, surface, i, loss(i))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path) as fake:
        yield with_surfaces(fake)


def asked(daemon: FakeDaemon, kind: type) -> list[Any]:
    return [r for r in daemon.requests if isinstance(r, kind)]


def rows_seen(client: WindowClient) -> int:
    changed = [m for m, _ in client.poll(0.1) if isinstance(m, WindowChanged)]
    return changed[-1].rows if changed else -1


def values(client: WindowClient) -> np.ndarray:
    """The losses (H, W) that the window has, picked in 2d at each measured point; NaN where nothing is hit."""
    view = client.request(ViewSet(id=new_id(), view={"preset": "heat"})).view
    plot = layout.compute(view, *SIZE, 1.0, (1.0, 1.0)).plot
    out = np.full((H, W), np.nan)
    for i, j in np.ndindex(H, W):
        x, y = plot.x0 + (0.01 + 0.98 * j / (W - 1)) * plot.width, plot.y1 - (0.01 + 0.98 * i / (H - 1)) * plot.height
        hit = client.request(Pick(id=new_id(), x=x / SIZE[0], y=y / SIZE[1]))
        if hit.hit and hit.loss is not None:
            assert (hit.i, hit.j) == (i, j)
            out[i, j] = hit.loss
    return out


def follow(tmp_path: Path, *more: object) -> Window:
    size = f"{SIZE[0]}x{SIZE[1]}"
    return Window(tmp_path, "--headless", "--workspace", tmp_path, "--surface", ID, "--size", size, *more)


def test_rows_are_seen_as_they_come_and_the_window_is_announced(daemon: FakeDaemon, tmp_path: Path) -> None:
    begin(daemon)
    row(daemon, 3)
    with follow(tmp_path) as window:
        client = window.clients[0]
        client.request(WindowWatch(id=new_id()))
        until(lambda: rows_seen(client) == 1, "the first row")
        for i in range(H):
            row(daemon, i)
        path = {"alpha": np.array([0.5, 0.0]), "beta": np.array([0.5, 0.0]), "step": np.array([0, 1])}
        daemon.publish(f"surface/{ID}/", PathDone(surface=ID, losses=False), path)
        until(lambda: rows_seen(client) == H, "all rows")
        np.testing.assert_allclose(values(client), np.stack([loss(i) for i in range(H)]))
        told = until(lambda: [a for a in asked(daemon, WindowAnnounce) if "net on digits" in a.title], "its title")
        assert (told[0].window, told[0].endpoint) == (window.id, window.endpoint)
        assert window.state().live
        client.request(WindowClose(id=new_id()))
        window.child.wait(10)
    assert [r.window for r in asked(daemon, WindowLeave)] == [window.id]


def test_a_stopped_window_has_every_row_when_it_wakes(daemon: FakeDaemon, tmp_path: Path) -> None:
    begin(daemon)
    with follow(tmp_path) as window:
        client = window.clients[0]
        client.request(WindowWatch(id=new_id()))
        row(daemon, 0)
        until(lambda: rows_seen(client) == 1, "the first row")
        os.kill(window.child.pid, signal.SIGSTOP)
        daemon.drop = 5  # these are lost on the way as well
        for _ in range(3):
            for i in range(H):
                row(daemon, i)
        os.kill(window.child.pid, signal.SIGCONT)
        until(lambda: rows_seen(client) == H, "all rows")
        np.testing.assert_allclose(values(client), np.stack([loss(i) for i in range(H)]))


def test_a_daemon_that_restarts_is_found_again_and_told_of_the_window(daemon: FakeDaemon, tmp_path: Path) -> None:
    begin(daemon)
    row(daemon, 0)
    with follow(tmp_path) as window:
        client = window.clients[0]
        client.request(WindowWatch(id=new_id()))
        until(lambda: rows_seen(client) == 1, "the first row")
        until(lambda: asked(daemon, WindowAnnounce), "an announcement")
        daemon.requests.clear()
        daemon.restart(0.2)
        row(daemon, 1)
        until(lambda: rows_seen(client) == 2, "the next row")
        assert until(lambda: asked(daemon, WindowAnnounce), "another one")[0].window == window.id
        assert window.state().surfaces == (ID,)


def test_a_daemon_that_is_silent_leaves_the_picture(daemon: FakeDaemon, tmp_path: Path) -> None:
    begin(daemon)
    for i in range(H):
        row(daemon, i)
    with follow(tmp_path) as window:
        client = window.clients[0]
        client.request(WindowWatch(id=new_id()))
        until(lambda: rows_seen(client) == H, "all rows")
        before = shot(client)
        daemon.silent = True
        until(lambda: not window.state().live, "the note")
        assert np.array_equal(shot(client), before)  # pictures are without notes
        daemon.silent = False
        until(lambda: window.state().live, "the daemon")


def test_a_deleted_surface_stays_on_the_screen(daemon: FakeDaemon, tmp_path: Path) -> None:
    begin(daemon)
    row(daemon, 0)
    begin(daemon, OTHER)
    with follow(tmp_path) as window:
        client = window.clients[0]
        client.request(WindowWatch(id=new_id()))
        until(lambda: rows_seen(client) == 1, "the first row")
        before = shot(client)
        event = ThingDeleted(what="surface", thing=ID)
        daemon.publish(f"surface/{ID}/", event)
        assert client.request(Ping(id=new_id())) == Nothing()
        assert window.state().surfaces == (ID,)
        assert np.array_equal(shot(client), before)
        assert client.request(Show(id=new_id(), surfaces=(OTHER,))).surfaces == (OTHER,)


def test_surfaces_are_shown_by_id_or_not_at_all(daemon: FakeDaemon, tmp_path: Path) -> None:
    begin(daemon)
    begin(daemon, OTHER)
    row(daemon, 2, OTHER)
    with follow(tmp_path) as window:
        client = window.clients[0]
        client.request(WindowWatch(id=new_id()))
        with pytest.raises(InputError, match="there is no"):
            client.request(Show(id=new_id(), surfaces=(OTHER, new_id())))
        assert window.state().surfaces == (ID,)
        assert client.request(Show(id=new_id(), surfaces=(ID, OTHER))).surfaces == (ID, OTHER)
        until(lambda: rows_seen(client) == 1, "a row of the other one")
        client.request(Show(id=new_id(), surfaces=()))
        assert shot(client).shape == (200, 320, 3)


def test_without_a_daemon_it_waits_for_one(tmp_path: Path) -> None:
    scenes.renderer()
    with follow(tmp_path) as window:
        assert not window.state().live
        with FakeDaemon(tmp_path) as fake:
            begin(with_surfaces(fake))
            client = window.clients[0]
            client.request(WindowWatch(id=new_id()))
            row(fake, 1)
            until(lambda: rows_seen(client) == 1, "the first row")


def test_a_surface_with_nothing_in_it_yet_and_all_nan(daemon: FakeDaemon, tmp_path: Path) -> None:
    begin(daemon)
    with follow(tmp_path) as window:
        client = window.clients[0]
        assert shot(client).shape == (200, 320, 3)
        client.request(WindowWatch(id=new_id()))
        nan = np.full(W, np.nan, "<f4")
        event = SurfaceRow(surface=ID, i=0, pass_=0, n=7)
        daemon.publish(f"surface/{ID}/", event, {"loss": nan, "sem": nan, "accuracy": nan})
        until(lambda: rows_seen(client) == 1, "the row")
        assert shot(client).shape == (200, 320, 3)


def test_a_sealed_surface_is_taken_from_its_file() -> None:
    """Its exact values and critical points; a snapshot has neither."""
    from renderer.link import Told, Whole
    from renderer.stage import Stage

    sealed = scenes.function(scenes.himmelblau, 9, 9)
    stage = Stage()
    stage.put((ID,), {})
    stage.hear(Whole(ID, sealed))
    assert np.array_equal(stage.scenes[0].values["loss"], sealed.loss)
    assert isinstance(sealed, Surface)
    stage.hear(Told(OTHER, SurfaceRow(surface=OTHER, i=0, pass_=0, n=1), {}))  # of a surface that is not shown
    assert stage.unfit == 0
