"""Flips by the clean victim's margins, and what all attacks on labels of comparisons promise."""

import pytest
import torch

from harness.common.keys import ROOT
from harness.config.manifest_file import load_manifest
from harness.judge.edits import check_edits
from harness.runtime import ranking
from harness.runtime.contracts import NotApplicable
from tests.support.comparisons import SETS, held, poisoned
from tests.support.modules import module

QUICK = {
    "label-flip": {},
    "margin-flip": {"epochs": 2},
    "learned-flip": {"outer": 3, "inner": 1, "lr": 0.01, "batch": 64},
}
ATTACKS = [
    (name, variant)
    for name in QUICK
    for variant in (None, *load_manifest(ROOT / "attacks" / name).variants)
]


@pytest.fixture(scope="module", params=SETS)
def model(request, tmp_path_factory):
    return held(request.param, tmp_path_factory.mktemp("model"))[:2]


def rows_of(edits, data):
    return edits.ids - data.ids[0]


@pytest.mark.parametrize(("name", "variant"), ATTACKS)
def test_exactly_the_budget_s_labels_turn_and_nothing_else(model, tmp_path, name, variant):
    live, data = model
    count = round(0.25 * len(data))
    attack = module("attack", name, variant, **QUICK[name])
    edits = poisoned(attack, live, data, tmp_path)
    y, rows = data.y.clone(), rows_of(edits, data)
    y[rows] = edits.y
    assert int((y != data.y).any(1).sum()) == len(edits.ids) == count
    assert check_edits(
        edits.ids.numpy(), None, edits.y.numpy(), train_ids=data.ids.numpy(),
        train_x=data.raw.numpy(), train_y=data.y.numpy(),
        budget={"edits": count, "labels": True}, spec={"task": "ranking"},
    ) is None  # fmt: skip
    y[rows, -2] *= -1
    assert torch.equal(y, data.y)
    again = poisoned(attack, live, data, tmp_path / "again")
    assert torch.equal(edits.ids, again.ids)


@pytest.mark.parametrize("edits", [0, 1, "all"])
@pytest.mark.parametrize(("name", "variant"), ATTACKS)
def test_budgets_at_the_edges_are_used_up(model, tmp_path, name, variant, edits):
    live, data = model
    edits = len(data) if edits == "all" else edits
    attack = module("attack", name, variant, **QUICK[name])
    assert len(poisoned(attack, live, data, tmp_path, edits=edits).ids.unique()) == edits


@pytest.mark.parametrize(
    ("name", "variant"), [("margin-flip", "reverse-model"), ("learned-flip", None)]
)
def test_a_loss_that_reads_a_layer_is_declined(model, tmp_path, monkeypatch, name, variant):
    live, data = model

    def loss(network, x, y):
        return network.get_submodule("0")(x).sum(1)

    monkeypatch.setattr(live, "_training_loss", loss)
    attack = module("attack", name, variant, **QUICK[name])
    with pytest.raises(NotApplicable, match="the training loss reads '0' of its network"):
        poisoned(attack, live, data, tmp_path)


def test_nearest_and_furthest_are_the_ends_of_the_margins(model, tmp_path):
    live, data = model
    margin = ranking.decisions(ranking.item_outputs(live.predict, data, 7), data.y)
    right = margin * data.y[:, -2]

    def split(variant, values):
        rows = rows_of(
            poisoned(module("attack", "margin-flip", variant), live, data, tmp_path), data
        )
        turned = torch.zeros(len(data), dtype=torch.bool)
        turned[rows] = True
        return values[turned], values[~turned]

    turned, others = split("nearest", margin.abs())
    assert turned.max() <= others.min()
    turned, others = split("furthest", margin.abs())
    assert turned.min() >= others.max()
    turned, others = split("furthest-signed", right)
    assert turned.min() >= others.max()
    turned, others = split("reverse-wrong", right)
    assert turned.max() <= others.min()
    turned, _ = split("reverse", right)
    assert turned.min() > 0


def test_reverse_takes_the_closest_when_no_more_are_right(model, tmp_path):
    live, data = model
    margin = ranking.decisions(ranking.item_outputs(live.predict, data, 7), data.y)
    right = margin * data.y[:, -2] > 0
    assert not right.all()
    count = int(right.sum()) + 1
    edits = poisoned(module("attack", "margin-flip", "reverse"), live, data, tmp_path, edits=count)
    rows = rows_of(edits, data)
    assert set(right.nonzero().flatten().tolist()) < set(rows.tolist())
    (last,) = [row for row in rows.tolist() if not right[row]]
    assert margin[last].abs() == margin[~right].abs().min()


def test_items_are_turned_whole(model, tmp_path):
    live, data = model
    edits = poisoned(module("attack", "margin-flip", "reverse-items"), live, data, tmp_path)
    turned = torch.zeros(len(data), dtype=torch.bool)
    turned[rows_of(edits, data)] = True
    items = data.y[:, : data.spec.arity]
    whole = [i for i in items.unique().tolist() if turned[(items == i).any(1)].all()]
    covered = torch.isin(items, torch.tensor(whole)).any(1)
    left = turned & ~covered  # the last item's, for which the budget did not suffice
    assert len(whole) >= 1
    assert len(set.intersection(*[set(row.tolist()) for row in items[left]] or [{0}])) >= 1


def test_edits_split_over_attributes_in_proportion(tmp_path):
    live, data, _ = held("pairs", tmp_path)
    attack = module("attack", "margin-flip", "furthest-by-attribute")
    edits = poisoned(attack, live, data, tmp_path / "a", edits=101)
    turned = torch.bincount(data.y[rows_of(edits, data), -1])
    sizes = torch.bincount(data.y[:, -1])
    assert int(turned.sum()) == 101
    assert (turned - 101 * sizes / len(data)).abs().max() < 1


def test_the_log_names_attributes_and_what_was_wrong_before(tmp_path, capsys):
    live, data, _ = held("pairs", tmp_path)
    poisoned(module("attack", "margin-flip"), live, data, tmp_path / "a")
    text = capsys.readouterr().out
    assert "young" in text
    assert "smiling" in text
    assert "wrong for the clean victim" in text


def test_every_item_is_scored_once_and_rows_come_in_parts(model, tmp_path, monkeypatch):
    live, data = model
    seen, plain = [], ranking.decision_values
    monkeypatch.setattr(ranking, "ROWS", 64)
    monkeypatch.setattr(
        ranking, "decision_values", lambda out, y: seen.append(len(y)) or plain(out, y)
    )
    before = live.passes.forward
    poisoned(module("attack", "margin-flip", chunk=7), live, data, tmp_path)
    items = data.y[:, : data.spec.arity].unique()
    assert live.passes.forward - before == len(items)
    assert max(seen) == 64
