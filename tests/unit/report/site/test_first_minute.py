"""What a reader can say after the first screen of overview and benchmark page, without a guess."""

import re

import pytest

from harness.common.keys import ROOT
from harness.report.site import SiteMeta, build
from harness.report.site.about import NOT_TOLD, QUESTION, DataCard, Heading
from tests.support import synthetic
from tests.support.site_pages import text_of
from tests.support.synthetic import Suite

SUITE = Suite(
    defenses={"trades": 0.6, "mart": 0.6, "jpeg": 0.02, "none": 0.0},
    attacks={"pgd": 1.0, "fgsm": 0.7, "square": 0.85, "random_noise": 0.05, "noop": 0.0},
    budgets=(("L∞ 8/255", 8 / 255),),
    seeds=(0,),
    examples=200,
)
META = SiteMeta(
    benchmarks={
        "invented": Heading(
            "Invented", "Is it shown?", "Small grey digits are no photographs.", "For tests."
        )
    },
    matrices={
        ("invented", "linf"): Heading(
            "Handwritten digits, L∞ noise",
            "How many digits are still right?",
            "One small network.",
            data={"student": "digits"},
        )
    },
    cards={
        "digits": DataCard(
            "Handwritten digits", "CC BY 4.0", "a library", 500, 10, (1, 8, 8), "classification"
        )
    },
    summaries={"victims/small-cnn": "Three convolutions."},
    families={
        "attacks/pgd": "gradient search",
        "attacks/fgsm": "gradient search",
        "attacks/square": "search by queries",
    },
)

STATEMENTS = {
    # what a reader says: (page, what it must say for that)
    "It asks what is left of a defence when every attack was tried.": ("overview", QUESTION),
    "A high score is no proof that a defence is safe.": ("overview", NOT_TOLD),
    "The data are 200 small grey images of digits, no photographs.": (
        "overview",
        "Handwritten digits · 8 × 8 pixels, grey · 200 test examples",
    ),
    "There were three attacks of two kinds; two more were controls.": (
        "overview",
        "3 attacks of 2 families, 2 controls",
    ),
    "Two defences share first place.": ("overview", "2 of 4 share first place"),
    "Whoever made this page ran it, without containers.": ("overview", "20 of 20 · self-reported"),
    "The page asks how many digits are still right.": (
        "page",
        "Handwritten digits, L∞ noise How many digits are still right?",
    ),
    "Of 500 test examples of ten classes 200 were judged; the license is CC BY 4.0.": (
        "page",
        "Handwritten digits: 200 of 500 test examples judged, 8 × 8 pixels, grey, 10 classes. "
        "License: CC BY 4.0. Source: a library.",
    ),
    "The network is small, and right on nine of ten without an attack.": (
        "page",
        r"small-cnn: Three convolutions; 9\d\.\d % right on clean inputs without a defence\.",
    ),
    "The attacker may change each pixel by 8 of 255 levels, and holds the network.": (
        "page",
        "The attacker holds the defended network .* Limit: each pixel by at most 8 of 255 levels.",
    ),
    "It was tried with three attacks of two families, which may be too few.": (
        "page",
        "Thin: the matrix lacks a query attack.*3 attacks of 2 families "
        r"\(gradient search, search by queries\), 2 controls",
    ),
    "Not all of it can be trusted: nothing held the modules.": (
        "page",
        "Self-reported. All 20 cells ran outside containers, .* Machine: a laptop, cpu. "
        "What this is not Small grey digits are no photographs. One small network.",
    ),
}


@pytest.fixture(scope="module")
def screens(tmp_path_factory):
    """Return the text of each page before its first table of defences."""
    frame = synthetic.frame(SUITE)
    frame["thin"] = [("query attack",)] * len(frame)
    site = build(frame, tmp_path_factory.mktemp("minute") / "site", META).parent
    overview = (site / "index.html").read_text().partition('id="threats"')[0]
    page, found, _ = (site / "invented/linf/index.html").read_text().partition("<table")
    assert found
    return {"overview": text_of(overview), "page": text_of(page)}


def test_there_are_twelve_statements():
    assert len(STATEMENTS) == 12


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_reader_can_say(statement, screens):
    page, text = STATEMENTS[statement]
    pattern = text if re.search(r"\.\*|\\", text) else re.escape(text)
    assert re.search(pattern, screens[page]), screens[page]


def test_the_strip_and_the_sentence_say_the_tie_too(screens):
    assert "2 of 4 share first place" in screens["page"]


def test_the_readme_asks_the_same_and_says_what_it_is_not():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert QUESTION in readme
    assert NOT_TOLD in readme
