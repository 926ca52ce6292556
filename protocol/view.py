"""The view: what a window or a picture shows, as one tree of frozen structs, with its bounds, names and presets.

The same bytes serve the wire, the session file and the metadata of a PNG, so that a picture can be reopened as the
view that made it. A view never touches measured values; it says how they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from protocol.errors import InputError, unknown_name

Mode = Literal["2d", "3d"]
Metric = Literal["loss", "accuracy", "sem"]
Switch = Literal["auto", "on", "off"]
Theme = Literal["light", "dark"]
Smoothing = Literal["none", "bilinear", "catmull-rom"]
ClipMode = Literal["cut", "plateau"]
Spacing = Literal["auto", "linear", "log", "quantile"]
Projection = Literal["perspective", "orthographic"]
Ink = Literal["auto", "map", "dark", "light"]
Arrange = Literal["side-by-side", "overlay"]

ColorMap = Literal[
    "auto",
    # perceptually uniform
    "lipari",
    "batlow",
    "viridis",
    "magma",
    "inferno",
    "cividis",
    "oslo",
    "lapaz",
    "davos",
    # the seed's, by its names
    "grey",
    "red-blue",
    "rainbow",
]
PathColorMap = Literal["yellow-cyan", "plasma", "grey", "red-blue", "rainbow"]
Preset = Literal["contours-2d", "contours-3d", "contours-air", "mesh", "solid", "heat"]

Finite = Annotated[float, Meta(ge=-1e308, le=1e308)]
Coordinate = Annotated[float, Meta(ge=-50, le=50)]
Point = tuple[Coordinate, Coordinate, Coordinate]  # in the box: half its longer side is 1, the floor is 0


class Camera(Struct, frozen=True, kw_only=True):
    """A turntable around the middle of the box; angles in degrees. In 2d only `zoom` and the shifts are used.

    At azimuth 0 the eye is on the side of low beta and sees alpha grow to the right; it turns counter-clockwise.

    With an automatic target the box fits into the picture from wherever it is seen, and so changes its size as it is
    turned. A camera that a hand has turned has a target: the size stays, at zoom 1 that of the circle around the box.
    """

    azimuth: Annotated[float, Meta(ge=-360, le=360)] | Literal["auto"] = "auto"  # the corner that hides least
    elevation: Annotated[float, Meta(ge=-90, le=90)] | Literal["auto"] = (
        "auto"  # 90 looks down; auto: 35 or what sees in
    )
    zoom: Annotated[float, Meta(ge=0.05, le=100)] = 1.0  # 1 fits the box into the picture
    shift_x: Annotated[float, Meta(ge=-200, le=200)] = 0.0  # of the picture, in half plot widths
    shift_y: Annotated[float, Meta(ge=-200, le=200)] = 0.0
    projection: Projection = "perspective"
    target: Point | Literal["auto"] = "auto"  # what the eye looks straight at; auto: the middle of the box
    pivot: Point | Literal["auto"] = "auto"  # what it turns around; auto: the target


class Contours(Struct, frozen=True, kw_only=True):
    """Which isolines are drawn. `values`, where given, wins over `count` and `spacing`."""

    count: Annotated[int, Meta(ge=1, le=60)] = 16  # about so many: round numbers are preferred
    values: Annotated[tuple[Finite, ...], Meta(max_length=60)] = ()  # in units of the metric
    spacing: Spacing = "auto"  # auto: log where the colours are logarithmic, else linear
    width: Annotated[float, Meta(ge=0.25, le=8)] = 1.25  # pixels at scale 1
    labels: bool = True  # the value, written along major lines
    ink: Ink = "auto"  # auto: dark or light on a filled surface, the colour map's colour otherwise


class Layers(Struct, frozen=True, kw_only=True):
    """What is drawn."""

    surface: bool = True  # filled with the colour map
    mesh: bool = False  # lines through the measured points
    contours: bool = True
    base: bool = False  # a flat copy of the mesh under the raised surface
    box: bool = True
    axes: bool = True
    path: bool = True
    epochs: bool = True  # written beside the path's checkpoints, where there is room
    critical: bool = True  # minima, saddles, maxima, where the surface carries them
    minimum: bool = True  # a mark on the lowest measured point
    colorbar: bool = True
    title: bool = True
    legend: bool = True
    provenance: bool = True


class View(Struct, frozen=True, kw_only=True):
    """Everything that a picture of a surface depends on, beside the surface and the size of the picture."""

    preset: Preset = "contours-3d"  # the preset that this view was made from; the fields below are what counts
    mode: Mode = "3d"
    metric: Metric = "loss"
    theme: Theme = "light"
    camera: Camera = Camera()
    height: Annotated[float, Meta(ge=0, le=10)] = 1.0  # multiplies the height of the raised surface
    light: Annotated[float, Meta(ge=0, le=1)] = 0.6  # strength of the shading; 0 draws pure colours
    clip: Finite | Literal["auto", "off"] = "auto"  # threshold in units of the metric
    clip_mode: ClipMode = "plateau"  # values above the threshold: cut away, or drawn flat at the threshold
    normalise: bool = False  # scales read 0 to 1 from the lowest to the highest value shown
    log_height: Switch = "auto"
    log_color: Switch = "auto"
    colormap: ColorMap = "auto"  # auto: a perceptually uniform one that suits theme and layers
    reverse: bool = False  # turn the colour map around
    path_colormap: PathColorMap = "yellow-cyan"
    path_width: Annotated[float, Meta(ge=0.5, le=12)] = 3.0  # pixels at scale 1
    smoothing: Smoothing = "catmull-rom"  # all pass through the measured values; none: one flat tile a point
    contours: Contours = Contours()
    layers: Layers = Layers()
    title: Annotated[str, Meta(max_length=200)] = ""  # in place of the automatic one
    # Of several surfaces in one picture, which one camera and the fields above serve:
    arrange: Arrange = "side-by-side"  # overlay: two in one box, the second as lines
    shared_scale: bool = True  # one range, one set of levels and one colour bar for all; false: each its own


COLORMAPS: Final[tuple[str, ...]] = get_args(ColorMap)
PATH_COLORMAPS: Final[tuple[str, ...]] = get_args(PathColorMap)

PRESETS: Final[dict[str, View]] = {
    # Every picture of the seed. Each can be drawn with or without path and critical points.
    "contours-2d": View(
        preset="contours-2d", mode="2d", layers=Layers(surface=False, mesh=True), contours=Contours(count=20, ink="map")
    ),
    "contours-3d": View(preset="contours-3d", layers=Layers(base=True)),
    "contours-air": View(
        preset="contours-air",
        layers=Layers(surface=False, base=True),
        contours=Contours(count=24, ink="map", width=1.5, labels=False),
    ),
    "mesh": View(preset="mesh", layers=Layers(surface=False, mesh=True, contours=False)),
    "solid": View(preset="solid", layers=Layers(contours=False)),
    "heat": View(preset="heat", mode="2d", layers=Layers(contours=False)),
}


def preset(name: str) -> View:
    """The view of that name. Raises InputError (`not_found`) that lists the names."""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]


def fields(view: Struct | None = None, prefix: str = "") -> dict[str, Any]:
    """Every settable field by its dotted name, with the value that it has in `view` (default: a plain View)."""
    view = View() if view is None else view
    out: dict[str, Any] = {}
    for name in view.__struct_fields__:
        value = getattr(view, name)
        if isinstance(value, Struct):
            out |= fields(value, f"{prefix}{name}.")
        elif prefix or name != "preset":
            out[prefix + name] = value
    return out


def override(view: View, changes: Mapping[str, Any]) -> View:
    """`view` with some fields changed, by dotted name: {"colormap": "rainbow", "camera.azimuth": "30"}.

    Values may be text, as typed at a terminal, or of the field's own type; lists as "0.1,0.5,2". A key "preset"
    replaces the whole view before the other changes apply. Raises InputError: `not_found` for an unknown field, with
    the nearest known ones, `bad_request` for a value out of bounds.
    """
    changes = dict(changes)
    if "preset" in changes:
        view = preset(str(changes.pop("preset")))
    known = fields()
    for name, value in changes.items():
        if name not in known:
            raise InputError(
                f"view: unknown field '{name}': {_nearest(name, known)}", code="not_found", path=f"$.{name}"
            )
        view = _replace(view, name.split("."), value, name)
    return view


def _replace(node: Any, parts: list[str], value: Any, name: str) -> Any:
    if len(parts) > 1:
        return msgspec.structs.replace(node, **{parts[0]: _replace(getattr(node, parts[0]), parts[1:], value, name)})
    field = next(f for f in msgspec.structs.fields(type(node)) if f.name == parts[0])
    if isinstance(value, str) and "tuple" in str(field.type) and value.strip() != "auto":
        value = value.replace(",", " ").split()
    elif isinstance(value, str) and field.type is not str:
        value = value.strip()
    try:
        converted = msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as e:
        if value in ("nan", "inf", "-inf") or not isinstance(value, str):
            shown = value
        else:
            shown = f"'{value}'"
        raise InputError(f"view.{name}: {_expected(field.type, str(e))}, got {shown}", path=f"$.{name}") from e
    if isinstance(converted, float) and converted != converted:
        raise InputError(f"view.{name}: expected a number, got nan", path=f"$.{name}")
    return msgspec.structs.replace(node, **{parts[0]: converted})


def _expected(kind: Any, said: str) -> str:
    """What a field takes, in words, from its type and bounds; msgspec's own sentence where that says it better."""
    info = msgspec.inspect.type_info(kind)
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    words = []
    for option in options:
        if isinstance(option, msgspec.inspect.LiteralType):
            words += [str(v) for v in option.values]
        elif isinstance(option, (msgspec.inspect.FloatType, msgspec.inspect.IntType)):
            noun = "a number" if isinstance(option, msgspec.inspect.FloatType) else "a whole number"
            wide = option.le is None or option.le > 1e300
            words.append(noun if wide else f"{noun} from {option.ge:g} to {option.le:g}")
        elif isinstance(option, msgspec.inspect.BoolType):
            words += ["true", "false"]
        elif isinstance(option, msgspec.inspect.TupleType):
            words.append(f"{len(option.item_types)} numbers between commas")
        elif isinstance(option, msgspec.inspect.VarTupleType):
            words.append(f"at most {option.max_length} numbers between commas")
        else:
            return said[0].lower() + said[1:]
    return "expected " + (words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}")


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    import difflib  # only for a sentence that is seldom needed

    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    near += [k for k in known if k.split(".")[-1] == name.split(".")[-1] and k not in near]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"expected one of {', '.join(sorted(known))}"
