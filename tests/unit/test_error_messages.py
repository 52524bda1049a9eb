"""The one file of all the wording of errors: in order, and without a line that no test reads."""

import re
from collections import Counter
from pathlib import Path

import pytest

from harness.common.errors import UserError, UserErrors
from tests.support import errors
from tests.support.errors import CODE, MESSAGES, raises_error

TESTS = Path(__file__).parents[1]
ERROR = UserError("here", "it is 3 of 4", "try 5")


def test_the_file_is_sorted_and_has_each_code_once():
    lines = MESSAGES.read_text(encoding="utf-8").splitlines()
    codes = [line.split(": ", 1)[0] for line in lines]
    assert codes == sorted(set(codes))
    assert [line for line in lines if not re.fullmatch(rf"{CODE}: \S.*; \S.*", line)] == []


def test_every_code_is_in_one_test_and_in_no_other():
    found = Counter(
        code
        for path in TESTS.rglob("*.py")
        for code in re.findall(rf'"({CODE})"', path.read_text(encoding="utf-8"))
    )
    assert {code: found[code] for code in errors.messages() if found[code] != 1} == {}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.delenv("GAUNTLET_UPDATE_MESSAGES", raising=False)
    monkeypatch.setattr(errors, "MESSAGES", tmp_path / "messages.txt")
    errors.MESSAGES.write_text("")
    return errors.MESSAGES


def test_place_count_and_every_word_are_checked(file):
    file.write_text("a-code: it is <count> of <…>; try 5\n")
    with raises_error("a-code", where="here", count=3) as caught:
        raise UserErrors([ERROR])
    assert caught.value.errors == (ERROR,)
    for wrong in (
        UserError("there", ERROR.what, ERROR.fix),
        UserError("here", ERROR.what, "try 6"),
        UserError("here", "it is 2 of 4", "try 5"),
        UserErrors([ERROR, ERROR]),
    ):
        with (
            pytest.raises((AssertionError, pytest.fail.Exception)),
            raises_error("a-code", where="here", count=3),
        ):
            raise wrong


@pytest.mark.parametrize("text", ["", "a-code: it is 3 of 4; try 6\n"])
def test_a_missing_or_different_line_shows_both_texts(file, text):
    file.write_text(text)
    expected = re.escape(text[8:].strip() or "no line of this code")
    both = rf"a-code\n  expected: {expected}\n  said:     it is 3 of 4; try 5"
    with pytest.raises(pytest.fail.Exception, match=both), raises_error("a-code", where="here"):
        raise ERROR


def test_lines_are_written_when_asked(file, tmp_path, monkeypatch):
    monkeypatch.setenv("GAUNTLET_UPDATE_MESSAGES", "1")
    file.write_text("a-b: kept; as it is\nz-z: it is <…>; try 5\n")
    for code, values in (("z-z", {}), ("m-m", {"count": 3})):
        with raises_error(code, where="here", **values):
            raise ERROR
    with raises_error("a-c", where="<tmp>/x"):
        raise UserError(f"{tmp_path}/x", f"no {tmp_path}", "fix")
    assert file.read_text() == (
        "a-b: kept; as it is\na-c: no <tmp>; fix\nm-m: it is <count> of 4; try 5\n"
        "z-z: it is <…>; try 5\n"
    )
