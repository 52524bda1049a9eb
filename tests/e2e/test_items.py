"""Ranking by item number: triplets of a free embedding, from a list to a judged record."""

import pytest

from harness import datasets
from harness.datasets.base import draws
from tests.workspaces import POISONING, Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

EMBEDDING = """
from torch import nn

from harness.runtime.training import fit


class Table(nn.Module):
    def __init__(self, items, outputs):
        super().__init__()
        self.head = nn.Embedding(items, outputs)

    def forward(self, x):
        return self.head(x)


class Embedding:
    head, stages = "head", ()

    def __init__(self):
        pass

    def build(self, spec):
        return Table(spec.items, spec.outputs)

    def fit(self, network, train, val, loss, ctx, steps=None):
        fit(network, train, loss, ctx, steps=steps or 300, batch=200, lr=0.05, optimizer="adam",
            val=val, log_every=100)
"""


def triplets() -> str:
    """Judgements about a hundred points on a line: the nearer of two to a third."""
    drawn = (draws("triplets", 9000) * 100).astype(int).reshape(-1, 3)
    rows = []
    for a, p, q in drawn.tolist():
        if len({a, p, q}) == 3 and abs(a - p) != abs(a - q):
            near, far = (p, q) if abs(a - p) < abs(a - q) else (q, p)
            rows.append(f"{a},{near},{far},1\n")
    return "".join(rows)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("items"))
    checkout.module(
        "victim", "embedding", EMBEDDING, hooks=["build", "fit"], tasks=["ranking"],
        offers=["loss"], entry="victim.py:Embedding",
    )  # fmt: skip
    source = checkout.root / "source"
    source.mkdir()
    (source / "clean_0.txt").write_text(triplets())
    fetch = datasets.get("food").fetch
    assert fetch is not None
    fetch(checkout.workspace().data, source)
    budgets = {"budgets": [{"edits": 0.45, "labels": True}], "data": {"student": "food"}}
    slice_ = {"examples": 300, "batch": 64}
    checkout.benchmark(matrix("items", **POISONING | budgets, victims=["embedding"], slice=slice_))
    return checkout, checkout.run()


def test_triplets_are_embedded_attacked_and_judged(done):
    checkout, ran = done
    assert ran.tally.failed == 0
    (record,) = checkout.records().values()
    assert record["status"] == "ok"
    clean, attacked = (record["metrics"][n]["value"] for n in ("clean_accuracy", "accuracy"))
    assert clean > 0.85
    assert attacked < clean - 0.1
    assert record["metrics"]["clean_auc"] == {"absent": "all labels are equal"}
