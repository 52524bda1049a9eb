"""Released networks as rows: several weights of a victim, ranked in one table with a control."""

import csv
import hashlib
import html
import io
import json
import re

import pytest
import torch
from safetensors.torch import save, save_file
from sklearn.datasets import load_digits
from torch import nn

from harness.config.manifest_file import load_manifest
from harness.report.frame import load
from harness.report.leaderboard import tables
from tests.support.errors import raises_error
from tests.support.workspaces import POISONING, SUPPLY_CHAIN, Checkout, kinds, matrix

ZOO = """
from math import prod

from torch import nn

from harness.runtime.recipe import Recipe


class Zoo:
    head, stages = "4", ("1",)

    def __init__(self, *, width, steps):
        self.width, self.steps = width, steps

    def build(self, spec):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(prod(spec.shape), self.width), nn.ReLU(), nn.Identity(),
            nn.Linear(self.width, spec.outputs),
        )

    def recipe(self, train):
        return Recipe(steps=self.steps, batch=100, lr=0.02, optimizer="adam")
"""

PLAIN = {"name": "none", "weights": "plain"}
SMOOTH = {"name": "none", "weights": "smooth", "as": "smooth-2026"}
GUARDED = {"name": "guard", "weights": "smooth", "as": "smooth-guarded"}
CLAIMS = [
    {"metric": "robust_accuracy", "value": 0.999, "under": "one step, all test images",
     "source": "https://example.org/paper"},
    {"metric": "clean_accuracy", "value": 0.5, "source": "https://example.org/paper"},
]  # fmt: skip
TABLE = {
    "victims": ["zoo"],
    "defenses": ["none", PLAIN, SMOOTH],
    "attacks": ["noop", "sign"],
    "eval_subset": {"examples": 200, "batch": 100},
    "borrow": "all",
}


def trained(width, eps):
    """Weights of a network of some width, trained on digits that one step has changed."""
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Identity(), nn.Linear(width, 10)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        seen = x
        if eps:
            seen = x.clone().requires_grad_(True)
            loss = nn.functional.cross_entropy(network(seen), y)
            seen = (x + eps * torch.autograd.grad(loss, seen)[0].sign()).clamp(0, 1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(seen), y).backward()
        optimizer.step()
    return {name: value.detach() for name, value in network.state_dict().items()}


def scaled(tensors):
    """The same network with logits so large that cross entropy has no gradient left."""
    return tensors | {name: 1e4 * tensors[name] for name in ("4.weight", "4.bias")}


FILES = {"plain": trained(16, 0.0), "smooth": trained(48, 0.15)}
FILES["scaled"] = scaled(FILES["plain"])


def manifest_entry(name, **more):
    return {
        "file": f"{name}.safetensors",
        "sha256": hashlib.sha256(save(FILES[name])).hexdigest(),
        "license": "MIT",
        "source": f"https://example.org/{name}.safetensors",
    } | more


@pytest.fixture
def empty(tmp_path):
    """A checkout with a victim of two architectures, whose two weights are not fetched."""
    made = Checkout(tmp_path / "checkout")
    for name, values in FILES.items():
        save_file(values, tmp_path / f"{name}.safetensors")
    made.module(
        "victim", "zoo", ZOO, hooks=["build", "recipe"],
        offers=["loss"], entry="victim.py:Zoo",
        params={"width": {"type": "int", "default": 16}, "steps": {"type": "int", "default": 30}},
        variants={"wide": {"width": 48}},
        weights={
            "plain": manifest_entry("plain"),
            "scaled": manifest_entry("scaled"),
            "smooth": manifest_entry(
                "smooth", variant="wide", claims=CLAIMS,
                trained_on="digits with one step of noise",
            ),
            "body": manifest_entry("plain", start=True),
        },
    )  # fmt: skip
    return made


@pytest.fixture
def checkout(empty, tmp_path):
    for name in FILES:
        done = empty.gauntlet("data", "fetch", f"zoo/{name}", "--from", str(tmp_path))
        assert done.returncode == 0, done.stderr
    return empty


def test_the_plan_has_a_network_of_each_row(checkout):
    guarded = {**TABLE, "defenses": [*TABLE["defenses"], GUARDED]}
    plan = checkout.plan(matrix(**guarded, seeds=[0, 1]))
    made = kinds(plan)
    assert (made["weights"], made["import"]) == (2, 2)  # a guard shares the network that it guards
    assert made["train"] == 2  # the control, of each seed
    assert made["probe"] == 8  # each row's gradients are probed
    widths = [
        stage.modules["victim"].params["width"]
        for stage in plan.graph.stages.values()
        if stage.kind == "import"
    ]
    assert sorted(widths) == [16, 48]
    names = {cell.info.defense: cell.info.weights for cell in plan.cells.values()}
    assert names == {
        "none": None,
        "plain": "zoo/plain",
        "smooth-2026": "zoo/smooth",
        "smooth-guarded": "zoo/smooth",
    }
    assert {cell.info.victim for cell in plan.cells.values()} == {"zoo"}
    assert [c.info.defense for c in plan.cells.values() if c.info.undefended].count("none") > 0
    assert {c.info.defense for c in plan.cells.values() if c.info.undefended} == {"none"}


def test_rows_more_change_no_key_of_the_others(checkout):
    with_rows = checkout.plan(matrix(**TABLE))
    without = checkout.plan(matrix(**TABLE | {"defenses": ["none"]}))
    for name, cell in without.cells.items():
        assert with_rows.cells[name].key == cell.key
        assert "weights" not in cell.info.to_json()
    assert set(without.graph.stages) <= set(with_rows.graph.stages)


def text_of(page):
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8")))


def test_released_networks_are_ranked_in_one_table(checkout):
    checkout.benchmark(matrix(**TABLE))
    assert checkout.run().tally.failed == 0
    frame = load(checkout.root)
    (table,) = tables(frame)
    assert not table.unranked
    rows = {row.defense: row for row in table.rows}
    assert set(rows) == {"none", "plain", "smooth-2026"}
    assert {label for label, row in rows.items() if row.is_control} == {"none"}
    best = rows["smooth-2026"]
    assert best.rank == 1
    assert not best.beaten_by
    assert best.defense in rows["plain"].beaten_by
    assert best.score.value > rows["plain"].score.value + 0.05
    assert best.score.lo < best.score.value < best.score.hi
    # both met inputs that were made against the control and against the other
    for label, other in (("plain", "smooth-2026"), ("smooth-2026", "plain")):
        met = {cell.made_against for cell in rows[label].cells if cell.score}
        assert {None, "none", other, "itself"} <= met
        assert rows[label].strongest is not None

    assert rows["none"].weights is None
    assert rows["plain"].weights.claims == ()
    claimed, clean = best.weights.claims
    assert (claimed.ours, claimed.lies) == (best.score.value, "above")
    assert (clean.ours, clean.lies) == (best.clean.value, "below")

    done = checkout.gauntlet("report")
    assert done.returncode == 0, done.stderr
    page = checkout.root / "reports" / "site" / "b" / "m"
    said = text_of(page / "index.html")
    assert "released network: zoo/smooth · license: MIT" in said
    assert "trained on: digits with one step of noise" in said
    assert "released network: zoo/plain · license: MIT · trained on: not said" in said
    assert "claimed: not said" in said
    ours = f"{100 * best.score.value:.1f}\u00a0%"
    claim = "robust accuracy 99.9\u00a0%, one step, all test images (example.org/paper)"
    assert f"{claim}, ours {ours}, whose interval lies below the claim; clean accuracy" in said
    assert "other attacks, budgets or examples than ours are no contradiction" in said
    assert "the none of a test" not in row_of(page / "index.html", "smooth-2026")
    one = text_of(page / "zoo" / "smooth-2026" / "sign.html")
    assert "digits with one step of noise" in one
    assert "Claimed for the row, over all attacks: robust accuracy 99.9\u00a0%" in one

    ranking = (page / "ranking.csv").read_text("utf-8")
    lines = {line["defense"]: line for line in csv.DictReader(io.StringIO(ranking))}
    assert lines["smooth-2026"]["weights"] == "zoo/smooth"
    assert lines["smooth-2026"]["weights_license"] == "MIT"
    assert lines["smooth-2026"]["trained_on"] == "digits with one step of noise"
    assert lines["smooth-2026"]["claimed"] == "0.999"
    assert lines["smooth-2026"]["claimed_source"] == "https://example.org/paper"
    assert lines["smooth-2026"]["claimed_clean"] == "0.5"
    assert lines["none"]["weights"] == lines["none"]["claimed"] == ""


def row_of(page, defense):
    """Return the text of one row of the ranking."""
    rows = re.findall(r"<tr.*?</tr>", page.read_text("utf-8"), re.DOTALL)
    return next(row for row in rows if f">{defense}</a>" in row)


def test_a_released_network_that_blinds_attacks_is_not_ranked(checkout):
    """Its gradients are zero; inputs made against the same network, unscaled, still break it."""
    blind = {"name": "none", "weights": "scaled"}
    checkout.benchmark(matrix(**TABLE | {"defenses": ["none", PLAIN, blind]}))
    assert checkout.run().tally.failed == 0
    (table,) = tables(load(checkout.root))
    (row,) = table.unranked
    assert (row.defense, row.blinded, row.bound) == ("scaled", True, "upper")
    assert {"borrowed_beats_gradients", "gradients_vanish"} & {sign.name for sign in row.signs}
    plain = next(other for other in table.rows if other.defense == "plain")
    assert row.score.value == pytest.approx(plain.score.value, abs=0.05)


def test_a_claim_is_never_ranked(checkout):
    """The row with a claim of 99.9 % is last where ours says so."""
    checkout.benchmark(matrix(**TABLE))
    checkout.run()
    before = [(row.defense, row.rank) for row in tables(load(checkout.root))[0].rows]
    path = checkout.root / "victims" / "zoo" / "manifest.yaml"
    written = json.loads(path.read_text())
    written["weights"]["smooth"]["claims"][0]["value"] = 0.0
    written["weights"]["plain"]["claims"] = [CLAIMS[0]]
    path.write_text(json.dumps(written))
    (table,) = tables(load(checkout.root))  # no record is stale: a claim is in no key
    assert [(row.defense, row.rank) for row in table.rows] == before
    assert not any(row.stale for row in table.rows)
    assert {row.defense: row.weights and row.weights.claims[0].lies for row in table.rows} == {
        "none": None,
        "smooth-2026": "below",
        "plain": "above",
    }


def test_a_file_that_is_not_there_makes_its_row_missing_and_no_other(empty, tmp_path):
    empty.gauntlet("data", "fetch", "zoo/plain", "--from", str(tmp_path))
    empty.benchmark(matrix(**TABLE | {"borrow": "none"}))
    empty.run()
    records = empty.records().values()
    assert {r.cell.defense: r.status for r in records} == {
        "none": "ok",
        "plain": "ok",
        "smooth-2026": "missing",
    }
    (reason,) = {r.reason for r in records if r.status == "missing"}
    assert "gauntlet data fetch zoo/smooth" in reason
    table = tables(load(empty.root))[0]
    assert [row.defense for row in table.unranked] == ["smooth-2026"]
    (claimed, _) = table.unranked[0].weights.claims
    assert (claimed.ours, claimed.lies) == (None, None)


PLACE = "<tmp>/checkout/benchmarks/b/benchmark.yaml:"


@pytest.mark.parametrize(
    ("defense", "code"),
    [
        ({"name": "none", "weights": "new"}, "unknown-released-weights"),
        ({"name": "none", "weights": "body"}, "released-weights-are-a-start"),
        ({"name": "trainer", "weights": "plain"}, "released-weights-and-training"),
        ({"name": "sanitizer", "weights": "plain"}, "released-weights-and-sanitizing"),
    ],
)
def test_what_cannot_be_a_row_is_one_line(empty, defense, code):
    rows = TABLE | {"defenses": ["none", defense]}
    empty.benchmark(matrix(**rows))
    where = empty.workspace().benchmark("b").where(("matrices", 0, "defenses", 1))
    with raises_error(code, where=where):
        empty.plan()


def test_weights_of_another_victim_are_refused(empty):
    rows = TABLE | {"victims": ["zoo", "tiny"], "defenses": ["none", PLAIN]}
    empty.benchmark(matrix(**rows))
    where = empty.workspace().benchmark("b").where(("matrices", 0, "defenses", 1))
    with raises_error("released-weights-of-another-victim", where=where):
        empty.plan()


def test_two_rows_need_two_labels(empty):
    both = [PLAIN, {"name": "none", "variant": None, "weights": "plain"}]
    empty.benchmark(matrix(**TABLE | {"defenses": both}))
    where = f"{PLACE}22:4: matrices[0].defenses"
    with raises_error("duplicate-released-weights", where=where):
        empty.plan()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (SUPPLY_CHAIN, "released-weights-and-public-network"),
        ({"data": SUPPLY_CHAIN["data"]}, "released-weights-and-public-data"),
    ],
)
def test_where_the_student_starts_from_a_public_network_weights_are_refused(empty, given, message):
    empty.benchmark(matrix(**given | {"defenses": [PLAIN]}))
    with raises_error(message, where=f"{PLACE}26:6: matrices[0].defenses[0].weights"):
        empty.plan()


def test_where_training_is_attacked_the_plan_excludes_the_row(checkout):
    plan = checkout.plan(matrix(**POISONING | {"victims": ["zoo"], "defenses": ["none", PLAIN]}))
    found = {cell.info.defense: cell for cell in plan.cells.values()}
    assert found["none"].reason is None
    assert found["plain"].status == "not_applicable"
    assert "comes with its weights" in found["plain"].reason


def test_a_repaired_release_is_no_control(checkout):
    repaired = {"name": "repairer", "weights": "plain"}
    plan = checkout.plan(matrix(**TABLE | {"defenses": ["none", repaired]}))
    labels = {cell.info.defense for cell in plan.cells.values()}
    assert labels == {"none", "repairer/plain"}
    assert kinds(plan)["repair"] == 1
    assert checkout.run().tally.failed == 0


def test_the_same_weights_twice_in_claims_are_refused(empty):
    path = empty.root / "victims" / "zoo" / "manifest.yaml"
    written = json.loads(path.read_text())
    written["weights"]["smooth"]["claims"] = [CLAIMS[0], CLAIMS[0]]
    path.write_text(json.dumps(written, indent=1))
    with pytest.raises(Exception, match="duplicate claim of robust_accuracy"):
        load_manifest(path)
