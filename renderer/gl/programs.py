"""Programs from the shader files, compiled when first asked for; and uniforms set by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import moderngl

SHADERS = Path(__file__).parent.parent / "shaders"
INCLUDE = re.compile(r'^#include "([a-z]+\.glsl)"$', re.MULTILINE)


class Programs:
    """`programs["sheet"]` is shaders/sheet.vert with shaders/sheet.frag, `programs["sheet", "MESH"]` a variant. A pass
    over the whole target has no .vert of its own: it is drawn by screen.vert."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self.ctx = ctx
        self._made: dict[str | tuple[str, ...], moderngl.Program] = {}

    def __getitem__(self, key: str | tuple[str, ...]) -> moderngl.Program:
        if key not in self._made:
            name, *defines = (key,) if isinstance(key, str) else key
            vertex = name if (SHADERS / f"{name}.vert").exists() else "screen"
            self._made[key] = self.ctx.program(
                vertex_shader=source(f"{vertex}.vert", defines), fragment_shader=source(f"{name}.frag", defines)
            )
        return self._made[key]

    def release(self) -> None:
        for program in self._made.values():
            program.release()
        self._made.clear()


def source(file: str, defines: list[str]) -> str:
    """A shader's text with its includes, and the defines after its first line."""
    text = (SHADERS / file).read_text(encoding="utf-8")
    text = INCLUDE.sub(lambda found: (SHADERS / found[1]).read_text(encoding="utf-8"), text)
    return text.replace("core\n", "core\n" + "".join(f"#define {define}\n" for define in defines), 1)


def put(program: moderngl.Program, **values: Any) -> None:
    """Set uniforms; those that the compiler left out, or that have the value already, are passed over."""
    held: dict[str, Any] = program.extra if isinstance(program.extra, dict) else {}
    program.extra = held
    for name, value in values.items():
        if held.get(name, held) != value and name in program:
            program[name].value = value  # type: ignore[union-attr]
            held[name] = value
