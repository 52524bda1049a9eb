"""What a cell page says of replications, and of making its records again."""

from dataclasses import replace

import pytest

from harness.report.cells import cell_rows
from harness.report.site.provenance import redo, replicated
from harness.results.replications import replications
from tests.support import synthetic
from tests.support.leaderboards import SMALL


@pytest.fixture
def lines():
    """Three seeds of one cell."""
    suite = replace(SMALL, defenses={"none": 0.0}, attacks={"pgd": 1.0})
    return cell_rows(synthetic.frame(suite))


def twice(line, executor="docker"):
    record = line.record
    inside = record.environment.model_copy(update={"executor": executor})
    other = synthetic.altered(record, key="0" * 64, environment=inside)
    return replace(line, replications=replications(record, [record, other]))


def test_equal_sentences_of_seeds_are_said_once(lines):
    assert replicated(lines) == ()
    text = "made twice, in containers and outside: equal"
    assert replicated([twice(line) for line in lines]) == (f"each seed was {text}",)
    assert replicated([twice(lines[0]), *lines[1:]]) == (f"seed 0 was {text}",)
    assert replicated([*map(twice, lines[:2]), lines[2]]) == (f"seeds 0, 1 were {text}",)
    assert replicated([twice(lines[0])]) == (text,)
    mixed = [twice(lines[0]), twice(lines[1], "local"), lines[2]]
    assert replicated(mixed) == (
        f"seed 0 was {text}",
        "seed 1 was made twice, both times outside: equal",
    )


def test_the_time_counts_a_shared_stage_once(lines):
    """Of three seeds, each trained its own network; of one seed twice, the network is the same."""
    one = redo(lines[:1])
    assert redo([lines[0], lines[0]]).seconds == one.seconds
    assert redo(lines).seconds == pytest.approx(3 * one.seconds)
    assert (one.commits, one.machines) == (("0123abc",), ("a laptop",))
    assert redo([replace(lines[0], record=None)]).seconds is None
