"""Random and PCA planes against their definitions, and their files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from small import conv_net, save, snapshot, tied_net, trained
from torch import nn
from torch.profiler import ProfilerActivity, profile

from compute import landscape
from compute.checkpoints import Checkpoint
from compute.directions import gaussian, pca
from compute.directions.pca import random_walk_ratio
from compute.directions.vectors import BLOCK, cosine, dot
from compute.parameters import Layout, flatten, flatten_state
from compute.planes import load_plane, read_about, save_plane
from compute.trajectory import path_coordinates
from protocol.errors import InputError
from protocol.messages import Recipe

# ---------------------------------------------------------------- random


def units(vector: torch.Tensor, layout: Layout) -> dict[str, torch.Tensor]:
    return {name: vector[a:b].view(shape) for name, shape, a, b in layout}


@pytest.mark.parametrize("seed", [0, 3])
def test_each_filter_of_a_direction_has_the_norm_of_the_weights(seed: int) -> None:
    model = conv_net()
    plane = landscape.random_plane(model, seed=seed)
    theta = units(plane.origin, plane.layout)
    for direction in (plane.delta, plane.eta):
        for name, d in units(direction, plane.layout).items():
            if d.ndim > 1:
                torch.testing.assert_close(
                    d.flatten(1).norm(dim=1), theta[name].flatten(1).norm(dim=1), rtol=1e-5, atol=0
                )
            else:
                assert not d.any()


def test_layer_weight_and_none_are_what_they_say() -> None:
    model = conv_net()
    made = {
        rule: landscape.random_plane(model, normalize=rule, ignore="nothing") for rule in ("layer", "weight", "none")
    }
    layout = made["none"].layout
    theta, drawn = units(made["none"].origin, layout), units(made["none"].delta, layout)
    for name, d in units(made["layer"].delta, layout).items():
        torch.testing.assert_close(d.norm(), theta[name].norm(), rtol=1e-5, atol=1e-6)
    for name, d in units(made["weight"].delta, layout).items():
        torch.testing.assert_close(d, drawn[name] * theta[name])
    assert float(made["none"].delta.std()) == pytest.approx(1.0, abs=0.1)


def test_biases_move_as_one_unit_when_nothing_is_ignored() -> None:
    model = conv_net()
    plane = landscape.random_plane(model, ignore="nothing")
    bias = units(plane.delta, plane.layout)["8.bias"]
    torch.testing.assert_close(bias.norm(), model[8].bias.norm())


def test_two_random_directions_are_almost_orthogonal_and_gram_schmidt_makes_them_so() -> None:
    """Regression: without dividing by ||d||^2 the second direction became the first one reversed (cosine -1)."""
    model = nn.Linear(1000, 300)
    loose, strict = landscape.random_plane(model), landscape.random_plane(model, orthogonal=True)
    assert abs(loose.meta.cosine) < 0.02
    assert abs(strict.meta.cosine) < 1e-7
    assert strict.meta.norms[1] == pytest.approx(loose.meta.norms[1], rel=1e-3)


@pytest.mark.parametrize(("orthogonal", "rule"), [(False, "none"), (True, "none"), (False, "layer")])
def test_two_directions_on_one_line_are_refused(orthogonal: bool, rule: str) -> None:
    """Regression: a model of one weight got a plane, which was a line."""
    with pytest.raises(InputError, match="lie on one line"):
        landscape.random_plane(nn.Linear(1, 1, bias=False), ignore="nothing", normalize=rule, orthogonal=orthogonal)


@pytest.mark.parametrize("shape", [(7, 5), (3, 1), (2, 2000), (1, 30), (5, 1024)])
def test_norms_by_blocks_are_those_of_float64(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    monkeypatch.setattr(gaussian, "BLOCK", 1024)
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e20  # squares overflow float32
    torch.testing.assert_close(gaussian.norms(rows), rows.double().norm(dim=1), rtol=1e-14, atol=0)


def test_normalising_makes_no_wide_copy_of_a_tensor() -> None:
    """Regression: two float64 copies of the whole tensor, 822 MB each for the first layer of VGG."""
    d, theta = torch.randn(64, 40_000), torch.randn(64, 40_000)
    for rule in ("filter", "layer"):
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            gaussian.normalize(d, theta, rule)
        assert max(e.cpu_memory_usage for e in seen.events()) <= 8 * BLOCK


def test_the_seed_decides_and_the_callers_generator_is_left_alone() -> None:
    model = conv_net()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    a, b, c = (landscape.random_plane(model, seed=s) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.delta, b.delta)
    assert not torch.equal(a.delta, c.delta)
    assert not torch.equal(a.delta, a.eta)
    assert a.meta.hash == b.meta.hash != c.meta.hash


@pytest.mark.parametrize(("option", "value"), [("normalize", "fliter"), ("ignore", "biasbn"), ("seed", -1)])
def test_a_misspelled_option_is_refused_not_ignored(option: str, value: object) -> None:
    """Regression: the reference code's `norm` silently did nothing for an unknown name."""
    with pytest.raises(InputError, match=option):
        landscape.random_plane(conv_net(), **{option: value})


def test_a_plane_is_cut_through_a_copy_of_the_weights() -> None:
    """Regression: a live view of the state dict as the centre walks away with the model."""
    model = conv_net()
    plane = landscape.random_plane(model)
    before = plane.origin.clone()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
        model[1].running_mean.add_(5.0)
    assert torch.equal(plane.origin, before)
    assert not bool((plane.buffers["1.running_mean"] == 5.0).any())


# ---------------------------------------------------------------- PCA


@pytest.mark.parametrize("make", [conv_net, tied_net])
def test_pca_equals_scikit_learns(make: object) -> None:
    model, states = trained(make)  # type: ignore[arg-type]
    plane = landscape.pca_plane(model, states)
    layout = plane.layout
    thetas = torch.stack([flatten_state(s, layout) for s in states]).double().numpy()
    m = thetas[:-1] - thetas[-1]
    want = PCA(2, svd_solver="full").fit(m)
    for got, component in zip((plane.delta, plane.eta), want.components_):
        sign = np.sign(got.double().numpy() @ component)
        np.testing.assert_allclose(got.numpy(), sign * component, atol=1e-5)
    np.testing.assert_allclose(plane.meta.explained_variance_ratio, want.explained_variance_ratio_, rtol=1e-6)
    assert plane.meta.norms == pytest.approx((1.0, 1.0), abs=1e-6)
    assert abs(plane.meta.cosine) < 1e-6


def test_the_uncentred_plane_is_the_svd_of_the_displacements() -> None:
    model, states = trained()
    plane = landscape.pca_plane(model, states, centre=False)
    thetas = torch.stack([flatten_state(s, plane.layout) for s in states]).double().numpy()
    m = thetas[:-1] - thetas[-1]
    _, s, vt = np.linalg.svd(m, full_matrices=False)
    for k, got in enumerate((plane.delta, plane.eta)):
        assert abs(got.double().numpy() @ vt[k]) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(plane.meta.explained_variance_ratio, (s**2 / (s**2).sum())[:2], rtol=1e-6)


def test_the_initialisation_lies_in_the_first_quadrant_and_the_end_at_the_origin() -> None:
    model, states = trained()
    for centre in (True, False):
        path = landscape.pca_plane(model, states, centre=centre).path
        assert path["alpha"][0] >= 0
        assert path["beta"][0] >= 0
        assert (path["alpha"][-1], path["beta"][-1], path["off_plane"][-1]) == (0.0, 0.0, 0.0)


def test_files_and_state_dicts_give_the_same_plane(tmp_path: Path) -> None:
    model, states = trained(tied_net)
    a = landscape.pca_plane(model, states)
    b = landscape.pca_plane(model, save(states, tmp_path, tied_net()))
    assert torch.equal(a.delta, b.delta)
    assert torch.equal(a.eta, b.eta)
    assert a.meta.hash != b.meta.hash  # the files say which steps they are of, and the path is part of the plane
    assert b.path["step"].tolist() == [0, 7, 14, 21, 28, 35, 42]
    assert b.path["epoch"].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_too_few_or_collinear_checkpoints_are_refused() -> None:
    model, states = trained(epochs=3)
    with pytest.raises(InputError, match="at least 4 checkpoints"):
        landscape.pca_plane(model, states[:3])
    with pytest.raises(InputError, match="at least 3 checkpoints"):
        landscape.pca_plane(model, states[:2], centre=False)
    line = [
        {k: v * (1 + t) if v.is_floating_point() else v for k, v in states[0].items()}
        for t in (0.0, 0.25, 0.5, 1.0, 2.0)
    ]
    with pytest.raises(InputError, match="on a line"):
        landscape.pca_plane(model, line)
    with pytest.raises(InputError, match="on a line"):
        landscape.pca_plane(model, [states[0]] * 5)


def test_nan_in_a_checkpoint_is_named() -> None:
    model, states = trained(epochs=4)
    states[2]["0.weight"][0] = float("nan")
    with pytest.raises(InputError, match="checkpoint 2"):
        landscape.pca_plane(model, states)
    with pytest.raises(InputError, match="finite weights"):
        landscape.pca_plane(model, [*states[:2], states[3], states[4], states[2]])


def test_a_random_walk_explains_what_antognini_and_sohl_dickstein_found() -> None:
    assert sum(random_walk_ratio(10, True)) == pytest.approx(0.778, abs=5e-4)
    assert sum(random_walk_ratio(100, True)) == pytest.approx(0.760, abs=1e-3)
    assert sum(random_walk_ratio(400, False)) == pytest.approx(0.90, abs=5e-3)


def test_the_random_walk_reference_is_the_limit_of_real_walks() -> None:
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((11, 40_000)), axis=0)
    m = walk[:-1] - walk[-1]
    got = PCA(2, svd_solver="full").fit(m).explained_variance_ratio_
    np.testing.assert_allclose(got, random_walk_ratio(10, True), atol=0.01)


MEMORY = """
import sys, resource, torch
from pathlib import Path
from torch import nn
from compute import landscape
folder, n = Path(sys.argv[1]), int(sys.argv[2])
model = nn.Linear(2048, 2048, bias=False)
files = sorted(folder.glob("step-*.safetensors"))[:n + 1]
landscape.pca_plane(model, files[-4:])  # libraries loaded, pools warm
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
plane = landscape.pca_plane(model, files)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
BARE = """
import resource, scipy.linalg
from torch import nn
from compute import landscape
model = nn.Linear(2048, 2048, bias=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_pca_memory_does_not_grow_with_the_number_of_checkpoints(tmp_path: Path) -> None:
    """At 4.2 million weights a float32 vector takes 16 MiB: 100 checkpoints held at once would take 1.6 GiB."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2048, 2048, generator=generator) * 0.02
    step = torch.randn(2048, 2048, generator=generator) * 1e-3
    from compute.checkpoints import write_tensors

    for k in range(101):
        weight += step.roll(7919 * k)
        write_tensors(tmp_path / f"step-{k:08d}.safetensors", {"weight": weight}, {"step": k, "epoch": float(k)})
    peaks = []
    for n in (10, 100):
        out = subprocess.run(
            [sys.executable, "-c", MEMORY, str(tmp_path), str(n)], capture_output=True, text=True, check=True
        )
        peaks.append(int(out.stdout.split()[1]) / 1024)
    vectors = 3 * 2048 * 2048 * 4 / 2**20
    assert peaks[1] - peaks[0] < 32, f"peak resident MiB at 10 and 100 checkpoints: {peaks}"
    bare = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=True)
    above = peaks[1] - int(bare.stdout) / 1024
    assert above < vectors + 64, f"{above:.0f} MiB above the model, expected under {vectors:.0f} + 64"


# ---------------------------------------------------------------- path


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-0.9, 0.9), st.floats(0.1, 20.0))
def test_least_squares_coordinates_round_trip_on_any_axes(a: float, b: float, mix: float, scale: float) -> None:
    """Regression: with <d, v> / ||v|| a displacement of 0.5 along a direction of length 20 showed as 10.8."""
    import dataclasses

    model = nn.Linear(40, 5)
    plane = landscape.random_plane(model, normalize="none", ignore="nothing")
    delta = plane.delta * scale
    plane = dataclasses.replace(plane, delta=delta, eta=plane.eta + mix * delta)
    state = snapshot(model)
    theta = plane.origin + a * plane.delta + b * plane.eta
    moved = {name: theta[s:e].view(shape) for name, shape, s, e in plane.layout}
    path = landscape.project(model, [state, moved], plane)
    assert (path.alpha[0], path.beta[0], path.off_plane[0]) == (0.0, 0.0, 0.0)
    assert path.alpha[1] == pytest.approx(a, abs=1e-4)
    assert path.beta[1] == pytest.approx(b, abs=1e-4)
    if abs(a) + abs(b) > 0.1:
        assert path.off_plane[1] < 1e-3


def test_the_off_plane_distance_is_the_share_of_the_way_that_is_not_shown() -> None:
    model = nn.Linear(40, 5)
    plane = landscape.random_plane(model, normalize="none", ignore="nothing")
    away = torch.randn(plane.layout.size, generator=torch.Generator().manual_seed(9))
    basis = torch.linalg.qr(torch.stack([plane.delta, plane.eta], 1)).Q
    away -= basis @ (basis.T @ away)
    away *= plane.delta.norm() / away.norm()
    theta = plane.origin + plane.delta + away
    moved = {name: theta[s:e].view(shape) for name, shape, s, e in plane.layout}
    assert landscape.project(model, [moved], plane).off_plane[0] == pytest.approx(2**-0.5, abs=1e-3)


def test_the_pca_sweep_gives_the_places_of_all_checkpoints() -> None:
    """Regression: the path was swept a fourth time for what the third sweep had found."""
    model, states = trained()
    layout = Layout.of(model)
    opened = [Checkpoint(state, layout) for state in states]
    made = landscape.finish(pca.make(layout, opened, pca.Options()))
    assert made.path_places is not None
    places, off_plane = made.path_places
    want, away = np.zeros((len(opened), 2)), np.zeros(len(opened))
    for _ in path_coordinates(opened, opened[-1].theta(), (made.delta, made.eta), want, away):
        pass
    np.testing.assert_allclose(places, want, rtol=0, atol=1e-9 * np.abs(want).max())
    np.testing.assert_allclose(off_plane, away, rtol=0, atol=1e-6)
    assert (places[0] >= 0).all()
    assert not places[-1].any()
    assert off_plane[-1] == 0.0


# ---------------------------------------------------------------- files


def test_a_plane_round_trips_and_is_checked_by_its_contents(tmp_path: Path) -> None:
    model, states = trained(tied_net)
    plane = landscape.pca_plane(model, states)
    file = save_plane(tmp_path, plane, Recipe(), ["RUN@0"])
    assert file.stem == plane.meta.hash
    again = load_plane(file, Layout.of(model))
    for name in ("origin", "delta", "eta"):
        assert torch.equal(getattr(plane, name), getattr(again, name))
    assert again.path.tobytes() == plane.path.tobytes()
    assert again.meta == plane.meta
    assert read_about(file).trajectory == ("RUN@0",)
    damaged = bytearray(file.read_bytes())
    damaged[-3000] ^= 4
    file.write_bytes(bytes(damaged))
    with pytest.raises(InputError, match="corrupted"):
        load_plane(file, Layout.of(model))


def test_a_plane_of_another_model_is_refused(tmp_path: Path) -> None:
    model, states = trained()
    file = save_plane(tmp_path, landscape.pca_plane(model, states), None, [])
    with pytest.raises(InputError, match="of this model"):
        load_plane(file, Layout.of(tied_net()))
    with pytest.raises(InputError, match="expected a plane"):
        read_about(save(states, tmp_path, model)[0])


def test_dot_and_cosine_are_those_of_float64() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(3_000_000, generator=g), torch.randn(3_000_000, generator=g)
    assert dot(a, b) == pytest.approx(float(a.double() @ b.double()), rel=1e-12)
    assert cosine(a, a) == pytest.approx(1.0)
    assert np.isnan(cosine(a, torch.zeros_like(a)))


def test_flatten_of_the_model_is_the_planes_origin() -> None:
    model = conv_net()
    assert torch.equal(landscape.random_plane(model).origin, flatten(model, Layout.of(model)))
