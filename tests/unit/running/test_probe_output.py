"""Figures of a probe are checked before anybody relies on them."""

import json
from pathlib import Path

import pytest

from harness.executors.base import StageJob
from harness.running.output_check import check_output
from tests.support.jobs import job_file

FINE = {"probe_examples": 64, "unlimited_success": 1.0, "probe_gradient_gain": -3.5}


def found(tmp_path, text):
    job = StageJob("k", tmp_path, job_file(("victim",), stage="probe"), 1.0, 1.0)
    folder = tmp_path / "out" / "probe"
    folder.mkdir(parents=True)
    if isinstance(text, Path):
        (folder / "figures.json").symlink_to(text)
    elif text is not None:
        (folder / "figures.json").write_text(text)
    return check_output(job)


def test_numbers_of_the_closed_list_are_accepted(tmp_path):
    assert found(tmp_path, json.dumps(FINE)) is None


@pytest.mark.parametrize(
    "content",
    [
        {},
        [1, 2],
        FINE | {"robust": 1.0},
        FINE | {"unlimited_success": True},
        FINE | {"unlimited_success": float("nan")},
        FINE | {"unlimited_success": float("inf")},
        FINE | {"unlimited_success": "1"},
        {"unlimited_success": 1.0},
    ],
)
def test_anything_else_is_refused(tmp_path, content):
    assert found(tmp_path, json.dumps(content)).startswith("the output cannot be used: ")


@pytest.mark.parametrize("text", [None, "", "[" * 100_000, Path("/etc/hostname")])
def test_a_file_that_is_none_is_refused(tmp_path, text):
    assert found(tmp_path, text).startswith("the output cannot be used: ")
