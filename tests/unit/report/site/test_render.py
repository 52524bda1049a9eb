"""The static site: content, links, exports, sizes."""

import csv
import json
import re
from dataclasses import replace
from urllib.parse import unquote

import pandas as pd
import pytest

from harness.config.threat import THREATS
from harness.report.site import SiteMeta, build
from harness.report.site.about import DataCard, Heading
from tests.support import synthetic
from tests.support.errors import raises_error
from tests.support.site_pages import Page, html_of, text_of
from tests.support.synthetic import Suite

GAPS = {
    ("diffusion-purify", "apgd-t"): ("timeout", "stopped at its 120 min limit"),
    ("diffusion-purify", "square"): ("out_of_memory", "out of memory at 78 GiB"),
    ("random-resize", "pgd-40"): ("avoided", "random-resize is random"),
    ("mart", "fgsm"): ("not_applicable", "attack fgsm does not do that"),
    ("trades", "fgsm"): ("budget_violation", "0.04 is over eps 0.03"),
}
FLAGS = {("bit-depth", "square"): ("query_beats_whitebox", "asking beats gradients")}
SUITES = (
    Suite(gaps=GAPS, flags=FLAGS, seeds=(0, 1), examples=200, victims=("small-cnn", "wide-cnn")),
    Suite(matrix="badnets", threat_model="backdoor", budgets=(("5 % edits", None),), seeds=(0,)),
    Suite(matrix="maps", task="segmentation", examples=20, seeds=(0,)),
    Suite(
        benchmark="ranks",
        matrix="pairs",
        task="ranking",
        threat_model="poisoning",
        budgets=(("10 % label edits", None), ("5 % label edits", None)),
        seeds=(0,),
        stale=True,
    ),
)
META = SiteMeta(
    version="0.1.0",
    note="Every figure here is invented",
    benchmarks={
        "invented": Heading("Invented", "Is it shown?", "Nothing here was measured."),
    },
    matrices={
        ("invented", "linf"): Heading(
            "Invented digits, L∞ noise",
            "What is left of a defence?",
            data={"student": "invented-digits"},
        )
    },
    cards={
        "invented-digits": DataCard(
            "Invented digits", "CC0", "https://example.org/x", 600, 10, (1, 8, 8), "classification"
        )
    },
    summaries={"defenses/none": "No defence at all.", "attacks/pgd-40": "Projected gradients."},
)


@pytest.fixture(scope="module")
def frame():
    empty = synthetic.without_records(Suite(benchmark="ranks", matrix="not-run"))
    return pd.concat([synthetic.frame(*SUITES), empty], ignore_index=True)


@pytest.fixture(scope="module")
def site(frame, tmp_path_factory):
    return build(frame, tmp_path_factory.mktemp("reports") / "site", META).parent


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_pages_exist(site):
    assert (site / "index.html").is_file()
    assert (site / "invented/linf/index.html").is_file()
    assert (site / "invented/linf/small-cnn/jpeg.q75/pgd-40.html").is_file()
    # the fifth matrix has no record, and so no pages of cells
    assert len(html_of(site)) == 1 + 5 + 10 * 6 * (2 + 1 + 1 + 1)


@pytest.mark.slow
def test_every_link_has_a_target_and_ids_are_unique(site):
    pages = {path: Page(path) for path in html_of(site)}
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path
        for link in page.links:
            if link.startswith("data:"):
                continue
            address, _, fragment = link.partition("#")
            target = (path.parent / unquote(address)).resolve() if address else path
            assert target.is_file(), (path, link)
            if fragment:
                assert fragment in pages[target].ids, (path, link)


@pytest.mark.slow
def test_no_page_has_content_that_the_policy_refuses(site):
    for path in html_of(site):
        page = Page(path)
        assert not page.refused, path
        assert page.scripts == 1
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in path.read_text()
        assert not re.search(r"https?://", path.read_text()), path


def test_each_page_has_one_heading_and_a_unique_title(site):
    """Over the whole site: cells of two victims or matrices had the same title."""
    titles = [re.search(r"<title>(.*?)</title>", p.read_text())[1] for p in html_of(site)]
    assert len(titles) == len(set(titles))
    assert all(path.read_text().count("<h1>") == 1 for path in html_of(site))


@pytest.mark.slow
def test_equal_frames_give_equal_bytes(frame, site, tmp_path):
    again = build(frame, tmp_path / "site", META).parent
    assert tree(again) == tree(site)
    build(frame, again, META)
    assert tree(again) == tree(site)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_an_older_site_is_replaced_and_nothing_else(frame, tmp_path):
    out = tmp_path / "site"
    build(frame.iloc[:0], out)
    (out / "left-over.html").write_text("old")
    build(frame.iloc[:0], out)
    assert not (out / "left-over.html").exists()
    foreign = tmp_path / "home"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("important")
    with raises_error("site-over-other-files", where="<tmp>/home"):
        build(frame, foreign)
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]


def test_a_failed_build_leaves_the_old_site(frame, tmp_path):
    out = build(frame.iloc[:0], tmp_path / "site").parent
    before = tree(out)
    with pytest.raises(KeyError):
        build(frame.assign(threat_model="telepathy"), out)
    assert tree(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_gaps_say_their_status_in_the_cell_and_their_reason_beside(site):
    page = (site / "invented/linf/index.html").read_text()
    for word, reason in (
        ("timeout", "in the attack: stopped at its 120 min limit"),
        ("no memory", "in the attack: out of memory at 78 GiB"),
        ("avoided", "made impossible by the defence: random-resize is random"),
        ("n/a", "attack fgsm does not do that"),
        ("over budget", "0.04 is over eps 0.03"),
    ):
        assert re.search(rf'class="c hatch"><a href="[^"]+">{word}</a>', page)
        assert f"<b>1 {word}</b> {reason}" in page
    assert "timeout on apgd-t, no memory on square" in page
    assert "≤ " in page
    cell = (site / "invented/linf/small-cnn/diffusion-purify/apgd-t.html").read_text()
    assert "In the attack: stopped at its 120 min limit." in cell
    assert "is not ranked under this budget" in cell


def test_numbers_flags_and_marks(site):
    page = (site / "invented/linf/index.html").read_text()
    assert "⚑ query beats whitebox" in page
    assert "self-reported" in page
    assert '<span class="tag">control</span>' in page
    assert "No defence at all." in page
    cell = (site / "invented/linf/small-cnn/bit-depth/square.html").read_text()
    assert "Asking beats gradients." in cell
    assert "gauntlet reproduce " in cell
    assert "(95&nbsp;%, Wilson)" in cell
    assert 'id="linf-8-255"' in cell
    stale = (site / "ranks/pairs/index.html").read_text()
    assert " old" in stale
    assert "stale" in stale


@pytest.fixture(scope="module")
def made_both_ways(tmp_path_factory):
    """Two matrices in containers; in the first, one attack ran with the local executor."""
    gaps = {("none", "noop"): ("not_applicable", "attack noop does not do that")}
    mixed = Suite(executor="docker", outside=("fgsm",), seeds=(0,), gaps=gaps)
    whole = replace(mixed, matrix="whole", outside=())
    rows = synthetic.frame(mixed, whole)
    return build(rows, tmp_path_factory.mktemp("both") / "site", META).parent / "invented"


def test_self_reported_numbers_are_marked_singly_in_a_mixed_matrix(made_both_ways):
    page = (made_both_ways / "linf/index.html").read_text()
    assert "partly self-reported" in page
    assert page.count("<small>self-reported: fgsm</small>") == 2 * len(SUITES[0].defenses)
    assert len(re.findall(r'class="c [^"]*own"', page)) == 2 * len(SUITES[0].defenses)
    assert page.count('<span class="sr">self-reported</span>') == 2 * len(SUITES[0].defenses)
    assert "self-reported: run without isolation" in page
    assert "Some cells ran with the local executor" in page
    assert "self-reported" not in (made_both_ways / "whole/index.html").read_text()
    overview = (made_both_ways.parent / "index.html").read_text()
    assert overview.count("partly self-reported") == 1
    cells = list(csv.DictReader(lines_of(made_both_ways / "linf/cells.csv")))
    rows = {(row["attack"], row["executor"], row["contained"]) for row in cells if row["key"]}
    assert ("fgsm", "local", "false") in rows
    assert ("square", "docker", "true") in rows
    assert ("noop", "", "") in rows
    ranking = list(csv.DictReader(lines_of(made_both_ways / "linf/ranking.csv")))
    assert {row["contained"] for row in ranking} == {"false"}


def test_a_cell_page_says_how_it_ran_and_in_which_image(made_both_ways):
    folder = made_both_ways / "linf/small-cnn/trades"
    inside, outside = ((folder / f"{name}.html").read_text() for name in ("square", "fgsm"))
    assert "The cell ran in containers." in inside
    assert "self-reported" not in inside
    assert "sha256:a1a1a1a1a1a1 (train, attack)" in inside
    assert "gauntlet reproduce" in inside
    assert 'without isolation: it is <span class="warn">self-reported</span>' in outside
    assert "sha256:" not in outside
    records = json.loads((folder / "square.records.json").read_text())
    assert records[0]["run"]["images"]["attack"] == "sha256:" + "a1" * 32


def test_a_site_of_local_records_says_so_once(site):
    page = (site / "invented/linf/index.html").read_text()
    assert "all numbers are self-reported" in page
    assert not re.search(r'class="c [^"]*own"', page)
    assert "<small>self-reported" not in page


def test_a_benchmark_without_records_says_what_was_planned(site):
    page = (site / "ranks/not-run/index.html").read_text()
    assert "No cell has been measured." in page
    assert "360 cells" in page
    assert "not run yet" in page
    assert "gauntlet run ranks" in page


def test_what_was_never_run_is_folded_on_the_overview(site, tmp_path):
    page = (site / "index.html").read_text()
    tables, _, folded = page.partition("<details>")
    assert "ranks/not-run/index.html" not in tables
    assert "ranks/not-run/index.html" in folded
    assert "1 more matrix, not run yet" in text_of(folded)
    empty = synthetic.without_records(Suite(benchmark="idle", matrix="a", seeds=(0,)))
    alone = build(pd.concat([synthetic.frame(SUITES[0]), empty]), tmp_path / "site")
    found = text_of(alone.read_text().partition('id="not-run"')[2])
    assert "120 cells, not run yet" in found
    assert "gauntlet run idle" in found


def test_attacks_that_lack_every_number_for_one_reason_share_a_note(tmp_path):
    why = ("missing", "data set invented: is not here")
    gaps = {(d, a): why for d in ("none", "jpeg") for a in ("fgsm", "square")}
    defenses, attacks = {"none": 0.0, "jpeg": 0.4}, {"fgsm": 0.7, "square": 0.9, "noop": 0.0}
    suite = Suite(defenses=defenses, attacks=attacks, gaps=gaps, examples=20, seeds=(0,))
    build(synthetic.frame(suite), tmp_path / "site")
    page = (tmp_path / "site/invented/linf/index.html").read_text()
    assert "<b>fgsm</b>, <b>square</b> have no result on any defence" in page


def test_a_defence_with_an_approximate_gradient_is_marked(tmp_path):
    suite = Suite(defenses={"none": 0.0, "jpeg": 0.4}, examples=20, seeds=(0,))
    frame = synthetic.frame(suite)
    frame["approximate"] = frame.defense == "jpeg"
    build(frame, tmp_path / "site")
    page = (tmp_path / "site/invented/linf/index.html").read_text()
    assert page.count("approximate gradient · self-reported") >= len(suite.budgets)


def test_a_site_without_a_plan_has_a_page(frame, tmp_path):
    page = build(frame.iloc[:0], tmp_path / "site").read_text()
    assert "No benchmark is planned" in page


def test_exports_hold_fractions_counts_and_status(site, frame):
    ranking = list(csv.DictReader(lines_of(site / "invented/linf/ranking.csv")))
    best = ranking[0]
    assert float(best["score"]) == int(best["score_k"]) / int(best["score_n"])
    assert float(best["score_lo"]) < float(best["score"]) < float(best["score_hi"])
    assert {row["status"] for row in ranking} == {"ranked", "not ranked"}
    assert {row["bound"] for row in ranking} == {"", "upper"}
    cells = list(csv.DictReader(lines_of(site / "invented/linf/cells.csv")))
    planned = frame[(frame.benchmark == "invented") & (frame.matrix == "linf")]
    assert len(cells) == len(planned)
    assert [row["status"] for row in cells] == planned.status.tolist()
    assert all(row["status"] != "ok" or row["robust_accuracy_n"] for row in cells)
    results = json.loads((site / "invented/linf/results.json").read_text())
    assert len(results["tables"]) == 4
    records = json.loads((site / "invented/linf/small-cnn/none/noop.records.json").read_text())
    assert len(records) == 4
    assert "outcomes" not in records[0]


def test_site_needs_one_page_a_cell_not_a_record(site):
    seeds = (site / "invented/linf/small-cnn/none/noop.html").read_text()
    assert seeds.count("gauntlet reproduce") == 4


def test_small_sizes(site):
    assert (site / "index.html").stat().st_size < 120_000
    assert (site / "invented/linf/index.html").stat().st_size < 240_000
    assert (site / "site.css").stat().st_size < 25_000
    assert (site / "site.js").stat().st_size < 15_000


@pytest.mark.slow
@pytest.mark.parametrize("threat", THREATS)
def test_every_threat_model_and_task_renders(threat, tmp_path):
    for task in THREATS[threat].tasks:
        suite = Suite(task=task, threat_model=threat, examples=20, seeds=(0,), attacks={"a": 1.0})
        assert build(synthetic.frame(suite), tmp_path / task).is_file()


@pytest.mark.slow
def test_scale_suite_has_no_page_per_record(tmp_path):
    suite = replace(synthetic.scale(records=900), examples=100)
    out = build(synthetic.frame(suite), tmp_path / "site").parent
    assert len(html_of(out)) == 2 + 60


def test_benchmarks_that_were_never_run_come_last(tmp_path):
    small = {"attacks": {"noop": 0.0, "fgsm": 0.7}, "defenses": {"none": 0.0}, "seeds": (0,)}
    never = synthetic.without_records(Suite(benchmark="about", matrix="open", **small))
    run = synthetic.frame(Suite(benchmark="later", matrix="done", **small))
    page = build(pd.concat([never, run], ignore_index=True), tmp_path / "site", META).read_text()
    assert page.index("later/done/index.html") < page.index("about/open/index.html")
