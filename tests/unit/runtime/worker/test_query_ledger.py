"""Queries are charged to the example that they are about, whatever the attack says."""

import numpy as np
import pytest
import torch

from harness.runtime.contracts import Budget, ContractError
from harness.runtime.worker.query_ledger import QueryLedger

BUDGETS = {
    "linf": Budget(norm="linf", eps=0.1, queries=3),
    "channels": Budget(norm="linf", eps=0.1, per_channel=(1.0, 0.2), queries=3),
    "l2": Budget(norm="l2", eps=0.4, queries=3),
    "patch": Budget(patch=2, queries=3),
    "pixels": Budget(pixels=4, queries=3),
    "unbounded": Budget(unbounded=True, queries=3),
}


def clean(examples=8):
    return torch.rand(examples, 2, 4, 4, generator=torch.Generator().manual_seed(0))


def attacked(x, kind, seed=1):
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    if kind == "linf":
        return (x + 0.1 * noise.sign()).clamp(0, 1)
    if kind == "channels":
        return (x + torch.tensor([0.1, 0.02])[:, None, None] * noise.sign()).clamp(0, 1)
    if kind in ("patch", "pixels"):
        result = x.clone()
        result[:, :, 1:3, 2:4] = noise[:, :, 1:3, 2:4].abs()
        return result
    return (x + 0.4 * noise / noise.flatten(1).norm(dim=1)[:, None, None, None]).clamp(0, 1)


@pytest.mark.parametrize("kind", BUDGETS)
@pytest.mark.parametrize("stated", ["own", "other"])
def test_the_nearest_example_pays(kind, stated):
    x = clean()
    ledger = QueryLedger(x, BUDGETS[kind])
    own = torch.arange(8)
    rows = own if stated == "own" else own.roll(3)
    assert ledger.charge(attacked(x, kind), rows)
    assert ledger.counts.tolist() == [1] * 8


@pytest.mark.parametrize("kind", BUDGETS)
def test_a_brute_force_search_agrees(kind):
    x = clean(30) * 0.3  # so close together that balls overlap
    queries = attacked(x, kind)
    difference = queries[:, None].double() - x[None].double()
    changed = (difference.abs() > 1e-6).any(dim=2).flatten(2).sum(dim=2)
    distance = {
        "linf": difference.abs().flatten(2).amax(dim=2),
        "channels": (difference / torch.tensor([1.0, 0.2])[:, None, None]).abs().flatten(2).amax(2),
        "patch": changed,
        "pixels": changed,
    }.get(kind, difference.flatten(2).norm(dim=2))
    found = QueryLedger(x, BUDGETS[kind]).nearest(queries, torch.randint(30, (30,)))
    assert torch.equal(distance.gather(1, found[:, None])[:, 0], distance.amin(dim=1))


@pytest.mark.parametrize("kind", ["linf", "channels", "l2", "patch", "pixels"])
def test_spare_queries_cannot_be_pooled(kind):
    x = clean()
    ledger = QueryLedger(x, BUDGETS[kind])
    hard = attacked(x, kind)[:1]
    for _ in range(3):
        assert ledger.charge(hard, torch.tensor([0]))
    for other in range(1, 8):  # their queries are left, and stay theirs
        assert not ledger.charge(hard, torch.tensor([other]))
    assert ledger.counts.tolist() == [3] + [0] * 7
    assert ledger.refused == 7


@pytest.mark.parametrize("kind", ["linf", "channels", "l2", "patch", "pixels"])
@pytest.mark.parametrize("bad", ["far", "nan", "blank"])
def test_a_query_outside_the_budget_is_refused(kind, bad):
    x = clean()
    queries = {"far": 1 - x, "nan": x * float("nan"), "blank": torch.zeros_like(x)}[bad]
    ledger = QueryLedger(x, BUDGETS[kind])
    with pytest.raises(ContractError, match="outside the budget"):
        ledger.charge(queries, torch.arange(8))
    assert not ledger.counts.any()


def test_equal_examples_each_have_their_own_queries():
    x = clean(1).repeat(3, 1, 1, 1)
    ledger = QueryLedger(x, BUDGETS["linf"])
    assert ledger.charge(x, torch.tensor([0, 1, 1]))
    assert ledger.counts.tolist() == [1, 2, 0]


def test_the_edge_of_the_ball_is_inside():
    x = clean()
    for kind in ("linf", "l2"):
        budget = BUDGETS[kind]
        step = budget.eps if kind == "linf" else budget.eps / np.sqrt(32)
        assert QueryLedger(x * 0.5, budget).charge(x * 0.5 + step, torch.arange(8))


@pytest.mark.parametrize(("channel", "fine"), [(0, True), (1, False)])
def test_each_channel_has_its_own_edge(channel, fine):
    x = clean() * 0.5
    queries = x.clone()
    queries[:, channel] += 0.1
    ledger = QueryLedger(x, BUDGETS["channels"])
    if fine:
        assert ledger.charge(queries, torch.arange(8))
    else:
        with pytest.raises(ContractError, match="outside the budget"):
            ledger.charge(queries, torch.arange(8))


@pytest.mark.parametrize("value", [1e17, -1e17, 3e38, float("inf")])
def test_one_huge_value_does_not_make_all_examples_equally_near(value):
    x = clean()
    ledger = QueryLedger(x, BUDGETS["unbounded"])
    queries = x.clone()
    queries[:, 0, 0, 0] = value
    with pytest.raises(ContractError, match=r"far from \[0, 1\]"):
        ledger.charge(queries, torch.zeros(8, dtype=torch.int64))
    assert not ledger.counts.any()


@pytest.mark.parametrize("kind", BUDGETS)
def test_queries_are_compared_in_parts_of_bounded_size(kind, monkeypatch):
    monkeypatch.setattr("harness.runtime.worker.query_ledger.CHUNK", 40)
    x = clean()
    ledger = QueryLedger(x, BUDGETS[kind])
    assert ledger.charge(attacked(x, kind), torch.arange(8).roll(3))
    assert ledger.counts.tolist() == [1] * 8


def test_one_batch_cannot_exceed_the_limit_by_naming_an_example_twice():
    x = clean()
    ledger = QueryLedger(x, BUDGETS["linf"])
    assert not ledger.charge(x[[0, 0, 0, 0]], torch.tensor([0, 1, 2, 3]))
    assert not ledger.counts.any()


# The nearest wrong input is looked for: queries may lie far from all examples.

NEAREST = Budget(norm="l2", minimal=True, queries=3)


def test_noise_is_charged_to_the_example_that_it_is_said_to_be_about():
    x = clean()
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(5))
    ledger = QueryLedger(x, NEAREST)
    for _ in range(3):
        assert ledger.charge(noise, torch.arange(8))
    assert ledger.counts.tolist() == [3] * 8
    assert not ledger.charge(noise[:1], torch.tensor([0]))


def test_a_query_that_is_clearly_about_another_example_is_charged_to_that_one():
    """Or else an attack would spend the queries of examples that it has given up on others."""
    x = clean()
    ledger = QueryLedger(x, NEAREST)
    towards = x + 0.1 * (x.roll(1, 0) - x)  # a tenth of the way to another one
    assert ledger.charge(towards[:1].repeat(3, 1, 1, 1), torch.tensor([1, 2, 3]))
    assert ledger.counts.tolist() == [3, 0, 0, 0, 0, 0, 0, 0]
    between = x[:1] + 0.45 * (x[1:2] - x[:1])  # hardly nearer to the first
    assert ledger.charge(between, torch.tensor([1]))
    assert ledger.counts.tolist() == [3, 1, 0, 0, 0, 0, 0, 0]


def test_with_a_radius_the_nearest_pays_however_small_the_difference():
    x = clean()
    ledger = QueryLedger(x, Budget(norm="l2", eps=9, queries=3))
    between = x[:1] + 0.45 * (x[1:2] - x[:1])
    assert ledger.charge(between, torch.tensor([1]))
    assert ledger.counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
