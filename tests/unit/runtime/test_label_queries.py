"""Queries that read classes alone: answers of both forms, and rows that stop alone."""

import pytest
import torch

from harness.runtime.contracts import Budget, Spec
from harness.runtime.label_queries import BEYOND, LabelQueries
from harness.runtime.problem import Problem
from harness.runtime.worker.access import Access
from harness.runtime.worker.query_ledger import QueryLedger
from tests.support.modules import live
from tests.support.network_service import served
from tests.support.oracle import Oracle
from tests.support.small_network import SPEC, batch

PAIR = Spec("classification", 2, (1, 2, 2))


def brightness(x):
    """Class 1 where the mean is above a half."""
    light = x.flatten(1).mean(1) - 0.5
    return torch.stack([-light, light], dim=1)


def asked(x, spent=None, goal=None, most=None, **fields):
    """The queries of a batch of class 0, and the ledger that they are counted in."""
    model = Oracle(brightness, x, Budget(norm="l2", minimal=True, **fields), PAIR, spent)
    return LabelQueries(Problem(model, torch.zeros(len(x)).long(), goal), most), model.ledger


def grey(*levels):
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


@pytest.mark.parametrize("answers", ["scores", "labels"])
def test_scores_and_labels_are_read_alike(answers):
    x, y = batch()
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32, 4)).eval()
    ledger = QueryLedger(x, Budget(norm="l2", minimal=True, queries=9))
    rows = torch.tensor([0, 0, 3, 5])
    with served(live(network, SPEC), Access(ledger=ledger, answers=answers, examples=6)) as service:
        service.model.begin(torch.arange(6))
        queries = LabelQueries(Problem(service.model, y))
        found = queries.wrong(x[rows], rows)
        aimed = LabelQueries(Problem(service.model, y, network(x).argmax(1))).wrong(x[rows], rows)
    assert torch.equal(found, network(x).argmax(1)[rows] != y[rows])
    assert aimed.all()
    assert ledger.counts.tolist() == [4, 0, 0, 2, 0, 2]


def test_one_query_of_a_row_is_kept_for_the_end():
    queries, ledger = asked(grey(0.1, 0.3), spent=[0, 4], queries=5)
    assert queries.left.tolist() == [4, 0]
    queries.wrong(grey(0.2, 0.2), torch.tensor([0, 0]))
    assert queries.left.tolist() == [2, 0]
    assert queries.with_left(torch.arange(2)).tolist() == [0]
    assert queries.with_left(torch.arange(2), 3).tolist() == []
    assert ledger.counts.tolist() == [2, 4]


def test_an_own_bound_holds_with_an_oracle_and_without_one():
    for limit in ({}, {"queries": 50}):
        queries, _ = asked(grey(0.1, 0.3), most=4, **limit)
        assert queries.left.tolist() == [3, 3]
        queries.wrong(grey(0.2), torch.tensor([1]))
        assert queries.left.tolist() == [3, 2]
    assert asked(grey(0.1))[0].left.item() > 2**60


def test_a_row_that_is_refused_stops_alone():
    """One's query is charged to another row, which has spent its own; both are asked at once."""
    x = grey(0.0, 0.1, 0.9)
    queries, ledger = asked(x, spent=[5, 0, 0], queries=5)
    points, rows = grey(0.01, 0.6), torch.tensor([1, 2])  # the first is near row 0's clean input
    assert queries.wrong(points, rows).tolist() == [False, True]
    assert ledger.counts.tolist() == [5, 0, 1]
    assert queries.left.tolist() == [-1, 0, 3]


def test_many_queries_are_split_into_requests_in_order():
    x = grey(0.1, 0.3)
    queries, ledger = asked(x)
    levels = torch.rand(700, generator=torch.Generator().manual_seed(0))
    found = queries.wrong(grey(*levels.tolist()), torch.arange(700) % 2)
    assert torch.equal(found, levels > 0.5)
    assert ledger.counts.sum() == 700
    assert queries.wrong(x[:0], torch.zeros(0).long()).tolist() == []


def test_results_are_moved_off_the_boundary_where_they_stay_wrong():
    x, edge = grey(0.1, 0.1, 0.1), 0.5 + 1e-7
    nearest = grey(edge, 0.1, edge)
    queries, ledger = asked(x, spent=[0, 0, 3], queries=3)
    settled = queries.settle(x, nearest)
    # the second is clean, the third has no query left
    assert torch.equal(settled[1:], nearest[1:])
    assert (settled - x)[0].mean().item() == pytest.approx(0.4 * (1 + BEYOND), abs=1e-6)
    assert ledger.counts.tolist() == [1, 0, 3]
    assert ledger.refused == 0


def test_results_stay_where_they_are_right_beyond():
    class Window(torch.nn.Module):
        def forward(self, x):
            return brightness(x) * (x.flatten(1).mean(1) < 0.50001).float()[:, None]

    x, nearest = grey(0.1), grey(0.500001)
    model = Oracle(Window(), x, Budget(norm="l2", minimal=True), PAIR)
    queries = LabelQueries(Problem(model, torch.zeros(1).long()))
    assert torch.equal(queries.settle(x, nearest), nearest)
