"""Shares cover every sample once; folded sums give the exact mean."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import shares
from protocol.files import SurfaceMeta
from protocol.shares import MetricDecl, Share, Value
from protocol.sheet import Sheet

LOSS = MetricDecl(
    name="loss",
    sums={"s": "<f8", "q": "<f8"},
    values={"loss": Value("mean", "s"), "sem": Value("sem", "s", "q")},
)


@given(st.integers(1, 60_000), st.one_of(st.just("grow"), st.integers(1, 12)))
def test_shares_are_a_partition_of_the_data_on_partition_edges(samples: int, passes: int | str) -> None:
    parts = shares.shares(samples, passes)  # type: ignore[arg-type]
    edges = set(shares.partitions(samples).tolist())
    assert parts[0].start == 0
    assert parts[-1].stop == samples
    assert all(a.stop == b.start for a, b in itertools.pairwise(parts))
    assert all(p.stop > p.start and p.start in edges and p.stop in edges for p in parts)
    if isinstance(passes, int):
        assert len(parts) <= passes


def test_growing_shares_double_what_was_seen() -> None:
    assert shares.shares(5000, "grow") == [
        Share(0, 512),
        Share(512, 1024),
        Share(1024, 2048),
        Share(2048, 4096),
        Share(4096, 5000),
    ]
    assert shares.shares(5000, 3) == [Share(0, 512), Share(512, 1024), Share(1024, 5000)]
    assert shares.shares(5000, 1) == [Share(0, 5000)]


def test_a_lone_last_sample_joins_the_partition_before() -> None:
    assert shares.partitions(513).tolist() == [0, 256, 513]
    assert shares.partitions(257).tolist() == [0, 257]
    assert shares.partitions(1).tolist() == [0, 1]


@given(st.integers(2, 600))
def test_row_order_is_a_permutation_that_spans_the_grid_early(height: int) -> None:
    order = shares.row_order(height)
    assert sorted(order) == list(range(height))
    if height >= 8:
        assert max(np.diff(sorted([*order[:4], height]))) <= height / 2 + 1


def test_folded_shares_equal_one_sweep() -> None:
    rng = np.random.default_rng(0)
    losses = rng.exponential(size=(1000, 5))
    whole = {"s": losses.sum(0), "q": (losses**2).sum(0), "n": np.array(1000)}
    parts = [
        {"s": losses[a:b].sum(0), "q": (losses[a:b] ** 2).sum(0), "n": np.array(b - a)}
        for a, b in ((0, 256), (256, 512), (512, 1000))
    ]
    got, want = shares.values(shares.fold(parts), [LOSS]), shares.values(whole, [LOSS])
    np.testing.assert_allclose(got["loss"], want["loss"], rtol=1e-12)
    np.testing.assert_allclose(got["sem"], losses.std(0, ddof=1) / np.sqrt(1000), rtol=1e-10)


def test_what_is_not_finite_stays_what_it_is() -> None:
    sums = {"s": np.array([np.nan, np.inf, 4.0]), "q": np.array([np.nan, np.inf, 8.0]), "n": np.array(2)}
    got = shares.values(sums, [LOSS])
    assert np.isnan(got["loss"][0])
    assert np.isposinf(got["loss"][1])
    assert got["loss"][2] == 2.0
    assert got["sem"][2] == 0.0


def test_one_sample_has_no_standard_error() -> None:
    got = shares.values({"s": np.array([1.0]), "q": np.array([1.0]), "n": np.array(1)}, [LOSS])
    assert got["loss"][0] == 1.0
    assert np.isnan(got["sem"][0])


def test_the_estimates_error_is_zero_when_all_is_seen() -> None:
    assert shares.sem_of_estimate(np.array([0.1]), 100, 100)[0] == 0.0
    assert shares.sem_of_estimate(np.array([0.1]), 50, 100)[0] == pytest.approx(0.1 * np.sqrt(0.5))


def test_a_surface_of_a_sheet_does_not_change_with_it() -> None:
    """Regression: a surface handed out in the middle went on filling up under its holder."""
    sheet = Sheet(np.arange(3.0), np.arange(2.0), SurfaceMeta(), [LOSS], [Share(0, 8)])
    sheet.set_path({"alpha": np.ones(2)})
    before = sheet.surface()
    for i in range(2):
        sheet.add(i, 0, 8, {"s": np.full(3, 4.0), "q": np.full(3, 2.0)})
    sheet.alpha += 1.0
    sheet.beta += 1.0
    sheet.path["alpha"] += 1.0
    after = sheet.surface()
    assert after.loss.tolist() == [[0.5] * 3] * 2
    assert np.isnan(before.loss).all()
    assert not before.n.any()
    assert (before.alpha[0], before.beta[0], before.path["alpha"][0]) == (0.0, 0.0, 1.0)


def test_rows_together_give_what_each_gives_alone_to_the_bit() -> None:
    """Passes, a row twice, rows without samples or with one, sums that are not finite; every number as bytes."""
    rng = np.random.default_rng(5)
    schedule = [Share(0, 8), Share(8, 9), Share(9, 40)]
    together, alone = (Sheet(np.arange(7.0), np.arange(5.0), SurfaceMeta(), [LOSS], schedule) for _ in range(2))
    came = []
    for k, share in enumerate(schedule):
        for i in rng.permutation(5):
            sums = {name: rng.random(7) * 100 for name in ("s", "q")}
            sums["s"][rng.integers(7)] = rng.choice([np.nan, np.inf, -np.inf])
            came.append((int(i), k, 0 if (i, k) in ((2, 0), (2, 1), (3, 2)) else share.stop - share.start, sums))
    expected = [alone.add(*row) for row in came]
    got = [values for at in range(0, len(came), 7) for values in together.add_rows(came[at : at + 7])]
    for one, other in zip(got, expected, strict=True):
        assert {n: v.tobytes() for n, v in one.items()} == {n: v.tobytes() for n, v in other.items()}
    a, b = together.surface(), alone.surface()
    assert all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in ("loss", "sem", "n"))


def test_sums_of_another_shape_or_name_are_no_row() -> None:
    sheet = Sheet(np.arange(3.0), np.arange(2.0), SurfaceMeta(), [LOSS], [Share(0, 8)])
    good = {"s": np.zeros(3), "q": np.zeros(3)}
    sheet.check(good)
    for wrong in ({"s": np.zeros(3)}, {**good, "t": np.zeros(3)}, {**good, "q": np.zeros(4)},
                  {**good, "q": np.zeros(3, "<f4")}):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            sheet.check(wrong)
