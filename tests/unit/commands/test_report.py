"""``gauntlet report --attack``: figures of one's own attack, which need not be the strongest."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from harness.commands.data_samples import data_cards
from harness.commands.report import (
    empty_lines,
    heading,
    make_attack_grids,
    make_grids,
    pageless_lines,
)
from harness.config.benchmark import load_benchmark
from harness.report.leaderboard import tables
from tests.support import synthetic
from tests.support.errors import raises_error
from tests.support.leaderboards import SMALL
from tests.support.workspaces import Checkout, matrix

SUITE = replace(SMALL, attacks={"pgd/strong": 1.0, "pgd/weak": 0.5, "mine": 0.7, "noop": 0.0})


@pytest.fixture(scope="module")
def found():
    return tables(synthetic.frame(SUITE))


def text_of(grids, width=200) -> str:
    out = io.StringIO()
    for grid in grids:
        Console(file=out, width=width).print(grid)
    return out.getvalue()


def test_a_weaker_attack_has_its_figure_against_every_defence(found):
    assert "mine" not in text_of(make_grids(found)), "the strongest attack is named alone"
    text = text_of(make_attack_grids(found, "mine"))
    for row in (*found[0].rows, *found[0].unranked):
        (cell,) = (one for one in row.cells if one.attack == "mine")
        (line,) = (one for one in text.splitlines() if f" {row.defense} " in one)
        assert f"{100 * cell.score.value:.1f}" in line
        assert f"{100 * row.score.value:.1f}" in line
    assert "pgd" not in text


def test_a_module_s_name_stands_for_all_its_variants(found):
    text = text_of(make_attack_grids(found, "pgd"))
    assert "pgd/strong" in text
    assert "pgd/weak" in text
    assert "strongest attack" in text
    assert "pgd/weak" not in text_of(make_attack_grids(found, "pgd/strong"))


def test_a_cell_without_a_figure_says_why(found):
    gap = ("timeout", "stopped at its limit of 60 s")
    frame = synthetic.frame(replace(SUITE, gaps={("weak", "mine"): gap}))
    assert gap[1] in text_of(make_attack_grids(tables(frame), "mine"))


def test_names_stay_whole_in_a_narrow_terminal():
    names = {"label-representation/uniform": 0.6, "label-representation/random": 0.1, "none": 0.0}
    found = tables(synthetic.frame(replace(SUITE, defenses=names)))
    text = text_of(make_grids(found), width=80)
    assert "…" not in text
    joined = "".join(line.split("│")[2].strip() for line in text.splitlines() if "│" in line)
    assert all(name in joined for name in names)
    for row in found[0].rows:
        assert f" {100 * row.score.lo:.1f}–{100 * row.score.hi:.1f} " in text  # never broken


def test_without_a_figure_there_is_no_bound():
    attacks = {"random_noise": 0.5, "noop": 0.0}
    text = text_of(make_grids(tables(synthetic.frame(replace(SUITE, attacks=attacks)))))
    assert "≤" not in text


def test_an_attack_of_no_benchmark_is_refused(found):
    with raises_error("report-of-unknown-attack", where="--attack"):
        list(make_attack_grids(found, "mien"))


def test_what_was_never_run_takes_one_line(found):
    idle = [replace(found[0], benchmark=name, counts={"missing": 3}) for name in ("a", "b")]
    begun = replace(idle[0], benchmark=found[0].benchmark, matrix="other")
    count, line = empty_lines([*found, *idle, begun])
    assert count.startswith(f"{found[0].benchmark}: 3 cells without a result")
    assert line.startswith("Without any result: a, b;")


def test_records_of_a_benchmark_elsewhere_have_no_page(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.run(checkout.benchmark(matrix()))
    records = list(checkout.records().values())
    assert list(pageless_lines(records, checkout.workspace().benchmarks())) == []
    (line,) = pageless_lines(records, [])
    assert line.startswith("Without a page: b;")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, ""),
        ({"train_fraction": 0.5}, "digits: 0.5 of all"),
        ({"shots": 5}, "digits: 5 of each class"),
        ({"train_fraction": 1 / 8}, "digits: 0.125 of all"),
        ({"train_examples": 500}, "digits: 500 examples"),
    ],
)
def test_a_matrix_says_how_much_of_the_training_set_it_uses(tmp_path, more, words):
    checkout = Checkout(tmp_path)
    checkout.benchmark(matrix(data={"student": {"name": "digits", **more}}))
    (found,) = load_benchmark("b", checkout.root).matrices
    assert heading(found, {}).training == words


def test_of_a_level_the_number_of_training_examples_is_known_and_of_no_other_matrix(tmp_path):
    checkout = Checkout(tmp_path)
    amounts = {"student": {"name": "digits", "train_fraction": [0.05, 1]}}
    checkout.benchmark(matrix(data=amounts), matrix("other"))
    benchmark = load_benchmark("b", checkout.root)
    cards = data_cards(checkout.workspace().datasets_of([benchmark]))
    sizes = [heading(one, cards).examples for one in benchmark.planned]
    assert sizes == [50, 1000, None]
    assert heading(benchmark.planned[0], {}).examples is None
