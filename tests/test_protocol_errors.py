"""Sentences for names that are not known."""

from __future__ import annotations

import pytest

from protocol.errors import SHOWN, nearest, unknown_name

MANY = [f"net{k:02d}" for k in range(SHOWN + 5)]


@pytest.mark.parametrize(
    ("typed", "near"),
    [("resnet21", ["resnet20"]), ("VGG11", ["vgg11"]), ("digit", ["digits"]), ("", []), ("x" * 10_000, [])],
)
def test_the_names_that_look_alike_come_first(typed: str, near: list[str]) -> None:
    known = ["vgg11", "resnet20", "digits", "mlp"]
    assert nearest(typed, known)[:1] == near
    sentence = str(unknown_name("model", typed, known))
    assert sentence.startswith(f"model: '{typed[:100]}")
    assert ("did you mean" in sentence) == bool(near)
    for name in near:
        assert sentence.index(name) < sentence.index("xpected one of")
    assert sentence.endswith("ne of digits, mlp, resnet20, vgg11")


def test_a_long_list_is_cut_only_where_a_command_prints_it() -> None:
    whole, cut = (str(unknown_name("model", "q", MANY, command)) for command in (None, "thalweg data list"))
    assert all(name in whole for name in MANY)
    assert cut.endswith(f"{MANY[SHOWN - 1]} and 5 more: `thalweg data list` lists them")
    assert MANY[SHOWN] not in cut


def test_a_short_list_and_an_empty_one_are_whole() -> None:
    assert str(unknown_name("loss", "q", ["b", "a"], "thalweg x")).endswith("expected one of a, b")
    assert "none" in str(unknown_name("loss", "q", []))
