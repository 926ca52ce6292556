"""What each row of the table does in the terminal UI: `do_<action>`. The app checks first whether it can be done.

A deed that only changes what is shown is a plain method; one that asks the daemon or a person is a coroutine.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocol.errors import InputError
from tui import clipboard, words

if TYPE_CHECKING:
    from tui.app import ThalwegApp


class Deeds:
    """The deeds of one app."""

    def __init__(self, app: ThalwegApp) -> None:
        self.app = app

    # ------------------------------------------------------------ new things

    def open_form(self, kind: str, spec: dict[str, Any] | None = None) -> None:
        """The form of a kind of job (train, plane, surface, analysis, export, import), filled in with a spec."""
        from tui.screens.form import FormScreen

        self.app.push_screen(FormScreen(kind, spec))

    def do_new_run(self) -> None:
        """A form for a training."""
        self.open_form("train")

    def do_new_plane(self) -> None:
        """A form for a plane through the chosen run."""
        run = self.app.choice.run
        self.open_form("plane", {"direction": "pca", "trajectory": run} if run else None)

    def do_new_surface(self) -> None:
        """A form for a surface on the chosen plane."""
        plane = self.app.store.planes.get(self.app.choice.plane)
        self.open_form("surface", {"plane": plane.hash or plane.id} if plane else None)

    def do_duplicate(self) -> None:
        """The form of the job that made this, filled in as it was asked."""
        job = self.app.store.jobs[self.app.choice.job]
        self.open_form(job.kind, dict(job.spec))

    def do_import_file(self) -> None:
        """A form for a file to import."""
        self.open_form("import")

    def do_export(self) -> None:
        """A form for an export of the chosen surface."""
        self.open_form("export", {"target": self.app.choice.surface})

    async def do_demo(self) -> None:
        """Ask how much of it, then start it."""
        from tui.screens.pick import PickScreen

        picked = await self.app.ask(
            PickScreen(
                "Start the demo", [("full", "all of it: about 3 minutes"), ("quick", "less of everything: 30 s")]
            )
        )
        if picked:
            await self.start_demo(quick=picked == "quick")

    async def start_demo(self, *, quick: bool = False) -> None:
        """Submit what `thalweg demo` submits, and look at it."""
        from protocol.exchange import new_id
        from protocol.requests import Submitted
        from tui import tour

        whole = tour.jobs(
            tour.QUICK if quick else tour.FULL, lambda spec: Submitted(job=new_id(), spec=spec, name="demo")
        )
        infos = await self.app.hub.submit(*whole)
        self.app.main.sidebar.choose("job", infos[0].job)
        self.app.choose("job", infos[0].job)
        self.app.main.show_tab("Train")
        self.app.lead(*(info.job for info in infos))
        self.app.tell("the demo is queued: a training, two planes, two surfaces")

    async def do_analyze(self) -> None:
        """Find the critical points of the chosen surface, and show them."""
        self.app.main.show_tab("Analysis", focus=True)
        await self.analyse(self.app.choice.surface)

    async def analyse(self, surface: str, **options: Any) -> None:
        """Submit the analysis of a surface."""
        from protocol.messages import AnalysisSpec

        (info,) = await self.app.hub.submit(AnalysisSpec(target=surface, options=options))
        if info.state == "done":  # it was analysed like this before
            self.app.hub.fetch_whole(surface)

    # ------------------------------------------------------------ jobs

    async def do_pause(self) -> None:
        """Pause the chosen job, or go on with it."""
        from protocol.exchange import new_id
        from protocol.requests import JobPause

        job = self.app.store.jobs[self.app.choice.job]
        if job.state == "paused":
            await self.do_resume()
            return
        reply = await self.app.hub.request(JobPause(id=new_id(), job=job.id))
        self.app.store.put_job(reply.job)
        self.app.tell(f"{job.title} {words.short(job.id)} is {reply.job.state}: space goes on with it")

    async def do_resume(self) -> None:
        """Go on with the chosen job."""
        from protocol.exchange import new_id
        from protocol.requests import JobResume

        self.app.store.put_job((await self.app.hub.request(JobResume(id=new_id(), job=self.app.choice.job))).job)

    async def do_stop(self) -> None:
        """Ask how the chosen job is to stop, then stop it."""
        from protocol.exchange import new_id
        from protocol.requests import JobCancel
        from tui.screens.confirm import ConfirmScreen

        job = self.app.store.jobs[self.app.choice.job]
        unit = {"train": "epoch", "surface": "row"}.get(job.kind, "step")
        answers = [("now", "Stop now")]
        if job.state == "running":
            answers.insert(0, ("boundary", f"After this {unit}"))
        title = f"Stop {job.title} {words.short(job.id)}?"
        more = "What it has stored is kept; r goes on with it later."
        when = await self.app.ask(ConfirmScreen(title, answers, more=more))
        if when:
            request = JobCancel(id=new_id(), job=job.id, when="now" if when == "now" else "boundary")
            self.app.store.put_job((await self.app.hub.request(request)).job)

    async def do_retry(self) -> None:
        """Queue the chosen job again."""
        from protocol.exchange import new_id
        from protocol.requests import JobRetry

        reply = await self.app.hub.request(JobRetry(id=new_id(), job=self.app.choice.job))
        self.app.store.put_job(reply.job)
        self.app.tell(f"job {words.short(reply.job.job)} is {reply.job.state} again, with what it had")

    async def do_raise_priority(self) -> None:
        """Let the chosen job be done sooner."""
        from protocol.exchange import new_id
        from protocol.requests import JobMove

        job = self.app.store.jobs[self.app.choice.job]
        highest = max((j.priority for j in self.app.store.jobs.values() if j.active), default=0)
        wanted = min(100, max(highest, job.priority) + 1)
        reply = await self.app.hub.request(JobMove(id=new_id(), job=job.id, priority=wanted))
        self.app.store.put_job(reply.job)
        self.app.tell(f"job {words.short(job.id)} has priority {reply.job.priority}")

    async def do_delete(self) -> None:
        """Ask, then delete the chosen run, plane or surface."""
        from protocol import requests as r
        from protocol.exchange import new_id
        from tui.screens.confirm import ConfirmScreen

        kind, id = self.app.choice.kind, self.app.choice.id
        if kind not in ("run", "plane", "surface"):
            self.app.tell("delete: runs, planes and surfaces can be deleted; a job stays in the list", "warning")
            return
        label = self.app.main.sidebar.label(kind, id)
        files = {"run": "its checkpoints", "plane": "its file", "surface": "its file"}[kind]
        question = f"Delete {kind} {label} {words.short(id)} and {files}?"
        if not await self.app.ask(ConfirmScreen(question, [("yes", "Delete")], more="This cannot be undone.")):
            return
        kinds: dict[str, Any] = {"run": r.RunDelete, "plane": r.PlaneDelete, "surface": r.SurfaceDelete}
        await self.app.hub.request(kinds[kind](id=new_id(), **{kind: id}))
        self.app.store.forget(kind, id)
        self.app.tell(f"{kind} {words.short(id)} is deleted")

    # ------------------------------------------------------------ copying

    def copy(self, text: str, what: str) -> None:
        """Copy a text, and say how."""
        how = clipboard.copy(text, self.app._driver.write if self.app._driver is not None else lambda _: None)
        self.app.clipped = text
        self.app.tell(f"copied {what} {how}")

    async def do_copy(self) -> None:
        """Ask what of the chosen thing is to be copied."""
        from tui.screens.pick import PickScreen

        options = self.copies()
        picked = await self.app.ask(PickScreen("Copy", [(text, f"{what:<8}{text}") for what, text in options]))
        if picked:
            self.copy(picked, next(what for what, text in options if text == picked))

    def copies(self) -> list[tuple[str, str]]:
        """What there is to copy of the chosen thing: (what, text)."""
        import msgspec

        from protocol.messages import ImportSpec, Spec
        from tui import typed

        kind, id = self.app.choice.kind, self.app.choice.id
        out = [("id", id)]
        root = self.app.hub.root
        if root is not None:
            if kind == "run":
                out.append(("path", str(root / "runs" / id)))
            elif kind == "plane" and id in self.app.store.planes:
                out.append(("path", str(root / "planes" / f"{self.app.store.planes[id].hash}.safetensors")))
            elif kind == "surface":
                detail = self.app.store.surface_details.get(id)
                file = detail.item.get("file") if detail is not None else None
                out += [("path", str(root / file))] if file else []
        job = self.app.store.jobs.get(self.app.choice.job)
        if job is not None and job.spec:
            with suppress(InputError, msgspec.ValidationError):  # no command asks for the same
                asked = msgspec.convert(self._settled(job.spec), Spec)
                if not isinstance(asked, ImportSpec):  # that one needs its file
                    out.append(("command", typed.command(asked) + self.app.profile.flags()))
        if job is not None and kind != "job":
            out.append(("job id", job.id))
        return out

    def _settled(self, value: Any) -> Any:
        """A spec in which the result of a job stands where the job was named: what is typed later names results."""
        if isinstance(value, dict):
            return {k: self._settled(v) for k, v in value.items()}
        if not isinstance(value, str) or not value.startswith("job:"):
            return value
        id, at, which = value.removeprefix("job:").partition("@")
        job = self.app.store.jobs.get(id)
        made = {"train": job.run, "plane": job.plane, "surface": job.surface}.get(job.kind) if job is not None else ""
        if not made:
            raise InputError("copy: what this is made from is not there yet; copy it when it is")
        return made + at + which

    # ------------------------------------------------------------ what is shown

    def do_choose(self) -> None:
        """Into what is marked."""
        self.app.main.sidebar.action_enter()

    def do_filter(self) -> None:
        """Words to filter the list by."""
        self.app.main.ask_filter()

    def do_compare(self) -> None:
        """Draw this run's curves beside others, or no longer."""
        run = self.app.choice.run
        if run in self.app.compared:
            self.app.compared = tuple(r for r in self.app.compared if r != run)
        else:
            self.app.compared = (*self.app.compared, run)[-5:]
        self.app.looked()
        self.app.flush(force=True)

    def do_show_log(self) -> None:
        """The log of the job."""
        self.app.main.show_tab("Log", focus=True)

    def do_follow(self) -> None:
        """Follow the log's end, or stop."""
        from tui.widgets.log_panel import LogPanel

        if self.app.main.tab != "Log":
            self.app.main.show_tab("Log", focus=True)
            return
        for panel in self.app.main.query(LogPanel):
            self.app.tell("following the log" if panel.toggle() else "not following: scroll as you like")

    def do_next_tab(self) -> None:
        """One to the right."""
        self.app.main.step_tab(1)

    def do_previous_tab(self) -> None:
        """One to the left."""
        self.app.main.step_tab(-1)

    def do_next_pane(self) -> None:
        """List, tab, picture."""
        self.app.main.next_pane()

    def do_previous_pane(self) -> None:
        """The other way round."""
        self.app.main.next_pane(-1)

    def do_show_train(self) -> None:
        """The Train tab."""
        self.app.main.show_tab("Train", focus=True)

    def do_show_plane(self) -> None:
        """The Plane tab."""
        self.app.main.show_tab("Plane", focus=True)

    def do_show_surface(self) -> None:
        """The Surface tab."""
        self.app.main.show_tab("Surface", focus=True)

    def do_show_analysis(self) -> None:
        """The Analysis tab."""
        self.app.main.show_tab("Analysis", focus=True)

    def do_show_view(self) -> None:
        """The View tab."""
        self.app.main.show_tab("View", focus=True)

    def do_show_view_tab(self) -> None:
        """The View tab."""
        self.app.main.show_tab("View", focus=True)

    def do_show_log_tab(self) -> None:
        """The Log tab."""
        self.app.main.show_tab("Log", focus=True)

    # ------------------------------------------------------------ windows and pictures

    async def do_open_window(self) -> None:
        """Open a window for the chosen surface, on this machine's display."""
        from tui import opening

        id, profile, root = self.app.choice.surface, self.app.profile, self.app.hub.root
        if not opening.has_display():
            here = socket.gethostname()
            said = f"thalweg window open {words.short(id)} --ssh {here}"
            self.app.tell(f"there is no display here; on the machine in front of you type: {said}", "warning")
            return
        self.app.tell("a window opens …")
        if root is not None:
            line = opening.command(surfaces=[id], workspace=root)
            await asyncio.to_thread(opening.begin, line)
            return
        typed = [sys.executable, "-m", "tui.cli", "window", "open", "--surface", id, *shlex.split(profile.flags())]
        child = await asyncio.create_subprocess_exec(
            *typed, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )  # it holds the way to the daemon over there until the window is closed
        said = (await child.stderr.read()).decode(errors="replace") if child.stderr is not None else ""
        if await child.wait():
            raise InputError((said.strip().splitlines() or ["the window did not open"])[-1].removeprefix("thalweg: "))

    async def do_picture(self) -> None:
        """Draw the chosen surface into a PNG in the folder that this was started from."""
        from protocol.messages import Render
        from tui.verbs.render import draw, renderer

        id = self.app.choice.surface
        name = re.sub(r"[^\w.-]+", "-", self.app.store.surfaces[id].name) or words.short(id)
        out = free(Path.cwd() / f"{name}-contours-3d.png")
        with tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
            client = self.app.hub.client
            if client is None:
                raise InputError("the daemon is not connected: there is no picture")
            file = await client.fetch(Path(folder) / "surface.npz", surface=id)

            def drawn() -> None:
                with renderer() as child:
                    draw(child, Render(file=str(file), out=str(out)))

            self.app.tell("drawing …")
            await asyncio.to_thread(drawn)
        self.app.tell(f"picture: {out}")

    # ------------------------------------------------------------ the connection

    async def do_connections(self) -> None:
        """Choose another daemon."""
        from tui.profiles import config_file
        from tui.screens.pick import PickScreen

        known = {self.app.profile.name: self.app.profile, **self.app.config.profiles}
        options = [(p.name, f"{p.name:<12}{p.kind:<7}{p.where}") for p in known.values()]
        more = f"More of them: [profiles.NAME] in {config_file()}"
        picked = await self.app.ask(PickScreen("Which daemon", options, more=more, chosen=self.app.profile.name))
        if picked and picked != self.app.profile.name:
            await self.app.switch(known[picked])

    async def do_reconnect(self) -> None:
        """Try again at once; start the daemon where none runs."""
        await self.app.switch(self.app.profile)

    async def do_reload(self) -> None:
        """Read the lists again."""
        await self.app.hub.reload()

    # ------------------------------------------------------------ the app

    async def do_theme(self) -> None:
        """Choose the colours; they are remembered."""
        from tui.profiles import save_theme
        from tui.screens.pick import PickScreen

        names = sorted(self.app.available_themes)
        picked = await self.app.ask(PickScreen("Colours", [(n, n) for n in names], chosen=self.app.theme))
        if picked:
            self.app.theme = picked
            self.app.flush(force=True)
            try:
                save_theme(picked)
            except OSError as e:
                raise InputError(f"the theme is not remembered: {e.strerror}") from e

    def do_palette(self) -> None:
        """Find anything by a word."""
        self.app.action_command_palette()

    def do_help(self) -> None:
        """All keys."""
        from tui.screens.help import HelpScreen

        if not isinstance(self.app.screen, HelpScreen):
            self.app.push_screen(HelpScreen())

    def do_quit(self) -> None:
        """Leave; jobs go on."""
        self.app.exit(0)


def free(file: Path) -> Path:
    """The file's name, or the first of `name-2.png`, `name-3.png`, ... that is not there yet."""
    candidate, k = file, 2
    while candidate.exists():
        candidate, k = file.with_stem(f"{file.stem}-{k}"), k + 1
    return candidate
