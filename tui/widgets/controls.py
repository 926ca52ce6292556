"""Controls for the fields of fields.py: a line of text, a switch, a choice with a filtered list, several ticks.

Each is one row high, tells `Control.Changed` with what it holds, and shows what it is told without telling it again.
Up and down leave it for its neighbour, so that a form is walked through without Tab.
"""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.fields import LONGEST, Choice, Field, Raw

WALK: list[BindingType] = [
    Binding("up", "app.focus_previous", "Previous", show=False),
    Binding("down", "app.focus_next", "Next", show=False),
]


class Changed(Message):
    """A person changed the control of the field at `path`; it holds `raw` now."""

    def __init__(self, path: str, raw: Raw) -> None:
        super().__init__()
        self.path, self.raw = path, raw


class TooLong(Message):
    """So many characters were pasted into the field at `path`; none was taken."""

    def __init__(self, path: str, length: int) -> None:
        super().__init__()
        self.path, self.length = path, length


class Line(Input):
    """A line of text."""

    BINDINGS: ClassVar[list[BindingType]] = WALK
    DEFAULT_CSS = "Line { width: 1fr; }"

    def __init__(self, asked: Field, raw: Raw) -> None:
        super().__init__(str(raw), compact=True, max_length=LONGEST, placeholder=_placeholder(asked))
        self.asked = asked
        self._known = str(raw)

    def show(self, asked: Field, raw: Raw) -> None:
        """Show what the form holds."""
        self.asked, self.placeholder = asked, _placeholder(asked)
        self._known = str(raw)
        if self.value != str(raw):
            with self.prevent(Input.Changed):
                self.value = str(raw)

    def _on_paste(self, event: events.Paste) -> None:
        if len(event.text) > LONGEST:
            event.stop()
            event.prevent_default()
            self.post_message(TooLong(self.asked.path, len(event.text)))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value != self._known:  # Textual tells of the first value too, when the field is mounted
            self._known = event.value
            self.post_message(Changed(self.asked.path, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.app.action_focus_next()


def _placeholder(asked: Field) -> str:
    return f"({asked.empty})" if asked.empty else ""


class Toggle(Widget, can_focus=True):
    """On or off."""

    BINDINGS: ClassVar[list[BindingType]] = [*WALK, Binding("space,enter", "turn", "On or off", show=False)]
    DEFAULT_CSS = """
    Toggle { width: 1fr; height: 1; }
    Toggle:focus { background: $primary 40%; }
    """

    def __init__(self, asked: Field, raw: Raw) -> None:
        super().__init__()
        self.asked, self.on = asked, bool(raw)

    def show(self, asked: Field, raw: Raw) -> None:
        """Show what the form holds."""
        self.asked, self.on = asked, bool(raw)
        self.refresh()

    def render(self) -> Content:
        return Content("● on" if self.on else "○ off")

    def action_turn(self) -> None:
        self.on = not self.on
        self.refresh()
        self.post_message(Changed(self.asked.path, self.on))

    def on_click(self) -> None:
        self.action_turn()


class Pick(Widget, can_focus=True):
    """One of several names: left and right step through them, Enter or a letter opens the list with its filter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *WALK,
        Binding("left", "step(-1)", "Before", show=False),
        Binding("right", "step(1)", "After", show=False),
        Binding("enter,space", "open", "List", show=False),
        Binding("delete,backspace", "empty", "None", show=False),
    ]
    DEFAULT_CSS = """
    Pick { width: 1fr; height: 1; }
    Pick:focus { background: $primary 40%; }
    """

    def __init__(self, asked: Field, raw: Raw) -> None:
        super().__init__()
        self.asked, self.held = asked, str(raw)

    def show(self, asked: Field, raw: Raw) -> None:
        """Show what the form holds."""
        self.asked, self.held = asked, str(raw)
        self.refresh()

    @property
    def chosen(self) -> Choice | None:
        return next((c for c in self.asked.choices if c.value == self.held), None)

    def render(self) -> Content:
        chosen = self.chosen
        words = chosen.text if chosen else self.held or (f"({self.asked.empty})" if self.asked.empty else "-")
        note = f"  {chosen.note}" if chosen and chosen.note else ""
        return Content.assemble(("‹ ", "$text-muted"), words, (" ›", "$text-muted"), (note, "$text-muted"))

    def action_step(self, by: int) -> None:
        names = ([""] if self.asked.optional else []) + [c.value for c in self.asked.choices]
        if names:
            self._take(names[(names.index(self.held) + by) % len(names)] if self.held in names else names[0])

    def action_empty(self) -> None:
        if self.asked.optional:
            self._take("")

    def action_open(self, typed: str = "") -> None:
        self.app.push_screen(PickList(self.asked, self.held, typed), self._chosen)

    def _chosen(self, value: str | None) -> None:
        if value is not None:
            self._take(value)

    def _take(self, value: str) -> None:
        self.held = value
        self.refresh()
        self.post_message(Changed(self.asked.path, value))

    def on_key(self, event: events.Key) -> None:
        if event.character and event.character.isprintable() and event.character != " ":
            event.stop()
            event.prevent_default()
            self.action_open(event.character)

    def on_click(self) -> None:
        self.action_open()


class PickList(ModalScreen[str | None]):
    """The list that a Pick opens: what is typed filters it, Enter takes, Escape leaves it as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Leave", show=False),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("pageup", "move(-10)", show=False, priority=True),
        Binding("pagedown", "move(10)", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    PickList { align: center middle; }
    PickList > Vertical {
        width: 72; max-width: 96%; height: auto; max-height: 90%; background: $surface; border: round $primary;
        padding: 0 1;
    }
    PickList OptionList { height: auto; max-height: 20; border: none; padding: 0; background: $surface; }
    PickList #count { color: $text-muted; height: 1; }
    """

    def __init__(self, asked: Field, held: str, typed: str = "") -> None:
        super().__init__()
        self.asked, self.held, self.typed = asked, held, typed
        self.found: list[Choice] = []

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = self.asked.label
            yield Input(self.typed, placeholder="type to filter", compact=True, select_on_focus=False, max_length=200)
            yield OptionList(markup=False, compact=True)
            yield Static(id="count", markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self._filter(self.typed)
        entry = self.query_one(Input)
        entry.focus()
        entry.cursor_position = len(self.typed)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._filter(event.value)

    def _filter(self, typed: str) -> None:
        options = self.query_one(OptionList)
        nothing = [Choice("", f"({self.asked.empty or 'none'})")] if self.asked.optional else []
        found = [c for c in (*nothing, *self.asked.choices) if c.matches(typed)]
        self.found = sorted(found, key=lambda c: bool(typed) and not c.value.lower().startswith(typed.lower()))
        room = max(8, min(66, self.app.size.width - 8))
        options.clear_options()
        options.add_options([Option(_row(c, room)) for c in self.found])
        at = next((k for k, c in enumerate(self.found) if c.value == self.held), 0)
        options.highlighted = (at if not typed else 0) if self.found else None
        total = len(self.asked.choices) + len(nothing)
        few = f"{len(self.found)} of {total}" if self.found else "nothing of that name"
        self.query_one("#count", Static).update(f"{few} · enter takes · esc leaves")

    def action_move(self, by: int) -> None:
        options = self.query_one(OptionList)
        if self.found:
            options.highlighted = max(0, min(len(self.found) - 1, (options.highlighted or 0) + by))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        options = self.query_one(OptionList)
        if self.found and options.highlighted is not None:
            self.dismiss(self.found[options.highlighted].value)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(self.found[event.option_index].value)


def _row(choice: Choice, width: int) -> Content:
    words = choice.text
    note = choice.note
    room = width - cell_len(words) - 2
    if cell_len(note) > room:
        note = note[: max(0, room - 1)] + "…" if room > 6 else ""
    return Content.assemble(words, (f"  {note}", "$text-muted")) if note else Content(words)


class Ticks(Widget, can_focus=True):
    """Any of several names: left and right move, space ticks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *WALK,
        Binding("left", "move(-1)", show=False),
        Binding("right", "move(1)", show=False),
        Binding("space,enter", "tick", "Tick", show=False),
    ]
    DEFAULT_CSS = """
    Ticks { width: 1fr; height: 1; }
    Ticks:focus { background: $primary 40%; }
    """

    def __init__(self, asked: Field, raw: Raw) -> None:
        super().__init__()
        self.asked, self.held, self.at = asked, _names(raw), 0

    def show(self, asked: Field, raw: Raw) -> None:
        """Show what the form holds."""
        self.asked, self.held = asked, _names(raw)
        self.refresh()

    def render(self) -> Content:
        parts: list[tuple[str, str]] = []
        for k, choice in enumerate(self.asked.choices):
            mark = "[x]" if choice.value in self.held else "[ ]"
            style = "underline" if self.has_focus and k == self.at else ""
            parts += [(f"{mark} {choice.text}", style), ("  ", "")]
        return Content.assemble(*parts) if parts else Content("-")

    def action_move(self, by: int) -> None:
        if self.asked.choices:
            self.at = (self.at + by) % len(self.asked.choices)
            self.refresh()

    def action_tick(self) -> None:
        if not self.asked.choices:
            return
        name = self.asked.choices[self.at].value
        on = set(self.held) ^ {name}
        self.held = tuple(c.value for c in self.asked.choices if c.value in on)
        self.refresh()
        self.post_message(Changed(self.asked.path, self.held))

    def on_click(self, event: events.Click) -> None:
        start = 0
        for k, choice in enumerate(self.asked.choices):
            end = start + 4 + cell_len(choice.text)
            if start <= event.x < end:
                self.at = k
                self.action_tick()
            start = end + 2


def _names(raw: Raw) -> tuple[str, ...]:
    return tuple(raw) if isinstance(raw, tuple) else tuple(str(raw).split())


Control = Line | Toggle | Pick | Ticks


def control(asked: Field, raw: Raw) -> Control:
    """The right control for a field."""
    kinds: dict[str, type[Control]] = {"switch": Toggle, "choice": Pick, "many": Ticks}
    return kinds.get(asked.kind, Line)(asked, raw)


class Row(Vertical):
    """A field's label, control and hint in a line, and what is wrong with it under it."""

    DEFAULT_CSS = """
    Row { height: auto; }
    Row > .heading { height: 1; margin-top: 1; color: $primary; text-style: bold; }
    Row > Horizontal { height: 1; }
    Row .label { width: 18; }
    Row .hint { width: auto; max-width: 30; color: $text-muted; padding-left: 1; }
    Row > .wrong { color: $text-error; height: auto; padding-left: 18; display: none; }
    Row.-wrong > .wrong { display: block; }
    Row.-wrong .label { color: $text-error; }
    Row:first-child > .heading { margin-top: 0; }
    Row.-tight .hint { display: none; }
    """

    def __init__(self, asked: Field, raw: Raw, heading: str = "") -> None:
        super().__init__()
        self.asked, self.heading = asked, heading
        self.control = control(asked, raw)
        self.wrong = ""
        self._line: Static | None = None

    def compose(self) -> ComposeResult:
        if self.heading:
            yield Static(self.heading, classes="heading", markup=False)
        with Horizontal():
            yield Static(self.asked.label or self.asked.path, classes="label", markup=False)
            yield self.control
            if hint := self.asked.hint():
                yield Static(hint, classes="hint", markup=False)

    def show(self, asked: Field, raw: Raw) -> None:
        """Show what the form holds."""
        self.asked = asked
        self.control.show(asked, raw)

    def say(self, wrong: str) -> None:
        """Show what is wrong with it; an empty sentence: nothing is."""
        if wrong == self.wrong or not self.is_mounted:
            return
        self.wrong = wrong
        self.set_class(bool(wrong), "-wrong")
        if self._line is None:  # made when it is first needed: a form has many rows
            self._line = Static(classes="wrong", markup=False)
            self.mount(self._line)
        self._line.update(f"✗ {wrong}" if wrong else "")
