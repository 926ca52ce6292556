"""One field of a form: what it takes, how that is typed and shown, and the sentence for what it does not take.

Fields come from JSON Schema, of a struct of protocol/ (`msgspec.json.schema`) or of options in the daemon's catalogue,
so that a terminal without torch offers every entry with its bounds. Pure: no terminal, no socket.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import Struct

from protocol.errors import InputError

Kind = Literal["switch", "choice", "many", "integer", "number", "text", "pairs", "numbers"]
Raw = str | bool | tuple[str, ...]
"""What a control holds: a text, a switch's state, or the names that are ticked."""

LONGEST = 4096  # characters of one field; a paste of more is refused as a whole
SHOWN = 40  # characters of wrong input in a sentence
LABELS = {
    "lr": "learning rate",
    "dataset": "data set",
    "data": "data set",
    "batch_norm": "batch norm",
    "image_size": "image size",
    "checkpoint_every": "checkpoint every",
    "colormap": "colour map",
    "path_colormap": "path colours",
    "log_color": "log colours",
    "clip": "clip at",
}


@dataclass(frozen=True)
class Choice:
    """One thing to choose: the value, the words that a person reads, and a remark beside them."""

    value: str
    words: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        return self.words or self.value

    def matches(self, typed: str) -> bool:
        """Whether every word of `typed` is somewhere in it."""
        whole = f"{self.value} {self.words} {self.note}".lower()
        return all(word in whole for word in typed.lower().split())


@dataclass(frozen=True)
class Field:
    """What stands at `path` of a spec (`recipe.lr`). `words`: names that are taken in place of a number. Bounds are
    inclusive but for `above` and `below`."""

    path: str
    kind: Kind
    label: str = ""
    default: Any = None
    optional: bool = False
    help: str = ""
    group: str = ""
    choices: tuple[Choice, ...] = ()
    words: tuple[str, ...] = ()
    lo: float | None = None
    hi: float | None = None
    above: float | None = None
    below: float | None = None
    longest: int | None = None
    pattern: str | None = None
    most: int | None = None  # things in a list
    empty: str = ""  # what no text means, in words
    none: str = ""  # the sentence where there is nothing to choose

    def but(self, **changes: Any) -> Field:
        """This field with something changed."""
        return dataclasses.replace(self, **changes)

    # ------------------------------------------------------------ values

    def read(self, raw: Raw) -> Any:
        """The value of what a control holds. Raises InputError: what was expected, what came."""
        if self.kind == "switch":
            return bool(raw)
        if self.kind == "many":
            names = tuple(raw) if isinstance(raw, tuple) else tuple(str(raw).replace(",", " ").split())
            return tuple(self._known(n) for n in names)
        text = str(raw).strip()
        if len(text) > LONGEST:
            raise self._wrong(f"at most {LONGEST:,} characters", f"{len(text):,}")
        if not text and self.kind != "pairs":
            if self.optional or (self.kind == "numbers"):
                return None if self.optional else ()
            if self.kind == "text" and re.search(self.pattern or "", ""):
                return ""
            if self.none and not self.choices:
                raise InputError(self.none, path=f"$.{self.path}")
            raise self._wrong(self.expected(), "nothing")
        match self.kind:
            case "choice":
                return self._known(text)
            case "integer" | "number":
                return text if text in self.words else self._number(text)
            case "numbers":
                return text if text in self.words else self._numbers(text)
            case "pairs":
                return self._pairs(text)
        if self.longest is not None and len(text) > self.longest:
            raise self._wrong(f"at most {self.longest} characters", f"{len(text)}")
        if self.pattern is not None and not re.search(self.pattern, text):
            raise self._wrong(self.expected(), _quoted(text))
        return text

    def show(self, value: Any) -> Raw:
        """What a control holds for this value; `read` gives the value back."""
        if self.kind == "switch":
            return bool(value)
        if self.kind == "many":
            return tuple(value or ())
        if value is None:
            return ""
        if self.kind == "pairs":
            return " ".join(f"{k}={plain(v)}" for k, v in dict(value).items())
        if self.kind == "numbers" and not isinstance(value, str):
            return ", ".join(number(v) for v in value)
        return number(value) if isinstance(value, float) else str(value)

    def _known(self, text: str) -> str:
        if any(c.value == text for c in self.choices):
            return text
        near = [c.value for c in self.choices if c.value.lower() == text.lower()]
        if len(near) == 1:
            return near[0]
        raise self._wrong(self.expected(), _quoted(text))

    def _number(self, text: str) -> int | float:
        try:
            value = int(text) if self.kind == "integer" else float(text)
        except ValueError:
            raise self._wrong(self.expected(), _quoted(text)) from None
        low = (self.lo is not None and value < self.lo) or (self.above is not None and value <= self.above)
        high = (self.hi is not None and value > self.hi) or (self.below is not None and value >= self.below)
        if low or high or not math.isfinite(value):
            raise self._wrong(self.expected(), _quoted(text))
        return value

    def _numbers(self, text: str) -> tuple[float, ...]:
        words = text.replace(",", " ").split()
        if self.most is not None and len(words) > self.most:
            raise self._wrong(f"at most {self.most} numbers", f"{len(words)}")
        one = self.but(kind="number")
        return tuple(float(one._number(w)) for w in words)

    def _pairs(self, text: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for word in text.split():
            name, equals, value = word.partition("=")
            if not (name and equals):
                raise self._wrong("NAME=VALUE between spaces", _quoted(word))
            out[name] = decoded(value)
        return out

    # ------------------------------------------------------------ words

    def expected(self) -> str:
        """What it takes, as in "expected ..."."""
        match self.kind:
            case "choice" | "many":
                names = [c.value for c in self.choices]
                if not names:
                    return f"a {self.label or self.path}; there is none yet"
                if len(names) > 8:
                    return f"one of {len(names)} names, as {', '.join(names[:3])}"
                return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
            case "integer" | "number":
                noun = "a whole number" if self.kind == "integer" else "a number"
                return " or ".join([noun + self._bounds(), *self.words])
            case "numbers":
                return " or ".join(["numbers between commas", *self.words])
            case "pairs":
                return "NAME=VALUE between spaces"
        return "a file's name" if self.pattern and "/" in self.pattern else "text"

    def _bounds(self) -> str:
        lo, hi = self.lo, self.hi
        if lo is not None and hi is not None and abs(hi) < 1e15 and self.above is None and self.below is None:
            return f" from {number(lo)} to {number(hi)}"
        parts = []
        if self.above is not None:
            parts.append(f"over {number(self.above)}")
        elif lo is not None and abs(lo) < 1e15:
            parts.append(f"of at least {number(lo)}")
        if self.below is not None:
            parts.append(f"below {number(self.below)}")
        elif hi is not None and abs(hi) < 1e15:
            parts.append(f"at most {number(hi)}")
        return " " + " and ".join(parts) if parts else ""

    def hint(self) -> str:
        """The range, for beside the control."""
        if self.kind in ("switch", "many"):
            return ""
        said = ""
        if self.kind in ("integer", "number"):
            lo = f"> {number(self.above)}" if self.above is not None else number(self.lo) if self.lo is not None else ""
            hi = f"< {number(self.below)}" if self.below is not None else number(self.hi) if self.hi is not None else ""
            if hi and len(hi) > 12:
                hi = ""
            if lo and hi:
                said = f"{lo} to {hi}" if self.above is None else f"{lo}, {hi}"
            else:
                said = (f"{lo} or more" if self.above is None else lo) if lo else hi
            said = " or ".join([s for s in (said, *self.words) if s])
        return said

    def _wrong(self, expected: str, got: str) -> InputError:
        return InputError(f"expected {expected}, got {got}", path=f"$.{self.path}")


def _quoted(text: str) -> str:
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return "'" + "".join(c if c.isprintable() else "?" for c in shown) + "'"


def number(value: float) -> str:
    """A number as a person types it: 0.0005, 25, 1e-05. Reads back as the same number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def plain(value: Any) -> str:
    """A value of NAME=VALUE, as `flags.pairs` and `decoded` read it back."""
    if isinstance(value, str) and decoded(value) == value:
        return value
    return msgspec.json.encode(value).decode()


def decoded(text: str) -> Any:
    """What VALUE of NAME=VALUE means: JSON where it is JSON, else the text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def label_of(name: str) -> str:
    """What a person calls a field of that name."""
    return LABELS.get(name, name.replace("_", " "))


# ---------------------------------------------------------------- from JSON Schema


def of_struct(struct: type[Struct], prefix: str = "", help: Mapping[str, str] | None = None) -> list[Field]:
    """The fields of a struct of protocol/, nested structs flattened: `grid.alpha.count`."""
    return of_schema(msgspec.json.schema(struct), prefix, help)


def of_schema(schema: Mapping[str, Any], prefix: str = "", help: Mapping[str, str] | None = None) -> list[Field]:
    """The fields of an object's schema, in its order. What a form cannot offer (an object of its own) is flattened."""
    definitions = schema.get("$defs", {})

    def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node:
            found = definitions.get(str(node["$ref"]).rpartition("/")[2], {})
            node = {**found, **{k: v for k, v in node.items() if k != "$ref"}}
        return node

    def walk(node: Mapping[str, Any], prefix: str) -> Iterable[Field]:
        for name, said in resolved(node).get("properties", {}).items():
            if name == "kind" and "enum" in said and len(said["enum"]) == 1:
                continue  # the tag of a spec
            part = resolved(said)
            if part.get("properties"):
                yield from walk(part, f"{prefix}{name}.")
            else:
                yield _field(prefix + name, name, part, resolved, (help or {}).get(name, ""))

    return list(walk(schema, prefix))


def _field(
    path: str,
    name: str,
    node: Mapping[str, Any],
    resolved: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    help: str,
) -> Field:
    options = [resolved(o) for o in node.get("anyOf", [node])]
    optional = any(o.get("type") == "null" for o in options)
    options = [o for o in options if o.get("type") != "null"]
    names = [str(v) for o in options for v in o.get("enum", ())]
    made = Field(
        path=path, kind="text", label=label_of(name), default=node.get("default"), optional=optional, help=help
    )
    kinds = {o.get("type") for o in options}
    main = next((o for o in options if o.get("type") in ("integer", "number")), options[0] if options else {})
    if kinds & {"integer", "number"}:
        return made.but(
            kind="number" if "number" in kinds else "integer",
            words=tuple(names),
            lo=main.get("minimum"),
            hi=main.get("maximum"),
            above=main.get("exclusiveMinimum"),
            below=main.get("exclusiveMaximum"),
        )
    if names and len(options) == 1:
        return made.but(kind="choice", choices=tuple(Choice(n) for n in names))
    if main.get("type") == "boolean":
        return made.but(kind="switch", default=bool(made.default))
    array = next((o for o in options if o.get("type") == "array"), {})
    inner = next((o for o in (array.get("items"), *array.get("prefixItems", ())) if isinstance(o, Mapping)), {})
    inner = resolved(inner)
    if inner.get("type") == "number":
        return made.but(
            kind="numbers",
            words=tuple(names),
            most=array.get("maxItems"),
            lo=inner.get("minimum"),
            hi=inner.get("maximum"),
            default=made.default if isinstance(made.default, str) else tuple(made.default or ()),
        )
    if main.get("type") == "array" and "string" not in kinds:
        return made.but(kind="many", default=tuple(made.default or ()))
    if main.get("type") == "object":
        return made.but(kind="pairs", default=dict(made.default or {}))
    return made.but(longest=main.get("maxLength"), pattern=main.get("pattern"))
