"""Training curves as a module left them: fits, gaps, thinning, and everything malformed."""

import json
import math
from itertools import pairwise

import pytest

from harness.results import training_curves
from harness.results.training_curves import MOST_CURVES, MOST_POINTS, read_curves, thin


def lines(*points):
    """The file's text, as ``ctx.metric`` writes it."""
    return "".join(json.dumps({"name": n, "step": s, "value": v}) + "\n" for n, s, v in points)


def read(folder, text):
    path = folder / "curves.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_curves(path)


def test_names_have_curves_of_their_own_in_the_order_of_their_first_points(tmp_path):
    text = lines(("loss", 10, 2.0), ("val_loss", 10, 3), ("loss", 20, 1.0), ("val_loss", 20, 2.5))
    loss, val = read(tmp_path, text)
    assert (loss.name, loss.fit, loss.points) == ("loss", 1, ((10, 2.0), (20, 1.0)))
    assert (val.name, val.fit, val.points) == ("val_loss", 1, ((10, 3.0), (20, 2.5)))


def test_a_step_that_does_not_rise_begins_another_fit(tmp_path):
    text = lines(*(("loss", step, 1.0) for step in (1, 2, 1, 2, 2, 5)), ("other", 1, 0.0))
    found = [(one.name, one.fit, [step for step, _ in one.points]) for one in read(tmp_path, text)]
    assert found == [
        ("loss", 1, [1, 2]), ("loss", 2, [1, 2]), ("loss", 3, [2, 5]), ("other", 1, [1]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", ["null", "NaN", "Infinity", "-Infinity", "1e300", "9" * 60, '"1"', "true", "[1]"]
)
def test_what_is_no_finite_number_is_a_gap_and_never_zero(value, tmp_path):
    (one,) = read(tmp_path, f'{{"name": "loss", "step": 3, "value": {value}}}\n')
    assert one.points == ((3, None),)


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "[]", "3", "null", '{"name": "a", "step": 1}', '{"step": 1, "value": 1}',
        '{"name": 3, "step": 1, "value": 1}', '{"name": "a", "step": -1, "value": 1}',
        '{"name": "a", "step": 1.5, "value": 1}', '{"name": "a", "step": true, "value": 1}',
        f'{{"name": "a", "step": 1{"0" * 30}, "value": 1}}', "[" * 100_000, "9" * 10_000,
        '{"name": "a", "step": 1, "value": 1', b"\xff\xfe\x00",
    ],
)  # fmt: skip
def test_lines_that_are_no_points_are_left_out(line, tmp_path):
    line = line if isinstance(line, bytes) else line.encode()
    good = lines(("loss", 1, 2.0)).encode()
    (one,) = read(tmp_path, good + line + b"\n" + lines(("loss", 2, 1.0)).encode())
    assert one.points == ((1, 2.0), (2, 1.0))


def test_names_become_one_short_printable_line(tmp_path):
    hostile = "a\n<b>\x1b[31m\u202e" + "x" * 1000
    (one, empty) = read(tmp_path, lines((hostile, 1, 1.0), ("\n", 1, 1.0)))
    assert one.name.startswith("a <b>")
    assert one.name.isprintable()
    assert len(one.name) == training_curves.LONGEST_NAME
    assert empty.name == "unnamed"


def test_ten_megabytes_of_points_are_a_few_small_curves(tmp_path):
    point = lines(("loss", 1, 1.0))
    found = read(tmp_path, point * (10_000_000 // len(point)))
    assert len(found) == MOST_CURVES
    assert all(one.points == ((1, 1.0),) for one in found)
    long = "".join(lines(("loss", step, 1.0)) for step in range(230_000))
    assert len(long) > 10_000_000
    (one,) = read(tmp_path, long)
    assert len(one.points) == MOST_POINTS
    assert 0 < one.points[-1][0] < 230_000  # the end of the file was not read


def test_a_fit_that_is_left_out_adds_no_point_to_an_earlier_one(tmp_path):
    many = lines(*((f"n{i}", 1, 1.0) for i in range(MOST_CURVES)))
    found = read(tmp_path, many + lines(("n0", 1, 5.0), ("n0", 2, 6.0)))
    assert len(found) == MOST_CURVES
    assert all(one.points == ((1, 1.0),) for one in found)


def test_a_folder_or_no_file_is_an_error_of_the_system(tmp_path):
    (tmp_path / "curves.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        read_curves(tmp_path / "curves.jsonl")
    with pytest.raises(FileNotFoundError):
        read_curves(tmp_path / "absent")


@pytest.mark.parametrize("count", [1, 2, 200, 201, 399, 5000])
def test_thinning_keeps_both_ends_in_order(count):
    points = [(i, float(i)) for i in range(count)]
    kept = thin(points)
    assert len(kept) == min(count, MOST_POINTS)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert list(kept) == sorted(set(kept))
    gaps = [b[0] - a[0] for a, b in pairwise(kept)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("gap", [0, 1, 7, 640, 999])
def test_a_gap_stays_a_gap_wherever_thinning_steps(gap):
    points = [(i, None if i == gap else 1.0) for i in range(1000)]
    kept = thin(points)
    assert sum(value is None for _, value in kept) == 1
    assert all(value is None or math.isfinite(value) for _, value in kept)
