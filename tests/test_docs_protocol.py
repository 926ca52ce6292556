"""docs/protocol.md says what the structs say."""

from __future__ import annotations

import re
from pathlib import Path

import wire_docs

from protocol import codec
from protocol.connection import Connection
from protocol.requests import PIECE
from protocol.schema import UNIONS, tag

TEXT = wire_docs.PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_structs() -> None:
    """Else: python tests/wire_docs.py --write"""
    assert wire_docs.page(TEXT) == TEXT


def test_every_table_is_in_the_page() -> None:
    assert set(re.findall(r"<!-- table (\w+) -->", TEXT)) == set(wire_docs.tables())


def test_a_field_that_is_not_documented_is_noticed() -> None:
    assert wire_docs.page(TEXT.replace("`on_conflict`", "`on_clash`")) != TEXT.replace("`on_conflict`", "`on_clash`")


def test_every_message_of_clients_is_in_the_page() -> None:
    for union in ("requests", "replies", "events"):
        assert [tag(k) for k in UNIONS[union] if f"| `{tag(k)}` |" not in TEXT] == []


def test_the_limits_are_those_of_the_codec() -> None:
    assert (codec.MAX_HEADER, codec.MAX_FRAME, codec.MAX_BUFFERS) == (64 * 2**10, 16 * 2**20, 8)
    assert (PIECE, codec.MAX_DIMENSIONS) == (4 * 2**20, 8)
    for said in ("at most 64 KiB", "at most 16 MiB", "At most 8\nbuffers", "at most 4 MiB", "at most 8 dimensions"):
        assert said in TEXT
    for dtype in codec.DTYPES:
        assert f"`{dtype}`" in TEXT


def test_the_connection_file_is_described_whole() -> None:
    [line] = re.findall(r'^\{"proto".*\}$', TEXT, re.M)
    assert re.findall(r'"(\w+)":', line) == list(Connection.__struct_fields__)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (wire_docs.PAGE.parent / target).exists(), target
    assert Path(wire_docs.PAGE.parent.parent / "tests/golden/wire.json").exists()
