"""Comparison lists: every malformed row is named, and turning a judgement changes nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.config.dataset_comparisons import Comparisons
from harness.datasets.listing import comparison_lines, flip_lines, format_rows, row_columns
from harness.datasets.lists.comparison_columns import Grammar
from harness.datasets.lists.comparison_lists import flip_line, majority, parse_list
from harness.datasets.mistakes import Mistakes
from harness.judge.metrics import flip_mask
from tests.support.errors import raises_error
from tests.support.sources import description

NOWHERE = Path("/nowhere")


def grammar(name: str) -> Grammar:
    """Of the lists of a set of this checkout."""
    manifest = description(name)
    layout = manifest.layouts[0].layout
    assert isinstance(layout, Comparisons)
    return Grammar(layout.columns, len(manifest.classes), layout.items)


GOOD = {
    "age": "001A02.JPG,008A03.JPG,-1,0,2\n",
    "lfw10": "906.jpg,356.jpg,1,9,1,4\n",
    "food": "25,73,0,1\n",
}


GRAMMARS = {name: grammar(name) for name in GOOD}


def rows(name: str, text: str | bytes):
    mistakes = Mistakes("a.txt")
    blob = text.encode() if isinstance(text, str) else text
    found = parse_list(blob, "a.txt", GRAMMARS[name], mistakes)
    mistakes.check()
    return found


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_good_row_is_read_and_kept_as_it_is(name):
    for end in ("\n", "\r\n", ""):
        (row,) = rows(name, GOOD[name].removesuffix("\n") + end)
        assert row.line == GOOD[name].removesuffix("\n") + end
        assert row.items == tuple(GOOD[name].split(",")[: 3 if name == "food" else 2])
    assert row.label == (-1 if name == "age" else 1)
    assert row.attribute == (9 if name == "lfw10" else 0)
    assert row.strength == {"age": 2, "lfw10": 4, "food": 1}[name]


@pytest.mark.parametrize(
    ("name", "line", "code"),
    [
        ("age", "a.JPG,b.JPG,1,0", "row-of-four-fields"),
        ("age", "a.JPG,b.JPG,1,0,0,2", "row-of-six-fields"),
        ("age", "", "row-of-one-field"),
        ("age", "a.JPG,b.JPG,0,0,2", "row-label-zero"),
        ("age", "a.JPG,b.JPG,+1,0,2", "row-label-plus"),
        ("age", "a.JPG,b.JPG, 1,0,2", "row-label-space"),
        ("age", "a.JPG,a.JPG,1,0,2", "row-with-itself"),
        ("age", ",b.JPG,1,0,2", "row-empty-name"),
        ("age", "../a.JPG,b.JPG,1,0,2", "row-name-above"),
        ("age", "a.JPG,b.JPG ,1,0,2", "row-name-space"),
        ("age", "a.JPG,b.JPG,1,x,2", "row-pair-id"),
        ("age", "a.JPG,b.JPG,1,0,0", "row-strength-zero"),
        ("age", "a.JPG,b.JPG,1,0,1.5", "row-strength-fraction"),
        ("lfw10", "1.jpg,2.jpg,1,10,0,1", "row-attribute-ten"),
        ("lfw10", "1.jpg,2.jpg,1,-1,0,1", "row-attribute-negative"),
        ("food", "25,73,100,1", "row-item-hundred"),
        ("food", "25,073,0,1", "row-item-leading-zero"),
        ("food", "25,73,73,1", "row-item-with-itself"),
        ("food", "73,73,1,1", "row-first-item-with-itself"),
        ("food", "25,73,0,-1", "row-weight"),
        ("food", "a,p,q,w", "row-item-letter"),
    ],
)
def test_a_malformed_row_is_one_line_with_file_and_number(name, line, code):
    with raises_error(code, where="a.txt, row 2"):
        rows(name, f"{GOOD[name]}{line}\n{GOOD[name]}")


def test_no_rows_and_no_text_are_refused():
    with raises_error("list-without-rows", where="a.txt"):
        rows("age", "")
    with raises_error("list-not-utf-8", where="a.txt"):
        rows("food", b"\xff\xfe1,2")


def test_only_line_feeds_end_a_row():
    with raises_error("row-name-line-separator", where="a.txt, row 1"):
        rows("age", "a\u2028b.JPG,c.JPG,1,0,2\n")


@pytest.mark.parametrize("name", GRAMMARS)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_flipping_twice_restores_every_byte(name, end):
    line = GOOD[name].removesuffix("\n") + end
    once = flip_line(line, GRAMMARS[name].columns)
    assert once != line
    assert flip_line(once, GRAMMARS[name].columns) == line
    (before,), (after,) = rows(name, line), rows(name, once)
    assert after.group == before.group
    assert after.direction == -before.direction


def test_what_a_flip_changes():
    assert flip_line(GOOD["age"], GRAMMARS["age"].columns) == "001A02.JPG,008A03.JPG,1,0,2\n"
    assert flip_line(GOOD["lfw10"], GRAMMARS["lfw10"].columns) == "906.jpg,356.jpg,-1,9,1,4\n"
    assert flip_line(GOOD["food"], GRAMMARS["food"].columns) == "25,0,73,1\n"
    assert flip_line("b,7,a\r\n", ["v", "pair", "u"]) == "a,7,b\r\n"


# Majorities


def test_both_directions_vote_with_their_strength():
    found = rows(
        "lfw10",
        "a,b,1,0,0,2\n"  # 2 for a, and 4 for b: the row (b, a) says so first
        "b,a,1,0,0,3\n"
        "a,b,-1,0,0,1\n"
        "a,b,1,1,1,1\n"  # another attribute is another group
        "c,d,1,0,2,2\n"  # a tie is in nobody's favour
        "c,d,-1,0,2,2\n"
        "e,f,-1,0,3,1\n"
        "e,f,-1,0,3,1\n",  # the same again: one row stands for both
    )
    assert majority(found) == [found[1], found[3], found[6]]


# Differences of labels, and lines of sets that have no list


def test_a_swap_and_a_sign_cancel():
    before = np.array([[4, 0, 1, 1, 0]] * 4)
    after = np.array([[4, 0, 1, 1, 0], [4, 1, 0, 1, 0], [4, 0, 1, -1, 0], [4, 1, 0, -1, 0]])
    assert flip_mask(before, after).tolist() == [False, True, True, False]


def test_sets_without_a_list_have_lines_of_item_rows():
    splits = datasets.load("digits-ranking", NOWHERE)
    lines = comparison_lines("digits-ranking", NOWHERE)
    found = np.array([line.split(",") for line in lines], dtype=np.int64)
    assert np.array_equal(found, splits.train.y)
    flipped = flip_lines("digits-ranking", NOWHERE, lines, [0, 7])
    assert [n for n, (a, b) in enumerate(zip(lines, flipped, strict=True)) if a != b] == [0, 7]
    after = np.array([line.split(",") for line in flipped], dtype=np.int64)
    assert np.flatnonzero(flip_mask(splits.train.y, after)).tolist() == [0, 7]
    assert flip_lines("digits-ranking", NOWHERE, flipped, [0, 7]) == lines


def test_lines_of_a_share_belong_to_its_rows():
    some = datasets.load("digits-ranking", NOWHERE, 0.25)
    assert comparison_lines("digits-ranking", NOWHERE, 0.25) == format_rows(some.train.y)
    with raises_error("no-share-of-lines", where="data set digits-ranking"):
        comparison_lines("digits-ranking", NOWHERE, 0)


def test_lines_of_triplets_turn_their_label():
    (line,) = format_rows(np.array([[3, 1, 2, 1, 0]]))
    assert (line, flip_line(line, row_columns(line))) == ("3,1,2,1,0\n", "3,1,2,-1,0\n")


def test_only_comparisons_have_lines():
    with raises_error("no-comparisons", where="data set digits"):
        comparison_lines("digits", NOWHERE)


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("\ufeffa.jpg,b.jpg,1,0,2\n", "list-byte-order-mark", "a.txt"),
        ("a.jpg;b.jpg;1;0;2\n", "row-semicolons", "a.txt, row 1"),
        ("a.jpg\tb.jpg\t1\t0\t2\n", "row-tabs", "a.txt, row 1"),
        ("a.jpg,b.jpg,1,0,2\n\n", "row-blank", "a.txt, row 2"),
        ('"a.jpg",b.jpg,1,0,2\n', "row-quotes", "a.txt, row 1"),
        ("file_1,file_2,label,pair,votes\n", "row-header", "a.txt, row 1"),
    ],
)
def test_lists_of_other_programs_are_named_as_such(text, code, where):
    with raises_error(code, where=where):
        rows("age", text)


def test_all_malformed_rows_come_at_once():
    with raises_error("rows-many", where="a.txt, row 1", mistakes=21) as caught:
        rows("age", "a,b,3,0,1\n" * 5000)
    assert str(caught.value).splitlines()[-1].startswith("a.txt: has 5,000 mistakes")
