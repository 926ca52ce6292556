"""Forms: from the catalogue to a spec, to sentences at fields, and to a command line that gives the same spec."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
import samples

from protocol.errors import InputError
from protocol.messages import PRESETS, PlaneSpec, Recipe, SurfaceSpec, TrainSpec
from tui import cli, errand, forms, packing, reach, things
from tui.fields import Choice, Field, of_schema, of_struct
from tui.forms import Form, form_of
from tui.session import Common


def form(kind: str) -> Form:
    """A form over the sample workspace; an import has a file that is there."""
    made = form_of(kind, samples.catalogue(), samples.workspace())
    if kind == "import":
        made.set("file", str(Path(__file__).parent / "data" / "ResNet_PCA.ply"))
        made.set("format", "ply")
    return made


# ---------------------------------------------------------------- fields


def all_fields() -> list[Field]:
    return [f for kind in forms.FORMS for f in form(kind).fields()]


@pytest.mark.parametrize("kind", forms.FORMS)
def test_what_a_field_shows_reads_back_as_its_value(kind: str) -> None:
    for field in form(kind).fields():
        if not field.none or field.choices:
            if field.path == "file":
                continue
            assert field.read(field.show(field.default)) == field.default, field.path


WRONG = {
    "integer": ["x", "1.5", "-999999999999999999999", "9" * 5000, "nan"],
    "number": ["x", "nan", "inf", "1e999", "1,5"],
    "choice": ["no such name", "\x1b[31m"],
    "pairs": ["width", "=4"],
    "numbers": ["1, x", "nan"],
}


@pytest.mark.parametrize("kind", forms.FORMS)
def test_wrong_input_in_each_field_is_one_sentence_at_that_field(kind: str) -> None:
    tried = 0
    for path in [f.path for f in form(kind).fields()]:
        made = form(kind)
        field = made.field(path)
        assert field is not None
        for raw in WRONG.get(field.kind, []):
            made.set(path, raw)
            errors = made.errors()
            assert path in errors, (path, raw)
            sentence = errors[path]
            assert sentence.startswith("expected ")
            assert ", got " in sentence
            assert "\n" not in sentence
            assert len(sentence) < 200
            assert sentence.isprintable()
            with pytest.raises(InputError):
                made.submission()
            tried += 1
    assert tried > 3


@pytest.mark.parametrize("kind", forms.FORMS)
def test_a_megabyte_in_a_field_is_refused_in_a_sentence_at_once(kind: str) -> None:
    made = form(kind)
    for field in made.fields():
        if field.kind in ("text", "integer", "number", "choice", "pairs") and field.path != "preset":
            made.raw = {**made.raw, field.path: "a" * 2**20}
            break
    assert "got 1,048,576" in made.errors()[field.path]


def test_bounds_are_those_of_the_structs() -> None:
    """What a field accepts at its edges, msgspec accepts too, and just beyond neither does."""
    for field in of_struct(Recipe):
        if field.kind != "integer" or field.hi is None:
            continue
        for value in (int(field.lo or 0), int(field.hi)):
            msgspec.convert({field.path: field.read(str(value))}, Recipe)
        for value in (int(field.lo or 0) - 1, int(field.hi) + 1):
            with pytest.raises(InputError):
                field.read(str(value))
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert({field.path: value}, Recipe)


def test_a_number_may_also_be_a_word() -> None:
    passes = next(f for f in of_struct(SurfaceSpec) if f.path == "passes")
    assert (passes.read("grow"), passes.read("3")) == ("grow", 3)
    with pytest.raises(InputError, match="expected a whole number of at least 1 or grow, got 'shrink'"):
        passes.read("shrink")


def test_ninety_models_are_filtered_by_words_in_any_order() -> None:
    models = [Choice(f"resnet{n}", "", "small images") for n in range(90)]
    assert [c.value for c in models if c.matches("images 77")] == ["resnet77"]


def test_a_schema_of_unknown_shape_becomes_a_text_and_not_a_traceback() -> None:
    made = of_schema({"properties": {"odd": {"oneOf": []}, "list": {"type": "array"}}})
    assert [f.kind for f in made] == ["text", "many"]


# ---------------------------------------------------------------- forms


def test_defaults_of_the_train_form_are_the_demo() -> None:
    assert form("train").spec() == TrainSpec(recipe=PRESETS["demo"])


def test_a_preset_fills_every_field_and_can_be_changed() -> None:
    made = form("train")
    made.set("preset", "seed")
    made.set("recipe.epochs", "3")
    assert made.spec().recipe == msgspec.structs.replace(PRESETS["seed"], epochs=3)


def test_the_options_of_a_direction_follow_the_direction() -> None:
    made = form("plane")
    made.set("direction", "random")
    assert {"options.normalize", "options.seed"} <= {f.path for f in made.fields()}
    made.set("options.seed", "7")
    made.set("direction", "pca")
    assert [f.path for f in made.fields() if f.path.startswith("options.")] == ["options.centre"]
    assert made.spec().options == {}
    made.set("direction", "random")
    assert made.spec().options == {"seed": 7}  # what was typed is still there


def test_each_option_explains_itself() -> None:
    made = form("plane")
    made.set("direction", "random")
    helps = {f.path: f.help for f in made.fields()}
    assert helps["options.normalize"].startswith("filter (Li et al.)")
    assert "Gram-Schmidt" in helps["options.orthogonal"]


def test_options_of_a_model_are_in_its_spec_where_they_are_not_the_default() -> None:
    made = form("train")
    made.set("recipe.model_options.width", "4")
    assert made.spec().recipe.model_options == {"width": 4}
    made.set("recipe.model_options.width", "16")
    assert made.spec().recipe.model_options == {}


def test_a_model_that_needs_larger_images_says_so_at_the_image_size() -> None:
    made = form("train")
    made.set("recipe.model", "vgg11")
    assert made.errors() == {"recipe.image_size": "expected at least 32 for vgg11, got 8: type 32"}
    made.set("recipe.image_size", "32")
    assert not made.errors()


@pytest.mark.parametrize(
    ("typed", "at"),
    [
        ({"grid.alpha.lo": "1"}, "grid.alpha.hi"),
        ({"grid.beta.hi": "1"}, "grid.beta.lo"),
        ({"grid.alpha.lo": "1", "grid.alpha.hi": "-1"}, "grid.alpha.lo"),
        ({"metrics": ()}, "metrics"),
        ({"until": "0.01"}, "passes"),
    ],
)
def test_fields_that_contradict_each_other_are_marked(typed: dict[str, Any], at: str) -> None:
    made = form("surface")
    for path, raw in typed.items():
        made.set(path, raw)
    assert list(made.errors()) == [at]


def test_the_seed_preset_takes_the_ranges_of_the_kind_of_plane() -> None:
    made = form("surface")
    for plane, hi in ((samples.PCA, 9.75), (samples.RANDOM, 0.5)):
        made.set("plane", plane)
        made.set("preset", "seed")
        grid = made.spec().grid
        assert (grid.alpha.count, grid.alpha.hi) == (26, hi)


def test_an_empty_workspace_says_what_comes_first() -> None:
    for kind, path, first in (
        ("plane", "run", "train"),
        ("surface", "plane", "cut"),
        ("analysis", "target", "measure"),
    ):
        made = form_of(kind, samples.catalogue())
        assert first in made.errors()[path]
        assert made.estimate() is None


@pytest.mark.parametrize(
    ("kind", "path", "field"),
    [
        ("surface", "$.jobs[0].spec.grid.alpha.count", "grid.alpha.count"),
        ("surface", "$.spec.grid.alpha", "grid.alpha.count"),
        ("surface", "$.jobs[0].spec.metrics[1]", "metrics"),
        ("train", "$.spec.recipe.lr", "recipe.lr"),
        ("train", "$.recipe.model_options", "recipe.model_options.width"),
        ("train", "$.jobs[0].name", "job.name"),
        ("train", "$.jobs[0].execution.threads", "execution.threads"),
        ("plane", "$.spec.origin", "run"),
        ("plane", "$.spec.options.seed", "options.seed"),
        ("train", "$.nothing.of.that", ""),
        ("train", None, ""),
    ],
)
def test_what_the_daemon_refuses_is_shown_at_the_field_it_names(kind: str, path: str | None, field: str) -> None:
    made = form(kind)
    if kind == "plane":
        made.set("direction", "random")
    assert made.refuse(InputError("expected better", path=path)) == field
    assert made.errors() == {field: "expected better"}
    if field:
        made.set(field, made.shown(made.field(field)))  # type: ignore[arg-type]  # it is there
        assert not made.errors()


def test_a_chain_is_one_submission_whose_later_jobs_refer_to_the_earlier() -> None:
    made = form("train")
    made.set("then", "both")
    made.set("then.grid", "5")
    train, pca, first, random, second = made.submission()
    assert isinstance(pca.spec, PlaneSpec)
    assert isinstance(random.spec, PlaneSpec)
    assert (pca.spec.trajectory, pca.spec.origin) == (f"job:{train.job}", None)
    assert random.spec.origin == f"job:{train.job}@last"
    for cut, surface in ((pca, first), (random, second)):
        assert isinstance(surface.spec, SurfaceSpec)
        assert (surface.spec.plane, surface.spec.grid.beta.count) == (f"job:{cut.job}", 5)
    assert made.refuse(InputError("too many", path="$.jobs[2].spec.grid.alpha.count")) == "then.grid"


@pytest.mark.parametrize("kind", ["train", "plane", "surface", "analysis", "export"])
def test_duplicate_and_edit_begins_with_the_same_spec(kind: str) -> None:
    first = form(kind)
    for path, raw in CHANGES[kind]:
        first.set(path, raw)
    spec = msgspec.to_builtins(first.spec())
    second = forms.again(spec, samples.catalogue(), samples.workspace())
    assert msgspec.to_builtins(second.spec()) == spec


def test_what_no_form_can_say_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="list of checkpoints"):
        forms.again({"kind": "plane", "trajectory": ["a", "b"]}, samples.catalogue())


# ---------------------------------------------------------------- the same as a command

CHANGES: dict[str, list[tuple[str, Any]]] = {
    "train": [
        ("recipe.model", "resnet56"), ("recipe.lr", "3e-05"), ("recipe.nesterov", False), ("recipe.image_size", "16"),
        ("recipe.model_options.width", "4"), ("recipe.weight_decay", "0"), ("recipe.schedule", "step"),
        ("recipe.checkpoint_every", "7"), ("recipe.seed", "9223372036854775807"), ("job.name", "it's a \"name\" $x"),
        ("job.priority", "-5"), ("execution.threads", "1"), ("job.on_conflict", "new"),
    ],
    "plane": [
        ("direction", "random"), ("options.normalize", "layer"), ("options.seed", "3"), ("options.orthogonal", True),
    ],
    "surface": [
        ("grid.alpha.count", "26"), ("grid.beta.count", "51"), ("grid.alpha.lo", "-0.1"), ("grid.alpha.hi", "1e-05"),
        ("split", "test"), ("limit", "500"), ("metrics", ("loss",)), ("batch_norm", "recalibrate"),
        ("calibration", "64"), ("passes", "grow"), ("until", "0.01"), ("path", samples.RUN), ("data", "fashion-mnist"),
        ("seed", "4"), ("execution.device", "cpu"),
    ],
    "analysis": [("options.threshold", "0.05")],
    "export": [("format", "ply"), ("options.path", False)],
    "import": [("job.name", "from afar")],
}  # fmt: skip


class Asked(Exception):
    """What a command would have submitted."""


def typed(line: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the real command submits for this line: its first job."""

    class Link:
        client = type("Client", (), {"upload": lambda *_, **__: ""})()
        common, root = Common(), None

    def stop(there: Any, jobs: Any, *_: Any, **__: Any) -> None:
        raise Asked(jobs if not isinstance(jobs, list) else jobs[0])

    def thing(client: Any, what: str, text: str) -> dict[str, Any]:
        kinds = samples.workspace().kinds
        return {"id": text, "hash": text, "name": "demo-pca resnet20 pca", "meta": {"kind": kinds.get(text, "")}}

    monkeypatch.setattr(reach, "daemon", lambda *_, **__: contextlib.nullcontext(Link()))
    monkeypatch.setattr(things, "thing", thing)
    monkeypatch.setattr(errand, "run", stop)
    monkeypatch.setattr(errand, "submit", stop)
    monkeypatch.setattr(packing, "packed", contextlib.nullcontext)
    with pytest.raises(Asked) as asked:
        cli.app()(shlex.split(line)[1:], exit_on_error=False, print_error=False, result_action="return_value")
    return asked.value.args[0]


@pytest.mark.parametrize("changed", [False, True], ids=["as it opens", "much changed"])
@pytest.mark.parametrize("kind", forms.FORMS)
def test_the_copied_command_submits_the_same_job(kind: str, changed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = form(kind)
    for path, raw in CHANGES[kind] if changed else []:
        made.set(path, raw)
    assert not made.errors()
    want = made.submission()[0]
    got = typed(made.command(), monkeypatch)
    same = {"job": want.job} if kind != "import" else {"job": want.job, "name": want.name}
    assert msgspec.structs.replace(got, **same) == want


@pytest.mark.parametrize("preset", [*PRESETS, "own"])
def test_the_command_of_a_recipe_starts_where_the_form_did(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = form("train")
    made.set("preset", preset)
    made.set("recipe.epochs", "3")
    command = made.command()
    assert (f"--preset {preset}" in command) == (preset != "own")
    assert typed(command, monkeypatch).spec == made.spec()


def test_a_random_plane_at_an_epoch_is_the_same_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    for direction in ("random", "pca"):
        for at in ("", "first", "epoch:3", "120"):
            made = form("plane")
            made.set("direction", direction)
            made.set("at", at)
            assert typed(made.command(), monkeypatch).spec == made.spec()


@pytest.mark.slow
def test_the_sample_catalogue_is_as_a_daemon_tells_it() -> None:
    """Of the entries that the sample has; there may be more."""
    pytest.importorskip("torch")
    from compute.catalogue import catalogue

    real, sample = catalogue(), samples.catalogue()
    for table in ("models", "datasets", "directions", "metrics", "analyses", "exports", "imports"):
        entries = {e["name"]: e for e in real[table]}
        for entry in sample[table]:
            told = msgspec.json.decode(msgspec.json.encode(entries[entry["name"]]))
            assert {**told, "where": None} == {**entry, "where": None}
    assert set(sample["losses"]) <= set(real["losses"])
    assert sample["presets"] == real["presets"]


# ---------------------------------------------------------------- the workspace's own defaults


def test_surfaces_take_the_passes_of_the_workspace_where_nobody_says_others() -> None:
    """As on the command line: a preset and a spec that is there already say their own."""
    there = dataclasses.replace(samples.workspace(), passes="grow")
    made = form_of("surface", samples.catalogue(), there)
    assert made.spec().passes == "grow"
    assert "--passes grow" in made.command()
    made.set("preset", "seed")
    assert made.spec().passes == 1
    begun = forms.again({"kind": "surface", "plane": samples.PCA}, samples.catalogue(), there)
    assert begun.spec().passes == "grow"
    before = msgspec.to_builtins(SurfaceSpec(plane=samples.PCA))
    assert forms.again(before, samples.catalogue(), there).spec().passes == 1


@pytest.mark.parametrize(("kind", "then", "surfaces"), [("train", "both", 2), ("plane", "surface", 1)])
def test_surfaces_of_a_chain_take_the_passes_of_the_workspace(kind: str, then: str, surfaces: int) -> None:
    made = form_of(kind, samples.catalogue(), dataclasses.replace(samples.workspace(), passes=3))
    made.set("then", then)
    passes = [job.spec.passes for job in made.submission() if isinstance(job.spec, SurfaceSpec)]
    assert passes == [3] * surfaces
    assert made.command().count("--passes 3") == surfaces


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "export", "target": samples.SURFACE},
        {"kind": "analysis", "target": samples.SURFACE},
        {"kind": "surface", "plane": samples.PCA},
        {"kind": "plane", "direction": "pca", "trajectory": samples.RUN},
    ],
    ids=lambda spec: str(spec["kind"]),
)
def test_a_form_begun_with_what_is_chosen_can_be_submitted_as_it_is(spec: dict[str, Any]) -> None:
    made = forms.again(spec, samples.catalogue(), samples.workspace())
    assert made.errors() == {}
    (job,) = made.submission()
    assert msgspec.to_builtins(job.spec) | spec == msgspec.to_builtins(job.spec)
