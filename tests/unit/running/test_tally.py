"""Figures of a run: what declined has not failed."""

from types import SimpleNamespace

import pytest

from harness.running.tally import Tally


@pytest.mark.parametrize(
    ("status", "by", "counts"),
    [
        ("ok", None, (0, 0)),
        ("not_applicable", "victim", (1, 0)),
        ("not_applicable", "attack", (1, 0)),
        ("not_applicable", "defense", (0, 1)),  # its cell is avoided, a gap
        ("module_error", "attack", (0, 1)),
        ("infra_error", "harness", (0, 1)),
    ],
)
def test_stages_are_counted_by_how_they_ended(status, by, counts):
    tally = Tally()
    tally.count(SimpleNamespace(status=status, by=by))
    assert (tally.stages, tally.not_applicable, tally.failed) == (1, *counts)
