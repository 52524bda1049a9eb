"""Small sets of comparisons for tests, and models of them as attacks hold them."""

import torch

from harness.runtime.contracts import Budget, Data, Spec
from harness.runtime.model import LiveModel
from tests.support.modules import context, module

CPU = torch.device("cpu")
PAIRS = Spec("ranking", 2, (6,), arity=2, classes=("young", "smiling"))
TRIPLETS = Spec("ranking", 3, (), items=30, arity=3)
SHARE = 0.25


def pairs(count=400, items=60):
    """Pairs of features [items, 6] under two attributes, labelled by a line with some noise."""
    random = torch.Generator().manual_seed(1)
    x = torch.rand(items, 6, generator=random)
    score = x @ torch.randn(6, 2, generator=random) * 3
    first = torch.randint(items, (count,), generator=random)
    second = (first + torch.randint(1, items, (count,), generator=random)) % items
    attribute = (torch.rand(count, generator=random) < 0.3).long()
    gap = score[first, attribute] - score[second, attribute]
    label = torch.where(gap + 0.3 * torch.randn(count, generator=random) > 0, 1, -1)
    y = torch.stack([first, second, label, attribute], dim=1)
    return Data(x, y, 1000 + torch.arange(count), PAIRS, CPU)


def triplets(count=500, items=30):
    """Triplets of items known by number, by their distances on a plane; some with label −1."""
    random = torch.Generator().manual_seed(2)
    place = torch.randn(items, 2, generator=random)
    rows = torch.stack([torch.randperm(items, generator=random)[:3] for _ in range(count)])
    a, p, q = (place[rows[:, k]] for k in range(3))
    label = torch.where((a - q).norm(dim=1) > (a - p).norm(dim=1), 1, -1)
    y = torch.cat([rows, label[:, None], torch.zeros(count, 1, dtype=torch.long)], dim=1)
    return Data(torch.arange(items), y, 1000 + torch.arange(count), TRIPLETS, CPU)


SETS = {"pairs": pairs, "triplets": triplets}
VICTIMS = {"pairs": ("linear", {"steps": 300, "lr": 0.05}), "triplets": ("free", {"steps": 300})}


def ranker(kind, **params):
    """The victim that fits a kind of set."""
    variant, own = VICTIMS[kind]
    return module("victim", "ranker", variant, **own | params)


def held(kind, folder, data=None, **params):
    """A trained victim's model as attacks hold it, its data, and the victim."""
    data, victim = data or SETS[kind](), ranker(kind, **params)
    torch.manual_seed(0)
    network = victim.build(data.spec)
    (folder / "victim").mkdir(exist_ok=True)
    victim.fit(network, data, data, victim.loss, context(folder / "victim", data.spec))

    def fresh():
        torch.manual_seed(7)
        return victim.build(data.spec)

    needs = ["loss", "gradients", "features", "weights"]
    return LiveModel(network, network, victim, data.spec, fresh, victim.loss, needs), data, victim


def poisoned(attack, model, data, folder, seed=0, edits=None):
    """The edits of an attack with a quarter of the rows as its budget."""
    folder.mkdir(exist_ok=True)
    edits = round(SHARE * len(data)) if edits is None else edits
    budget = Budget(edits=edits, labels=True)
    return attack.poison(data, data, model, budget, context(folder, data.spec, seed))
