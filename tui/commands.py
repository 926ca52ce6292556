"""THE table of what a person can ask for: the command line, its help, bare `thalweg`, and the terminal UI's keys,
footer, palette, help screen and dispatch read it.

A row's `run` is imported when its command is chosen, so that `thalweg --help` loads none of them.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One thing a person can ask for.

    `id` is what is typed after `thalweg`, `run` the function that does it, `help` one line, `more` what a newcomer
    needs besides, with examples that can be typed as they stand.

    In the terminal UI a row with an `action` is something to do: `key` are its keys (Textual's names, with commas; the
    user's keymap replaces them), `label` the word in the footer, `when` what must be there ("live run": a connection,
    and a run that is chosen; see tui/enabling.py), `words` more to find it by in the palette. `foot` orders the
    footer, 0 is not in it. Rows without `run` are the terminal UI's alone. ctrl+a, b, j, s and z are never used:
    tmux and screen take them, and flow control.
    """

    id: str
    help: str
    run: str = ""
    more: str = ""
    there: bool = False  # with --ssh, the same words are typed on the other machine
    action: str = ""
    key: str = ""
    label: str = ""
    when: str = ""
    words: str = ""
    foot: int = 0


COMMANDS = (
    Command(
        "demo",
        "Train, cut two planes, measure, draw: the whole tour in under 3 minutes.",
        "tui.verbs.demo:demo",
        """
Trains ResNet-20 on scikit-learn's digits for 10 epochs, cuts the PCA plane of the training and a random plane through
the result, measures 25 x 25 points on each over the whole training split, projects the descent path and draws six
pictures. --quick does the same with less of everything, in under 30 s. What was done before is not done again. Where
there is a display, a window shows the surfaces while they fill.

Examples:
  thalweg demo --quick
  thalweg demo --out pictures
""",
        action="demo",
        key="D",
        label="demo",
        when="live",
        words="start first tour example",
    ),
    Command(
        "train",
        "Train a network and keep its checkpoints; gives a run.",
        "tui.verbs.train:train",
        """
Checkpoints are the weights before the first step and after each epoch. The result is a run: its id, or just the last
characters of it, is what `thalweg plane --run` takes. Ctrl-C leaves the training to the daemon and says how to stop it.

Examples:
  thalweg train --preset demo
  thalweg train --preset demo --epochs 30 --lr 0.05
  thalweg train --model resnet20 --dataset fashion-mnist --epochs 5
  thalweg train --preset seed --model vgg11 --device cuda
  thalweg train --preset demo --epochs 100 --detach --name long
  thalweg train --resume last
""",
        action="new_run",
        key="n",
        label="new",
        when="live",
        words="new run training network start",
        foot=2,
    ),
    Command(
        "plane",
        "Cut a plane through weight space; gives a plane.",
        "tui.verbs.plane:plane",
        """
A plane is a centre (the trained weights) and two directions. The result's id, or just the last characters of it, is
what `thalweg surface` takes.

Examples:
  thalweg plane --run last --direction pca
  thalweg plane --run 4F2K9A --direction random --seed 1 --normalize layer
  thalweg plane --direction pca --model vgg11 --dataset cifar10 \\
      --checkpoints e0.safetensors e1.safetensors e2.safetensors e3.safetensors
""",
        action="new_plane",
        key="p",
        label="plane",
        when="live run",
        words="new direction pca random hessian",
        foot=3,
    ),
    Command(
        "surface",
        "Measure the loss on a grid over a plane; gives a surface.",
        "tui.verbs.surface:surface",
        """
Measures loss and accuracy at every point of the grid and projects the path of the training onto the plane. The result
is a surface (.npz), which `thalweg render` draws. Ctrl-C leaves it to the daemon. With --passes grow the whole surface
is seen early, from few images; --until stops where that is good enough.

Examples:
  thalweg surface last
  thalweg surface 81c2fe --grid 51 --out pca.npz
  thalweg surface 81c2fe --grid 26x51 --alpha=-0.5:0.5 --beta=-1:1
  thalweg surface 81c2fe --split test --batch-norm recalibrate
  thalweg surface 81c2fe --limit 500 --passes grow
  thalweg surface 81c2fe --passes grow --until sem=0.01
""",
        action="new_surface",
        key="s",
        label="surface",
        when="live plane",
        words="new measure grid landscape loss",
        foot=4,
    ),
    Command(
        "render",
        "Draw surfaces as pictures (PNG) or turntable videos (MP4).",
        "tui.verbs.render:render",
        """
A preset is a way of drawing; any field of the view overrides it with --view. Several files, or several presets, give
several pictures: --out is then a folder. --together puts the surfaces into one picture, with one scale, one colour bar
and one camera; two may share one box with --view arrange=overlay. A picture carries its view: --from draws it again, or
the same view of another surface.

Examples:
  thalweg render pca.npz
  thalweg render pca.npz --preset contours-2d --out pca.png
  thalweg render pca.npz random.npz --preset mesh --preset heat --out pictures
  thalweg render pca.npz --view colormap=rainbow --view camera.azimuth=60
  thalweg render seed.npz --path seed.csv --size 1920x1200 --scale 1
  thalweg render resnet.npz vgg.npz --together
  thalweg render frozen.npz recalibrated.npz --together --view arrange=overlay
  thalweg render other.npz --from picture.png --view theme=dark
  thalweg render pca.npz --out turn.mp4 --seconds 12 --size 1280x720
""",
        action="picture",
        key="o",
        label="picture",
        when="live sealed",
        words="png screenshot draw image save",
    ),
    Command(
        "window open",
        "Open a window that shows a surface while it is measured.",
        "tui.verbs.window:window_open",
        """
The window follows the daemon: rows appear as they are measured. Mouse and keys turn it (`h` shows the keys), and the
other `thalweg window` commands steer it from anywhere. Without a display it draws all the same, for `thalweg window
shot`. Several surfaces are drawn side by side with one scale and one camera. With --ssh the window is here, the daemon
there, and this command holds the way between them, and makes it anew when it breaks, until the window is closed. A
window of a file needs no daemon.

Examples:
  thalweg window open
  thalweg window open pca.npz
  thalweg window open MJXBFF 4F2K9A --preset contours-2d
  thalweg window open pca.npz --view colormap=rainbow --view camera.azimuth=60
  thalweg window open --from pca-contours-3d.png
  thalweg window open --ssh me@cluster
""",
        action="open_window",
        key="w",
        label="window",
        when="live surface",
        words="new open 3d opengl show",
        foot=6,
    ),
    Command(
        "window list",
        "List the windows that are open.",
        "tui.verbs.window:window_list",
        """
Examples:
  thalweg window list
""",
    ),
    Command(
        "window set",
        "Change how a window draws, by fields of its view.",
        "tui.verbs.window:window_set",
        """
All changes are done, or none. Without any it prints every field with its value.

Examples:
  thalweg window set preset=contours-2d
  thalweg window set mode=3d height=0.5 contours.count=30
  thalweg window set camera.azimuth=60 --window 4F2K9A
  thalweg window set
""",
    ),
    Command(
        "window show",
        "Show other surfaces in a window.",
        "tui.verbs.window:window_show",
        """
Examples:
  thalweg window show last
  thalweg window show pca.npz random.npz
""",
    ),
    Command(
        "window shot",
        "Take a picture of what a window shows (PNG).",
        "tui.verbs.window:window_shot",
        """
Examples:
  thalweg window shot
  thalweg window shot --out pca.png --size 1920x1200 --scale 2
  thalweg window shot --view theme=dark --save pca-dark
""",
    ),
    Command(
        "window record",
        "Record what a window shows (MP4).",
        "tui.verbs.film:window_record",
        """
The window may be turned and changed meanwhile, and rows may come. Ctrl-C ends the recording and keeps it. It is saved
in the window's pictures folder; --out fetches it to here.

Examples:
  thalweg window record --seconds 20
  thalweg window record --out training.mp4
""",
    ),
    Command(
        "window turntable",
        "Turn a window's picture, or make a video of it turning (MP4).",
        "tui.verbs.film:window_turntable",
        """
With --out or --save a video in full quality is made, of the window's view and size, while the window itself stays as it
is. Ctrl-C gives it up.

Examples:
  thalweg window turntable --turns 2
  thalweg window turntable --turns 0
  thalweg window turntable --seconds 10 --out turn.mp4
""",
    ),
    Command(
        "window close",
        "Close a window; jobs go on.",
        "tui.verbs.window:window_close",
        """
Examples:
  thalweg window close
  thalweg window close --window 4F2K9A
""",
    ),
    Command(
        "analyze",
        "Find minima, saddles and maxima of a surface, with their persistence.",
        "tui.verbs.analyze:analyze",
        """
Prints the table of critical points; they are drawn by `thalweg render` from then on. A pair of points is hidden where
the surface would have to change by less than the threshold for both to vanish. A file is imported first.

Examples:
  thalweg analyze last
  thalweg analyze last --threshold 0.05
  thalweg analyze pca.npz --json
""",
        action="analyze",
        key="a",
        label="analyse",
        when="live sealed",
        words="critical points minima saddles maxima persistence",
    ),
    Command(
        "export",
        "Export a surface as npz, csv or ply.",
        "tui.verbs.export:export",
        """
Examples:
  thalweg export last
  thalweg export last --format csv --out tables
  thalweg export MJXBFF --format ply --out landscape.ply
""",
        action="export",
        key="e",
        label="export",
        when="live sealed",
        words="npz csv ply save file",
    ),
    Command(
        "import",
        "Import a surface, or the checkpoints of a training.",
        "tui.verbs.importing:import_",
        """
A surface comes from npz, csv or ply; a folder of safetensors checkpoints becomes a run, through which planes can be
cut. Checkpoints of another program need --model and --dataset.

Examples:
  thalweg import landscape.ply
  thalweg import old/pca.npz --name seed-pca
  thalweg import checkpoints --model resnet20 --dataset cifar10
""",
        action="import_file",
        key="i",
        label="import",
        when="live",
        words="load file surface checkpoints",
    ),
    Command(
        "estimate surface",
        "Say what measuring a surface would cost.",
        "tui.verbs.estimate:estimate_surface",
        """
Examples:
  thalweg estimate surface last --grid 51
  thalweg estimate surface last --split test --limit 1000
""",
    ),
    Command(
        "estimate train",
        "Say what a training would cost.",
        "tui.verbs.estimate:estimate_train",
        """
Examples:
  thalweg estimate train --preset demo --epochs 100
""",
    ),
    Command(
        "jobs list",
        "List jobs: what the daemon does, did and will do.",
        "tui.verbs.jobs:jobs_list",
        """
Examples:
  thalweg jobs list
  thalweg jobs list --state running --state queued
  thalweg jobs list --json
""",
    ),
    Command(
        "jobs show",
        "Show one job: what was asked, how far it is, what it gave.",
        "tui.verbs.jobs:jobs_show",
        """
Examples:
  thalweg jobs show last
""",
    ),
    Command(
        "jobs watch",
        "Follow jobs to their end; Ctrl-C leaves them running.",
        "tui.verbs.jobs:jobs_watch",
        """
Examples:
  thalweg jobs watch
  thalweg jobs watch 4F2K9A
""",
    ),
    Command(
        "jobs cancel",
        "Cancel jobs; what they had stored is kept.",
        "tui.verbs.jobs:jobs_cancel",
        """
Examples:
  thalweg jobs cancel 4F2K9A
  thalweg jobs cancel last --when boundary
""",
        action="stop",
        key="x",
        label="stop…",
        when="live active",
        words="cancel end kill job",
        foot=7,
    ),
    Command(
        "jobs pause",
        "Pause jobs at the next step or row.",
        "tui.verbs.jobs:jobs_pause",
        """
Examples:
  thalweg jobs pause 4F2K9A
""",
        action="pause",
        key="space",
        label="pause",
        when="live active",
        words="pause resume hold go on job",
        foot=5,
    ),
    Command(
        "jobs resume",
        "Go on with paused jobs.",
        "tui.verbs.jobs:jobs_resume",
        """
Examples:
  thalweg jobs resume 4F2K9A
""",
        action="resume",
        label="resume",
        when="live paused",
        words="go on continue job",
    ),
    Command(
        "jobs retry",
        "Queue failed or cancelled jobs again, keeping what they had.",
        "tui.verbs.jobs:jobs_retry",
        """
Examples:
  thalweg jobs retry 4F2K9A
""",
        action="retry",
        key="r",
        label="retry",
        when="live ended",
        words="again failed cancelled job",
    ),
    Command(
        "jobs move",
        "Change the priority of jobs.",
        "tui.verbs.jobs:jobs_move",
        """
Examples:
  thalweg jobs move 4F2K9A --priority 10
""",
        action="raise_priority",
        key="plus",
        label="sooner",
        when="live active",
        words="priority order queue first job",
    ),
    Command(
        "jobs logs",
        "Print a job's log.",
        "tui.verbs.jobs:jobs_logs",
        """
Examples:
  thalweg jobs logs last
  thalweg jobs logs 4F2K9A --follow
""",
        action="show_log",
        key="l",
        label="log",
        when="job",
        words="log lines output job",
    ),
    Command(
        "runs list",
        "List the runs.",
        "tui.verbs.listing:runs_list",
        """
Examples:
  thalweg runs list
  thalweg runs list --json
""",
    ),
    Command(
        "runs show",
        "Show one run: recipe, epochs, checkpoints.",
        "tui.verbs.listing:runs_show",
        """
Examples:
  thalweg runs show last
""",
    ),
    Command(
        "runs delete",
        "Delete runs and their checkpoints.",
        "tui.verbs.listing:runs_delete",
        """
Examples:
  thalweg runs delete 4F2K9A
  thalweg runs delete 4F2K9A 81C2FE --yes
""",
        action="delete",
        key="delete",
        label="delete…",
        when="live thing",
        words="remove run plane surface",
    ),
    Command(
        "planes list",
        "List the planes.",
        "tui.verbs.listing:planes_list",
        """
Examples:
  thalweg planes list
""",
    ),
    Command(
        "planes show",
        "Show one plane: how it was made, how much it explains.",
        "tui.verbs.listing:planes_show",
        """
Examples:
  thalweg planes show last
""",
    ),
    Command(
        "planes delete",
        "Delete planes.",
        "tui.verbs.listing:planes_delete",
        """
Examples:
  thalweg planes delete 81c2fe
""",
    ),
    Command(
        "surfaces list",
        "List the surfaces.",
        "tui.verbs.listing:surfaces_list",
        """
Examples:
  thalweg surfaces list
""",
    ),
    Command(
        "surfaces show",
        "Show one surface: its lowest point, its grid, its data.",
        "tui.verbs.listing:surfaces_show",
        """
Takes an id of the workspace, a name or a file.

Examples:
  thalweg surfaces show last
  thalweg surfaces show pca.npz --json
""",
    ),
    Command(
        "surfaces delete",
        "Delete surfaces.",
        "tui.verbs.listing:surfaces_delete",
        """
Examples:
  thalweg surfaces delete MJXBFF
""",
    ),
    Command(
        "daemon start",
        "Start the daemon of the workspace; it stays until it is stopped.",
        "tui.verbs.daemon:daemon_start",
        """
Any command that needs the daemon starts it; this one is for --tcp, and for a start without a job. It survives logout.
With --tcp it also listens for clients that have a key (`thalweg keys create`).

Examples:
  thalweg daemon start
  thalweg daemon start --tcp 5555
  thalweg daemon start --tcp 5555 --listen 0.0.0.0
""",
        there=True,
    ),
    Command(
        "daemon stop",
        "Stop the daemon; jobs go on when it starts again.",
        "tui.verbs.daemon:daemon_stop",
        """
Examples:
  thalweg daemon stop
  thalweg daemon stop --mode finish
""",
        there=True,
    ),
    Command(
        "daemon status",
        "Say where the daemon is and what it does.",
        "tui.verbs.daemon:daemon_status",
        """
Examples:
  thalweg daemon status
  thalweg daemon status --json
""",
    ),
    Command(
        "daemon logs",
        "Print the end of the daemon's log.",
        "tui.verbs.daemon:daemon_logs",
        """
Examples:
  thalweg daemon logs
  thalweg daemon logs --lines 200 --follow
""",
        there=True,
    ),
    Command(
        "daemon run",
        "Run the daemon in the foreground.",
        "tui.verbs.daemon:daemon_run",
        """
Examples:
  thalweg daemon run --workspace runs
""",
        there=True,
    ),
    Command(
        "store verify",
        "Check the database and the hash of every file.",
        "tui.verbs.store:store_verify",
        """
Examples:
  thalweg store verify
""",
    ),
    Command(
        "store backup",
        "Copy the database into the workspace's backups.",
        "tui.verbs.store:store_backup",
        """
Examples:
  thalweg store backup
""",
    ),
    Command(
        "store restore",
        "Bring the database back from a backup; no daemon may run.",
        "tui.verbs.store:store_restore",
        """
The newest good backup is taken, or the one that is named. Weights and surfaces that are newer than it are taken up
again; the old database is kept in `quarantine`.

Examples:
  thalweg store restore
  thalweg store restore state-20261124T120000.000001.db --yes
""",
        there=True,
    ),
    Command(
        "keys create",
        "Make a key for a client of a daemon that listens on TCP.",
        "tui.verbs.keys:keys_create",
        """
Examples:
  thalweg keys create laptop
  thalweg keys create laptop --out laptop.key_secret
""",
        there=True,
    ),
    Command(
        "keys list",
        "List the clients that have a key.",
        "tui.verbs.keys:keys_list",
        """
Examples:
  thalweg keys list
""",
        there=True,
    ),
    Command(
        "keys revoke",
        "Take a client's key away.",
        "tui.verbs.keys:keys_revoke",
        """
Examples:
  thalweg keys revoke laptop
""",
        there=True,
    ),
    Command(
        "data list",
        "List the data sets and where they lie.",
        "tui.verbs.data:data_list",
        """
Examples:
  thalweg data list
  thalweg data list --data ~/datasets
""",
        there=True,
    ),
    Command(
        "data fetch",
        "Download a data set.",
        "tui.verbs.data:data_fetch",
        """
It goes into the folder named by --data, else $THALWEG_DATA, else `data` in the workspace. Nothing else downloads.

Examples:
  thalweg data fetch cifar10
""",
        there=True,
    ),
    Command(
        "doctor",
        "Say what this machine has: torch, device, OpenGL, data sets.",
        "tui.verbs.doctor:doctor",
        """
Examples:
  thalweg doctor
  thalweg doctor --json
""",
        there=True,
    ),
)

APP_COMMANDS = (
    Command("choose", "Choose what is marked in the list.", action="choose", key="enter", label="choose"),
    Command(
        "filter",
        "Filter the list by words.",
        action="filter",
        key="slash",
        label="filter",
        words="find search list",
        foot=9,
    ),
    Command(
        "view",
        "Settings of the picture and of windows.",
        action="show_view",
        key="v",
        label="view",
        words="view window colour camera steer",
        foot=6,
    ),
    Command(
        "copy",
        "Copy an id, a path or the command that asks for the same.",
        action="copy",
        key="y",
        label="copy",
        when="thing",
        words="clipboard yank osc 52 id path command cli",
        foot=8,
    ),
    Command(
        "duplicate",
        "Ask for the same again, edited.",
        action="duplicate",
        key="d",
        label="edit copy",
        when="live asked",
        words="duplicate edit again same",
    ),
    Command(
        "compare",
        "Mark a run to draw its curves beside others.",
        action="compare",
        key="m",
        label="mark",
        when="run",
        words="compare mark several curves",
    ),
    Command(
        "follow",
        "Follow the end of the log, or stop following.",
        action="follow",
        key="f",
        label="follow",
        words="log tail",
    ),
    Command("tab next", "The next tab.", action="next_tab", key="right_square_bracket", label="next tab"),
    Command("tab previous", "The tab before.", action="previous_tab", key="left_square_bracket", label="tab before"),
    Command(
        "tab train",
        "Curves and epochs of the run.",
        action="show_train",
        key="1",
        label="Train",
        words="tab curves epochs",
    ),
    Command(
        "tab plane",
        "The plane: what it explains, its path.",
        action="show_plane",
        key="2",
        label="Plane",
        words="tab directions variance path",
    ),
    Command(
        "tab surface",
        "The landscape as it fills in.",
        action="show_surface",
        key="3",
        label="Surface",
        words="tab landscape progress preview",
    ),
    Command(
        "tab analysis",
        "Critical points of the surface.",
        action="show_analysis",
        key="4",
        label="Analysis",
        words="tab critical",
    ),
    Command("tab view", "Settings of the picture.", action="show_view_tab", key="5", label="View", words="tab"),
    Command("tab log", "The job's log.", action="show_log_tab", key="6", label="Log", words="tab"),
    Command(
        "pane",
        "Keys to the next pane: list, tab, picture.",
        action="next_pane",
        key="tab",
        label="pane",
        words="focus",
        foot=1,
    ),
    Command(
        "pane before",
        "Keys to the pane before.",
        action="previous_pane",
        key="shift+tab",
        label="pane before",
        words="focus",
    ),
    Command(
        "connections",
        "Choose the daemon: here, through ssh, on TCP.",
        action="connections",
        key="c",
        label="connect",
        words="profile ssh tcp daemon server host switch",
    ),
    Command(
        "reconnect",
        "Connect again; start the daemon of this machine where none runs.",
        action="reconnect",
        key="ctrl+r",
        label="reconnect",
        words="daemon start again",
    ),
    Command(
        "reload", "Read the lists again.", action="reload", key="f5", label="reload", when="live", words="refresh lists"
    ),
    Command("theme", "Choose the colours.", action="theme", key="t", label="theme", words="colour dark light"),
    Command("palette", "Find anything by a word.", action="palette", key="ctrl+p", label="palette", words="command"),
    Command(
        "help",
        "All keys, and where to begin.",
        action="help",
        key="question_mark,f1",
        label="help",
        words="keys manual",
        foot=10,
    ),
    Command(
        "quit",
        "Leave; jobs go on.",
        action="quit",
        key="q,ctrl+q,ctrl+c",
        label="quit",
        words="exit leave close",
        foot=11,
    ),
)
"""What only the terminal UI does."""


def actions() -> tuple[Command, ...]:
    """Every row that the terminal UI can do, in the order of the table."""
    return tuple(c for c in (*COMMANDS, *APP_COMMANDS) if c.action)


GROUPS = {
    "runs": "Runs: trainings and their checkpoints.",
    "planes": "Planes through weight space.",
    "surfaces": "Measured surfaces.",
    "jobs": "Jobs of the daemon.",
    "window": "Windows that show surfaces while they are measured.",
    "daemon": "The process that keeps jobs and results.",
    "data": "Data sets.",
    "estimate": "What a job would cost.",
    "store": "What is kept: check, copy, bring back.",
    "keys": "Clients of a daemon that listens on TCP.",
}
