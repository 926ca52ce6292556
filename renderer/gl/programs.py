"""Programs from the shader files, compiled when first asked for; and uniforms set by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import moderngl

SHADERS = Path(__file__).parent.parent / "shaders"


class Programs:
    """`programs["sheet"]` is shaders/sheet.vert with shaders/sheet.frag."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self.ctx = ctx
        self._made: dict[str, moderngl.Program] = {}

    def __getitem__(self, name: str) -> moderngl.Program:
        if name not in self._made:
            source = {kind: (SHADERS / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("vert", "frag")}
            self._made[name] = self.ctx.program(vertex_shader=source["vert"], fragment_shader=source["frag"])
        return self._made[name]

    def release(self) -> None:
        for program in self._made.values():
            program.release()
        self._made.clear()


def put(program: moderngl.Program, **values: Any) -> None:
    """Set uniforms; those that the compiler left out are passed over."""
    for name, value in values.items():
        if name in program:
            program[name].value = value
