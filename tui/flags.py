"""Flags from spec structs, and specs from flags. The struct in protocol/messages.py is the one statement of names,
types, bounds and defaults; here stands only what a person reads beside each flag.

`derive(Recipe)` is a dataclass for cyclopts with one optional field for each field of the struct: None means "not
typed", so that a preset or the struct's own default holds. `build(...)` hands what was typed to msgspec, which checks
the bounds, and turns its complaint into a sentence that names the flag.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from cyclopts import Group, Parameter
from msgspec import Struct

from protocol.errors import InputError
from protocol.messages import Execution, Recipe, SurfaceSpec

HELP: dict[type[Struct], dict[str, str]] = {
    Recipe: {
        "model": "Network to train: a torchvision classifier (resnet50, vgg11, ...) or a CIFAR network of Li et al. "
        "(resnet20, resnet56_noshort, ...). A wrong name lists them all.",
        "model_options": "Option of the model, as NAME=VALUE; may be repeated.",
        "pretrained": "Start from the weights that come with torchvision, where their file is present.",
        "dataset": "Data set: digits, fashion-mnist, mnist, cifar10, cifar100; see `thalweg data list`.",
        "image_size": "Side in pixels to resize images to; by default they keep their own size.",
        "augmentation": "`standard`: random crop and flip while training.",
        "optimizer": "Optimiser.",
        "lr": "Learning rate at the start.",
        "momentum": "Momentum of SGD, first beta of AdamW.",
        "nesterov": "Nesterov momentum.",
        "weight_decay": "Weight decay.",
        "schedule": "How the learning rate falls; `step`: to a tenth at 1/2 and 3/4 of the epochs.",
        "batch_size": "Samples a step.",
        "epochs": "Sweeps over the training split.",
        "seed": "Seed of the initial weights and of the order of samples.",
        "precision": "Arithmetic of the training.",
        "checkpoint_every": "Also save weights every so many steps; those before the first step and after each epoch "
        "are always saved.",
    },
    SurfaceSpec: {
        "split": "Split to measure on; `train` is the loss that was descended.",
        "limit": "Measure on a seeded sample of so many images instead of the whole split.",
        "seed": "Seed of the sample and of the order of samples.",
        "data": "Data set to measure on; by default the one the network was trained on.",
        "loss": "Loss function.",
        "metrics": "Metric to measure; may be repeated.",
        "batch_norm": "`frozen`: the centre's running statistics. `batch`: statistics of each batch. `recalibrate`: "
        "estimated anew at every grid point.",
        "calibration": "Training images for `--batch-norm recalibrate`.",
        "precision": "Arithmetic; anything but fp32 records how far it deviates.",
        "passes": "`grow` shows the whole surface early from few images, then refines it to the exact mean; a number: "
        "so many sweeps.",
        "until": "With several passes: stop as soon as no point's standard error is above this, as sem=0.01.",
    },
    Execution: {
        "device": "Device to compute on; by default cuda, else mps, else cpu.",
        "threads": "CPU threads; by default one for each core.",
        "batch_size": "Samples evaluated at once; does not change the result.",
        "channels_last": "Memory layout of images on the device.",
    },
}

# Fields that hold several things are typed one at a time.
REPEATED = {"model_options": "model_option", "metrics": "metric"}

EXECUTION = Group("Execution", sort_key=50)

S = TypeVar("S")


def derive(
    struct: type[Struct],
    *,
    only: Iterable[str] | None = None,
    leave_out: Iterable[str] = (),
    group: Group | None = None,
) -> Any:
    """A dataclass with an optional field for each field of `struct`, annotated for cyclopts."""
    fields: list[tuple[str, Any, Any]] = []
    chosen = None if only is None else set(only)
    for field in msgspec.structs.fields(struct):
        if field.name in set(leave_out) or (chosen is not None and field.name not in chosen):
            continue
        kind = str if field.name in READ else typed_at_a_terminal(field.type)
        extra: dict[str, Any] = {"help": HELP[struct].get(field.name, ""), "show_default": _default_text(field)}
        if kind == list[str]:
            extra |= {"negative": (), "name": flag_of(field.name)}
        if group:
            extra["group"] = group
        fields.append((field.name, Annotated[Union[kind, None], Parameter(**extra)], None))  # noqa: UP007 - built
    made = dataclasses.make_dataclass(f"{struct.__name__}Flags", fields, frozen=True, kw_only=True)
    made.__module__ = __name__  # cyclopts takes classes of the module `types` for builtins
    return Parameter(name="*")(made)


def typed_at_a_terminal(annotation: Any) -> Any:
    """The type that the command line parses for a field: bounds taken off (msgspec checks them afterwards), lists and
    maps as repeated text."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        kinds = [typed_at_a_terminal(a) for a in get_args(annotation) if a is not type(None)]
        if len(kinds) == 1:
            return kinds[0]
        return str  # `grow` or a number: msgspec tells them apart
    if origin in (dict, tuple) or annotation in (dict, tuple):
        return list[str]
    if origin is Literal:
        return annotation
    return annotation


def _default_text(field: msgspec.structs.FieldInfo) -> Any:
    default = field.default
    if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    if default is None or default is False or default is msgspec.NODEFAULT or default == {}:
        return False
    text = ", ".join(default) if isinstance(default, tuple) else f"{default:g}" if _is_float(default) else str(default)
    return lambda _typed: text


def _is_float(value: Any) -> bool:
    return isinstance(value, float)


def given(flags: Any) -> dict[str, Any]:
    """What was typed, by field name; `NAME=VALUE` texts as a dict where the field is one."""
    if flags is None:
        return {}
    out = {f.name: getattr(flags, f.name) for f in dataclasses.fields(flags)}
    out = {name: value for name, value in out.items() if value is not None}
    if "model_options" in out:
        out["model_options"] = pairs(out["model_options"], "--model-option")
    for name in READ.keys() & out.keys():
        out[name] = READ[name](out[name])
    if "passes" in out and str(out["passes"]).lstrip("-").isdigit():
        out["passes"] = int(out["passes"])
    return out


def until(text: str) -> float:
    """`sem=0.01`, or the number alone."""
    name, equals, value = text.rpartition("=")
    try:
        if equals and name != "sem":
            raise ValueError
        return float(value)
    except ValueError as e:
        raise InputError(f"--until: expected sem=NUMBER, as sem=0.01; got '{text}'") from e


# Fields that are typed in a form of their own.
READ: dict[str, Callable[[str], Any]] = {"until": until}


def pairs(texts: Sequence[str], flag: str) -> dict[str, Any]:
    """`["width=4", "shortcuts=false"]` -> {"width": 4, "shortcuts": False}."""
    out: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"{flag}: expected NAME=VALUE, got '{text}'")
        try:
            out[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            out[name] = value
    return out


def build(type_: type[S], base: S | None, changes: Mapping[str, Any], flags: Mapping[str, str] | None = None) -> S:
    """A struct from `base` (default: the struct's own defaults) with `changes`, checked against its bounds.

    Raises InputError that names the flag of the field at fault. `flags` maps field paths (`grid.alpha.count`) to
    flags where they are not simply the field's name.
    """
    _no_nan(changes, "$", flags)
    tree = {} if base is None else msgspec.to_builtins(base)
    try:
        return msgspec.convert({**tree, **changes}, type_)
    except msgspec.ValidationError as e:
        text, _, where = str(e).partition(" - at `")
        path = where.rstrip("`") or "$"
        value: Any = changes
        for part in path.removeprefix("$").strip(".").split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        got = "" if value is None or ", got" in text else f", got {value}"
        raise InputError(f"{flag_of(path, flags)}: {_in_words(text)}{got}", path=path) from e


def flag_of(path: str, flags: Mapping[str, str] | None = None) -> str:
    """The flag of a field: `$.recipe.weight_decay` -> `--weight-decay`."""
    inner = path.removeprefix("$").strip(".")
    for prefix in ("", "recipe.", "spec."):
        short = inner.removeprefix(prefix)
        if flags and short in flags:
            return flags[short]
    name = inner.split(".")[-1].split("[")[0]
    return "--" + REPEATED.get(name, name).replace("_", "-")


# Words of the library's sentences that mean a field.
SPOKEN = {"data set": "dataset", "recipe.dataset": "dataset"}


def name_the_flag(msg: str, typed: Sequence[str]) -> str:
    """The worker's `model: expected ...` as `--model: expected ...`, where --model is what was typed."""
    head, colon, rest = msg.partition(": ")
    flag = flag_of(SPOKEN.get(head, head.replace(" ", "_")))
    if colon and any(t == flag or t.startswith(flag + "=") for t in typed):
        return f"{flag}: {rest}"
    return msg


def _no_nan(node: Any, path: str, flags: Mapping[str, str] | None) -> None:
    """msgspec lets NaN through a bounded float."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            _no_nan(value, f"{path}.{name}", flags)
    elif isinstance(node, float) and not math.isfinite(node):
        raise InputError(f"{flag_of(path, flags)}: expected a finite number, got {node}", path=path)


def _in_words(text: str) -> str:
    """msgspec's sentence for a person: `Expected `float` > 0.0` -> `expected a number > 0`."""
    for code, words in (
        ("`float`", "a number"),
        ("`int`", "a whole number"),
        ("`str`", "text"),
        ("`bool`", "yes or no"),
    ):
        text = text.replace(code, words)
    text = text.replace(">= ", "of at least ").replace("<= ", "of at most ")
    text = text.replace("> ", "over ").replace("< ", "below ").replace(".0", "")
    return text[:1].lower() + text[1:]
