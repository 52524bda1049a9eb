"""The picture of where training losses lead, against the score."""

import re

import pytest

from harness.report.leaderboard import tables
from harness.report.site import build
from harness.report.site.scatter import loss_mismatch
from tests.support import synthetic
from tests.support.synthetic import Suite

DEFENSES = {"none": 0.2, "guard": 0.4, "dense": 0.6}


def frame_with(cosines):
    """A frame whose probes found these cosines, by defence; both seeds' mean is the given one."""
    frame = synthetic.frame(
        Suite(defenses=DEFENSES, seeds=(0, 1), budgets=(("L∞ 8/255", 8 / 255),))
    )
    for at, row in frame.iterrows():
        if row.defense in cosines:
            own = cosines[row.defense] + (0.1 if row.seed else -0.1)
            health = {"probe_loss_cosine": own}
            frame.at[at, "record"] = synthetic.altered(row.record, health=health)
    return frame


def test_marks_stand_at_the_mean_cosine_and_the_score() -> None:
    table = tables(frame_with({"none": 0.9, "dense": 0.1}))[0]
    plot = loss_mismatch(table, 620, 390)
    rows = {row.defense: row for row in (*table.rows, *table.unranked)}
    assert rows["guard"].loss_cosine is None
    assert {mark.name for mark in plot.points} == {"none", "dense"}
    x, y = plot.frame.across(0, 1), plot.frame.up(0, 100)
    for mark in plot.points:
        row = rows[mark.name]
        assert mark.x == x.at({"none": 0.9, "dense": 0.1}[mark.name])
        assert mark.y == y.at(100 * row.score.value)
    assert [plot.x_ticks[0].text, plot.x_ticks[-1].text] == ["0", "1"]


def test_a_loss_that_leads_away_widens_the_axis() -> None:
    plot = loss_mismatch(tables(frame_with({"none": 0.9, "dense": -0.4}))[0], 344, 360)
    assert [plot.x_ticks[0].text, plot.x_ticks[-1].text] == ["−1", "1"]


@pytest.mark.parametrize("cosines", [{}, {"none": 0.9, "guard": 0.8, "dense": 0.65}])
def test_there_is_no_picture_where_all_losses_lead_along_or_none_was_probed(cosines) -> None:
    assert loss_mismatch(tables(frame_with(cosines))[0], 620, 390) is None


def test_the_page_has_it_for_both_screens_with_its_column(tmp_path) -> None:
    site = build(frame_with({"none": 0.9, "dense": 0.1}), tmp_path / "site").parent
    page = (site / "invented/linf/index.html").read_text()
    assert len(re.findall("against the cosine of the gradients", page)) == 2
    text = (site / "invented/linf/cells.csv").read_text()
    assert "health_probe_loss_cosine" in text.splitlines()[0]
