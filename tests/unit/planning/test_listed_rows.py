"""Test examples from a list: its content in keys, what is wrong with it, and what is missing."""

import pytest

from harness.common.errors import UserError
from harness.planning.places import read_places
from tests.support.own_files import folder
from tests.support.workspaces import Checkout, cell, matrix


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "checkout")


def taken(**rows):
    return matrix(attacks=["noop"], eval_subset={"examples": 3, "batch": 2, **rows})


def listed():
    return taken(rows="./rows.txt")


def write(checkout, text):
    path = folder(checkout) / "rows.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_list_decides_the_key_of_the_examples(checkout):
    write(checkout, "5\n2\n9\n")
    first = cell(checkout.plan(listed()))
    write(checkout, "5\n2\n8\n")
    second = cell(checkout.plan(listed()))
    whole = cell(checkout.plan(taken()))
    assert len({one.stages["slice"] for one in (first, second, whole)}) == 3
    assert len({one.key for one in (first, second, whole)}) == 3
    assert {one.id for one in (first, second, whole)} == {first.id}


def test_without_its_list_a_matrix_is_missing_and_names_it(checkout):
    found = cell(checkout.plan(listed()))
    assert found.status == "missing"
    assert '"rows.txt", the list of rows, is not where it is named' in found.reason
    assert str(checkout.root) not in found.reason


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1\n2\nx\n", "line 3 is 'x', no whole number"),
        ("1\n-2\n", "line 2 is '-2', no whole number"),
        ("1\n2.0\n", "line 2 is '2.0', no whole number"),
        ("4\n\n4\n", "line 3 is 4, which line 1 is, too"),
        ("\n \n", "has no places"),
    ],
)
def test_a_list_of_anything_else_is_refused_in_one_line(checkout, text, what):
    write(checkout, text)
    with pytest.raises(UserError) as caught:
        checkout.plan(listed())
    assert what in str(caught.value)
    assert "rows.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "rows.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is no text file"):
        read_places(tmp_path / "rows.txt")
