"""What a typed name means, which folders may be made, and what a file says of itself."""

import json
import struct

import pytest

from protocol.errors import InputError
from tui.workspace import Workspace, about, check_writable, choose, folders, locate

RUNS = ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVRZ", "01BX5ZZKBKACTAV9WEVGEMMVS0"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("last", RUNS[2]), ("G5FAV", RUNS[0]), ("g5fav", RUNS[0]), (RUNS[1], RUNS[1]), ("01AR", RUNS[0])],
)
def test_unique_ending_or_beginning_or_last_is_enough(typed, meant):
    assert choose("run", typed, RUNS, "") == meant


def test_ambiguous_name_lists_the_candidates():
    with pytest.raises(InputError, match="2 of them") as refused:
        choose("run", "01BX", RUNS, "")
    assert refused.value.code == "ambiguous"
    assert RUNS[1] in refused.value.msg
    assert RUNS[2] in refused.value.msg


@pytest.mark.parametrize("typed", ["zzz", "", "../x", "a b"])
def test_unknown_name_is_not_found(typed):
    with pytest.raises(InputError) as refused:
        choose("run", typed, RUNS, "")
    assert refused.value.code == "not_found"


def test_empty_workspace_says_how_to_fill_it():
    with pytest.raises(InputError, match="thalweg train"):
        choose("run", "last", [], "train one with `thalweg train`")


def test_place_is_what_was_typed_then_the_environment_then_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("THALWEG_WORKSPACE", str(tmp_path / "env"))
    assert locate(tmp_path / "typed") == tmp_path / "typed"
    assert locate(None) == tmp_path / "env"
    monkeypatch.delenv("THALWEG_WORKSPACE")
    assert locate(None).name == "thalweg"


def fail_within(folder, inside):
    with folders(folder):
        inside()
        raise KeyError


def test_folders_that_were_made_go_again_when_the_block_fails(tmp_path):
    with pytest.raises(KeyError):
        fail_within(tmp_path / "a" / "b", lambda: (tmp_path / "a" / "b" / "c").mkdir() or (tmp_path / "a/b/c").rmdir())
    assert list(tmp_path.iterdir()) == []


def test_folders_that_hold_something_stay(tmp_path):
    with pytest.raises(KeyError):
        fail_within(tmp_path / "a" / "b", (tmp_path / "a" / "kept").touch)
    assert (tmp_path / "a" / "kept").exists()
    assert not (tmp_path / "a" / "b").exists()


def test_workspace_folders_are_private(tmp_path):
    with folders(tmp_path / "w", mode=0o700):
        assert (tmp_path / "w").stat().st_mode & 0o777 == 0o700


def test_writing_below_a_file_is_refused(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(InputError, match="folder"), folders(tmp_path / "f" / "x"):
        pass
    with pytest.raises(InputError, match="it is a file"):
        check_writable(tmp_path / "f")


def weights(file, about_it, length=None):
    header = json.dumps({"__metadata__": {"thalweg": json.dumps(about_it)}}).encode()
    file.write_bytes(struct.pack("<Q", length or len(header)) + header)
    return file


def test_header_of_a_weight_file_is_read_alone(tmp_path):
    assert about(weights(tmp_path / "a.safetensors", {"step": 3})) == {"step": 3}


@pytest.mark.parametrize("length", [1, 10**15])
def test_damaged_header_is_refused_by_name(tmp_path, length):
    with pytest.raises(InputError, match=r"a\.safetensors") as refused:
        about(weights(tmp_path / "a.safetensors", {"step": 3}, length))
    assert refused.value.code == "integrity"


def test_addresses_are_written_out(tmp_path):
    place = Workspace(tmp_path)
    (tmp_path / "runs" / RUNS[0]).mkdir(parents=True)
    assert place.address("G5FAV") == f"{RUNS[0]}@last"
    assert place.address("last@epoch:3") == f"{RUNS[0]}@epoch:3"
    file = weights(tmp_path / "a.safetensors", {})
    assert place.address(str(file)) == str(file)
