"""Where a window's picture goes and its hand comes from: a window on a display (glfw), or none.

Both have the same few methods; `wake` may be called from any thread. glfw is imported only where there is a display.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import moderngl

from protocol.errors import InputError
from renderer import controls
from renderer.controls import Event

NAMED = {
    "KEY_TAB": "tab", "KEY_SPACE": "space", "KEY_ESCAPE": "escape", "KEY_LEFT": "left", "KEY_RIGHT": "right",
    "KEY_UP": "up", "KEY_DOWN": "down", "KEY_HOME": "home", "KEY_F1": "f1", "KEY_ENTER": "enter",
}  # fmt: skip


class Dark:
    """No display: a size, and a wait that can be ended."""

    person = False
    closing = False

    def __init__(self, size: tuple[int, int], scale: float = 1.0) -> None:
        self.size, self.scale = size, scale
        self.events: deque[Event] = deque()
        self.on_draw: Callable[[], None] = lambda: None
        self._woken = threading.Event()

    def context(self) -> moderngl.Context | None:
        return None  # the renderer makes its own

    def wait(self, timeout_s: float) -> None:
        self._woken.wait(timeout_s)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def entitle(self, text: str) -> None:
        pass

    def swap(self) -> None:
        pass

    def close(self) -> None:
        pass


class Screen:
    """A window on a display. All but `wake` from the main thread."""

    person = True

    def __init__(self, glfw: Any, handle: Any, scale: float | None) -> None:
        self._glfw, self._handle, self._scale = glfw, handle, scale
        self._open = True
        self.events: deque[Event] = deque()
        self.on_draw: Callable[[], None] = lambda: None
        self._pointer = (0.0, 0.0)
        self._title = ""
        self._keys = {getattr(glfw, name): typed for name, typed in NAMED.items()}
        glfw.set_framebuffer_size_callback(handle, self._resized)
        glfw.set_window_refresh_callback(handle, self._refresh)
        glfw.set_cursor_pos_callback(handle, self._moved)
        glfw.set_cursor_enter_callback(handle, self._entered)
        glfw.set_mouse_button_callback(handle, self._button)
        glfw.set_scroll_callback(handle, self._wheel)
        glfw.set_key_callback(handle, self._key)

    def context(self) -> moderngl.Context | None:
        """The GL context of this window, made current."""
        self._glfw.make_context_current(self._handle)
        self._glfw.swap_interval(0)  # a hidden Wayland window would wait for ever; the loop keeps the pace
        return moderngl.create_context(require=330)

    @property
    def size(self) -> tuple[int, int]:
        """In device pixels; (0, 0) while it is an icon."""
        w, h = self._glfw.get_framebuffer_size(self._handle)
        return int(w), int(h)

    @property
    def scale(self) -> float:
        if self._scale is not None:
            return self._scale
        x, y = self._glfw.get_window_content_scale(self._handle)
        return float(max(x, y, 0.25))

    @property
    def closing(self) -> bool:
        return bool(self._glfw.window_should_close(self._handle))

    def wait(self, timeout_s: float) -> None:
        if timeout_s > 0:
            self._glfw.wait_events_timeout(timeout_s)
        else:
            self._glfw.poll_events()

    def wake(self) -> None:
        if self._open:
            self._glfw.post_empty_event()

    def entitle(self, text: str) -> None:
        if text != self._title:
            self._title = text
            self._glfw.set_window_title(self._handle, text)

    def swap(self) -> None:
        self._glfw.swap_buffers(self._handle)

    def close(self) -> None:
        self._open = False
        self._glfw.destroy_window(self._handle)
        self._glfw.terminate()

    # ------------------------------------------------------------ callbacks: while the system drags or uncovers it

    def _resized(self, *_: object) -> None:
        self.on_draw()

    def _refresh(self, *_: object) -> None:
        self.on_draw()

    def _moved(self, _: object, x: float, y: float) -> None:
        w, h = self._glfw.get_window_size(self._handle)
        width, height = self.size
        self._pointer = (x * width / max(w, 1), y * height / max(h, 1))  # screen units to device pixels
        if self.events and isinstance(self.events[-1], controls.Move):
            self.events.pop()
        self.events.append(controls.Move(*self._pointer))

    def _entered(self, _: object, inside: int) -> None:
        if inside:  # glfw tells no move where it comes back to the place that it left
            self._moved(None, *self._glfw.get_cursor_pos(self._handle))
        else:
            self.events.append(controls.Leave())

    def _button(self, _: object, button: int, action: int, mods: int) -> None:
        names: dict[int, controls.Button] = {0: "left", 1: "right", 2: "middle"}
        name = names.get(button)
        if name is None:
            return
        if action == self._glfw.PRESS:
            self.events.append(controls.Press(*self._pointer, name, self._mods(mods), time.monotonic()))
        else:
            self.events.append(controls.Release(*self._pointer, name))

    def _wheel(self, _: object, dx: float, dy: float) -> None:
        self.events.append(controls.Wheel(*self._pointer, dy))

    def _key(self, _: object, key: int, scancode: int, action: int, mods: int) -> None:
        if action == self._glfw.RELEASE:
            return
        name = self._keys.get(key) or self._glfw.get_key_name(key, scancode)
        if isinstance(name, bytes):
            name = name.decode("utf-8", "replace")
        if name:
            self.events.append(controls.KeyPress(name, self._mods(mods), action == self._glfw.REPEAT))

    def _mods(self, mods: int) -> frozenset[str]:
        g = self._glfw
        known = ((g.MOD_SHIFT, "shift"), (g.MOD_CONTROL, "ctrl"), (g.MOD_ALT, "alt"), (g.MOD_SUPER, "super"))
        return frozenset(name for bit, name in known if mods & bit)


def opened(size: tuple[int, int], title: str, scale: float | None) -> Screen | None:
    """A window, None where there is no display. Raises InputError where there is one without OpenGL 3.3."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return None
    try:
        import glfw
    except ImportError as e:
        raise InputError(f"window: the library glfw is not usable here ({e}): use --headless") from e
    glfw.ERROR_REPORTING = "ignore"
    said: list[str] = []
    with suppress(Exception):
        glfw.set_error_callback(lambda _, text: said.append(str(text.decode() if isinstance(text, bytes) else text)))
    if not glfw.init():
        return None
    for hint, value in (
        (glfw.CONTEXT_VERSION_MAJOR, 3), (glfw.CONTEXT_VERSION_MINOR, 3), (glfw.OPENGL_FORWARD_COMPAT, 1),
        (glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE), (glfw.DEPTH_BITS, 0), (glfw.STENCIL_BITS, 0),
        (glfw.ALPHA_BITS, 0), (glfw.SCALE_TO_MONITOR, 1), (glfw.SAMPLES, 0),
    ):  # fmt: skip
        glfw.window_hint(hint, value)
    with suppress(AttributeError):
        glfw.window_hint_string(glfw.X11_CLASS_NAME, "thalweg")
        glfw.window_hint_string(glfw.X11_INSTANCE_NAME, "thalweg")  # without it the class is left out too
        glfw.window_hint_string(glfw.WAYLAND_APP_ID, "thalweg")
    handle = glfw.create_window(*size, title, None, None)
    if not handle:
        glfw.terminate()
        why = f" ({said[-1]})" if said else ""
        raise InputError(f"window: no OpenGL 3.3 on this display{why}: use --headless", code="unavailable")
    return Screen(glfw, handle, scale)
