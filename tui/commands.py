"""THE table of what a person can ask for: the command line, its help and bare `thalweg` read it.

A row's `run` is imported when its command is chosen, so that `thalweg --help` loads none of them.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One thing a person can ask for.

    `id` is what is typed after `thalweg`, `run` the function that does it, `help` one line, `more` what a newcomer
    needs besides, with examples that can be typed as they stand.
    """

    id: str
    help: str
    run: str
    more: str


COMMANDS = (
    Command(
        "demo",
        "Train, cut two planes, measure, draw: the whole tour in under 3 minutes.",
        "tui.verbs.demo:demo",
        """
Trains ResNet-20 on scikit-learn's digits for 10 epochs, cuts the PCA plane of the training and a random plane through
the result, measures 25 x 25 points on each over the whole training split, projects the descent path and draws six
pictures. --quick does the same with less of everything, in under 30 s.

Examples:
  thalweg demo --quick
  thalweg demo --out pictures
""",
    ),
    Command(
        "train",
        "Train a network and keep its checkpoints; gives a run.",
        "tui.verbs.train:train",
        """
Checkpoints are the weights before the first step and after each epoch. The result is a run: its id, or just the last
characters of it, is what `thalweg plane --run` takes. Ctrl-C stops after the current step and keeps the checkpoints.

Examples:
  thalweg train --preset demo
  thalweg train --preset demo --epochs 30 --lr 0.05
  thalweg train --model resnet20 --dataset fashion-mnist --epochs 5
  thalweg train --preset seed --model vgg11 --device cuda
  thalweg train --resume last
""",
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
    ),
    Command(
        "surface",
        "Measure the loss on a grid over a plane; gives a surface.",
        "tui.verbs.surface:surface",
        """
Measures loss and accuracy at every point of the grid and projects the path of the training onto the plane. The result
is a surface (.npz), which `thalweg render` draws. Ctrl-C stops after the current row; the rows that are measured go to
a file that ends in .partial.npz.

Examples:
  thalweg surface last
  thalweg surface 81c2fe --grid 51 --out pca.npz
  thalweg surface 81c2fe --grid 26x51 --alpha=-0.5:0.5 --beta=-1:1
  thalweg surface 81c2fe --split test --batch-norm recalibrate
  thalweg surface 81c2fe --limit 500 --passes grow
""",
    ),
    Command(
        "render",
        "Draw a surface as a picture (PNG).",
        "tui.verbs.render:render",
        """
A preset is a way of drawing; any field of the view overrides it with --view. Several files, or several presets, give
several pictures: --out is then a folder.

Examples:
  thalweg render pca.npz
  thalweg render pca.npz --preset contours-2d --out pca.png
  thalweg render pca.npz random.npz --preset mesh --preset heat --out pictures
  thalweg render pca.npz --view colormap=rainbow --view camera.azimuth=60
  thalweg render seed.npz --path seed.csv --size 1920x1200 --scale 1
""",
    ),
    Command(
        "runs list",
        "List the runs of the workspace.",
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
        "planes list",
        "List the planes of the workspace.",
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
        "surfaces list",
        "List the surfaces of the workspace.",
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
Takes an id of the workspace or a file.

Examples:
  thalweg surfaces show last
  thalweg surfaces show pca.npz --json
""",
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
    ),
)

GROUPS = {
    "runs": "Runs: trainings and their checkpoints.",
    "planes": "Planes through weight space.",
    "surfaces": "Measured surfaces.",
    "data": "Data sets.",
}
