"""``job.json`` as the worker reads it."""

import json

from harness.runtime.contracts import Budget
from harness.runtime.worker.job import Job

MODULE = {"name": "pgd", "entry": "attack.py:Pgd", "kind": "attack", "hooks": ["perturb"],
          "params": {"steps": 3}, "needs": ["loss"]}  # fmt: skip


def job(folder, **changes):
    content = {
        "stage": "attack",
        "spec": {"task": "classification", "outputs": 3, "shape": [1, 2, 2], "classes": ["a"]},
        "device": "cpu",
        "seed_root": [0, "attack"],
        "deadline": 9.0,
        "modules": {
            "attack": MODULE | {"folder": str(folder / "attacks" / "pgd")},
            "adversary": MODULE | {"folder": str(folder / "a"), "budget": {"norm": "l2", "eps": 1}},
        },
        "inputs": {"slice_x": str(folder)},
        "options": {"threads": 1, "budget": {"patch": 3}, "batch": 8, "unheard-of": True},
        "checkpoint": str(folder / "checkpoint"),
    }
    path = folder / "job.json"
    path.write_text(json.dumps(content | changes))
    return Job.read(path)


def test_every_part_has_a_type(tmp_path):
    found = job(tmp_path)
    assert found.spec.shape == (1, 2, 2)
    assert found.options.budget == Budget(patch=3)
    assert (found.options.batch, found.options.access, found.listener) == (8, "none", None)
    assert found.modules["attack"].needs == ("loss",)
    assert found.modules["attack"].budget == Budget()
    assert found.modules["adversary"].budget == Budget(norm="l2", eps=1)
    assert job(tmp_path, listener=3).listener == 3


def test_units_of_channels_become_a_tuple(tmp_path):
    limits = {"norm": "linf", "eps": 0.1, "per_channel": [0.2, 1]}
    found = job(tmp_path, options={"threads": 1, "budget": limits})
    assert found.options.budget == Budget(norm="linf", eps=0.1, per_channel=(0.2, 1))
    assert hash(found.options.budget)


def test_a_file_belongs_to_the_role_of_its_folder(tmp_path):
    found = job(tmp_path)
    assert found.role_of(str(tmp_path / "attacks" / "pgd" / "parts" / "x.py")) == "attack"
    assert found.role_of(str(tmp_path / "a" / "attack.py")) == "defense"
    assert found.role_of(str(tmp_path / "else.py")) is None


def test_a_role_without_a_module_has_no_hooks(tmp_path):
    assert not job(tmp_path).has("defense", "fit")
