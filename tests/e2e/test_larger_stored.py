"""A set that is stored larger than networks see it, and with boxes: from training to records."""

import numpy as np

from harness.common.files import load_array
from harness.storage.store import Store
from tests.support.large_pictures import PATCH, THIN, describe_set, make_set
from tests.support.workspaces import BACKDOOR, Checkout, cell, matrix

SIDES = {"data": {"student": "large"}, "victims": ["thin"]}


def test_a_backdoor_on_larger_pictures(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.module("victim", "thin", THIN, hooks=["build", "recipe"], params={}, offers=["loss"])
    hooks = ["poison", "trigger"]
    checkout.module("attack", "patch", PATCH, hooks=hooks, threat_models=["backdoor"])
    boxes = np.arange(80).reshape(20, 4)
    splits = make_set(checkout.workspace().data, (60, 20, 20), 256, boxes)
    describe_set(checkout.root / "benchmarks" / "data", 256)
    plan = checkout.plan(
        matrix("m", **BACKDOOR | SIDES | {"eval_subset": {"examples": 8, "batch": 4}})
    )
    checkout.run(keep_all=True)
    (record,) = checkout.records().values()
    assert record.status == "ok", record.reason
    store, stages = Store(checkout.home / "store"), cell(plan).stages

    x = load_array(store.part(stages["slice"], "x") / "x.npy")
    ids = load_array(store.part(stages["slice"], "y") / "ids.npy")
    assert np.array_equal(x, splits.test.x[ids - 80][..., 16:240, 16:240])
    kept = load_array(store.part(stages["slice"], "boxes") / "boxes.npy")
    assert np.array_equal(kept, boxes[ids - 80])

    poisoned = load_array(store.part(stages["apply"], "train") / "x.npy")
    changed = np.argwhere((poisoned != splits.train.x).any(axis=(0, 1)))
    assert (changed.min(axis=0).tolist(), changed.max(axis=0).tolist()) == ([238, 238], [239, 239])
