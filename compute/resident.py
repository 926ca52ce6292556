"""What a worker holds between jobs, model and data, and how a spec becomes the inputs of the numerics."""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import nn
from ulid import ULID

from compute import checkpoints as files
from compute import config, datasets, losses, recipes
from compute.checkpoints import Checkpoint, TensorFile
from compute.directions import DIRECTIONS
from compute.landscape import Session, open_all
from compute.parameters import Layout
from compute.planes import load_plane, read_about
from compute.samples import Samples
from compute.tensorfile import open_resumable
from compute.train import CheckpointDue, Resume, StepDone, TrainEvent, total_steps, train
from compute.workspace import Workspace
from protocol.errors import InputError, unknown_name
from protocol.files import SurfaceMeta
from protocol.messages import Execution, PlaneSpec, Recipe, SurfaceSpec

KEEP_DATA = 4  # splits held at once
TIMED_STEPS, TIMED_S = 12, 2.0  # how long an estimate looks


@dataclass(frozen=True)
class PlaneInputs:
    """What a plane is made of: the model, the checkpoints (the last is theta*), what its path is projected from."""

    model: nn.Module
    recipe: Recipe
    checkpoints: list[Path]
    trajectory: list[Path]
    addresses: tuple[str, ...]  # of the trajectory, for the plane's file
    origin: str


class Resident:
    """One workspace and data folder; the model and the data that were used last stay in memory."""

    def __init__(self, workspace: str, data: str | None) -> None:
        self.key = (workspace, data)
        self.workspace = Workspace(Path(workspace))
        self.roots = datasets.search_roots(
            Path(data) if data else None, config=config.read(Path(workspace)).data, workspace=Path(workspace)
        )
        self._model: tuple[bytes, nn.Module] | None = None
        self._data: dict[tuple[object, ...], datasets.TensorData] = {}

    def model(self, recipe: Recipe) -> nn.Module:
        """The recipe's model; only its structure is used, its weights come from checkpoints."""
        key = msgspec.json.encode((recipe.model, recipe.model_options, recipe.dataset, recipe.image_size))
        if self._model is None or self._model[0] != key:
            structure = msgspec.structs.replace(recipe, pretrained=False)
            self._model = (key, recipes.build_model(structure, roots=self.roots))
        return self._model[1]

    def data(
        self, recipe: Recipe, split: datasets.Split, limit: int | None = None, seed: int = 0
    ) -> datasets.TensorData:
        """A split of the recipe's data set, kept for the next job."""
        key = (recipe.dataset, recipe.image_size, recipe.model, split, limit, seed if limit else 0)
        if key not in self._data:
            while len(self._data) >= KEEP_DATA:
                del self._data[next(iter(self._data))]
            self._data[key] = recipes.load_data(recipe, split, self.roots, limit=limit, seed=seed)
        return self._data[key]

    # ------------------------------------------------------------ train

    def training(
        self, recipe: Recipe, execution: Execution, *, run: str | None = None, resume: str | None = None
    ) -> Training:
        """A training that is checked and has its data, ready to begin or to go on.

        `run` is the id to work under: it goes on where that run has a state, else it begins. `resume` names a run that
        must have one, and its recipe counts.
        """
        device = torch.device(execution.device or "cpu")
        folder, state = self.workspace.runs / (run or str(ULID())), None
        if resume is not None:
            folder = self.workspace.run(resume)
        found = open_resumable(folder) if folder.is_dir() else None
        if found is not None:
            recipe, state = _resume(*found[1:])
        elif resume is not None:
            raise InputError(
                f"run {folder.name}: it has no checkpoint with a state to go on from: train it again", code="not_found"
            )
        recipes.check(recipe, device=device, roots=self.roots)
        train_data, test_data = self.data(recipe, "train"), self.data(recipe, "test")
        recipes.check(recipe, device=device, train_samples=len(train_data))
        return Training(
            folder, recipe, execution, train_data, test_data, state, self.roots, total_steps(recipe, len(train_data))
        )

    # ------------------------------------------------------------ plane

    def plane_inputs(self, spec: PlaneSpec) -> PlaneInputs:
        """Resolve a plane's addresses and build its model."""
        if spec.direction not in DIRECTIONS:
            raise unknown_name("direction", spec.direction, DIRECTIONS)
        many = DIRECTIONS[spec.direction].trajectory
        trajectory = self.workspace.trajectory(spec.trajectory) if spec.trajectory is not None else []
        if spec.origin is not None:
            theta = self.workspace.checkpoint(spec.origin)
            if many and trajectory and trajectory[-1] != theta:
                raise InputError(
                    f"origin: a {spec.direction} plane lies through the last checkpoint of its trajectory, got "
                    "another: leave the origin out, or end the trajectory there",
                    path="$.origin",
                )
        elif trajectory:
            theta = trajectory[-1]
        else:
            raise InputError("origin: expected a checkpoint or a trajectory, got neither: name a run", path="$.origin")
        if many and not trajectory:
            raise InputError(
                f"trajectory: a {spec.direction} plane needs one, got none: name a run", path="$.trajectory"
            )
        about = TensorFile(theta, check_hash=False)
        recipe = spec.recipe
        if recipe is None:
            if "recipe" not in about.about:
                raise InputError(
                    f"{theta}: it does not say which model it is of: name the model and the data set", path="$.recipe"
                )
            recipe = msgspec.convert(about.about["recipe"], Recipe)
        recipes.check(msgspec.structs.replace(recipe, pretrained=False, precision="fp32"))
        return PlaneInputs(
            model=self.model(recipe),
            recipe=recipe,
            checkpoints=trajectory if many else [theta],
            trajectory=trajectory,
            addresses=tuple(self._address(f) for f in trajectory),
            origin=self._address(theta),
        )

    def _address(self, file: Path) -> str:
        if file.parent.parent == self.workspace.runs:
            return f"{file.parent.name}@{int(file.stem.removeprefix('step-'))}"
        return str(file.absolute())

    # ------------------------------------------------------------ surface

    def session(self, spec: SurfaceSpec, execution: Execution) -> tuple[Session, SurfaceMeta, list[Checkpoint]]:
        """What a surface job measures with, what is recorded of it, and the opened checkpoints of its path."""
        file = self.workspace.plane(spec.plane)
        about = read_about(file)
        if about.recipe is None:
            raise InputError(f"{file}: the plane does not say which model it is of: make it from a run")
        recipe = about.recipe
        if spec.data is not None:
            recipe = msgspec.structs.replace(recipe, dataset=spec.data)
        loss = losses.named(spec.loss)
        model = self.model(about.recipe)
        layout = Layout.of(model)
        plane = load_plane(file, layout)
        addresses = spec.path if spec.path is not None else about.trajectory or None
        try:
            sources = self.workspace.trajectory(addresses) if addresses is not None else []
            opened = open_all(sources, layout)
        except InputError as e:
            if spec.path is not None or e.code != "not_found":
                raise
            opened = []  # the run is gone; the plane holds the path's coordinates, its losses are not measured
        calibration = None
        if spec.batch_norm == "recalibrate":
            calibration = _samples(self.data(recipe, "train", spec.calibration, spec.seed))
        session = Session(
            model,
            _samples(self.data(recipe, spec.split, spec.limit, spec.seed)),
            plane,
            loss=loss,
            metrics=spec.metrics,
            batch_norm=spec.batch_norm,
            calibration=calibration,
            calibration_size=spec.calibration,
            limit=spec.limit,
            seed=spec.seed,
            precision=spec.precision,
            execution=execution,
            calibrate=True,
            split=spec.split,
        )
        meta = msgspec.structs.replace(
            session.meta,
            model=recipe.model,
            model_options=recipe.model_options,
            data=recipe.dataset,
            passes=str(spec.passes),
            execution=session.recorded(),
        )
        return session, meta, opened


def _resume(weights: TensorFile, state: TensorFile) -> tuple[Recipe, Resume]:
    """The recipe and the state of a checkpoint to go on from."""
    recipe = msgspec.convert(weights.about["recipe"], Recipe)
    tensors = {name: state.tensor(name) for name in state.entries}
    return recipe, Resume({name: weights.tensor(name) for name in weights.entries}, tensors, state.about)


def _samples(data: datasets.TensorData) -> Samples:
    return Samples(data.images, data.targets, data.name)


@dataclass(frozen=True)
class Training:
    """One training: its folder, and what it writes there."""

    folder: Path
    recipe: Recipe
    execution: Execution
    train_data: datasets.TensorData
    test_data: datasets.TensorData
    state: Resume | None
    roots: Sequence[Path]
    total: int

    @property
    def id(self) -> str:
        """The run's id."""
        return self.folder.name

    def events(self) -> Generator[TrainEvent, None, None]:
        """Steps, epochs and checkpoints, as train.train gives them."""
        yield from train(
            self.recipe,
            train_data=self.train_data,
            test_data=self.test_data,
            device=self.execution.device or "cpu",
            resume=self.state,
            roots=self.roots,
            channels_last=bool(self.execution.channels_last),
        )

    def seconds(self) -> float:
        """What the whole training will take, from its first steps; nothing of them is kept.

        A sweep over the test data at each epoch's end costs a third of a training step a sample (a forward pass).
        """
        events = self.events()
        marks = [time.perf_counter()]
        for event in events:
            if isinstance(event, StepDone):
                float(event.loss)  # waits for the device
                marks.append(time.perf_counter())
                if len(marks) > TIMED_STEPS or (len(marks) > 3 and marks[-1] - marks[1] > TIMED_S):
                    break
        events.close()
        taken = [b - a for a, b in itertools.pairwise(marks)]
        each = statistics.median(taken[1:] or taken)  # the first one builds the model and warms up
        sweeps = self.recipe.epochs * len(self.test_data) / (3 * self.recipe.batch_size)
        return each * (self.total + sweeps)

    def keep(self, due: CheckpointDue) -> tuple[Path, str]:
        """Make a checkpoint durable: the state to go on from first, then the weights, then the old states go."""
        new = not self.folder.exists()
        try:
            tensors, meta = due.resume()
            files.write_resume(self.folder, step=due.step, tensors=tensors, meta=meta)
            written = files.write_checkpoint(
                self.folder, due.model, step=due.step, epoch=due.epoch, recipe=self.recipe, metrics=due.metrics or {}
            )
        except BaseException:
            if new:  # not even the first checkpoint: leave no run behind
                shutil.rmtree(self.folder, ignore_errors=True)
            raise
        files.drop_old_resumes(self.folder)
        return written
