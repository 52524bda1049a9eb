"""The ready set: nothing starts before what it reads, nothing is forgotten."""

import random

import pytest

from harness.planning.graph import Input, Stage
from harness.planning.recipe import SubsetRecipe
from harness.running.ready_set import ReadySet


def stages(**reads):
    """Name → names of what it reads, as text: ``c="a b"``."""
    return {
        name: Stage(
            "train", name, {one: Input(one, "") for one in text.split()}, SubsetRecipe(None)
        )
        for name, text in reads.items()
    }


def ready_set(cells=None, rank=lambda stage: (0, ""), **reads):
    return ReadySet(stages(**reads), rank, cells or {})


def ready(one):
    """Everything that can start now, in order."""
    found = []
    while one.peek() is not None:
        found.append(one.pop().key)
    return found


def test_a_stage_is_ready_when_all_that_it_reads_is_done():
    one = ready_set(a="", b="", c="a b", d="c")
    assert ready(one) == ["a", "b"]
    one.done("a")
    assert ready(one) == []
    one.done("b")
    assert ready(one) == ["c"]
    one.done("c")
    assert ready(one) == ["d"]


def test_what_is_not_to_run_is_there_already():
    assert ready(ready_set(b="elsewhere", c="b elsewhere")) == ["b"]


def test_the_lowest_rank_goes_first_and_then_the_earliest():
    ranks = {"a": 2, "b": 1, "c": 2, "d": 0}
    one = ready_set(rank=lambda stage: (ranks[stage.key], ""), a="", b="", c="", d="a")
    assert [one.pop().key, one.pop().key] == ["b", "a"]
    one.done("a")
    assert ready(one) == ["d", "c"]


def test_a_failure_takes_down_all_that_waits_for_it_and_nothing_else():
    one = ready_set(a="", b="", c="a", d="c b", e="b")
    assert ready(one) == ["a", "b"]
    assert sorted(one.fail("a")) == ["c", "d"]
    one.done("b")
    assert ready(one) == ["e"]
    assert one.failed == {"a", "c", "d"}


def test_a_stage_that_was_ready_and_is_ruled_out_does_not_start():
    one = ready_set(a="", b="a", c="")
    assert one.fail("a") == ["b"]
    assert ready(one) == ["c"]


def test_a_stage_that_is_tried_again_is_ready_again():
    one = ready_set(a="", b="")
    assert one.pop().key == "a"
    one.push("a")
    assert ready(one) == ["b", "a"]


def test_a_cell_closes_when_its_stages_have_ended_well_or_not():
    cells = {"one": ["a", "b"], "two": ["b", "gone"], "none": ["gone"]}
    one = ready_set(cells, a="", b="", c="a")
    assert one.closing == ["none"]
    one.done("a")
    assert one.closing == ["none"]
    one.fail("b")
    assert sorted(one.closing) == ["none", "one", "two"]


def test_a_cell_closes_when_its_stages_cannot_run_any_more():
    one = ready_set({"one": ["c"]}, a="", b="a", c="b")
    one.fail("a")
    assert one.closing == ["one"]


def test_a_cell_that_is_made_of_others_closes_after_them():
    one = ready_set({"both": ["one", "two", "recorded"], "one": ["a"], "two": []}, a="")
    assert one.closing == ["two"]
    one.closed(one.closing.pop())
    assert one.closing == []
    one.done("a")
    assert one.closing == ["one"]
    one.closed(one.closing.pop())
    assert one.closing == ["both"]


@pytest.mark.parametrize("seed", range(20))
def test_any_graph_is_run_whole_in_order_whatever_fails(seed):
    chance = random.Random(seed)
    reads = {
        f"s{k}": " ".join(f"s{j}" for j in range(k) if chance.random() < 0.15) for k in range(60)
    }
    cells = {f"c{k}": {f"s{chance.randrange(60)}" for _ in range(3)} for k in range(40)}
    one = ReadySet(stages(**reads), lambda stage: (chance.randrange(3), chance.choice("xy")), cells)
    ended, closed = {}, []
    while one.peek() is not None or one.closing:
        if one.closing:
            cell = one.closing.pop()
            one.closed(cell)
            closed.append(cell)
            assert cells[cell] <= ended.keys()
            continue
        key = one.pop().key
        assert key not in ended
        assert all(ended[read] for read in reads[key].split())
        ended[key] = chance.random() < 0.85
        if ended[key]:
            one.done(key)
        else:
            ended |= dict.fromkeys(one.fail(key), False)
    assert ended.keys() == reads.keys()
    assert sorted(closed) == sorted(cells)
    assert one.failed == {key for key, fine in ended.items() if not fine}


def test_a_group_that_is_avoided_waits_for_others_of_its_rank_only():
    ranks = {"a": (1, "x"), "b": (1, "x"), "c": (1, "y"), "d": (2, "z")}
    one = ready_set(rank=lambda stage: ranks[stage.key], a="", b="", c="", d="")
    assert one.pop({"x"}).key == "c"
    assert one.pop({"x"}).key == "a"  # d is of a later rank
    assert one.pop().key == "b"
    assert one.pop({"z"}).key == "d"
    assert one.peek() is None
