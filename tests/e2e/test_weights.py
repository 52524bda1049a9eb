"""Victims that come with weights: fetched, checked, imported once, in place of training."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness.common.errors import UserError
from harness.config.manifest_file import load_manifest
from tests.support.errors import raises_error
from tests.support.module_sources import GUARD, VICTIM
from tests.support.sources import copy_description
from tests.support.workspaces import POISONING, TRANSFER, Checkout, kinds, matrix

IMPORT = """
    def import_weights(self, tensors):
        return tensors
"""

STORED = {"name": "stored", "weights": "old"}


@pytest.fixture
def tensors():
    torch.manual_seed(1)
    shapes = {"1.weight": (16, 64), "1.bias": (16,), "4.weight": (10, 16), "4.bias": (10,)}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.fixture
def file(tmp_path, tensors):
    path = tmp_path / "old.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture
def checkout(tmp_path, file):
    made = Checkout(tmp_path / "checkout")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    made.module(
        "victim", "stored", VICTIM + IMPORT, hooks=["build", "recipe", "import_weights"],
        offers=["loss"], entry="victim.py:Tiny",
        params={"steps": {"type": "int", "default": 30, "min": 1}},
        variants={"long": {"steps": 60}},
        weights={"old": {"file": "old.safetensors", "sha256": digest, "license": "MIT",
                         "source": "https://example.org/old.safetensors", "variant": "long"}},
    )  # fmt: skip
    return made


def fetch(checkout, source, name="stored/old"):
    return checkout.gauntlet("data", "fetch", name, "--from", str(source))


def test_weights_take_the_place_of_training(checkout, file, tensors):
    fetch(checkout, file)
    plan = checkout.plan(matrix(victims=[STORED], defenses=["none", "guard"], seeds=[0, 1]))
    assert {cell.info.victim for cell in plan.cells.values()} == {"stored/old"}
    assert kinds(plan)["import"] == kinds(plan)["weights"] == 1
    assert "train" not in kinds(plan)
    done = checkout.run()
    assert done.tally.failed == 0
    (key,) = {cell.stages["import"] for cell in plan.cells.values()}
    from safetensors.torch import load_file

    stored = load_file(checkout.workspace().store().part(key, "network.safetensors"))
    assert {name: value.tolist() for name, value in stored.items()} == {
        name: value.tolist() for name, value in tensors.items()
    }


def test_a_defence_that_trains_starts_from_them(checkout, file):
    fetch(checkout, file)
    plan = checkout.plan(matrix(victims=[STORED, "tiny"], defenses=["trainer"]))
    train = [stage for stage in plan.graph.stages.values() if stage.kind == "train"]
    assert sorted("initial" in stage.inputs for stage in train) == [False, True]
    assert [s.modules["victim"].params for s in train if "initial" in s.inputs] == [{"steps": 60}]
    assert checkout.run().tally.failed == 0


def test_a_surrogate_may_come_with_weights(checkout, file):
    fetch(checkout, file)
    checkout.benchmark(
        matrix(**TRANSFER | {"knowledge": {"surrogate": STORED}, "attacks": ["sign"]})
    )
    assert checkout.run().tally.failed == 0
    (record,) = checkout.records().values()
    assert record.cell.knowledge == "surrogate: stored/old"
    assert record.metrics["clean_accuracy"].value > 0.5  # the student's own training


def test_training_data_play_no_part_in_them(checkout, file):
    fetch(checkout, file)
    plan = checkout.plan(matrix(**POISONING | {"victims": [STORED]}))
    (cell,) = plan.cells.values()
    assert (cell.status, "comes with its weights" in cell.reason) == ("not_applicable", True)


def test_without_the_file_the_cell_is_missing_and_says_how_to_get_it(checkout, file):
    checkout.benchmark(matrix(victims=[STORED]))
    checkout.run()
    (record,) = checkout.records().values()
    assert record.status == "missing"
    assert "gauntlet data fetch stored/old" in record.reason
    assert str(checkout.root) not in record.reason
    fetch(checkout, file)
    checkout.run()
    assert {r.status for r in checkout.records().values()} == {"ok"}


def test_another_file_is_refused(checkout, tmp_path):
    (tmp_path / "other").write_bytes(b"other")
    done = fetch(checkout, tmp_path / "other")
    assert done.returncode == 1
    assert "give the original file" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((checkout.home / "data").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stored/new", 'has no weights "new"'),
        ("stord/old", 'did you mean "stored"'),
        ("tiny/old", 'has no weights "old"'),
    ],
)
def test_an_unknown_name_is_one_line(checkout, file, name, words):
    done = fetch(checkout, file, name)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_weights_of_another_shape_are_the_victim_s_fault(checkout, tmp_path):
    path = tmp_path / "checkout" / "victims" / "stored"
    save_file({"1.weight": torch.zeros(2, 2)}, tmp_path / "small.safetensors")
    digest = hashlib.sha256((tmp_path / "small.safetensors").read_bytes()).hexdigest()
    manifest = path / "manifest.yaml"
    old = load_manifest(path).weights["old"].sha256
    manifest.write_text(manifest.read_text().replace(old, digest))
    fetch(checkout, tmp_path / "small.safetensors")
    checkout.benchmark(matrix(victims=[STORED]))
    checkout.run()
    (record,) = checkout.records().values()
    assert (record.status, record.stage) == ("blocked", "import")
    assert "differ from build()" in record.reason


def write_entry(checkout, folder, files, **more):
    """Give the victim ``stored`` weights of some files, without a hook that renames them."""
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    checkout.module(
        "victim", "stored", VICTIM, hooks=["build", "recipe"], offers=["loss"],
        entry="victim.py:Tiny", params={"steps": {"type": "int", "default": 30, "min": 1}},
        weights={"old": {"files": digests, "license": "MIT", "source": "https://example.org/"}},
    )  # fmt: skip
    return fetch(checkout, folder)


def test_several_files_make_one_network_without_a_hook(tmp_path, tensors):
    checkout, folder = Checkout(tmp_path / "checkout"), tmp_path / "files"
    folder.mkdir()
    for name, tensor in tensors.items():
        np.save(folder / f"{name}.npy", tensor.double().numpy())
    assert write_entry(checkout, folder, [f"{n}.npy" for n in tensors]).returncode == 0
    plan = checkout.plan(matrix(victims=[STORED]))
    checkout.run()
    (found,) = networks(checkout, plan, "import")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    done = fetch(checkout, folder / "1.bias.npy")
    assert "weights stored/old are 4 files; give the folder that holds them" in done.stderr


def test_a_file_of_pickled_objects_is_refused_as_the_victim_s(tmp_path):
    checkout, folder = Checkout(tmp_path / "checkout"), tmp_path / "files"
    folder.mkdir()
    (folder / "net.pkl").write_bytes(pickle.dumps({"net": Checkout}))
    write_entry(checkout, folder, ["net.pkl"])
    checkout.benchmark(matrix(victims=[STORED]))
    checkout.run()
    (record,) = checkout.records().values()
    assert (record.status, record.stage, record.by) == ("blocked", "import", "victim")
    assert "net.pkl cannot be read as weights" in record.reason


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"file": "a.pt"}, "weights.old.sha256: missing; add sha256"),
        ({"sha256": "0" * 64}, "weights.old.file: missing; add file"),
        ({"files": {"a.npy": "0" * 64}, "file": "a.npy"}, "weights.old.file: stands beside files"),
        ({"files": {"a.npy": "0" * 64, "b.npy": "1" * 64}},
         "weights.old.source: several files and the address of one; give the address of their"),
        ({"files": {"a.npy": "short"}}, "weights.old.files.a.npy"),
    ],
)  # fmt: skip
def test_files_are_named_in_one_way(checkout, entry, line):
    written = {"license": "MIT", "source": "https://example.org/a"} | entry
    folder = checkout.module("victim", "odd", VICTIM, hooks=["build", "recipe"],
                             entry="victim.py:Tiny", weights={"old": written})  # fmt: skip
    with pytest.raises(UserError) as caught:
        load_manifest(folder)
    assert line in str(caught.value)


def test_data_that_are_not_here_make_their_cells_missing(checkout):
    copy_description("cifar10", checkout.root)
    plan = checkout.plan(matrix(data={"student": "cifar10"}), matrix("here"))
    by_matrix = {cell.info.matrix: cell for cell in plan.cells.values()}
    assert by_matrix["m"].status == "missing"
    assert "gauntlet data fetch cifar10" in by_matrix["m"].reason
    assert str(checkout.root) not in by_matrix["m"].reason
    checkout.run()
    found = {r.cell.matrix: r.status for r in checkout.records().values()}
    assert found == {"m": "missing", "here": "ok"}


def test_a_benchmark_that_names_no_such_weights_says_so(checkout):
    with raises_error(
        "unknown-weights",
        where="<tmp>/checkout/benchmarks/b/benchmark.yaml:20:5: matrices[0].victims[0]",
    ):
        checkout.plan(matrix(victims=[{"name": "stored", "weights": "new"}]))
    checkout.module("defense", "guard", GUARD, hooks=["guard"], gradients="approximate",
                    weights={})  # fmt: skip
    with raises_error(
        "weights-of-a-defense", where="<tmp>/checkout/defenses/guard/manifest.yaml:23:2: weights"
    ):
        checkout.plan(matrix())


# -- weights to start from ----------------------------------------------------------------------

LEARN = """
import torch

from harness.runtime.contracts import Edits
from tests.support.errors import raises_error


class Attack:
    def poison(self, train, val, model, budget, ctx):
        torch.save(model.fresh().state_dict(), ctx.state / "fresh.pt")
        rows = torch.arange(len(train))[: budget.edits]
        return Edits(train.ids[rows], y=(train.y[rows] + 1) % train.spec.outputs)
"""


@pytest.fixture
def starting(tmp_path, tensors):
    """A victim that starts from a file without the head and trains no further."""
    path = tmp_path / "body.safetensors"
    save_file({name: t for name, t in tensors.items() if name.startswith("1.")}, path)
    made = Checkout(tmp_path / "checkout")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    still = VICTIM.replace("lr=0.02", "lr=0.0") + IMPORT
    made.module(
        "victim", "stored", still, hooks=["build", "recipe", "import_weights"],
        offers=["loss"], entry="victim.py:Tiny", params={"steps": {"type": "int", "default": 1}},
        weights={"old": {"file": path.name, "sha256": digest, "license": "MIT",
                         "source": "https://example.org/body.safetensors", "start": True}},
    )  # fmt: skip
    made.module("attack", "learner", LEARN, hooks=["poison"], threat_models=["poisoning"])
    fetch(made, path)
    return made


def networks(checkout, plan, kind):
    from safetensors.torch import load_file

    store = checkout.workspace().store()
    keys = [key for key, stage in plan.graph.stages.items() if stage.kind == kind]
    return [load_file(store.part(key, "network.safetensors")) for key in keys]


def test_training_starts_from_weights_with_a_new_head(starting, tensors):
    plan = starting.plan(matrix(victims=[STORED], seeds=[0, 1]))
    assert kinds(plan)["import"] == 1
    assert kinds(plan)["train"] == 2
    assert starting.run().tally.failed == 0
    one, other = networks(starting, plan, "train")
    for name in ("1.weight", "1.bias"):
        assert torch.equal(one[name], tensors[name])
        assert torch.equal(other[name], tensors[name])
    assert not torch.equal(one["4.weight"], other["4.weight"])  # a head of each seed's own


def test_what_starts_from_weights_can_be_poisoned_and_so_can_its_copy(starting, tensors):
    poisoning = POISONING | {"attacks": ["learner"], "knowledge": "clean-victim"}
    plan = starting.plan(matrix(**poisoning | {"victims": [STORED]}))
    (poison,) = [stage for stage in plan.graph.stages.values() if stage.kind == "poison"]
    assert {"knowledge", "start"} <= set(poison.inputs)
    done = starting.run()
    assert done.tally.failed == 0
    (record,) = starting.records().values()
    assert record.status == "ok"
    state = starting.workspace().store().part(poison.key, "state") / "fresh.pt"
    fresh = torch.load(state, weights_only=True)
    assert torch.equal(fresh["1.weight"], tensors["1.weight"])


# -- the outputs that the data set asks for -------------------------------------------------------

NARROW = VICTIM.replace("spec.outputs", "5")


def test_a_network_with_fewer_outputs_than_classes_is_refused_before_training(tmp_path):
    """It was an IndexError of the loss, or of the judge's, after the training."""
    checkout = Checkout(tmp_path)
    trains = NARROW.replace(
        "        return Recipe", "        raise RuntimeError\n        return Recipe"
    )
    assert trains != NARROW
    checkout.module(
        "victim", "narrow", trains, hooks=["build", "recipe"], offers=["loss"],
        entry="victim.py:Tiny", params={"steps": {"type": "int", "default": 1}},
    )  # fmt: skip
    checkout.benchmark(matrix(victims=["narrow"]))
    checkout.run()
    (record,) = checkout.records().values()
    assert (record.status, record.stage, record.by) == ("blocked", "train", "victim")
    assert "the network has 5 outputs, and the data set 10; " in record.reason


def test_imported_weights_with_fewer_outputs_are_refused(checkout, file, tensors):
    small = {n: t[:5] if n.startswith("4.") else t for n, t in tensors.items()}
    save_file(small, file)
    folder = checkout.root / "victims" / "stored"
    (folder / "victim.py").write_text(NARROW + IMPORT, "utf-8")
    manifest = folder / "manifest.yaml"
    old = load_manifest(manifest).weights["old"].sha256
    manifest.write_text(
        manifest.read_text().replace(old, hashlib.sha256(file.read_bytes()).hexdigest())
    )
    fetch(checkout, file)
    checkout.benchmark(matrix(victims=[STORED]))
    checkout.run()
    (record,) = checkout.records().values()
    assert (record.status, record.stage) == ("blocked", "import")
    assert "the network has 5 outputs, and the data set 10; " in record.reason
