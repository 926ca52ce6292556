"""A job's spec as the command line that asks for the same. Pure; specs come as plain data, as the daemon tells them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from tui.words import short


def command(spec: Mapping[str, Any], flags: str = "") -> str:
    """`thalweg train --model vgg11 ...`: what differs from the defaults. `flags` are added (another workspace).

    Raises ValueError for a kind that the command line asks for in another way.
    """
    makers = {"train": _train, "plane": _plane, "surface": _surface, "analysis": _analysis, "export": _export}
    kind = str(spec.get("kind", ""))
    if kind not in makers:
        raise ValueError(f"{kind or 'this'} has no command that asks for the same: its file is needed")
    return "thalweg " + shlex.join(makers[kind](spec)) + flags


def _changed(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in given.items() if k in defaults and v != defaults[k] and v is not None}


def _flags(values: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else "--no-" + flag[2:])
        elif isinstance(value, dict):  # model_options: one flag each
            words += [w for k, v in value.items() for w in (flag.removesuffix("s"), f"{k}={v}")]
        elif isinstance(value, list | tuple):
            words += [w for v in value for w in (flag.removesuffix("s"), str(v))]
        else:
            words += [flag, str(value)]
    return words


def _reference(text: str) -> str:
    run, at, place = text.removeprefix("job:").partition("@")
    return f"{short(run)}{at}{place}"


def _train(spec: Mapping[str, Any]) -> list[str]:
    import msgspec

    from protocol.messages import Recipe

    defaults = msgspec.to_builtins(Recipe())
    recipe = {**defaults, **spec.get("recipe", {})}
    needed = {name: recipe[name] for name in ("model", "dataset")}  # the command line asks for both
    return ["train", *_flags({**needed, **_changed(recipe, defaults)})]


def _plane(spec: Mapping[str, Any]) -> list[str]:
    trajectory = spec.get("trajectory") or spec.get("origin") or ""
    origin = spec.get("origin") or ""
    run = origin if origin and not origin.endswith("@last") else trajectory
    if isinstance(run, list | tuple) or "/" in str(run):
        raise ValueError("a plane through files is asked for with their names, which the daemon does not keep")
    options = dict(spec.get("options", {}))
    return [
        "plane",
        "--run",
        _reference(str(run)),
        "--direction",
        str(spec.get("direction", "random")),
        *_flags(options),
    ]


def _surface(spec: Mapping[str, Any]) -> list[str]:
    import msgspec

    from protocol.messages import SurfaceSpec

    defaults = msgspec.to_builtins(SurfaceSpec(plane=""))
    words = ["surface", _reference(str(spec.get("plane", "")))]
    grid = spec.get("grid", {})
    counts = [int(grid.get(axis, {}).get("count", 25)) for axis in ("alpha", "beta")]
    if counts != [25, 25]:
        words += ["--grid", str(counts[0]) if counts[0] == counts[1] else f"{counts[0]}x{counts[1]}"]
    for axis in ("alpha", "beta"):
        lo, hi = (grid.get(axis, {}).get(end) for end in ("lo", "hi"))
        if lo is not None and hi is not None:
            words.append(f"--{axis}={lo:g}:{hi:g}")
    values = _changed(spec, defaults)
    path, data, until = values.pop("path", None), values.pop("data", None), values.pop("until", None)
    for name in ("plane", "grid", "kind"):
        values.pop(name, None)
    if isinstance(path, str):
        words += ["--path", _reference(path)]
    if data:
        words += ["--dataset", str(data)]
    words += _flags(values)
    return [*words, "--until", f"sem={until:g}"] if until is not None else words


def _analysis(spec: Mapping[str, Any]) -> list[str]:
    threshold = spec.get("options", {}).get("threshold")
    words = ["analyze", _reference(str(spec.get("target", "")))]
    return words if threshold in (None, "auto") else [*words, "--threshold", str(threshold)]


def _export(spec: Mapping[str, Any]) -> list[str]:
    return ["export", _reference(str(spec.get("target", ""))), "--format", str(spec.get("format", "npz"))]
