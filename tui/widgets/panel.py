"""What shows a part of the store: it is asked ten times a second at most whether that part changed, and only where it
is on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from textual.widget import Widget

if TYPE_CHECKING:
    from tui.app import ThalwegApp
    from tui.state import Choice, Store


class Panel(Widget):
    """Say in `areas` what is shown, and draw it in `draw`. Nothing else is needed to be live."""

    drawn: tuple[Any, ...] = ()

    @property
    def thalweg(self) -> ThalwegApp:
        """The app, with its type."""
        return cast("ThalwegApp", self.app)

    @property
    def store(self) -> Store:
        """What is known."""
        return self.thalweg.store

    @property
    def choice(self) -> Choice:
        """What is chosen."""
        return self.thalweg.choice

    def areas(self) -> tuple[str, ...]:
        """The areas of the store that are shown now."""
        return ()

    def draw(self) -> None:
        """Show what the store says."""
        self.refresh()

    def on_mount(self) -> None:
        """Be asked from now on."""
        self.thalweg.panels.add(self)
        self.call_after_refresh(self.flush)

    def on_unmount(self) -> None:
        """Be asked no more."""
        self.thalweg.panels.discard(self)

    def on_show(self) -> None:
        """It came onto the screen: what changed meanwhile is drawn."""
        self.flush()

    def on_resize(self) -> None:
        """Its shape may decide what is drawn."""
        self.flush(force=True)

    def flush(self, *, force: bool = False) -> None:
        """Draw, where what is shown changed."""
        if not self.is_mounted or not self.is_on_screen:
            return
        now = (self.choice, self.app.theme, self.store.version(self.areas()))
        if force or now != self.drawn:
            self.drawn = now
            self.draw()
