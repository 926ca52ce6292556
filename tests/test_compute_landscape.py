"""The laws of a surface: closed form, rows, centre, passes, batches, policies; and the caller's model left alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import conv_net, digits, flattening_net, snapshot, tied_net, trained
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from compute import landscape
from compute.arithmetic import numerics
from compute.engine import Engine
from compute.execution import applied
from compute.landscape import Session
from compute.samples import Samples, order
from protocol.errors import InputError
from protocol.grid import AxisSpec, GridSpec
from protocol.messages import Execution
from protocol.shares import Share

RECTANGLE = GridSpec(alpha=AxisSpec(count=7, lo=-0.9, hi=0.6), beta=AxisSpec(count=4, lo=-0.3, hi=0.45))


def measured(model: nn.Module, plane: landscape.Plane, **how: object) -> landscape.Surface:
    how = {"grid": GridSpec(alpha=AxisSpec(count=5), beta=AxisSpec(count=3)), "batch_size": 256, **how}
    return landscape.measure(model, digits(), plane, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return trained()[0]


@pytest.fixture(scope="module")
def plane(net: nn.Module) -> landscape.Plane:
    return landscape.random_plane(net, seed=1)


# ---------------------------------------------------------------- closed form and axis order


def test_a_linear_least_squares_model_equals_its_closed_form_on_a_rectangular_grid() -> None:
    """Regression: axis order right only for square grids; every second row written reversed by one cell (snake order).

    mean_k (w . x_k - y_k)^2 is w^T A w - 2 b^T w + c, so the surface is a quadratic whose coefficients are known."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(300, 6, generator=g, dtype=torch.float64), torch.randn(300, 1, generator=g, dtype=torch.float64)
    model = nn.Linear(6, 1, bias=False).double()
    plane = landscape.random_plane(model, ignore="nothing", normalize="none")

    def squared(output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().sum(1)

    surface = landscape.measure(model, (x, y), plane, RECTANGLE, loss=squared)
    a, b, c = x.T @ x / 300, (x.T @ y / 300).flatten(), float((y**2).mean())
    want = np.empty((4, 7))
    for i, beta in enumerate(surface.beta):
        for j, alpha in enumerate(surface.alpha):
            w = plane.origin + alpha * plane.delta + beta * plane.eta
            want[i, j] = float(w @ a @ w - 2 * b @ w + c)
    assert surface.shape == (4, 7)
    np.testing.assert_allclose(surface.loss, want, rtol=1e-12)
    assert np.isnan(surface.accuracy).all()
    np.testing.assert_allclose(surface.n, 300)


def test_every_vertex_equals_the_plain_evaluation_there(net: nn.Module, plane: landscape.Plane) -> None:
    surface = measured(net, plane, grid=RECTANGLE)
    x, y = digits()
    for i, j in ((0, 0), (3, 6), (1, 4), (2, 0)):
        moved = conv_net().eval()
        moved.load_state_dict(net.state_dict())
        theta = plane.origin + surface.alpha[j] * plane.delta + surface.beta[i] * plane.eta
        for (_, shape, a, b), p in zip(plane.layout, moved.parameters()):
            p.data.copy_(theta[a:b].view(shape))
        with torch.no_grad():
            output = moved(x)
        assert surface.loss[i, j] == pytest.approx(float(F.cross_entropy(output, y)), rel=1e-5)
        assert surface.accuracy[i, j] == pytest.approx(
            float((output.argmax(1) == y).float().mean()), abs=1 / 700 + 1e-9
        )


def test_the_centre_vertex_is_theta_star(net: nn.Module, plane: landscape.Plane) -> None:
    surface = measured(net, plane)
    x, y = digits()
    with torch.no_grad():
        output = net(x)
        losses = F.cross_entropy(output, y, reduction="none").double()
    assert (surface.alpha[2], surface.beta[1]) == (0.0, 0.0)
    assert surface.loss[1, 2] == pytest.approx(float(losses.mean()), rel=1e-6)
    assert surface.sem[1, 2] == pytest.approx(float(losses.std()) / 700**0.5, rel=1e-5)
    assert surface.accuracy[1, 2] == pytest.approx(float((output.argmax(1) == y).double().mean()))


def test_one_row_alone_equals_the_same_row_of_the_grid(net: nn.Module, plane: landscape.Plane) -> None:
    how = {"execution": Execution(device="cpu", threads=1, batch_size=128, channels_last=False)}
    whole, alone = (Session(net, Samples(*digits(), "digits"), plane, **how) for _ in range(2))  # type: ignore[arg-type]
    alpha, beta = whole.axes(RECTANGLE)
    with whole:
        rows = dict(whole.rows([(i, float(b)) for i, b in enumerate(beta)], alpha, Share(0, 700)))
    with alone:
        ((_, row),) = alone.rows([(2, float(beta[2]))], alpha, Share(0, 700))
    for name in row:
        np.testing.assert_array_equal(rows[2][name], row[name])


def test_measuring_twice_gives_the_same_bits(net: nn.Module, plane: landscape.Plane) -> None:
    """Regression: a peer adds noise to maxima, so that two calls differ."""
    a, b = measured(net, plane), measured(net, plane)
    assert a.loss.tobytes() == b.loss.tobytes()


# ---------------------------------------------------------------- what must not change the value


@pytest.mark.parametrize("batch_norm", ["frozen", "batch"])
@pytest.mark.parametrize("passes", [2, 3, "grow"])
def test_several_passes_equal_one(net: nn.Module, plane: landscape.Plane, passes: int | str, batch_norm: str) -> None:
    one = measured(net, plane, batch_norm=batch_norm)
    many = measured(net, plane, passes=passes, batch_norm=batch_norm)
    assert many.meta.passes_done == 2  # 700 samples: shares of 512 and 188
    np.testing.assert_allclose(many.loss, one.loss, rtol=1e-6)
    np.testing.assert_allclose(many.accuracy, one.accuracy)
    np.testing.assert_allclose(many.sem, one.sem, rtol=1e-6)
    np.testing.assert_array_equal(many.n, one.n)


@pytest.mark.parametrize("batch_size", [1, 33, 512])
def test_the_batch_size_does_not_change_the_loss(net: nn.Module, plane: landscape.Plane, batch_size: int) -> None:
    """Regression: a sum of batch means over the number of samples made the seed's loss a tenth of the true one."""
    grid = GridSpec(alpha=AxisSpec(count=2), beta=AxisSpec(count=2))
    np.testing.assert_allclose(
        measured(net, plane, grid=grid, batch_size=batch_size).loss, measured(net, plane, grid=grid).loss, rtol=1e-6
    )


def test_the_memory_layout_does_not_change_the_loss(net: nn.Module, plane: landscape.Plane) -> None:
    def with_layout(channels_last: bool) -> np.ndarray:
        execution = Execution(device="cpu", threads=1, batch_size=256, channels_last=channels_last)
        session = Session(net, Samples(*digits(), ""), plane, execution=execution)
        with session:
            ((_, row),) = session.rows([(0, 0.3)], np.array([-0.5, 0.5]), Share(0, 700))
        return row["loss_sum"]

    np.testing.assert_allclose(with_layout(True), with_layout(False), rtol=1e-6)


@pytest.mark.parametrize("make", [conv_net, tied_net])
@pytest.mark.parametrize("batch_norm", ["frozen", "batch", "recalibrate"])
@pytest.mark.parametrize("training", [True, False])
def test_the_callers_model_is_untouched(make: Callable[[], nn.Module], batch_norm: str, training: bool) -> None:
    """Regression: a popular library leaves the caller's model moved and frozen."""
    model, states = trained(make)
    model.train(training)
    before, grads = snapshot(model), [p.requires_grad for p in model.parameters()]
    plane = landscape.pca_plane(model, states)
    surface = measured(model, plane, batch_norm=batch_norm)
    landscape.project(model, states, plane, data=digits(), surface=surface)
    assert model.training is training
    assert [p.requires_grad for p in model.parameters()] == grads
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def settings() -> dict[str, object]:
    newer = {
        f"{library}.{operation}": getattr(getattr(getattr(torch.backends, library), operation), "fp32_precision", None)
        for library, operation in (
            ("cuda", "matmul"), ("cudnn", "conv"), ("cudnn", "rnn"), ("mkldnn", "matmul"), ("mkldnn", "conv"),
        ) if hasattr(getattr(torch.backends, library), operation)
    }  # fmt: skip
    return newer | {
        "threads": torch.get_num_threads(),
        "matmul": torch.get_float32_matmul_precision(),
        "cuda": torch.backends.cuda.matmul.allow_tf32,
        "cudnn": torch.backends.cudnn.allow_tf32,
        "benchmark": torch.backends.cudnn.benchmark,
        "random": torch.get_rng_state().sum().item(),
    }


@pytest.fixture
def default_settings() -> Iterator[None]:
    yield
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("matmul", ["high", "medium"])
@pytest.mark.usefixtures("default_settings")
def test_torchs_settings_are_put_back(net: nn.Module, plane: landscape.Plane, matmul: str) -> None:
    """Regression: after "medium", torch refused to read its own settings; and CPUs went on in bfloat16 inside."""
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    before = settings()
    measured(net, plane, precision="bf16")
    assert settings() == before
    with applied(Execution(threads=2), "fp32"):
        inside = settings()
    assert settings() == before
    assert inside["threads"] == 2
    assert (inside["matmul"], inside["cuda"], inside["cudnn"], inside["benchmark"]) == ("highest", False, False, False)
    assert {inside[name] for name in inside if "." in name} <= {"ieee", None}
    with numerics("fp32", torch.device("cpu")):
        assert settings() == inside | {"threads": before["threads"]}
    assert settings() == before


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch has no such settings before 2.9")
def test_settings_made_the_newer_way_are_put_back() -> None:
    """Regression: reading the older flags raises where the newer are in use."""
    backends: Any = torch.backends
    places = [backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv]
    before = [at.fp32_precision for at in places]
    try:
        for at, value in zip(places, ("tf32", "ieee", "bf16", "bf16")):
            at.fp32_precision = value
        with applied(Execution(), "fp32"):
            assert [at.fp32_precision for at in places] == ["ieee"] * 4
        assert [at.fp32_precision for at in places] == ["tf32", "ieee", "bf16", "bf16"]
        with applied(Execution(), "tf32"):
            assert [at.fp32_precision for at in places] == ["tf32", "tf32", "ieee", "ieee"]
        assert [at.fp32_precision for at in places] == ["tf32", "ieee", "bf16", "bf16"]
    finally:
        for at, value in zip(places, before):
            at.fp32_precision = value


# ---------------------------------------------------------------- NaN and other data


def test_a_diverged_point_stays_what_it_is(net: nn.Module, plane: landscape.Plane) -> None:
    """Regression: a peer replaces NaN and inf. Far out the logits overflow; that is data."""
    surface = measured(net, plane, alpha=(-1e30, 1e30), beta=(-1e30, 1e30))
    assert np.isfinite(surface.loss[1, 2])
    assert not np.isfinite(surface.loss[0, 0])
    assert (surface.n == 700).all()
    bad = np.isnan(surface.loss)
    assert not surface.accuracy[bad].any()


def test_a_loss_at_or_below_zero_is_measured_once(net: nn.Module, plane: landscape.Plane) -> None:
    """Regression: with -1 for "not computed yet" a loss <= 0 is computed for ever."""

    def negative(output: Tensor, target: Tensor) -> Tensor:
        return -1.0 - 0.0 * output[:, 0]

    surface = measured(net, plane, loss=negative)
    np.testing.assert_array_equal(surface.loss, -1.0)
    np.testing.assert_array_equal(surface.n, 700)
    np.testing.assert_array_equal(surface.sem, 0.0)


def test_running_variances_are_never_perturbed(net: nn.Module) -> None:
    """Regression: a peer moves buffers along the direction; a negative variance is NaN over half the grid."""
    plane = landscape.random_plane(net, ignore="nothing")
    assert plane.layout.size == sum(p.numel() for p in net.parameters())
    surface = measured(net, plane, alpha=(-2, 2), beta=(-2, 2))
    assert np.isfinite(surface.loss).all()


def test_fewer_evaluations_than_points_times_samples_are_impossible_and_more_are_waste(
    net: nn.Module, plane: landscape.Plane
) -> None:
    """Regression: the reference rewrites both result arrays at every point. Here a row is reported once a pass."""
    seen: list[tuple[int, int, int]] = []
    measured(net, plane, passes=2, on_row=lambda i, values, k, n: seen.append((i, k, n)))
    assert seen == [(0, 0, 512), (2, 0, 512), (1, 0, 512), (0, 1, 700), (2, 1, 700), (1, 1, 700)]


def test_rows_report_what_the_surface_holds(net: nn.Module, plane: landscape.Plane) -> None:
    rows: dict[int, dict[str, np.ndarray]] = {}
    surface = measured(net, plane, on_row=lambda i, values, k, n: rows.__setitem__(i, values))
    for i, values in rows.items():
        np.testing.assert_array_equal(values["loss"], surface.loss[i])
        np.testing.assert_array_equal(values["sem"], surface.sem[i])


# ---------------------------------------------------------------- batch norm


def test_batch_statistics_are_those_of_each_partition(net: nn.Module, plane: landscape.Plane) -> None:
    surface = measured(net, plane, batch_norm="batch", seed=4)
    x, y = digits()
    index = order(y, None, 4)
    moved = conv_net().train()
    moved.load_state_dict(net.state_dict())
    theta = plane.origin + surface.alpha[4] * plane.delta + surface.beta[0] * plane.eta
    for (_, shape, a, b), p in zip(plane.layout, moved.parameters()):
        p.data.copy_(theta[a:b].view(shape))
    total = 0.0
    with torch.no_grad():
        for a, b in ((0, 256), (256, 512), (512, 700)):
            total += float(F.cross_entropy(moved(x[index[a:b]]), y[index[a:b]], reduction="sum"))
    assert surface.loss[0, 4] == pytest.approx(total / 700, rel=1e-5)


def test_recalibration_is_torchs_cumulative_average_at_each_point(net: nn.Module, plane: landscape.Plane) -> None:
    x, y = digits()
    surface = measured(net, plane, batch_norm="recalibrate", calibration=(x[:300], y[:300]), seed=2)
    calibration = x[:300][order(y[:300], 300, 2)]
    moved = conv_net()
    moved.load_state_dict(net.state_dict())
    theta = plane.origin + surface.alpha[0] * plane.delta + surface.beta[2] * plane.eta
    for (_, shape, a, b), p in zip(plane.layout, moved.parameters()):
        p.data.copy_(theta[a:b].view(shape))
    for m in moved.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
            m.momentum = None
    with torch.no_grad():
        moved.train()
        moved(calibration[:256])
        moved(calibration[256:])
        want = float(F.cross_entropy(moved.eval()(x), y))
    assert surface.loss[2, 0] == pytest.approx(want, rel=1e-5)
    assert "300 samples" in surface.meta.calibration


def test_recalibration_makes_a_far_point_survive(net: nn.Module, plane: landscape.Plane) -> None:
    frozen = measured(net, plane, alpha=(-3, 3), beta=(-3, 3))
    again = measured(net, plane, alpha=(-3, 3), beta=(-3, 3), batch_norm="recalibrate")
    assert again.loss[0, 0] < frozen.loss[0, 0]


# ---------------------------------------------------------------- data and losses


def test_tensors_a_dataset_and_a_loader_give_the_same_surface(net: nn.Module, plane: landscape.Plane) -> None:
    pair = digits()
    dataset = TensorDataset(*pair)
    a = measured(net, plane)
    for data in (dataset, DataLoader(dataset, batch_size=77)):
        b = landscape.measure(
            net, data, plane, GridSpec(alpha=AxisSpec(count=5), beta=AxisSpec(count=3)), batch_size=256
        )
        np.testing.assert_array_equal(a.loss, b.loss)
    assert "DataLoader" in b.meta.data


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), F.cross_entropy, nn.CrossEntropyLoss(reduction="sum")])
def test_a_loss_is_asked_for_its_values_per_sample(
    net: nn.Module, plane: landscape.Plane, loss: Callable[..., Tensor]
) -> None:
    np.testing.assert_array_equal(measured(net, plane, loss=loss).loss, measured(net, plane).loss)
    if isinstance(loss, nn.Module):
        assert loss.reduction in {"mean", "sum"}


def test_a_loss_that_returns_a_scalar_is_refused(net: nn.Module, plane: landscape.Plane) -> None:
    with pytest.raises(InputError, match="one value a sample"):
        measured(net, plane, loss=lambda output, target: F.cross_entropy(output, target))


def test_a_limit_draws_a_stratified_sample_that_is_the_same_everywhere(net: nn.Module, plane: landscape.Plane) -> None:
    _, y = digits()
    index = order(y, 200, seed=3)
    assert len(set(index.tolist())) == 200
    share = torch.bincount(y[index], minlength=10) - torch.bincount(y, minlength=10) * 200 / 700
    assert float(share.abs().max()) < 1.0
    a, b = measured(net, plane, limit=200, seed=3), measured(net, plane, limit=200, seed=3)
    assert (a.n == 200).all()
    assert a.loss.tobytes() == b.loss.tobytes()
    assert measured(net, plane, limit=200, seed=5).loss[0, 0] != a.loss[0, 0]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"grid": 1}, "a line needs two points"),
        ({"grid": 2.5}, "number of points"),
        ({"alpha": (1.0, -1.0)}, "start below its end"),
        ({"device": "tpu"}, "cpu, cuda, mps"),
        ({"precision": "fp8"}, "precision"),
        ({"precision": "tf32"}, "CUDA devices only"),
        ({"batch_norm": "evl"}, "batch_norm"),
        ({"metrics": ("f1",)}, "accuracy, loss"),
        ({"passes": 0}, "at least 1"),
        ({"limit": 0}, "limit"),
    ],
)
def test_wrong_arguments_are_a_sentence_before_any_work(
    net: nn.Module, plane: landscape.Plane, how: dict[str, object], why: str
) -> None:
    if how.get("precision") == "tf32" and torch.cuda.is_available():
        pytest.skip("this machine has tf32")
    with pytest.raises(InputError, match=why) as e:
        measured(net, plane, **how)
    assert "\n" not in str(e.value)


def test_cuda_asked_for_and_absent_is_an_error_not_a_fallback(net: nn.Module, plane: landscape.Plane) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(InputError, match="cuda was asked for"):
        measured(net, plane, device="cuda")


def test_data_that_do_not_fit_the_model_are_a_sentence(net: nn.Module, plane: landscape.Plane) -> None:
    with pytest.raises(InputError, match="shape"):
        landscape.measure(net, (torch.randn(10, 3, 8, 8), torch.zeros(10, dtype=torch.long)), plane)
    with pytest.raises(InputError, match="as many targets"):
        landscape.measure(net, (torch.randn(10, 1, 8, 8), torch.zeros(9, dtype=torch.long)), plane)
    with pytest.raises(InputError, match="pair of tensors"):
        landscape.measure(net, "digits", plane)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="plane"):
        landscape.measure(tied_net(), digits(), plane)


def test_bf16_records_how_far_it_is_from_fp32(net: nn.Module, plane: landscape.Plane) -> None:
    exact, rough = measured(net, plane), measured(net, plane, precision="bf16")
    assert exact.meta.precision_deviation is None
    deviation = rough.meta.precision_deviation
    assert deviation is not None
    assert 0 < deviation < 0.1
    assert (np.abs(rough.loss / exact.loss - 1) < 20 * deviation).all()


# ---------------------------------------------------------------- memory


def test_out_of_memory_halves_the_batch_and_begins_the_pass_again(
    net: nn.Module, plane: landscape.Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = measured(net, plane, passes=2)
    honest = Engine._row

    def starved(self: Engine, alpha: np.ndarray, beta: float, spans: list[tuple[int, int]]) -> dict[str, np.ndarray]:
        if beta > 0 and max(b - a for a, b in spans) > 100:
            raise torch.OutOfMemoryError
        return honest(self, alpha, beta, spans)

    monkeypatch.setattr(Engine, "_row", starved)
    got = measured(net, plane, passes=2)
    assert got.meta.execution["batch_size"] == 64
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-6)
    np.testing.assert_array_equal(got.n, want.n)
    with pytest.raises(InputError, match="cannot split"):
        measured(net, plane, batch_norm="batch")


# ---------------------------------------------------------------- path


@pytest.mark.parametrize("batch_norm", ["frozen", "batch", "recalibrate"])
def test_the_three_losses_of_a_path(batch_norm: str) -> None:
    model, states = trained()
    x, y = digits()
    plane = landscape.pca_plane(model, states)
    surface = measured(model, plane, batch_norm=batch_norm)
    path = landscape.project(model, states, plane, data=(x, y), surface=surface)
    for k, state in enumerate(states):
        own = conv_net().eval()
        own.load_state_dict(state)
        with torch.no_grad():
            assert path.loss_true[k] == pytest.approx(float(F.cross_entropy(own(x), y)), rel=1e-5)
        if batch_norm == "frozen":
            own.load_state_dict({**state, **{n: v for n, v in states[-1].items() if "running" in n}})
            with torch.no_grad():
                assert path.loss_weights[k] == pytest.approx(float(F.cross_entropy(own(x), y)), rel=1e-5)
    assert path.loss_plane[-1] == pytest.approx(path.loss_weights[-1], rel=1e-5)
    if batch_norm == "frozen":
        assert path.loss_true[-1] == pytest.approx(path.loss_weights[-1], rel=1e-6)
    i, j = np.argmin(np.abs(surface.beta)), np.argmin(np.abs(surface.alpha))
    assert surface.loss[i, j] == pytest.approx(path.loss_plane[-1], rel=1e-5)


def test_without_data_the_losses_are_not_computed() -> None:
    model, states = trained()
    path = landscape.project(model, states, landscape.pca_plane(model, states))
    assert np.isnan(path.loss_plane).all()
    assert path.step.tolist() == list(range(7))


def test_a_path_measured_with_another_loss_than_its_surface_is_refused() -> None:
    model, states = trained()
    plane = landscape.pca_plane(model, states)
    surface = measured(model, plane)
    with pytest.raises(InputError, match="cross_entropy"):
        landscape.project(model, states, plane, data=digits(), surface=surface, loss=F.nll_loss)


def test_a_surface_of_a_pca_plane_covers_its_path_with_zero_as_a_vertex() -> None:
    model, states = trained()
    plane = landscape.pca_plane(model, states)
    surface = measured(model, plane)
    for axis, column in ((surface.alpha, plane.path["alpha"]), (surface.beta, plane.path["beta"])):
        assert axis[0] <= column.min()
        assert axis[-1] >= column.max()
        assert 0.0 in axis


def test_the_example_of_the_module_runs(tmp_path: object) -> None:
    model, checkpoints = trained()
    data = digits()
    plane = landscape.random_plane(model, seed=0, normalize="filter", ignore="bias_bn")
    plane = landscape.pca_plane(model, checkpoints)
    surface = landscape.measure(model, data, plane, grid=3)
    path = landscape.project(model, checkpoints, plane, data=data, surface=surface)
    file = surface.with_path(path).save(f"{tmp_path}/surface.npz")
    again = landscape.Surface.load(file)
    assert again.path["alpha"].tolist() == path.alpha.tolist()
    assert again.meta.plane == plane.meta
    assert dataclasses.is_dataclass(again)


# ---------------------------------------------------------------- odd models and data


@pytest.mark.parametrize("calibrate", [False, True])
def test_a_model_that_flattens_with_view_is_measured_in_its_own_layout(calibrate: bool) -> None:
    model = flattening_net().eval()
    execution = Execution(device="cpu", threads=1)
    session = Session(
        model, Samples(*digits(), ""), landscape.random_plane(model), execution=execution, calibrate=calibrate
    )
    assert session.engine.execution.channels_last is False
    with session:
        ((_, row),) = session.rows([(0, 0.0)], np.array([0.0]), Share(0, 700))
    x, y = digits()
    with torch.no_grad():
        assert row["loss_sum"][0] == pytest.approx(float(F.cross_entropy(model(x), y, reduction="sum")), rel=1e-6)


def test_a_half_precision_model_is_measured_and_its_plane_kept(tmp_path: Path) -> None:
    from compute.parameters import Layout
    from compute.planes import load_plane, save_plane

    model = conv_net().bfloat16().eval()
    plane = landscape.random_plane(model)
    again = load_plane(save_plane(tmp_path, plane, None, []), Layout.of(model))
    assert again.meta.hash == plane.meta.hash
    surface = measured(model, again, grid=2)
    assert np.isfinite(surface.loss).all()


def test_the_callers_autocast_does_not_leak_into_fp32(net: nn.Module, plane: landscape.Plane) -> None:
    want = measured(net, plane, grid=2)
    with torch.autocast("cpu", torch.bfloat16):
        got = measured(net, plane, grid=2)
    assert got.loss.tobytes() == want.loss.tobytes()


def test_a_target_that_is_no_class_is_a_sentence_wherever_it_lies(net: nn.Module, plane: landscape.Plane) -> None:
    x, y = digits()
    wrong = y.clone()
    wrong[650] = 10
    with pytest.raises(InputError, match="every target"):
        landscape.measure(net, (x, wrong), plane, 2)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_of_nothing_is_refused(net: nn.Module, plane: landscape.Plane, batch_size: int) -> None:
    with pytest.raises(InputError, match="batch_size"):
        measured(net, plane, batch_size=batch_size)


def test_bf16_of_a_float64_model_is_refused(net: nn.Module) -> None:
    model = conv_net().double()
    with pytest.raises(InputError, match="float64"):
        landscape.measure(model, digits(), landscape.random_plane(model), 2, precision="bf16")


def test_a_point_that_diverges_in_bf16_alone_is_an_infinite_deviation(net: nn.Module, plane: landscape.Plane) -> None:
    session = Session(net, Samples(*digits(), ""), plane, precision="bf16", execution=Execution(device="cpu"))
    honest = Engine.rows

    def overflowing(self: Engine, *args: object) -> object:
        for i, sums in honest(self, *args):  # type: ignore[arg-type]
            if self.precision == "bf16":
                sums["loss_sum"][0] = np.inf
            yield i, sums

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "rows", overflowing)
        assert session.deviation(np.array([-1.0, 1.0]), np.array([-1.0, 1.0])) == "inf"


def test_memory_running_out_on_the_path_halves_the_batch() -> None:
    model, states = trained(epochs=4)
    plane = landscape.pca_plane(model, states)
    surface = measured(model, plane, grid=3)
    want = landscape.project(model, states, plane, data=digits(), surface=surface)
    honest = Engine._at

    def starved(self: Engine, theta: Tensor, buffers: object) -> dict[str, float]:
        if (self.execution.batch_size or 0) > 100:
            raise torch.OutOfMemoryError
        return honest(self, theta, buffers)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "_at", starved)
        got = landscape.project(model, states, plane, data=digits(), surface=surface)
    np.testing.assert_allclose(got.loss_true, want.loss_true, rtol=1e-6)


def test_a_point_of_the_path_leaves_no_trace_in_the_next() -> None:
    model, states = trained()
    session = Session(
        model, Samples(*digits(), ""), landscape.pca_plane(model, states), execution=Execution(device="cpu")
    )
    theta = session.plane.origin
    with session:
        before = session.engine.at(theta)
        session.engine.at(theta, {n: torch.full_like(v, 3.0) for n, v in states[0].items() if "running" in n})
        assert session.engine.at(theta) == before


def test_a_checkpoint_without_running_statistics_is_refused() -> None:
    model, states = trained(epochs=4)
    bare = {n: v for n, v in states[1].items() if "running" not in n}
    with pytest.raises(InputError, match="running statistics"):
        landscape.pca_plane(model, [states[0], bare, *states[2:]])
    counters_only = {n: v for n, v in states[1].items() if "num_batches" not in n}
    landscape.pca_plane(model, [states[0], counters_only, *states[2:]])


def test_reading_data_leaves_the_callers_generator_alone(net: nn.Module, plane: landscape.Plane) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    landscape.measure(net, TensorDataset(*digits()), plane, 2)
    assert torch.equal(before, torch.get_rng_state())


def test_the_same_vectors_with_another_path_are_another_plane() -> None:
    from compute.landscape import finish, make_plane

    model, states = trained()
    alone = finish(make_plane("random", model, states[-1:], {}))
    along = finish(make_plane("random", model, states[-1:], {}, trajectory=states))
    assert torch.equal(alone.delta, along.delta)
    assert alone.meta.hash != along.meta.hash


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("batch_norm", ["frozen", "batch", "recalibrate"])
def test_cuda_measures_what_the_cpu_does(net: nn.Module, plane: landscape.Plane, batch_norm: str) -> None:
    want = measured(net, plane, batch_norm=batch_norm, device="cpu")
    got = measured(net, plane, batch_norm=batch_norm, device="cuda")
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-4)
