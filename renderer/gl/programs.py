"""Programs from the shader files, compiled when first asked for; and uniforms set by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import moderngl

SHADERS = Path(__file__).parent.parent / "shaders"


class Programs:
    """`programs["sheet"]` is shaders/sheet.vert with shaders/sheet.frag, `programs["sheet", "MESH"]` a variant."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self.ctx = ctx
        self._made: dict[str | tuple[str, ...], moderngl.Program] = {}

    def __getitem__(self, key: str | tuple[str, ...]) -> moderngl.Program:
        if key not in self._made:
            name, *defines = (key,) if isinstance(key, str) else key
            source = {kind: (SHADERS / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("vert", "frag")}
            for define in defines:
                source = {k: text.replace("core\n", f"core\n#define {define}\n", 1) for k, text in source.items()}
            self._made[key] = self.ctx.program(vertex_shader=source["vert"], fragment_shader=source["frag"])
        return self._made[key]

    def release(self) -> None:
        for program in self._made.values():
            program.release()
        self._made.clear()


def put(program: moderngl.Program, **values: Any) -> None:
    """Set uniforms; those that the compiler left out are passed over."""
    for name, value in values.items():
        if name in program:
            program[name].value = value  # type: ignore[union-attr]
