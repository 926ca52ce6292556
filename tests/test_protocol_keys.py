"""Key files: private, checked, and never a traceback; who is let in is decided by a total function."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq
import zmq.auth
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from protocol import keys
from protocol.errors import InputError


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_client_is_created_listed_let_in_and_revoked(tmp_path: Path) -> None:
    file = keys.create(tmp_path, "laptop")
    mine = keys.client(file)
    assert mine.server == keys.server(tmp_path).public
    assert [k.name for k in keys.clients(tmp_path)] == ["laptop"]
    assert keys.allowed(tmp_path) == {z85.decode(mine.public)}
    keys.revoke(tmp_path, "laptop")
    assert keys.allowed(tmp_path) == frozenset()
    assert not file.exists()
    with pytest.raises(InputError, match="expected one of none"):
        keys.revoke(tmp_path, "laptop")


def test_key_files_are_private(tmp_path: Path) -> None:
    file = keys.create(tmp_path, "a")
    for made in (file, file.with_suffix(".key"), tmp_path / "keys" / "server.key_secret"):
        assert mode(made) == 0o600
    assert mode(tmp_path / "keys") == mode(tmp_path / "keys" / "clients") == 0o700


def test_the_files_are_zeromq_certificates(tmp_path: Path) -> None:
    file = keys.create(tmp_path, "a")
    mine = keys.client(file)
    assert zmq.auth.load_certificate(str(file)) == (mine.public, mine.secret)


def test_a_name_is_taken_once_and_cannot_leave_the_folder(tmp_path: Path) -> None:
    keys.create(tmp_path, "a")
    with pytest.raises(InputError, match="exists already") as e:
        keys.create(tmp_path, "a")
    assert e.value.code == "exists"
    for name in ("", "../x", "a/b", "A", ".a", "x" * 65, "a\n"):
        with pytest.raises(InputError, match="expected 1 to 64"):
            keys.create(tmp_path, name)


def test_a_secret_is_not_printed(tmp_path: Path) -> None:
    mine = keys.client(keys.create(tmp_path, "a"))
    assert mine.secret is not None
    assert mine.secret.decode() not in repr(mine)


def test_every_truncation_is_refused_in_a_sentence_or_harmless(tmp_path: Path) -> None:
    file = keys.create(tmp_path, "a")
    whole, mine = file.read_bytes(), keys.client(file)
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        try:
            got = keys.client(file)
        except InputError as e:
            assert str(e).startswith(f"{file}: corrupted or truncated")  # noqa: PT017 - either is right
        else:
            assert (got.public, got.secret) == (mine.public, mine.secret)


@pytest.mark.parametrize("damage", [b"\xff\xfe\x00", b"", b"public-key = 3", b'public-key = "\x7f"\nsecret-key = ""'])
def test_garbage_is_refused_by_name(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "x.key_secret"
    file.write_bytes(damage)
    with pytest.raises(InputError, match=r"x\.key_secret") as e:
        keys.read(file)
    assert e.value.code == "integrity"


def test_a_flipped_character_is_noticed(tmp_path: Path) -> None:
    file = keys.create(tmp_path, "a")
    text = file.read_text()
    at = text.index("secret-key") + 20
    file.write_text(text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :])
    with pytest.raises(InputError, match=r"do not belong together|is not one"):
        keys.client(file)


def test_a_damaged_server_key_is_not_replaced_in_silence(tmp_path: Path) -> None:
    keys.server(tmp_path)
    file = tmp_path / "keys" / "server.key_secret"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(InputError, match=r"server\.key_secret"):
        keys.server(tmp_path)


def test_a_damaged_client_file_lets_nobody_in_and_the_others_stay(tmp_path: Path) -> None:
    keys.create(tmp_path, "a")
    b = keys.client(keys.create(tmp_path, "b"))
    (tmp_path / "keys" / "clients" / "a.key").write_bytes(b"\x00")
    assert keys.allowed(tmp_path) == {z85.decode(b.public)}


KEY = bytes(range(32))
GOOD = [b"1.0", b"1", b"", b"127.0.0.1", b"", b"CURVE", KEY]


def test_zap_lets_in_whom_it_should_and_nobody_else() -> None:
    def status(frames: list[bytes], let_in: frozenset[bytes] = frozenset({KEY})) -> bytes | None:
        reply = keys.zap_reply(frames, let_in)
        return reply and reply[2]

    assert status(GOOD) == b"200"
    assert status(GOOD, frozenset()) == b"400"
    for k, wrong in ((0, b"2.0"), (5, b"NULL"), (5, b"PLAIN"), (6, KEY[:31]), (6, KEY[::-1]), (6, b"")):
        assert status([*GOOD[:k], wrong, *GOOD[k + 1 :]]) == b"400"
    assert status(GOOD[:6]) == b"400"
    assert status([*GOOD, b"more"]) == b"400"


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_zap_is_total(frames: list[bytes]) -> None:
    reply = keys.zap_reply(frames, frozenset({KEY}))
    assert (reply is None) == (len(frames) < 2)
    assert reply is None or reply[2] in (b"200", b"400")
