"""The wire itself: golden byte vectors of every message, the published schema, and what damaged vectors do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
import wire_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec, events, schema
from protocol.errors import InputError
from protocol.messages import Event, FromWorker, ToWorker
from protocol.plain import check_plain
from protocol.requests import AnyRequest, Reply
from protocol.windows import EVERY_REPLY, WINDOW_REPLIES, AnyWindowRequest, FromWindow

ROOT = Path(__file__).parent.parent
GOLDEN: dict[str, Any] = json.loads(wire_vectors.FILE.read_text(encoding="utf-8")) if wire_vectors.FILE.exists() else {}
TYPES: dict[str, Any] = {
    "requests": AnyRequest,
    "replies": Reply,
    "events": Event,
    "from_worker": FromWorker,
    "to_worker": ToWorker,
    "to_window": AnyWindowRequest,
    "from_window": FromWindow,
}
REQUESTS = {schema.tag(r): r for r in EVERY_REPLY}
MUTATIONS = 100_000
KINDS = [0.19] * 4 + [0.06] + [0.045] * 4


def golden_frames(name: str) -> list[bytes]:
    return [bytes.fromhex(f) for f in GOLDEN[name]["frames"]]


def test_every_message_has_a_vector() -> None:
    """A message without one: python tests/wire_vectors.py --write"""
    assert set(GOLDEN) == set(wire_vectors.frames())


@pytest.mark.parametrize("name", wire_vectors.frames())
def test_a_message_is_encoded_as_it_always_was(name: str) -> None:
    union, frames = wire_vectors.frames()[name]
    assert GOLDEN[name]["union"] == union
    assert golden_frames(name) == frames
    assert [msgspec.json.decode(msgspec.json.encode(msgpack.unpackb(frames[0])))] == [GOLDEN[name]["header"]]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_vector_is_decoded_to_its_type_and_back(name: str) -> None:
    frames = golden_frames(name)
    message, arrays = codec.decode(frames, TYPES[GOLDEN[name]["union"]])
    if name.startswith("ok "):
        result = msgspec.convert(message.result, EVERY_REPLY[REQUESTS[name[3:]]])
        message = msgspec.structs.replace(message, result=msgspec.to_builtins(result))
    assert codec.encode(message, arrays) == frames


def test_every_request_is_in_the_union_and_has_a_reply() -> None:
    assert {schema.tag(k) for k in schema.UNIONS["requests"]} | set(map(schema.tag, WINDOW_REPLIES)) == set(REQUESTS)
    assert set(schema.UNIONS["to_window"]) == set(WINDOW_REPLIES)


def test_tags_are_told_apart() -> None:
    for kinds in schema.UNIONS.values():
        tags = Counter(map(schema.tag, kinds))
        assert max(tags.values()) == 1


def test_the_vector_of_a_submission_holds_every_kind_of_job() -> None:
    from typing import get_args

    from protocol.messages import Spec

    message, _ = codec.decode(golden_frames("job.submit"), AnyRequest)
    assert {type(j.spec) for j in message.jobs} == set(get_args(Spec))


# ---------------------------------------------------------------- the schema


def test_the_published_schema_is_what_the_command_prints() -> None:
    """Else: python -m protocol.schema > docs/schema.json"""
    out = subprocess.run(
        [sys.executable, "-m", "protocol.schema"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert (ROOT / "docs" / "schema.json").read_text(encoding="utf-8") == out.stdout


def test_the_schema_has_every_message_and_every_reference_leads_somewhere() -> None:
    whole = schema.schema()
    for union, kinds in schema.UNIONS.items():
        assert set(whole[union]) == {schema.tag(k) for k in kinds}
    refs: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            refs.update([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                walk(item)

    walk(whole)
    assert {r.removeprefix("#/$defs/") for r in refs} <= set(whole["$defs"])


def test_every_message_says_in_the_schema_what_it_is() -> None:
    assert [k.__name__ for kinds in schema.UNIONS.values() for k in kinds if not k.__doc__] == []


# ---------------------------------------------------------------- garbage


def mutate(frames: list[bytes], rng: np.random.Generator) -> list[bytes]:
    """One or three of: a byte changed, cut out, put in, a tail cut off, a frame lost, doubled or swapped."""
    out = [bytearray(f) for f in frames]
    for kind in rng.choice(9, size=1 + int(rng.integers(0, 4) == 0) * 2, p=KINDS):
        k = int(rng.integers(0, len(out))) if out and kind > 4 else 0
        if not out or not out[k]:
            continue
        at, value = int(rng.integers(0, len(out[k]))), int(rng.integers(0, 256))
        if kind <= 3:
            out[k][at] = value
        elif kind == 4:
            out[k].insert(at, value)
        elif kind == 5:
            del out[k][at : at + 1 + value % 4]
        elif kind == 6:
            del out[k][at:]
        elif kind == 7:
            out.pop(k)
        else:
            out.insert(k, bytearray(out[-1]))
    return [bytes(f) for f in out]


def test_a_hundred_thousand_damaged_vectors_are_refused_or_typed() -> None:
    """Any other exception fails. What passes can be encoded again, and a request that is plain goes into a database."""
    rng = np.random.default_rng(4)
    vectors = [(TYPES[v["union"]], golden_frames(name)) for name, v in GOLDEN.items()]
    codes: Counter[str] = Counter()
    began = time.monotonic()
    for k in range(MUTATIONS):
        union, frames = vectors[k % len(vectors)]
        try:
            message, arrays = codec.decode(mutate(frames, rng), union)
            if union is AnyRequest:
                check_plain(message)
                msgspec.json.encode(message)
        except InputError as e:
            codes[e.code] += 1
        else:
            assert isinstance(message, union.__args__)
            codes["typed"] += 1
            if k % 16 == 0:
                codec.encode(message, arrays) if union is AnyRequest else None
    print(f"{MUTATIONS} damaged vectors in {time.monotonic() - began:.1f} s: {dict(codes)}")
    assert sum(codes.values()) == MUTATIONS
    assert set(codes) >= {"bad_frame", "bad_request", "unknown_command", "typed"}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(TYPES)), st.lists(st.binary(max_size=300), max_size=12))
def test_bytes_that_are_no_message_are_refused(union: str, frames: list[bytes]) -> None:
    with pytest.raises(InputError):
        codec.decode(frames, TYPES[union])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_message_with_a_strange_value_in_it_is_refused_or_typed(data: st.DataObject) -> None:
    """Well-formed MessagePack, wrong inside: any value anywhere in the header of any message."""
    name = data.draw(st.sampled_from(sorted(GOLDEN)))
    header = msgpack.unpackb(golden_frames(name)[0])
    where = header
    for _ in range(data.draw(st.integers(0, 3))):
        deeper = [v for v in (where.values() if isinstance(where, dict) else where) if isinstance(v, dict | list) and v]
        if not deeper:
            break
        where = data.draw(st.sampled_from(deeper))
    key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
    where[key] = data.draw(ANYTHING)
    union = TYPES[GOLDEN[name]["union"]]
    try:
        message, _ = codec.decode([msgpack.packb(header), *golden_frames(name)[1:]], union)
        if union is AnyRequest:
            check_plain(message)
    except InputError:
        pass
    else:
        assert isinstance(message, union.__args__)


@pytest.mark.parametrize(
    "header",
    [
        b"\xc1",
        b"\x81\xa1t\xa4ping" * 2,  # more after the end
        b"\x81\xa1t\xa1\xff",  # not UTF-8
        b"\x91" * 2000 + b"\xc0",  # deep
        b"\x82\xa1t\xa4ping\xa2id" + b"\x91" * 600 + b"\xc0",
        b"\xdf\xff\xff\xff\xff",  # a map of four thousand million
        b"\x81\xc0\xc0",  # a key that is no text
        b"\x82\xa1t\xa4ping\xa2id\xd6\xff\x00\x00\x00\x01",  # a time stamp
        b"\x82\xa1t\xa4ping\xa2id\xc7\x01\x05\x00",  # an extension
        b"\x83\xa1t\xa4ping\xa2id\xa1a\xa4bufs\x91\x83\xa4name\xa1x\xa5dtype\xa1O\xa5shape\x90",  # objects
    ],
)
def test_known_nasty_headers_are_refused(header: bytes) -> None:
    with pytest.raises(InputError) as e:
        codec.decode([header], AnyRequest)
    assert e.value.code in ("bad_frame", "bad_request")


def test_a_shape_that_lies_is_refused() -> None:
    def frames(shape: list[Any], dtype: str = "<f8", size: int = 8) -> list[bytes]:
        header = {"t": "ping", "id": "a", "bufs": [{"name": "x", "dtype": dtype, "shape": shape}]}
        return [msgpack.packb(header), bytes(size)]

    assert codec.decode(frames([1]), AnyRequest)[1]["x"].tolist() == [0.0]
    for bad in ([2], [-1, -1], [2**62, 4], [2**63, 2], [0], [1] * 65, [0.5], [None], [[1]]):
        with pytest.raises(InputError):
            codec.decode(frames(bad), AnyRequest)
    assert codec.decode(frames([0, 3], size=0), AnyRequest)[1]["x"].shape == (0, 3)
    for bad in ([0, 2**63], [2**40, 0], [0] * 33):
        with pytest.raises(InputError):
            codec.decode(frames(bad, size=0), AnyRequest)
    for dtype in ("O", "<f2", "|V8", "<U2", ">f8", "f8,f8", ""):
        with pytest.raises(InputError):
            codec.decode(frames([1], dtype), AnyRequest)


# ---------------------------------------------------------------- packed events


def event_frames() -> list[list[bytes]]:
    return [golden_frames(n) for n, v in GOLDEN.items() if v["union"] == "events"]


def test_packed_events_are_the_published_bytes() -> None:
    frames = event_frames()
    buffer, count = events.pack(frames)
    assert count == len(frames)
    assert [codec.encode(e, a) for e, a in events.unpack(buffer)] == frames
    assert [list(raw) for raw in ([h, *b] for h, b in msgpack.Unpacker(_reader(buffer)))] == frames


def _reader(buffer: bytes) -> Any:
    import io

    return io.BytesIO(buffer)


@given(st.integers(1, 3000))
def test_a_piece_keeps_its_limit_and_the_next_one_goes_on(limit: int) -> None:
    left, pieces = event_frames() * 2, []
    whole = list(left)
    while left:
        buffer, count = events.pack(left, limit)
        assert count >= 1
        assert len(buffer) <= limit or count == 1
        pieces += events.unpack(buffer)
        left = left[count:]
    assert [codec.encode(e, a) for e, a in pieces] == whole


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_piece_is_refused_or_typed(data: st.DataObject) -> None:
    buffer = bytearray(events.pack(event_frames())[0])
    for _ in range(data.draw(st.integers(1, 3))):
        buffer[data.draw(st.integers(0, len(buffer) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(buffer[: data.draw(st.integers(0, len(buffer)))])
    try:
        events.unpack(cut)
    except InputError:
        return


def test_every_cut_of_a_piece_is_noticed() -> None:
    frames = event_frames()[:4]
    whole = events.pack(frames)[0]
    ends = {len(events.pack(frames[:k])[0]) for k in range(5)}
    for cut in range(len(whole)):
        if cut in ends:
            events.unpack(whole[:cut])
            continue
        with pytest.raises(InputError):
            events.unpack(whole[:cut])


# ---------------------------------------------------------------- snapshots


def test_a_snapshot_in_pieces_is_whole_again() -> None:
    from protocol.requests import SnapshotReply
    from protocol.snapshots import assemble

    loss = np.arange(20.0).reshape(10, 2)
    first = SnapshotReply(topic="t", seq=4, state={"a": 1}, parts={"loss": 0, "n": 0}, next="x")
    pieces = [
        (first, {"loss": loss[:3], "n": loss[:0]}),
        (SnapshotReply(topic="t", seq=4, parts={"loss": 3}, next="y"), {"loss": loss[3:9]}),
        (SnapshotReply(topic="t", seq=4, parts={"loss": 9}), {"loss": loss[9:]}),
    ]
    whole = assemble(pieces)
    assert (whole.topic, whole.seq, whole.state) == ("t", 4, {"a": 1})
    np.testing.assert_array_equal(whole.arrays["loss"], loss)
    assert whole.arrays["n"].shape == (0, 2)
    for bad in (
        pieces[::-1],  # out of order
        pieces[:1] + pieces[2:],  # one left out
        [],
        [pieces[0], (msgspec.structs.replace(pieces[1][0], seq=5), pieces[1][1])],  # of another moment
        [pieces[0], (pieces[1][0], {"loss": np.zeros((6, 3))})],
        [pieces[0], (pieces[1][0], {"loss": np.zeros((6, 2), "<i8")})],
    ):
        with pytest.raises(InputError) as e:
            assemble(bad)
        assert e.value.code == "integrity"
