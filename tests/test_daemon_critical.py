"""Critical points of an analysed surface travel in its snapshot."""

import numpy as np

from compute import answers
from protocol.files import CRITICAL_DTYPE, CRITICAL_KINDS


def test_columns_of_critical_points_are_in_types_of_the_wire():
    table = np.zeros(2, dtype=CRITICAL_DTYPE)
    table["kind"] = ["saddle", "minimum"]
    table["alpha"], table["pair"], table["border"] = [0.5, -0.5], [1, 0], [0, 1]
    columns = answers._critical(table)
    assert {c.dtype.str for c in columns.values()} <= {"<f8", "<i4", "|u1"}
    assert [CRITICAL_KINDS[k] for k in columns["critical.kind"]] == ["saddle", "minimum"]
    assert columns["critical.alpha"].tolist() == [0.5, -0.5]
    assert set(columns) == {f"critical.{n}" for n in CRITICAL_DTYPE.names}


def test_without_points_there_is_no_column():
    assert answers._critical(np.zeros(0, dtype=CRITICAL_DTYPE)) == {}
