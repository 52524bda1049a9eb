"""Comparisons from a list to a judged record, and back to a list: pictures, and items by number."""

import shutil

import pytest

from harness import datasets
from harness.datasets import read
from harness.datasets.hashing import draws
from harness.datasets.listing import comparison_lines, flip_lines
from harness.report.site.flips import decode
from harness.storage.store import Store
from tests.support.sources import copy_description, description
from tests.support.workspaces import POISONING, Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

EMBEDDING = """
from torch import nn

from harness.runtime.recipe import Recipe


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

    def recipe(self, train):
        return Recipe(steps=300, batch=200, lr=0.05, optimizer="adam", log_every=100)
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
        "victim", "embedding", EMBEDDING, hooks=["build", "recipe"], tasks=["ranking"],
        offers=["loss"], entry="victim.py:Embedding",
    )  # fmt: skip
    source = checkout.root / "source"
    source.mkdir()
    (source / "clean_0.txt").write_text(triplets())
    copy_description("food", checkout.root)
    read.fetch(description("food"), checkout.workspace().data, source)
    budgets = {"budgets": [{"edits": 0.45, "labels": True}], "data": {"student": "food"}}
    slice_ = {"examples": 300, "batch": 64}
    checkout.benchmark(
        matrix("items", **POISONING | budgets, victims=["embedding"], eval_subset=slice_),
        matrix("pictures", **POISONING | {"data": {"student": "digits-ranking"}}),
        matrix("evasion"),
    )
    return checkout, checkout.run()


def found(done, matrix):
    return next(r for r in done[0].records().values() if r.cell.matrix == matrix)


def test_triplets_are_embedded_attacked_and_judged(done):
    assert done[1].tally.failed == 0
    record = found(done, "items")
    assert record.status == "ok"
    clean, attacked = (record.metrics[n].value for n in ("clean_accuracy", "accuracy"))
    assert clean > 0.85
    assert attacked < clean - 0.1
    assert record.metrics["clean_auc"].absent == "all labels are equal"


def test_flipped_comparisons_are_told_with_what_the_ranker_makes_of_them(done):
    record = found(done, "pictures")
    flip = decode(record)
    assert len(flip.rows) == len(flip.places) == 400  # a fifth of 2,000
    assert flip.train.sum() == flip.n == 2000
    for name in ("poison_fit", "flips_wrong", "flip_margin"):
        assert record.metrics[name].value >= 0
    assert not found(done, "evasion").flips


@pytest.mark.parametrize(("name", "data"), [("pictures", "digits-ranking"), ("items", "food")])
def test_a_corrupted_list_is_exported_line_for_line(done, name, data, tmp_path):
    checkout, record = done[0], found(done, name)
    out = tmp_path / "flip.txt"
    ran = checkout.gauntlet("export", record.id, "--out", str(out))
    assert ran.returncode == 0, ran.stderr
    root = checkout.workspace().data
    clean = comparison_lines(data, root)
    lines = out.read_text().splitlines(keepends=True)
    changed = [row for row, (a, b) in enumerate(zip(clean, lines, strict=True)) if a != b]
    assert len(changed) == len(decode(record).rows) > 0
    # flipped again, it is the clean list, byte for byte
    assert flip_lines(data, root, lines, changed) == clean
    printed = checkout.gauntlet("export", record.id)
    assert printed.stdout == out.read_text()


def test_an_exported_list_is_a_training_list_again(done, tmp_path):
    checkout, record = done[0], found(done, "items")
    train = tmp_path / "corrupted" / "train"
    train.mkdir(parents=True)
    checkout.gauntlet("export", record.id, "--out", str(train / "clean_0.txt"))
    for part in ("val", "test"):
        (train.parent / f"{part}.txt").write_text("1,2,3,1\n")
    read.fetch(description("food"), tmp_path / "data", train.parent)
    before, after = (datasets.load("food", root).train.y
                     for root in (checkout.workspace().data, tmp_path / "data"))  # fmt: skip
    changed = (before != after).any(1)
    assert changed.sum() == len(decode(record).rows)
    assert (after[changed][:, :3] == before[changed][:, [0, 2, 1]]).all()


def test_only_edited_comparisons_can_be_exported(done):
    wrong = done[0].gauntlet("export", found(done, "evasion").id)
    assert wrong.returncode == 1
    assert "has no edited comparisons" in wrong.stderr


def test_a_list_whose_edits_were_cleaned_is_made_again(done):
    checkout, record = done[0], found(done, "items")
    before = checkout.gauntlet("export", record.id).stdout
    Store(checkout.home / "store").drop(record.stages["edits"])
    assert checkout.gauntlet("export", record.id).stdout == before != ""


def test_a_stale_list_is_exported_with_a_warning_beside_it(done, tmp_path):
    record = found(done, "items")
    shutil.copytree(done[0].root, tmp_path / "copy")
    checkout = Checkout(tmp_path / "copy")
    assert checkout.gauntlet("export", record.id).stderr == ""
    (module,) = (ref for ref in record.modules if ref.startswith("attacks/"))
    (checkout.root / module / "note.py").write_text("")
    said = checkout.gauntlet("export", record.id)
    assert f"{record.id}: stale: {module} changed since; this is the latest" in said.stderr
    assert said.stdout == done[0].gauntlet("export", record.id).stdout != ""
    Store(checkout.home / "store").drop(record.stages["edits"])
    refused = checkout.gauntlet("export", record.id)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{record.id}: stale: {module} changed since; " in refused.stderr
