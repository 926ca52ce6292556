"""A GL 3.3 core context without a display, by EGL; a sentence where there is none."""

from __future__ import annotations

from typing import Any

import moderngl

from protocol.errors import InputError


def standalone() -> moderngl.Context:
    """A context of its own. Raises InputError (`unavailable`) where the machine has no usable OpenGL."""
    failures = []
    attempts: tuple[dict[str, Any], ...] = ({"backend": "egl"}, {})
    for options in attempts:
        try:
            ctx = moderngl.create_context(standalone=True, require=330, **options)
        except Exception as e:  # moderngl and glcontext raise bare Exception
            failures.append(str(e) or type(e).__name__)
            continue
        return ctx
    raise InputError(
        f"picture: no OpenGL 3.3 on this machine ({failures[0]}): install Mesa's EGL (libegl1, libgl1-mesa-dri)",
        code="unavailable",
    )


def renderer_name(ctx: moderngl.Context) -> str:
    """The driver's name for itself and its version: what decides whether two pictures must be equal to the bit."""
    return f"{ctx.info['GL_RENDERER']}; {ctx.info['GL_VERSION']}"
