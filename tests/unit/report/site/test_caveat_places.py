"""Every place that shows the best defence's number says its caveats."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from harness.commands.report import make_grid
from harness.report.caveats import CAVEATS
from harness.report.leaderboard import tables
from harness.report.proven import ProvenBound
from harness.report.released import ReleasedWeights
from harness.report.site import build
from tests.support import synthetic
from tests.support.leaderboards import SMALL
from tests.support.site_pages import text_of

FLAG = ("not_converged", "it rises")
SUITE = replace(SMALL, stale=True, flags={(name, "pgd"): FLAG for name in ("strong", "strong-too")})
OF_THE_BEST = set(CAVEATS) - {
    *("limit", "blinded", "contradicts a proof"),
    *("fewer counted", "no better than a constant"),
}
"""Those that one suite can have: the first three are of a defence without a rank, then one of a
targeted matrix, and one of a table without a best row (``test_constant_answer.py``)."""
BOUND = ProvenBound("images", "1" * 64, SMALL.examples, "linf", 8 / 255, 0, None, "a verifier")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Return place → its text."""
    frame = synthetic.frame(SUITE)
    frame["thin"] = [("query attack",)] * len(frame)
    frame["shared"] = "3 test pictures are also in train"
    strong = frame.defense.str.startswith("strong")
    frame["approximate"] = strong
    proven = ReleasedWeights("victim/weights", proven=(BOUND,))
    frame["weights"] = [proven if one else None for one in strong]
    certified = {"value": 0.25, "level": 0.95, "method": "wilson"}
    synthetic.alter(
        frame,
        lambda record: {
            "examples": BOUND.images,
            "metrics": record.to_json()["metrics"] | {"certified_accuracy": certified},
        },
    )
    (table,) = tables(frame)
    site = build(frame, tmp_path_factory.mktemp("caveats") / "site").parent
    page = (site / "invented/linf/index.html").read_text()
    strip, _, rest = page.partition('<div class="tools">')
    finding, _, ranked = rest.partition('<table class="rank"')
    out = io.StringIO()
    Console(file=out, width=300).print(make_grid(table))
    return {
        "overview": text_of((site / "index.html").read_text().partition('id="threats"')[0]),
        "strip": text_of(strip),
        "sentence": text_of(finding),
        "rank row": text_of(ranked.partition("</table>")[0]),
        "csv": (site / "invented/linf/ranking.csv").read_text(),
        "json": json.dumps(json.loads((site / "invented/linf/results.json").read_text())),
        "terminal": " ".join(out.getvalue().split()),
    }


@pytest.mark.parametrize("name", sorted(OF_THE_BEST))
def test_each_place_says_each_caveat(places, name):
    # the sentence warns only; it says the tie in words of its own
    wanted = dict.fromkeys(places, name)
    if name == "tie":
        wanted["sentence"] = "share first place"
    if name in ("proven", "certified"):
        wanted["sentence"] = ""
    assert not [place for place, text in places.items() if wanted[place] not in text]
