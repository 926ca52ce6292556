"""The table of commands as the terminal UI uses it: keys, conditions, deeds; and the user's keymap."""

from __future__ import annotations

import shlex
from itertools import chain

import pytest

from protocol.grid import AxisSpec, GridSpec
from protocol.messages import PRESETS, AnalysisSpec, ExportSpec, PlaneSpec, Recipe, SurfaceSpec, TrainSpec
from tui import cli, keymap, typed
from tui.commands import APP_COMMANDS, COMMANDS, actions
from tui.deeds import Deeds
from tui.enabling import CONDITIONS

IDS = [c.id for c in actions()]


@pytest.mark.parametrize("command", actions(), ids=IDS)
def test_every_row_has_a_deed_and_known_conditions(command):
    assert callable(getattr(Deeds, f"do_{command.action}", None)), f"tui/deeds.py: do_{command.action}"
    assert set(command.when.split()) <= set(CONDITIONS)
    assert command.help.endswith(".")
    assert command.label or not command.foot


def test_no_key_is_used_twice_or_taken_by_the_terminal():
    keys = list(chain.from_iterable(c.key.split(",") for c in actions() if c.key))
    assert len(keys) == len(set(keys))
    assert not set(keys) & keymap.TAKEN


def test_every_deed_is_in_the_table():
    done = {name.removeprefix("do_") for name in vars(Deeds) if name.startswith("do_")}
    assert done == {c.action for c in actions()}


def test_ids_are_unique_and_rows_of_the_app_alone_are_not_typed():
    ids = [c.id for c in (*COMMANDS, *APP_COMMANDS)]
    assert len(ids) == len(set(ids))
    assert all(c.run for c in COMMANDS)
    assert not any(c.run for c in APP_COMMANDS)


def test_a_users_keys_replace_those_of_the_table():
    found, problems = keymap.checked({"train": "ctrl+n, f2"})
    assert found == {"train": "ctrl+n,f2"}
    assert problems == ()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"trian": "n"}, "keys.trian: expected one of"),
        ({"train": "ctrl+b"}, "taken by tmux"),
        ({"train": "n]"}, "got 'n]'"),
        ({"train": "q"}, "'q' is both"),
    ],
)
def test_a_keymap_that_cannot_be_is_told_in_a_sentence(wanted, said):
    _, problems = keymap.checked(wanted)
    assert any(said in p for p in problems), problems


@pytest.mark.parametrize(
    ("key", "text"), [("slash", "/"), ("question_mark,f1", "?"), ("ctrl+p", "^p"), ("f1", "F1"), ("n", "n")]
)
def test_keys_are_written_as_people_know_them(key, text):
    assert keymap.shown(key) == text


RUN, SURFACE, PLANE = "01KR" + "0" * 16 + "4F2K9A", "01KS" + "0" * 16 + "MJXBFF", "ab" * 29 + "81c2fe"
SPECS = [
    TrainSpec(),
    *(TrainSpec(recipe=recipe) for recipe in PRESETS.values()),
    TrainSpec(recipe=Recipe(model="vgg11", nesterov=True, lr=0.5, epochs=3, checkpoint_every=7)),
    PlaneSpec(direction="pca", trajectory=RUN),
    PlaneSpec(direction="random", origin=f"{RUN}@epoch:3", trajectory=RUN, options={"seed": 2, "normalize": "layer"}),
    SurfaceSpec(plane=PLANE),
    SurfaceSpec(
        plane=PLANE,
        grid=GridSpec(alpha=AxisSpec(count=51, lo=-0.5, hi=1.0), beta=AxisSpec(count=26)),
        split="test",
        limit=500,
        batch_norm="recalibrate",
    ),
    SurfaceSpec(plane=PLANE, path=RUN, passes="grow", until=0.01, data="cifar10", metrics=("loss",)),
    AnalysisSpec(target=SURFACE),
    AnalysisSpec(target=SURFACE, options={"threshold": 0.05}),
    ExportSpec(target=SURFACE, format="ply"),
]


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_what_was_asked_can_be_typed(spec):
    line = typed.command(spec) + " --workspace /w"
    program, *words = shlex.split(line)
    assert program == "thalweg"
    cli.app().parse_args(words, exit_on_error=False, print_error=False)


def test_a_typed_recipe_is_the_one_that_was_asked():
    from tui.verbs import train

    asked = Recipe(model="vgg11", nesterov=True, lr=0.5, epochs=3, seed=4, schedule="step")
    words = shlex.split(typed.command(TrainSpec(recipe=asked)))[1:]
    _, bound, _ = cli.app().parse_args(words, exit_on_error=False, print_error=False)
    assert train.chosen_recipe(bound.arguments.get("preset"), train.flags.given(bound.arguments["recipe"])) == asked
