"""RayS: the paper's loop, closed form, output rules, queries, released weights."""

import pytest
import torch
from torch import nn

from harness.runtime.contracts import Budget, NotApplicable, Spec
from harness.runtime.model import freeze
from harness.runtime.worker.batches import Batch
from tests.support.modules import context, live, module, part
from tests.support.oracle import Oracle
from tests.support.relu_nets import MNIST, kw_mnist
from tests.support.sources import shared

SPEC = Spec("classification", 4, (1, 8, 8))
NEAREST = Budget(norm="linf", minimal=True)


@pytest.fixture
def x():
    return 0.3 + 0.4 * torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def network_of(*layers):
    torch.manual_seed(3)
    return freeze(nn.Sequential(nn.Flatten(), *(make() for make in layers)))


def curved():
    return network_of(lambda: nn.Linear(64, 40), nn.Tanh, lambda: nn.Linear(40, 4))


def attacked(model, x, y, folder, goal=None, **params):
    attack = module("attack", "rays", **params)
    return attack.perturb(model, x, y, goal, NEAREST, context(folder, SPEC))


def oracle(network, x, spent=None, **fields):
    return Oracle(network, x, Budget(norm="linf", minimal=True, **fields), SPEC, spent)


def lengths(change):
    return change.flatten(1).abs().amax(1)


def by_the_paper(network, x, y, attempts, tolerance):
    """Algorithms 2 and 3 for one row and a number of blocks; its distance and its queries."""
    best, radius, queries, level, block = torch.ones(x.numel()), torch.inf, 1, 0, 0

    def wrong(ray, length):
        nonlocal queries
        queries += 1
        change = length * ray if length < torch.inf else ray
        point = (x + change.reshape(x.shape)).clamp(0, 1)
        return network(point[None]).argmax().item() != y

    for _ in range(attempts):
        size = -(-x.numel() // 2**level)
        ray = best.clone()
        ray[block * size : (block + 1) * size] *= -1
        if wrong(ray, radius):
            low, high = 0.0, min(radius, 1.0)
            while high - low > tolerance / x.numel() ** 0.5:
                middle = (low + high) / 2
                low, high = (low, middle) if wrong(ray, middle) else (middle, high)
            if high < radius:
                best, radius = ray, high
        block += 1
        if block * size >= x.numel():
            level, block = level + 1, 0
    return radius, queries


@pytest.mark.parametrize("attempts", [1, 3, 20, 150])
def test_a_row_does_what_the_papers_loop_does(tmp_path, x, attempts):
    network = curved()
    y = network(x).argmax(1)
    for row in range(4):
        radius, queries = by_the_paper(network, x[row], y[row], attempts, 0.001)
        one = slice(row, row + 1)
        # the last query is that which moves it off the boundary
        model = oracle(network, x[one], queries=queries + 1)
        found = attacked(model, x[one], y[one], tmp_path)
        assert model.ledger.counts.item() == queries + (radius < torch.inf)
        wanted = radius * (1 + 1e-4) if radius < torch.inf else 0
        assert lengths(found - x[one]).item() == pytest.approx(wanted, abs=1e-6)


def test_the_distance_on_a_linear_network_is_the_closed_form(tmp_path, x):
    """A block is only turned where that gains more than the last interval of a search."""
    network = network_of(lambda: nn.Linear(64, 2))
    y, w = network(x).argmax(1), network[1].weight
    logits = network(x)
    wanted = (logits[:, 0] - logits[:, 1]).abs() / (w[0] - w[1]).abs().sum()
    spec = Spec("classification", 2, (1, 8, 8))
    for tolerance, most in ((1e-3, 1.01), (1e-5, 1.0003)):
        found = attacked(live(network, spec), x, y, tmp_path, tolerance=tolerance)
        assert (network(found).argmax(1) != y).all()
        ratio = lengths(found - x) / wanted
        assert ratio.min() > 0.9999
        assert ratio.max() < most


@pytest.mark.parametrize("queries", [1, 2, 3, 20, 200])
def test_no_row_asks_more_than_its_queries_and_none_is_refused(tmp_path, x, queries):
    network = curved()
    y = network(x).argmax(1)
    spent = torch.arange(12).clamp_max(queries).numpy()
    model = oracle(network, x, spent.copy(), queries=queries)
    found = attacked(model, x, y, tmp_path)
    assert model.ledger.refused == 0
    assert (model.ledger.counts <= queries).all()
    assert found.min() >= 0
    assert found.max() <= 1
    broken = network(found).argmax(1) != y
    assert torch.equal(found[~broken], x[~broken])
    if queries == 200:
        assert broken.all()
        assert (model.ledger.counts == queries).all()


def test_without_an_oracle_a_parameter_bounds_the_queries(tmp_path, x):
    network = curved()
    y = network(x).argmax(1)
    model = oracle(network, x)
    attacked(model, x, y, tmp_path, max_queries=70)
    assert model.ledger.counts.tolist() == [70] * 12


def test_a_search_that_can_change_nothing_ends(tmp_path, x):
    network = network_of(lambda: nn.Linear(64, 2))
    model = oracle(network, x)
    attacked(model, x, network(x).argmax(1), tmp_path, max_queries=10**6)
    assert model.ledger.counts.max() < 3000


def test_more_queries_find_nearer_inputs(tmp_path, x):
    network = curved()
    y = network(x).argmax(1)
    found = [
        lengths(attacked(oracle(network, x, queries=n), x, y, tmp_path) - x).median()
        for n in (30, 150, 800)
    ]
    assert found[0] > 1.3 * found[1]
    assert found[1] > 1.1 * found[2]


def test_labels_and_scores_lead_to_the_same_inputs(tmp_path, x):
    network = curved()
    y = network(x).argmax(1)
    labels, scores = (
        attacked(oracle(network, x, answers=form, queries=100), x, y, tmp_path)
        for form in ("labels", "scores")
    )
    assert torch.equal(labels, scores)


def test_what_is_wrong_already_stays_and_costs_a_query(tmp_path, x):
    network = curved()
    model = oracle(network, x, queries=100)
    assert torch.equal(attacked(model, x, (network(x).argmax(1) + 1) % 4, tmp_path), x)
    assert model.ledger.counts.tolist() == [1] * 12


def test_a_row_without_a_wrong_ray_stays_clean(tmp_path, x):
    model = oracle(lambda x: torch.eye(4)[:1].expand(len(x), 4), x, queries=500)
    found = attacked(model, x, torch.zeros(12).long(), tmp_path)
    assert torch.equal(found, x)
    # a whole pass through the 64 values, and the six levels before it; the last query is kept
    assert model.ledger.counts.tolist() == [1 + 127] * 12


def test_a_first_wrong_ray_counts_though_no_query_is_left_to_shorten_it(tmp_path):
    class Dark(nn.Module):
        def forward(self, x):
            dark = (x.flatten(1).mean(1) < 0.01).float()
            return torch.stack([1 - dark, dark], dim=1)

    x = torch.full((1, 1, 8, 8), 0.3)
    found = attacked(oracle(Dark(), x, queries=3), x, torch.tensor([0]), tmp_path)
    assert torch.equal(found, torch.zeros_like(x))


def test_a_goal_is_reached(tmp_path, x):
    network = network_of(lambda: nn.Linear(64, 2))
    y = network(x).argmax(1)
    spec = Spec("classification", 2, (1, 8, 8))
    found = attacked(live(network, spec), x, y, tmp_path, goal=1 - y, max_queries=300)
    assert (network(found).argmax(1) == 1 - y).all()


def test_other_budgets_are_not_played(tmp_path, x):
    attack, y = module("attack", "rays"), torch.zeros(12).long()
    for budget in (Budget(norm="l2", minimal=True), Budget(norm="linf", eps=1)):
        with pytest.raises(NotApplicable, match="nearest"):
            attack.perturb(oracle(curved(), x), x, y, None, budget, context(tmp_path, SPEC))


def test_a_row_does_not_depend_on_the_others(tmp_path, x):
    """Neither on which there are, nor on how many queries they have left."""
    network = curved()
    y, ctx, attack = network(x).argmax(1), context(tmp_path, SPEC), module("attack", "rays")

    def play(rows, spent):
        model = oracle(network, x[rows], spent, queries=200)
        with ctx.batch(Batch(rows, 0, 12, rows)):
            return attack.perturb(model, x[rows], y[rows], None, model.budget, ctx)

    whole, some = play(torch.arange(12), None), torch.tensor([1, 5, 6, 10])
    assert (whole != x).flatten(1).any(1).all()
    assert torch.equal(play(some, None), whole[some])
    found = play(some, [0, 150, 0, 200])
    assert torch.equal(found[::2], whole[some][::2])
    assert torch.equal(found[3], x[10])


def test_blocks_get_smaller_and_end_after_a_pass_without_change():
    """Of six values: 6, then 3 and 3, then 2, 2 and 2, then one by one."""
    blocks = part("attack", "rays", "blocks").Blocks(2, 6, torch.device("cpu"))
    seen, first, both = [], torch.tensor([0]), torch.tensor([0, 1])
    for number in range(12):
        assert not blocks.ended.any()
        seen.append("".join("01"[one] for one in blocks.inside(both)[0].int()))
        blocks.advance(both, first if number == 8 else both[:0])
    assert seen == ["111111", "111000", "000111", "110000", "001100", "000011",
                    *("0" * n + "1" + "0" * (5 - n) for n in range(6))]  # fmt: skip
    assert blocks.ended.tolist() == [False, True]
    for _ in range(6):
        assert not blocks.ended[0]
        blocks.advance(first, first[:0])
    assert blocks.ended[0]


@pytest.mark.slow
def test_the_released_network_of_wong_and_kolter(tmp_path):
    """No image that is proven robust within 0.1 has a nearer wrong input."""
    network, x, y = kw_mnist(50)
    attack = module("attack", "rays", max_queries=2000)
    found = attack.perturb(live(network, MNIST), x, y, None, NEAREST, context(tmp_path, MNIST))
    assert (network(found).argmax(1) != y).all()
    right = network(x).argmax(1) == y
    assert lengths(found - x)[right].median() < 0.17
    proven = right.clone()
    proven[
        [
            n
            for n in map(int, (shared("verified") / "open_kw_mnist.txt").read_text().split())
            if n < 50
        ]
    ] = False
    assert proven.sum() > 40
    assert lengths(found - x)[proven].min() > 0.1
