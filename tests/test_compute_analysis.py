"""Critical points: fields with known answers, the Euler identity, and the graph's pairs against all simplices."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from compute.analysis import ANALYSES, Findings
from compute.analysis.critical import Summary
from compute.analysis.freudenthal import rank_vertices
from compute.analysis.persistence import find_pairs
from protocol.errors import InputError
from protocol.files import CRITICAL_DTYPE, Surface, SurfaceMeta

FIELDS = hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9).flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, np.nan, np.inf]))
)
"""Small rectangles with many ties and many holes."""
TALL = hnp.arrays(np.float64, (7, 4), elements=st.integers(-50, 50).map(float))


def surface(z: Any, span: float = 1.0, n: Any = None, meta: SurfaceMeta | None = None) -> Surface:
    z = np.asarray(z, np.float64)
    nothing = np.full(z.shape, np.nan)
    return Surface(
        alpha=np.linspace(-span, span, z.shape[1]),
        beta=np.linspace(-span, span, z.shape[0]),
        loss=z,
        accuracy=nothing,
        sem=nothing,
        n=np.ones(z.shape, np.int64) if n is None else np.asarray(n),
        meta=meta or SurfaceMeta(),
    )


def run(name: str, s: Surface, **options: Any) -> tuple[Findings, list[tuple[int, int]]]:
    entry, steps = ANALYSES[name], []
    generator = entry.make(s, msgspec.convert(options, entry.options))
    while True:
        try:
            steps.append(next(generator))
        except StopIteration as end:
            return end.value, steps


def critical(s: Surface, threshold: float | str = 0.0) -> tuple[NDArray[np.void], Summary]:
    found, _ = run("critical", s, threshold=threshold)
    assert isinstance(found.summary, Summary)
    return found.arrays["critical"], found.summary


def sampled(f: Any, span: float, count: int) -> Surface:
    axis = np.linspace(-span, span, count)
    return surface(f(*np.meshgrid(axis, axis)), span)


def himmelblau(x: Any, y: Any) -> Any:
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


def rastrigin(x: Any, y: Any) -> Any:
    return 20 + x * x + y * y - 10 * (np.cos(2 * np.pi * x) + np.cos(2 * np.pi * y))


def counts(summary: Summary) -> tuple[int, int, int]:
    return summary.interior.minima, summary.interior.saddles, summary.interior.maxima


# ---------------------------------------------------------------- every analysis


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_travels_as_data_shows_progress_and_leaves_the_surface_alone(name: str) -> None:
    assert msgspec.json.schema(ANALYSES[name].options)
    assert ANALYSES[name].summary
    s = sampled(himmelblau, 5, 31)
    arrays = {k: getattr(s, k).tobytes() for k in ("alpha", "beta", "loss", "n", "critical")}
    found, steps = run(name, s)
    assert [k for k, _ in steps] == sorted(k for k, _ in steps)
    assert steps[-1][0] == steps[-1][1] == steps[0][1]
    msgspec.json.encode(found.summary)
    with_it = found.onto(s)
    assert {k: getattr(s, k).tobytes() for k in arrays} == arrays
    for key, value in found.arrays.items():
        assert getattr(with_it, key).tobytes() == value.tobytes()


def test_the_registry_loads_neither_torch_nor_gudhi() -> None:
    code = "import sys, compute.analysis; print(sorted({'torch', 'gudhi', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ---------------------------------------------------------------- known fields


@pytest.mark.parametrize("count", [41, 101, 128])
def test_himmelblau_has_four_minima_four_saddles_one_maximum(count: int) -> None:
    points, summary = critical(sampled(himmelblau, 5, count))
    assert counts(summary) == (4, 4, 1)
    assert summary.euler == 1
    exact = {(3, 2), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)}
    step = 10 / (count - 1)
    for x, y in exact:
        at = points[points["kind"] == "minimum"]
        assert np.min(np.hypot(at["alpha"] - x, at["beta"] - y)) < 2 * step


def test_rastrigin_has_a_minimum_in_every_cell() -> None:
    # On [-2.2, 2.2] squared: minima near the 5 x 5 whole numbers, maxima near the 4 x 4 halves, saddles between.
    _, summary = critical(sampled(rastrigin, 2.2, 89))
    assert counts(summary) == (25, 40, 16)
    assert summary.rim == type(summary.rim)()


def test_a_bowl_has_one_minimum_which_never_dies() -> None:
    points, summary = critical(sampled(lambda x, y: x * x + 3 * y * y, 1, 21))
    assert counts(summary) == (1, 0, 0)
    assert points[["kind", "i", "j", "pair"]].tolist() == [("minimum", 10, 10, -1)]
    assert np.isinf(points["persistence"][0])


def test_a_monkey_saddle_counts_twice() -> None:
    # Three valleys, three ridges. Below it, three valleys run to the border and merge in one vertex: two pairs.
    points, summary = critical(sampled(lambda x, y: x**3 - 3 * x * y * y, 1, 41))
    middle = points[(points["i"] == 20) & (points["j"] == 20)]
    assert middle[["kind", "multiplicity"]].tolist() == [("saddle", 2)]
    assert counts(summary) == (0, 2, 0)
    assert np.sum((points["kind"] == "minimum") & (points["border"] == 1)) == 3


def test_half_of_a_monkey_saddle_hidden_leaves_a_simple_one() -> None:
    x, y = np.meshgrid(*[np.linspace(-1, 1, 41)] * 2)
    z = x**3 - 3 * x * y * y + 0.9 * np.clip(-(x**3 - 3 * x * y * y), 0, None) * (y < 0) * (x > 0)
    whole, _ = critical(surface(z))
    points, summary = critical(surface(z), threshold=0.5)
    at = lambda p: p[(p["i"] == 20) & (p["j"] == 20)]  # noqa: E731
    assert at(whole)["multiplicity"] == 2
    assert at(points)["multiplicity"] == 1
    assert at(points)["persistence"] == at(whole)["persistence"]
    assert (summary.hidden_pairs, summary.euler) == (1, 1)


def test_two_wells_pair_at_the_pass_in_closed_form() -> None:
    # f = (x^2 - 1)^2 + tilt * x + y^2, tilt 0.1: minima and pass are the roots of 4 x^3 - 4 x + tilt.
    tilt = 0.1
    left, middle, right = np.sort(np.roots([4, 0, -4, tilt]).real)
    f = lambda x, y: (x * x - 1) ** 2 + tilt * x + y * y  # noqa: E731
    points, summary = critical(sampled(f, 1.8, 301))
    assert counts(summary) == (2, 1, 0)
    assert points["kind"].tolist() == ["minimum", "minimum", "saddle"]
    assert points["alpha"] == pytest.approx([left, right, middle], abs=0.02)
    assert points["persistence"][1:] == pytest.approx(f(middle, 0) - f(right, 0), abs=1e-3)
    assert points["pair"].tolist() == [-1, 2, 1]
    hidden, summary = critical(sampled(f, 1.8, 301), threshold=1.0)
    assert hidden["kind"].tolist() == ["minimum"]
    assert summary.hidden_pairs == 1


def test_a_border_vertex_above_all_its_link_is_no_maximum() -> None:
    z = np.zeros((5, 5))
    z[0, 2], z[2, 2] = 9, 5  # the same bump on the border and inside
    points, _ = critical(surface(z), threshold=1.0)
    assert points[points["kind"] == "maximum"][["i", "j", "border"]].tolist() == [(2, 2, 0)]


def test_border_points_are_marked_and_counted_apart() -> None:
    points, summary = critical(sampled(lambda x, y: x + y, 1, 7))
    assert counts(summary) == (0, 0, 0)
    assert summary.rim.minima == 1
    assert points[["i", "j", "border", "beside_hole"]].tolist() == [(0, 0, 1, 0)]


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (6, 3), (9, 9)])
def test_a_constant_field_has_its_first_vertex_as_minimum(shape: tuple[int, int]) -> None:
    for threshold in (0.0, "auto", "rounding"):
        points, summary = critical(surface(np.full(shape, 2.5)), threshold)
        assert points[["kind", "i", "j"]].tolist() == [("minimum", 0, 0)]
        assert summary.euler == 1


def test_two_by_two_saddles_lie_across_the_diagonal() -> None:
    # The diagonal joins (0, 0) and (1, 1): high there, both low corners meet only at the lower of the two.
    points, _ = critical(surface([[3, 0], [1, 4]]))
    assert points[["kind", "i", "j", "persistence", "pair"]].tolist() == [
        ("minimum", 0, 1, np.inf, -1),
        ("minimum", 1, 0, 2.0, 2),
        ("saddle", 0, 0, 2.0, 1),
    ]
    points, _ = critical(surface([[0, 3], [4, 1]]))
    assert points["kind"].tolist() == ["minimum"]


def test_a_hole_has_a_loop_round_it_and_marked_neighbours() -> None:
    z = himmelblau(*np.meshgrid(*[np.linspace(-5, 5, 41)] * 2))
    z[16:18, 18:20] = np.nan  # at the maximum: in its place stays a loop that no value fills
    points, summary = critical(surface(z, 5))
    assert summary.left_out == 4
    assert summary.euler == 0
    loop = points[(points["kind"] == "saddle") & np.isinf(points["persistence"])]
    assert loop[["pair", "multiplicity"]].tolist() == [(-1, 1)]
    i, j = points["i"], points["j"]
    near = (i >= 15) & (i <= 18) & (j >= 17) & (j <= 20)
    assert np.all(points["beside_hole"][~near] == 0)
    z[10, 10] = np.inf  # diverged
    n = np.ones(z.shape, int)
    n[30, 5] = 0  # not measured, whatever stands there
    assert critical(surface(z, 5, n))[1].left_out == 6
    points, _ = critical(surface([[5, 5, 5, 5], [5, 5, np.nan, 5], [5, 5, 5, 1]]))
    lowest = points[points["loss"] == 1]
    assert lowest[["kind", "i", "j", "border", "beside_hole"]].tolist() == [("minimum", 2, 3, 1, 1)]


# ---------------------------------------------------------------- laws on any field


def simplices(z: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Vertices, edges and triangles of the Freudenthal triangulation, those with a left-out vertex removed."""
    index, ok = np.arange(z.size).reshape(z.shape), np.isfinite(z).ravel()
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    edges = np.concatenate(
        [np.stack([p.ravel(), q.ravel()]) for p, q in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:]), (a, d))],
        axis=1,
    )
    triangles = np.concatenate([np.stack([a.ravel(), m.ravel(), d.ravel()]) for m in (b, c)], axis=1)
    return np.flatnonzero(ok)[None], edges[:, ok[edges].all(0)], triangles[:, ok[triangles].all(0)]


@settings(max_examples=50, deadline=None)
@given(FIELDS | TALL)
@example(np.zeros((5, 5)))
def test_minima_minus_saddles_plus_maxima_is_the_euler_characteristic(z: NDArray[np.float64]) -> None:
    if not np.isfinite(z).any():
        with pytest.raises(InputError, match="at least one measured point"):
            critical(surface(z))
        return
    points, summary = critical(surface(z))
    vertices, edges, triangles = (s.shape[1] for s in simplices(z))
    assert summary.euler == vertices - edges + triangles
    if np.isfinite(z).all():
        assert summary.euler == 1
    total = np.sum(points["multiplicity"] * np.where(points["kind"] == "saddle", -1, 1))
    assert total == summary.euler
    rim = (points["border"] | points["beside_hole"]) > 0
    assert not np.any((points["kind"] == "maximum") & rim)
    # At any threshold the shown points keep the identity, and partners point at each other.
    for threshold in (0.5, 1.0, 2.5):
        shown, summary = critical(surface(z), threshold)
        assert summary.euler == vertices - edges + triangles
        assert np.all(shown["persistence"] >= threshold)
        paired = np.flatnonzero(shown["pair"] >= 0)
        partner = shown[shown["pair"][paired]]
        assert np.all((shown["kind"][paired] == "saddle") != (partner["kind"] == "saddle"))
        extrema = shown["kind"][paired] != "saddle"
        assert np.all(np.abs(shown["loss"][paired] - partner["loss"])[extrema] == shown["persistence"][paired][extrema])


@settings(max_examples=50, deadline=None)
@given(FIELDS | TALL)
def test_the_pairs_are_those_of_the_filtration_of_all_simplices(z: NDArray[np.float64]) -> None:
    from gudhi import SimplexTree

    present = np.isfinite(z)
    ranked = rank_vertices(z, present)
    if not ranked.count:
        return
    pairs = find_pairs(ranked)
    rank = np.zeros(z.size)
    order = np.flatnonzero(present)
    rank[order[np.argsort(z.ravel()[order], kind="stable")]] = np.arange(len(order))
    tree = SimplexTree()
    for simplex in simplices(z):
        if simplex.shape[1]:
            tree.insert_batch(simplex, rank[simplex].max(0))
    tree.compute_persistence(persistence_dim_max=True)
    zero, one = (tree.persistence_intervals_in_dimension(k).reshape(-1, 2) for k in (0, 1))
    finite = np.isfinite(one[:, 1])
    listed = lambda p: sorted(map(tuple, np.where(np.isinf(p), -1, p).astype(int).tolist()))  # noqa: E731
    assert sorted(map(tuple, pairs.minima.tolist())) == listed(zero)
    assert sorted(map(tuple, pairs.maxima[:, ::-1].tolist())) == listed(one[finite])
    assert sorted(pairs.loops.tolist()) == sorted(one[~finite, 0].astype(int).tolist())


def test_noise_of_a_hundred_squared_agrees_with_all_simplices() -> None:
    z = np.random.default_rng(0).random((60, 101))
    z[20:24, 30:60] = np.nan
    test_the_pairs_are_those_of_the_filtration_of_all_simplices.hypothesis.inner_test(z)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- thresholds


def test_rounding_is_relative_to_the_loss_and_at_least_a_millionth() -> None:
    z = np.full((7, 7), 1000.0)
    z[1, 1], z[5, 5], z[1, 5] = 0.0, 1000 - 5e-4, 1000 - 5e-3  # two dips in a plain: half and five millionths deep
    points, summary = critical(surface(z), "rounding")
    assert (summary.threshold, summary.relative, summary.threshold_value) == ("rounding", True, 1e-6)
    assert counts(summary)[0] == 2
    _, summary = critical(surface(z, meta=SurfaceMeta(samples=1, precision="bf16", precision_deviation=1e-2)), "auto")
    assert (summary.threshold, summary.threshold_value, summary.noise_estimate) == ("rounding", 1e-2, True)
    assert counts(summary)[0] == 1
    assert len(points) > 1


def test_an_imported_surface_has_no_noise_estimate() -> None:
    _, summary = critical(sampled(himmelblau, 5, 41), "auto")
    low, high = np.percentile(sampled(himmelblau, 5, 41).loss, (25, 75))
    assert (summary.threshold, summary.noise_estimate, summary.note) == ("interquartile", False, "no noise estimate")
    assert summary.threshold_value == pytest.approx(0.01 * (high - low))


@pytest.mark.parametrize(
    ("meta", "n", "words"),
    [
        (SurfaceMeta(samples=10), 4, "not all points have seen all of the data"),
        (SurfaceMeta(samples=4, precision="bf16"), 4, "no deviation from fp32 is recorded"),
        (SurfaceMeta(), 4, "how many samples"),
    ],
)
def test_rounding_says_what_it_does_not_know(meta: SurfaceMeta, n: int, words: str) -> None:
    s = surface(np.eye(4), n=np.full((4, 4), n), meta=meta)
    _, summary = critical(s, "rounding")
    assert words in summary.note
    assert not summary.noise_estimate


@pytest.mark.parametrize("wrong", ["sampling", np.nan, np.inf])
def test_a_threshold_that_cannot_be_had_is_refused(wrong: Any) -> None:
    entry = ANALYSES["critical"]
    with pytest.raises(InputError, match="threshold: expected"):
        next(entry.make(surface(np.eye(3)), entry.options(threshold=wrong)))  # type: ignore[call-arg]
    for bad in ({"threshold": -1.0}, {"threshold": "roundng"}, {"treshold": 1.0}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, entry.options)


def test_points_have_the_columns_of_the_file() -> None:
    points, _ = critical(sampled(himmelblau, 5, 21))
    assert points.dtype == CRITICAL_DTYPE
    assert np.all(np.diff(points["persistence"][1:]) <= 0)
