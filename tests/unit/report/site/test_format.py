"""Printed forms of figures, and the bar of statuses."""

import pytest
from pydantic import ValidationError

from harness.judge.metrics import METRICS
from harness.report.site import figures, format, render
from harness.results.records import Metric


def test_status_bar_shows_every_status_and_fills_the_bar():
    segments = figures.status_bar({"timeout": 1, "ok": 5000, "missing": 3})
    assert [segment.status for segment in segments] == ["ok", "timeout", "missing"]
    assert min(segment.width for segment in segments) >= 4
    assert segments[-1].x + segments[-1].width == pytest.approx(480, abs=0.2)
    assert figures.status_bar({}) == []


def test_numbers_are_printed_as_the_design_says():
    assert format.decimals(n=1000) == 1
    assert format.decimals(n=150) == 0
    assert format.percent(-0.000001) == "0.0"
    assert format.points(0.0) == "0.0"
    assert format.count(5000) == "5,000"
    assert format.date("not a date") == "not a date"


def test_every_trait_has_a_printed_form():
    for trait in METRICS.values():
        shown = str(render.figure(Metric(value=0.5, lo=0.4, hi=0.6), trait))
        assert shown.startswith({"%": "50.0", "points": "+50.0", "": "0.5"}[trait.unit])
    assert render.figure(Metric(absent="no input"), None) == "absent: no input"
    with pytest.raises(ValidationError):
        Metric(value="<b>")  # no text comes here
