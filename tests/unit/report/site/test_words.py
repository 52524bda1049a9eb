"""Words on pages: no bare label ``none`` in prose, lines by rule, axes that do not exaggerate."""

import re

import pandas as pd
import pytest

from harness.common.keys import ROOT
from harness.report.leaderboard import tables
from harness.report.ranking_rules import headline_of
from harness.report.site import build
from harness.report.site.curves import TOGETHER, curves
from harness.report.site.findings import WORST_CASE, ranking
from harness.report.site.scatter import scatter
from tests.support import synthetic
from tests.support.site_pages import html_of, prose_of
from tests.support.synthetic import Suite

DEFENSES = {"trades": 0.5, "jpeg": 0.3, "none": 0.0}
BARE = re.compile(r"(?<![\w/-])none(?![\w/-])(?! \(no defence\))")
"""The label as a word of its own, also behind ``@``."""

BORROWED = Suite(
    defenses=DEFENSES,
    attacks={"pgd": 1.0, "pgd@none": 0.4, "noop": 0.0},
    gaps={("jpeg", "pgd@none"): ("timeout", "too slow"), ("none", "pgd"): ("timeout", "too slow")},
    seeds=(0,),
    examples=40,
)
POISONED = Suite(
    matrix="flips",
    threat_model="poisoning",
    defenses={"none": 0.0, "knn": 0.0},
    attacks={"flip": 0.6, "other-flip": 0.5, "noop": 0.0},
    budgets=(("10 % label edits", None),),
    seeds=(0,),
    examples=40,
)


def borrowed_frame() -> pd.DataFrame:
    frame = synthetic.frame(BORROWED)
    frame["made_against"] = ["none" if attack == "pgd@none" else None for attack in frame.attack]
    return frame[~((frame.attack == "pgd@none") & (frame.defense == "none"))]


def test_no_sentence_prints_the_bare_label_none(tmp_path):
    never = synthetic.without_records(Suite(matrix="never", defenses=DEFENSES, seeds=(0,)))
    frame = pd.concat([borrowed_frame(), synthetic.frame(POISONED), never], ignore_index=True)
    out = build(frame, tmp_path / "site").parent
    seen = ""
    for path in html_of(out):
        prose = prose_of(path.read_text())
        assert not (found := BARE.search(prose)), (path, prose[found.start() - 80 : found.end()])
        seen += prose
    assert "the undefended network" in seen
    assert "none (no defence)" in seen


@pytest.mark.parametrize("sentence", ["none keeps 20 %", "made against none.", "on pgd@none, x"])
def test_the_search_for_the_label_finds_it(sentence):
    assert BARE.search(prose_of(f"<p>{sentence}</p>"))


def test_the_finding_names_the_undefended_network():
    frame = synthetic.frame(Suite(defenses={"none": 0.0}, seeds=(0,), examples=40))
    text = "".join(part.text for part in ranking(tables(frame)[0]))
    assert text.startswith("Only the undefended network is ranked.")


@pytest.mark.parametrize(
    ("threat", "task", "name", "start"),
    [
        ("evasion", "classification", "all attacks", "When all attacks are tried"),
        ("evasion", "segmentation", "all attacks", "With the most harmful attack chosen"),
        ("poisoning", "classification", "strongest attack", "Under the strongest attack"),
        ("backdoor", "classification", "strongest attack", "Under the strongest attack"),
    ],
)
def test_lines_and_sentences_say_what_the_attacker_may_choose(threat, task, name, start):
    suite = Suite(
        threat_model=threat,
        task=task,
        defenses=DEFENSES,
        attacks={"a": 1.0, "b": 0.7, "noop": 0.0},
        budgets=(("one", 4 / 255), ("two", 8 / 255)),
        seeds=(0,),
        examples=20,
    )
    found = tables(synthetic.frame(suite))
    rule = found[0].headline.rule
    assert TOGETHER[rule] == name
    assert WORST_CASE[rule].startswith(start)
    lines = {curve.name for one in curves(found) for p in one.panels for curve in p.curves}
    assert name in lines
    assert lines.isdisjoint(set(TOGETHER.values()) - {name})


@pytest.mark.parametrize("goal", ["untargeted", "targeted: next"])
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_every_rule_has_its_words(task, goal):
    """A rule without a row would stop the whole site."""
    headline = headline_of("evasion", task, goal)
    assert headline.rule in WORST_CASE
    assert headline.rule in TOGETHER


def test_axes_of_rates_show_all_rates_and_a_cut_one_says_so(tmp_path):
    suite = Suite(seeds=(0,), clean=0.985, examples=400)
    frame = synthetic.frame(suite)
    plot = scatter(tables(frame)[0], 620, 390)
    assert [plot.y_ticks[0].text, plot.y_ticks[-1].text] == ["0", "100"]
    low, high = float(plot.x_ticks[0].text), float(plot.x_ticks[-1].text)
    assert low > 0
    assert high - low >= 20
    page = build(frame, tmp_path / "site").parent / "invented/linf/index.html"
    assert f"Clean, %, axis from {low:g} →" in page.read_text()
    for panel in curves(tables(frame))[0].panels:
        assert [panel.y_ticks[0].text, panel.y_ticks[-1].text] == ["0", "100"]


FIXED = {
    "rank .place",  # "10–12"
    "nb", "sr", "top nav a", "strip dd.day", "num", "matrix tbody .all", "seeds td, .seeds th",
    "facts tbody th", "matrix .c small",
}  # fmt: skip
"""Selectors that hold fixed words and numbers, or lie in a box that scrolls by itself."""


def test_nothing_but_fixed_words_forbids_a_line_break():
    """A browser says the same (``tests/support/page_widths.py``): no page is too wide."""
    folder = ROOT / "harness/report/site/static"
    sheet = "".join((folder / name).read_text() for name in ("site.css", "figures.css"))
    assert re.search(r"\bbody \{[^}]*overflow-wrap: anywhere", sheet)
    rules = re.findall(r"([^{}]+)\{([^{}]*white-space: (?:nowrap|pre)[^{}]*)\}", sheet)
    found = {selector.strip().rpartition("\n")[2].lstrip(".") for selector, _ in rules}
    assert found == FIXED
