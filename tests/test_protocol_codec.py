"""What is sent is what arrives; what is not a message is refused in a sentence and goes no further."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec
from protocol.errors import InputError
from protocol.messages import (
    FromWorker,
    JobProgress,
    SurfaceRow,
    SurfaceSpec,
    ToWorker,
    WorkerJob,
    WorkerLease,
    WorkerRow,
)

ROW = WorkerRow(job="J", i=3, pass_=1, n=512)


def test_a_message_and_its_arrays_round_trip() -> None:
    arrays = {"loss_sum": np.array([1.5, np.nan, np.inf]), "correct": np.arange(3, dtype="<i4")}
    message, got = codec.decode(codec.encode(ROW, arrays), FromWorker)
    assert message == ROW
    assert {k: v.dtype for k, v in got.items()} == {k: v.dtype for k, v in arrays.items()}
    np.testing.assert_array_equal(got["loss_sum"], arrays["loss_sum"])


def test_a_spec_inside_a_message_keeps_its_type_and_defaults() -> None:
    job = WorkerJob(job="J", spec=SurfaceSpec(plane="p", limit=10), workspace="/w")
    message, _ = codec.decode(codec.encode(job), ToWorker)
    assert message == job


def test_unknown_fields_are_ignored() -> None:
    header = msgpack.unpackb(codec.encode(ROW)[0]) | {"tomorrow": 1}
    assert codec.decode([msgpack.packb(header)], FromWorker)[0] == ROW


@pytest.mark.parametrize(
    ("header", "code", "path"),
    [
        ({"t": "wrk.row", "i": 1, "pass_": 0, "n": 1}, "bad_request", None),
        ({"t": "wrk.row", "job": 7, "i": 1, "pass_": 0, "n": 1}, "bad_request", "$.job"),
        ({"t": "nope"}, "unknown_command", "$.t"),
        ({"no": "tag"}, "bad_frame", None),
        ([1, 2], "bad_frame", None),
        (
            {"t": "wrk.job", "job": "J", "workspace": "/w", "spec": {"kind": "train", "recipe": {"lr": -1.0}}},
            "bad_request",
            "$.spec.recipe.lr",
        ),
    ],
)  # fmt: skip
def test_a_wrong_header_gets_its_code_and_path(header: object, code: str, path: str | None) -> None:
    union = ToWorker if isinstance(header, dict) and header.get("t") == "wrk.job" else FromWorker
    with pytest.raises(InputError) as e:
        codec.decode([msgpack.packb(header)], union)
    assert (e.value.code, e.value.path) == (code, path)


@given(st.lists(st.binary(max_size=200), max_size=12))
def test_garbage_is_refused_and_nothing_else(frames: list[bytes]) -> None:
    with pytest.raises(InputError):
        codec.decode(frames, FromWorker)


@given(st.data())
def test_a_mutated_message_is_refused_or_still_typed(data: st.DataObject) -> None:
    frames = codec.encode(ROW, {"loss_sum": np.arange(4.0)})
    header = bytearray(frames[0])
    for _ in range(data.draw(st.integers(1, 4))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    try:
        message, _ = codec.decode([bytes(header), *frames[1:]], FromWorker)
    except InputError:
        return
    assert type(message).__module__ == "protocol.messages"


def test_a_buffer_that_does_not_fill_its_shape_is_refused() -> None:
    header, buffer = codec.encode(ROW, {"loss_sum": np.arange(4.0)})
    for frames in ([header], [header, buffer[:-8]], [header, buffer, buffer]):
        with pytest.raises(InputError):
            codec.decode(frames, FromWorker)


def test_what_is_too_large_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InputError, match="at most 8 arrays"):
        codec.encode(ROW, {str(k): np.zeros(1) for k in range(9)})
    with pytest.raises(InputError, match="pieces"):
        codec.encode(ROW, {"x": np.zeros(codec.MAX_FRAME // 8 + 1)})
    with pytest.raises(InputError, match="header"):
        codec.encode(WorkerRow(job="J" * codec.MAX_HEADER, i=0, pass_=0, n=0))
    with pytest.raises(InputError, match="dtype"):
        codec.encode(ROW, {"x": np.zeros(1, dtype="<f2")})


@pytest.mark.parametrize("arrays", [{}, {"loss": np.zeros(3), "n": np.zeros((2, 0), dtype="<i8")}])
@pytest.mark.parametrize(
    "message",
    [
        WorkerRow(job="J" * 40, i=2**63, pass_=-1, n=0),
        SurfaceRow(seq=2**40, surface="\u00e9", i=0, pass_=128, n=2**16),
        JobProgress(job="", done=1, total=2, rate=0.5, eta_s=float("inf"), note="x" * 300),
        JobProgress(job="", done=1, total=2, rate=3),
        WorkerLease(job="J", rows=tuple(range(70)), pass_=0),
    ],
)
def test_a_header_has_the_bytes_of_msgpack(message: Any, arrays: dict[str, Any]) -> None:
    """Whichever way it was written."""
    fields = msgspec.to_builtins(message)
    if arrays:
        fields["bufs"] = [{"name": k, "dtype": a.dtype.str, "shape": list(a.shape)} for k, a in arrays.items()]
    assert codec.encode(message, arrays)[0] == msgpack.packb(fields)


@pytest.mark.parametrize(
    ("row", "name", "why"),
    [
        (WorkerRow(job="\ud800", i=3, pass_=1, n=512), "x", "no Unicode"),
        (ROW, "\udcff", "no Unicode"),
        (WorkerRow(job="J", i=3, pass_=1, n=2**64), "x", "more than 64 bits"),
        (WorkerRow(job="J", i=-(2**63) - 1, pass_=1, n=1), "x", "more than 64 bits"),
    ],
)
def test_what_messagepack_cannot_carry_is_refused_in_a_sentence(row: WorkerRow, name: str, why: str) -> None:
    """Regression: UnicodeEncodeError and OverflowError went past those who catch InputError."""
    with pytest.raises(InputError, match=why):
        codec.encode(row, {name: np.zeros(1)})
