"""A form on the screen: a thin skin over forms.Form. It asks for an estimate while a person pauses, submits, and shows
what is refused at the field that is meant. Its result are the jobs, or None where it was left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

import msgspec
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Button, Static

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.requests import Catalogue, EstimateReply, JobGet, JobInfo, Submitted
from tui import progress
from tui.forms import FORMS, ExportForm, Form, ImportForm, Known, again, known
from tui.widgets.controls import Changed, Row, TooLong

PAUSE_S = 0.6  # without a change, before an estimate is asked
LONG_S = 120.0  # a worker may have to start, and to time the first steps


class Daemon(Protocol):
    """What a form needs of the app's hub, or of a client (protocol.async_client.AsyncClient)."""

    async def request(self, request: Any, *, timeout_s: float = ...) -> Any: ...
    async def submit(self, *jobs: Any) -> tuple[JobInfo, ...]: ...


class FormScreen(ModalScreen[tuple[JobInfo, ...] | None]):
    """A form for a kind of job, filled in with as much of a spec (plain data) as is given.

    In the app the catalogue and what there is to choose come from its hub and its store. `form` and `client` are for
    use without them; `client` None: there is no connection, the form can be filled in and copied.
    """

    AUTO_FOCUS = ""  # the first field, once there are fields
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,ctrl+enter", "submit", "Submit", key_display="F5", priority=True),
        Binding("f6", "copy", "Copy as command", key_display="F6"),
        Binding("escape", "leave", "Leave"),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]
    DEFAULT_CSS = """
    FormScreen { align: center middle; }
    FormScreen > Vertical {
        width: 104; max-width: 100%; height: 100%; max-height: 44; background: $surface; border: round $primary;
        padding: 0 1;
    }
    FormScreen VerticalScroll { height: 1fr; }
    FormScreen #about { height: 3; color: $text-muted; border-top: solid $primary 40%; }
    FormScreen #estimate { height: 1; }
    FormScreen #estimate.-wrong { color: $text-error; }
    FormScreen #refused { height: auto; color: $text-error; display: none; }
    FormScreen #buttons { height: 1; }
    FormScreen #buttons Button { margin-right: 2; }
    """

    def __init__(
        self,
        kind: str,
        spec: dict[str, Any] | None = None,
        *,
        form: Form | None = None,
        client: Daemon | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        self.kind, self.spec, self.called = kind, spec, name
        self.made, self.client = form, client
        self.rows: dict[str, Row] = {}
        self._timer: Timer | None = None
        self._busy = False
        self._asked: tuple[Submitted, ...] | None = None  # what was sent, for sending the same again

    @property
    def form(self) -> Form:
        """The form, once the catalogue is there."""
        assert self.made is not None
        return self.made

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = FORMS[self.kind].title
            with VerticalScroll(can_focus=False):
                yield Static("reading the daemon's catalogue ...", id="waiting", markup=False)
            yield Static(id="about", markup=False)
            yield Static(id="refused", markup=False)
            yield Static("", id="estimate", markup=False)
            with Horizontal(id="buttons"):
                yield Button("F5 submit", id="submit", compact=True, variant="primary")
                yield Button("F6 copy as command", id="copy", compact=True)
                yield Button("Esc leave", id="leave", compact=True)

    def on_mount(self) -> None:
        self._open()

    @work(exclusive=True, group="open")
    async def _open(self) -> None:
        """Take the catalogue and what is known, where no form was given; then show the fields."""
        waiting = self.query_one("#waiting", Static)
        if self.made is None:
            app: Any = self.app
            self.client = app.hub
            try:
                spec = referred(self.spec or {}, app.store.jobs)
                self.made = begun(self.kind, spec, await catalogue_of(app.hub), known_of(app.store), self.called)
            except InputError as e:
                waiting.update(f"✗ {e.msg}")
                return
        rows = self._made()
        await waiting.remove()
        await self.query_one(VerticalScroll).mount(*rows)
        self._fit()
        if rows:
            rows[0].control.focus()
        self.call_after_refresh(self._changed)

    def _made(self) -> list[Row]:
        made, group = [], None
        for asked in self.form.fields():
            heading = asked.group if asked.group != group else ""
            group = asked.group
            made.append(Row(asked, self.form.shown(asked), heading))
            self.rows[asked.path] = made[-1]
        return made

    def on_resize(self, event: events.Resize) -> None:
        self._fit()

    def _fit(self) -> None:
        """Hints go where there is no room for them."""
        self.set_class(self.app.size.width < 70, "-narrow")
        for row in self.rows.values():
            row.set_class(self.app.size.width < 70, "-tight")

    # ------------------------------------------------------------ typing

    async def on_changed(self, event: Changed) -> None:
        event.stop()
        self.form.set(event.path, event.raw)
        self._asked = None
        await self.sync()
        self._changed()

    def on_too_long(self, event: TooLong) -> None:
        event.stop()
        if row := self.rows.get(event.path):
            row.say(f"expected at most 4,096 characters, got {event.length:,}: nothing was pasted")

    async def sync(self) -> None:
        """Bring rows and controls in line with the form, which may ask for other fields now."""
        asked = self.form.fields()
        paths = [f.path for f in asked]
        for path in [p for p in self.rows if p not in paths]:
            await self.rows.pop(path).remove()
        before: Row | None = None
        group = None
        kept: dict[str, Row] = {}
        holder = self.query_one(VerticalScroll)
        for field in asked:
            heading = field.group if field.group != group else ""
            group = field.group
            row = self.rows.get(field.path)
            if row is not None and (row.heading != heading or row.asked.kind != field.kind):
                await row.remove()
                row = None
            if row is None:
                row = Row(field, self.form.shown(field), heading)
                await (holder.mount(row, after=before) if before else holder.mount(row, before=0))
            elif not (row.control.has_focus and row.asked.path == field.path and row.asked.kind != "choice"):
                row.show(field, self.form.shown(field))
            kept[field.path] = before = row
        self.rows = kept
        self._fit()

    def _changed(self) -> None:
        """Say what is wrong, and ask for an estimate after a while."""
        errors = self.form.errors()
        for path, row in self.rows.items():
            row.say(errors.get(path, ""))
        refused = self.query_one("#refused", Static)
        refused.display = "" in errors
        refused.update(f"✗ {errors.get('', '')}")
        if self._timer is not None:
            self._timer.stop()
        if errors:
            path, sentence = next(iter(errors.items()))
            label = self.rows[path].asked.label if path in self.rows else ""
            more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
            self._say(f"✗ {label}: {sentence}{more}" if label else "")
        elif self.client is not None and self.form.estimate() is not None:
            self._say("estimating ...")
            self._timer = self.set_timer(PAUSE_S, self._estimate)
        else:
            self._say("" if self.client is not None else "not connected: it can be copied as a command")

    def _say(self, text: str) -> None:
        line = self.query_one("#estimate", Static)
        line.set_class(text.startswith("✗"), "-wrong")
        line.update(text)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        row = next((r for r in self.rows.values() if r.control is event.widget), None)
        self.query_one("#about", Static).update(row.asked.help if row else "")
        if row is not None:
            row.scroll_visible(animate=False)

    def action_page(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by * self.query_one(VerticalScroll).size.height, animate=False)

    # ------------------------------------------------------------ asking

    @work(exclusive=True, group="estimate")
    async def _estimate(self) -> None:
        request = self.form.estimate()
        if request is None or self.client is None:
            return
        try:
            reply = await self.client.request(request, timeout_s=LONG_S)
        except InputError as e:
            if e.path is not None:
                self.form.refuse(e)
                self._changed()
            else:
                self._say(f"no estimate: {e.msg.removeprefix('estimate: ')}")
            return
        self._say(estimate_text(reply, self.form.kind))

    def action_copy(self) -> None:
        if self.made is None:
            return
        try:
            command = self.form.command()
        except InputError as e:
            self.notify(e.msg, severity="warning", markup=False)
            return
        deeds = getattr(self.app, "deeds", None)
        if deeds is not None:
            deeds.copy(command, "the command")
            return
        self.app.copy_to_clipboard(command)
        self.notify(command, title="Copied", markup=False)

    def action_leave(self) -> None:
        self.dismiss(None)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        {"submit": self.action_submit, "copy": self.action_copy, "leave": self.action_leave}[event.button.id or ""]()

    def action_submit(self) -> None:
        if self._busy or self.made is None:
            return
        if self.client is None:
            self._say("not connected: nothing was submitted")
            return
        self.form.refused.pop("", None)  # whatever it was, it may be over
        if errors := self.form.errors():
            self._changed()
            self._focus(next(iter(errors)))
            return
        self._busy = True
        self._submit()

    def _focus(self, path: str) -> None:
        if path in self.rows:
            self.rows[path].control.focus()

    @work(exclusive=True, group="submit")
    async def _submit(self) -> None:
        assert self.client is not None
        try:
            jobs = self._asked or self.form.submission()
            if isinstance(self.form, ImportForm) and self._asked is None:
                self._say("sending the file ...")
                jobs = await self._sent(jobs, self.form.file())
            self._asked = jobs  # ids of our own: sent again after a lost answer they are the same jobs
            self._say("submitting ...")
            infos = await self.client.submit(*jobs)
        except InputError as e:
            self._busy = False
            path = self.form.refuse(e)
            self._changed()
            self._focus(path)
            return
        self._busy = False
        store = getattr(self.app, "store", None)
        if isinstance(self.form, ExportForm) and store is not None:
            self.app.run_worker(fetched(self.app, infos[0].job, self.form.out()), group="export")
        self.dismiss(infos)

    async def _sent(self, jobs: tuple[Submitted, ...], file: Path) -> tuple[Submitted, ...]:
        """The jobs of an import, whose file the daemon has now."""
        from tui import packing

        client: Any = getattr(self.client, "client", None) or self.client  # the hub's
        with await asyncio.to_thread(_entered, packing.packed(file)) as sent:
            upload = await client.upload(sent)
        first = msgspec.structs.replace(jobs[0], spec=msgspec.structs.replace(jobs[0].spec, upload=upload))
        return (first, *jobs[1:])


def begun(
    kind: str, spec: Mapping[str, Any] | None, catalogue: Mapping[str, Any], known: Known, name: str = ""
) -> Form:
    """A form, filled in with a spec where that is whole. Raises InputError as forms.again does."""
    spec = {**(spec or {}), "kind": kind}
    try:
        msgspec.convert(spec, FORMS[kind].spec_type)
    except msgspec.ValidationError:
        spec = {"kind": kind}  # less than a whole spec
    if len(spec) == 1:
        return FORMS[kind](catalogue, known)
    return again(spec, catalogue, known, name)


def referred(spec: Mapping[str, Any], jobs: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with `job:ID` replaced by what that job gave, as far as it is known."""
    gives = {"plane": ("plane",), "target": ("surface",), "trajectory": ("run",), "path": ("run",), "origin": ("run",)}
    out = dict(spec)
    for name, value in spec.items():
        if name in gives and isinstance(value, str) and value.startswith("job:"):
            id, at, which = value.removeprefix("job:").partition("@")
            if found := next((getattr(jobs[id], g) for g in gives[name] if id in jobs), ""):
                out[name] = found + at + which
    return out


_CATALOGUES: WeakKeyDictionary[Any, tuple[str, dict[str, Any]]] = WeakKeyDictionary()


async def catalogue_of(hub: Any) -> dict[str, Any]:
    """The daemon's catalogue; asked once in the life of a daemon. Raises InputError."""
    boot = hub.store.link.boot
    kept = _CATALOGUES.get(hub)
    if kept is None or kept[0] != boot:
        _, arrays = await hub.call(Catalogue(id=new_id()), timeout_s=LONG_S)
        kept = _CATALOGUES[hub] = (boot, msgspec.json.decode(bytes(arrays["catalogue"]), type=dict[str, Any]))
    return kept[1]


def known_of(store: Any) -> Known:
    """What there is to choose from, from the app's store, newest first."""

    def newest(table: dict[str, Any]) -> list[Any]:
        return sorted(table.values(), key=lambda r: r.created, reverse=True)

    return known(
        runs=[
            {"id": r.id, "name": r.name, "recipe": {"model": r.model, "dataset": r.dataset}, "note": _run_note(r)}
            for r in newest(store.runs)
        ],
        planes=[
            {
                "id": p.id,
                "hash": p.hash,
                "name": p.name,
                "meta": {"kind": p.kind, "origin": p.run and f"run {p.run[-6:]}"},
            }
            for p in newest(store.planes)
        ],
        surfaces=[
            {"id": s.id, "name": s.name, "meta": {"model": s.model, "data": s.data}} for s in newest(store.surfaces)
        ],
        passes=store.passes,
    )


def _run_note(run: Any) -> str:
    loss = "" if run.loss is None else f", loss {run.loss:.3g}"
    return f"{run.epochs_done} of {run.epochs} epochs{loss}"


def _entered(context: Any) -> Any:
    """The context entered already, for a `with` in another thread."""
    value = context.__enter__()

    class Entered:
        def __enter__(self) -> Any:
            return value

        def __exit__(self, *exc: Any) -> Any:
            return context.__exit__(*exc)

    return Entered()


async def fetched(app: Any, job: str, folder: Path) -> None:
    """Wait for an export, then put its files into a folder of this machine, and say where they are."""
    while True:
        row = app.store.jobs.get(job)
        if row is not None and row.state == "done":
            break
        if row is not None and row.state in ("failed", "cancelled"):
            return  # which is told already
        await asyncio.sleep(PAUSE_S / 2)
    try:
        names = row.files or (await app.hub.request(JobGet(id=new_id(), job=job))).job.result.files
        files = [await app.hub.client.fetch(folder / name, job=job, name=name, timeout_s=LONG_S) for name in names]
    except InputError as e:
        app.tell(f"export: {e.msg}", "error")
        return
    app.tell("exported " + ", ".join(str(f) for f in files))


def estimate_text(reply: EstimateReply, kind: str) -> str:
    """An estimate in a line: points, samples, disk, time and how it is known."""
    unit = "steps" if kind == "train" else "points"
    parts = [f"{reply.points:,} {unit}"] if reply.points else []
    if reply.samples and kind != "train":
        parts.append(f"{'each over ' if reply.points else ''}{reply.samples:,} images")
    if reply.bytes:
        parts.append(f"{reply.bytes / 1e6:.1f} MB" if reply.bytes >= 1e5 else f"{reply.bytes / 1e3:.0f} kB")
    how = {"measured": "", "similar": ", from a job of another size"}.get(reply.how, "")
    took = "time unknown" if reply.seconds is None else f"about {progress.seconds_text(reply.seconds)}{how}"
    return " · ".join([*parts, took])
