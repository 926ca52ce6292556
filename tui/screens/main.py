"""The main screen: the list, the tabs, the picture. What is beside what depends on the width alone.

120 columns and more   list | tab | picture
80 to 119              list | tab, the picture under the Surface tab
below 80               one pane; the list is a tab too
below 40 x 10          one line
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.events import Hide, Key, Resize
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from tui.widgets.head import Banner, Head, KeyBar, Latest, Tiny
from tui.widgets.lines import Lines
from tui.widgets.panel import Panel
from tui.widgets.sidebar import Sidebar
from tui.widgets.tabbar import TABS, TabBar

if TYPE_CHECKING:
    from tui.app import ThalwegApp


def _make(tab: str) -> Panel:
    """The panel of a tab, made when it is first shown: its module is not imported before."""
    makers: dict[str, Callable[[], Panel]] = {
        "Train": _train, "Plane": _plane, "Surface": _surface, "Analysis": _analysis, "View": _view, "Log": _log,
    }  # fmt: skip
    return makers[tab]()


def _train() -> Panel:
    from tui.widgets.train_panel import TrainPanel

    return TrainPanel(id="train", classes="tab")


def _plane() -> Panel:
    from tui.widgets.plane_panel import PlanePanel

    return PlanePanel(id="plane", classes="tab")


def _surface() -> Panel:
    from tui.widgets.surface_panel import SurfacePanel

    return SurfacePanel(id="surface", classes="tab")


def _analysis() -> Panel:
    from tui.widgets.analysis_panel import AnalysisPanel

    return AnalysisPanel(id="analysis", classes="tab")


def _view() -> Panel:
    from tui.widgets.view_panel import ViewPanel

    return ViewPanel(id="view", classes="tab")


def _log() -> Panel:
    from tui.widgets.log_panel import LogPanel

    return LogPanel(id="log", classes="tab")


class Filter(Input):
    """The words to filter by. A late word that it is hidden, of the layout before it was shown, costs it no focus."""

    def _on_hide(self, event: Hide) -> None:
        if self.display:
            event.prevent_default()


class MainScreen(Screen[None]):
    """Everything at once, as far as there is room."""

    AUTO_FOCUS = "#sidebar"
    BINDINGS: ClassVar[list[BindingType]] = [  # not Textual's
        Binding("tab", "app.do('pane')", show=False, id="pane"),
        Binding("shift+tab", "app.do('pane before')", show=False, id="pane before"),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-thin"), (40, "-one"), (80, "-two"), (120, "-three")]  # noqa: RUF012 - as Textual has it
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (10, "-tall")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.tab = TABS[0]
        self.on_list = True  # with one pane: whether that is the list

    def compose(self) -> ComposeResult:
        """The lines, and between them the panes."""
        yield Tiny(id="tiny")
        yield Head(id="head")
        yield Banner(id="banner")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield Filter(id="filter", placeholder="filter: words of a name, id, model, state", compact=True)
                yield Sidebar(id="sidebar")
            with Vertical(id="work"):
                yield TabBar(id="tabs")
                yield Container(Vertical(id="pane"), id="panes")
        yield Latest(id="latest")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """The first tab is made after the first paint."""
        self.query_one("#filter").display = False
        self.call_after_refresh(self.show_tab, self.tab)

    @property
    def thalweg(self) -> ThalwegApp:
        """The app, with its type."""
        return cast("ThalwegApp", self.app)

    @property
    def sidebar(self) -> Sidebar:
        """The list."""
        return self.query_one(Sidebar)

    @property
    def one_pane(self) -> bool:
        """Whether there is room for one pane only."""
        return self.size.width < 80

    def on_resize(self) -> None:
        """The width may have changed what is beside what."""
        self.lay_out()

    def on_screen_resume(self) -> None:
        """The terminal may have changed while another screen was over this one: Textual tells it the size then, but
        sets the classes of its breakpoints only on the screen in front."""
        self.post_message(Resize.from_dimensions(self.app.size, None))

    # ------------------------------------------------------------ tabs

    def show_tab(self, tab: str, *, focus: bool = False) -> None:
        """Bring a tab onto the screen."""
        self.tab = tab
        if focus:
            self.on_list = False
        panes = self.query_one("#pane", Vertical)
        wanted = tab.lower()
        if not panes.query(f"#{wanted}"):
            panes.mount(_make(tab))
        if tab == "Surface" or self.size.width >= 120:
            self._with_picture()
        for child in panes.children:
            child.display = child.id == wanted
        self.lay_out()
        if focus:
            self.call_after_refresh(self._focus_tab)
        self.thalweg.looked()

    def _with_picture(self) -> None:
        if not self.query("#picture"):
            from tui.widgets.preview_pane import PreviewPane

            self.query_one("#panes").mount(PreviewPane(id="picture"))

    def _focus_tab(self) -> None:
        """Give the keys to what they move in this tab: the picture, a table, controls. A text that is all to be seen
        takes none, so that the next arrow goes on in the list."""
        for panel in self.query(f"#{self.tab.lower()}"):
            places = [panel, *panel.query("*")]
            if self.tab == "Surface":
                places = [w for picture in self.query("#picture") for w in picture.query("*")] + places
            able = [w for w in places if w.can_focus and w.display]
            first = next((w for w in able if not isinstance(w, Lines) or w.moves), None)
            if first is None and self.one_pane:
                first = next(iter(able), None)
            if first is not None:
                first.focus()
            elif not self.one_pane:
                self.sidebar.focus()

    def step_tab(self, by: int) -> None:
        """The next tab, or the one before."""
        self.show_tab(TABS[(TABS.index(self.tab) + by) % len(TABS)], focus=self.on_list is False)

    def lay_out(self) -> None:
        """Show what there is room for."""
        width = self.size.width
        one = self.one_pane
        self.query_one("#left").display = not one or self.on_list
        self.query_one("#work").display = not one or not self.on_list
        if width >= 120 and self.is_mounted:
            self._with_picture()
        for picture in self.query("#picture"):
            picture.display = self.tab == "Surface" or width >= 120
        self.set_class(self.tab == "Surface" and width < 120, "-stacked")
        tabs = self.query_one(TabBar)
        tabs.set(self.tab, listing=one, on_list=False)

    def show_list(self) -> None:
        """Back to the list."""
        self.on_list = True
        self.lay_out()
        self.sidebar.focus()

    def on_key(self, event: Key) -> None:
        """Letters typed so fast after the filter's key that they still went to the list belong into the filter."""
        field = self.query_one("#filter", Input)
        if self.focused is field and event.is_printable and event.character:
            field.insert_text_at_cursor(event.character)
            event.stop()

    def on_descendant_focus(self) -> None:
        """Say who has the keys."""
        self.query_one(TabBar).set_active(self.focused is not self.sidebar)
        self.query_one(KeyBar).refresh()

    def place(self) -> str:
        """Who has the keys: `list`, `tab` or `picture`."""
        if self.focused is None or self.focused is self.sidebar:
            return "list"
        return "picture" if any(picture in self.focused.ancestors for picture in self.query("#picture")) else "tab"

    def on_descendant_blur(self) -> None:
        """Something has the focus as long as this screen is there: keys must not go where nobody looks."""
        self.call_after_refresh(self._refocus)

    def _refocus(self) -> None:
        if self.focused is not None or not self.is_current or not self.app.app_focus:
            return
        field = self.query_one("#filter", Input)
        if field.display:
            field.focus()
        elif self.query_one("#left").display:
            self.sidebar.focus()
        else:
            self._focus_tab()

    def _stops(self) -> list[tuple[str, Widget]]:
        """Where the keys can go: (`list`, `tab` or `picture`, what takes them there)."""
        stops: list[tuple[str, Widget]] = [("list", self.sidebar)]
        for panel in (*self.query(f"#{self.tab.lower()}"), *self.query("#picture")):
            able = [w for w in (panel, *panel.query("*")) if w.can_focus and w.display]
            first = next((w for w in able if not isinstance(w, Lines) or w.moves or self.one_pane), None)
            if panel.display and first is not None:
                stops.append(("picture" if panel.id == "picture" else "tab", first))
        return stops

    def _stop(self, by: int) -> tuple[str, Widget]:
        stops, place = self._stops(), self.place()
        here = next((k for k, (name, _) in enumerate(stops) if name == place), 0)
        return stops[(here + by) % len(stops)]

    def pane_after(self) -> str:
        """The pane that Tab gives the keys to, for the footer; "" where there is no other."""
        name = self._stop(1)[0]
        return "" if name == self.place() else f"→ {'panel' if name == 'tab' else name}"

    def next_pane(self, by: int = 1) -> None:
        """From the list to the tab, to the picture, and back; the other way round with -1."""
        name, target = self._stop(by)
        if name == "list":
            self.show_list()
            return
        self.on_list = False
        self.lay_out()
        target.focus()

    @on(TabBar.Picked)
    def _picked(self, message: TabBar.Picked) -> None:
        self.thalweg.taken()
        if message.tab:
            self.show_tab(message.tab, focus=True)
        else:
            self.show_list()

    # ------------------------------------------------------------ the list

    @on(Sidebar.Chosen)
    def _chosen(self, message: Sidebar.Chosen) -> None:
        self.thalweg.choose(message.kind, message.id)
        if message.entered:
            self.enter(message.kind)

    def enter(self, kind: str) -> None:
        """Go to the tab of this kind of thing."""
        job = self.thalweg.store.jobs.get(self.thalweg.choice.job)
        by_job = {"train": "Train", "plane": "Plane", "surface": "Surface", "analysis": "Analysis"}
        tab = {
            "run": "Train", "plane": "Plane", "surface": "Surface", "window": "View",
            "job": by_job.get(job.kind, "Log") if job is not None and job.state != "failed" else "Log",
        }[kind]  # fmt: skip
        self.show_tab(tab, focus=True)

    def ask_filter(self) -> None:
        """Let a person type words to filter by."""
        self.on_list = True
        self.lay_out()
        field = self.query_one("#filter", Input)
        field.display = True
        self.set_focus(field)

    @on(Input.Changed, "#filter")
    def _filter(self, event: Input.Changed) -> None:
        self.sidebar.filter(event.value)

    @on(Input.Submitted, "#filter")
    def _filtered(self) -> None:
        self.query_one("#filter").display = bool(self.query_one("#filter", Input).value)
        self.sidebar.focus()

    def key_escape(self) -> None:
        """Leave the filter, or go back to the list."""
        field = self.query_one("#filter", Input)
        if field.display:
            field.value = ""
            field.display = False
            self.sidebar.filter("")
            self.set_focus(self.sidebar)
        elif self.focused is not self.sidebar or (self.one_pane and not self.on_list):
            self.show_list()
