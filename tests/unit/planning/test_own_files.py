"""Files of a benchmark's own: content in keys, names in records, and what cannot be taken."""

import json
import os
import shutil
import socket

import pytest

from harness.common.errors import UserError, split
from harness.config.manifest_file import load_manifest
from harness.planning import own_files
from tests.support.errors import raises_error
from tests.support.own_files import folder, named, reader, write_book
from tests.support.workspaces import SUPPLY_CHAIN, Checkout, cell, matrix


@pytest.fixture
def checkout(tmp_path):
    found = Checkout(tmp_path / "checkout")
    reader(found)
    return found


def default(value, **more):
    return {"book": {"type": "file", "default": value, **more}}


def stages(plan, label="r0"):
    return dict(cell(plan, defense=label).stages)


def test_content_decides_the_key_and_a_name_does_not(checkout):
    here = folder(checkout)
    write_book(here / "one.npy")
    write_book(here / "sub" / "copy.npy")
    write_book(here / "two.npy", 2.0)
    plan = checkout.plan(named("./one.npy", "sub/copy.npy", "two.npy"))
    assert stages(plan, "r0") == stages(plan, "r1")
    assert stages(plan, "r0")["after"] != stages(plan, "r2")["after"]
    assert sum(stage.kind == "file" for stage in plan.graph.stages.values()) == 2
    first = stages(plan)["after"]
    write_book(here / "one.npy", 3.0)
    assert stages(checkout.plan(named("./one.npy")))["after"] != first


def test_two_benchmarks_share_stages_and_no_path_of_the_machine_is_in_keys_or_records(
    checkout, tmp_path
):
    write_book(folder(checkout) / "one.npy")
    outside = write_book(tmp_path / "elsewhere" / "other.npy")
    plan = checkout.plan(named("one.npy"))
    text = json.dumps(named(str(outside)))
    whole = json.loads((folder(checkout) / "benchmark.yaml").read_text())
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "benchmark.yaml").write_text(json.dumps(whole | {"matrices": [json.loads(text)]}))
    workspace = checkout.workspace()
    other = workspace.plan(workspace.benchmark(str(mine / "benchmark.yaml")))
    assert stages(other) == stages(plan)
    digest = own_files.content_digest(outside)
    assert cell(other, defense="r0").params["defense"] == {"book": f"other.npy sha256:{digest}"}
    for stage in other.graph.stages.values():
        assert str(tmp_path) not in json.dumps(stage.recipe.to_json())


def test_only_stages_whose_module_takes_the_file_read_it(checkout):
    write_book(folder(checkout) / "one.npy")
    plan = checkout.plan(named("one.npy", attacks=["noop", "sign"]))
    (file,) = [key for key, one in plan.graph.stages.items() if one.kind == "file"]
    for stage in plan.graph.stages.values():
        reads = any(one.key == file for one in stage.inputs.values())
        assert reads == ("defense" in stage.modules), stage.kind
    alone = cell(plan, defense="none", attack="sign")
    assert file not in plan.graph.ancestors(list(alone.stages.values()))


def test_a_folder_counts_by_names_and_content_inside(checkout):
    here = folder(checkout)
    write_book(here / "a" / "x.npy")
    write_book(here / "a" / "deep" / "y.npy")
    (here / "a" / "empty").mkdir()
    shutil.copytree(here / "a", here / "b")
    shutil.copytree(here / "a", here / "c")
    (here / "c" / "x.npy").rename(here / "c" / "z.npy")
    (here / "b" / "__pycache__").mkdir()
    plan = checkout.plan(named("a", "./b/", "c", "a/x.npy"))
    assert stages(plan, "r0") == stages(plan, "r1")
    assert len({stages(plan, f"r{i}")["after"] for i in range(4)}) == 3


def test_without_the_file_its_cells_are_missing_and_others_are_not(checkout):
    plan = checkout.plan(named("gone/deep/book.npy", "", attacks=["noop", "sign"], borrow="all"))
    for one in plan.cells.values():
        if one.info.defense == "r0":
            assert (one.status, one.by, one.stages) == ("missing", "harness", {})
            assert one.reason == (
                '"book.npy", the parameter book of defense reader, is not where it is named'
            )
        else:
            assert one.reason is None
    assert cell(plan, defense="r1", attack="noop").params["defense"] == {"book": ""}


def test_an_adversary_may_take_a_file_and_misses_it_too(checkout):
    code = (checkout.root / "attacks" / "sign" / "attack.py").read_text()
    code = code.replace("class Attack:\n", "class Attack:\n    def __init__(self, *, book): ...\n")
    book = {"book": {"type": "file", "default": ""}}
    checkout.module("attack", "bookish", code, params=book, requires=[{"limits": ["linf"]}])
    fits = "class Defense:\n    def fit(self, victim, network, train, val, ctx, adversary): ..."
    checkout.module("defense", "trainer", fits, hooks=["fit"])
    budget = {"norm": "linf", "eps": 0.1}
    adversary = {"attack": "bookish", "params": {"book": "one.npy"}, "budget": budget}
    asked = matrix(defenses=["none", {"name": "trainer", "adversary": adversary}])
    assert cell(checkout.plan(asked), defense="trainer").status == "missing"
    write_book(folder(checkout) / "one.npy")
    plan = checkout.plan(asked)
    train = plan.graph.stages[cell(plan, defense="trainer").stages["train"]]
    assert [name for name in train.inputs if name.startswith("sha256:")] == [
        train.modules["adversary"].params["book"]
    ]


def test_without_its_file_an_attack_is_missing_against_every_defence(checkout):
    code = (checkout.root / "attacks" / "sign" / "attack.py").read_text()
    checkout.module("attack", "bookish", code, params=default(""), needs=["loss"])
    checkout.module("attack", "plain", code, needs=["loss"])
    attacks = ["noop", "plain", {"name": "bookish", "params": {"book": "gone.npy"}}]
    plan = checkout.plan(named("", attacks=attacks, borrow="all"))
    found = {(one.info.attack, one.status) for one in plan.cells.values() if one.reason}
    assert found == {("bookish", "missing")}
    assert any("@" in one.info.attack for one in plan.cells.values())


def test_the_clean_form_of_an_attack_keeps_its_file_or_takes_another(checkout):
    write_book(folder(checkout) / "one.npy")
    params = default("") | {"share": {"type": "float", "default": 1.0}}
    for name, form in (("keeps", {"share": 0}), ("drops", {"book": ""})):
        checkout.module(
            "attack", name, "", params=params, clean_form=form, hooks=["deliver", "trigger"],
            threat_models=["supply-chain"],
        )  # fmt: skip
    attacks = [{"name": name, "params": {"book": "one.npy"}} for name in ("keeps", "drops")]
    plan = checkout.plan(matrix(**SUPPLY_CHAIN | {"attacks": attacks}))
    delivers = [one for one in plan.graph.stages.values() if one.kind == "deliver"]
    found = {}
    for stage in delivers:
        ref = stage.modules["attack"]
        reads = [name for name in stage.inputs if name.startswith("sha256:")]
        assert reads == ([ref.params["book"]] if ref.params["book"] else [])
        found.setdefault(ref.module, []).append(bool(reads))
    assert sorted(found["attacks/keeps"]) == [True, True]
    assert sorted(found["attacks/drops"]) == [False, True]


@pytest.fixture
def odd(checkout, tmp_path):
    """The benchmark's folder with things in it that are no plain files."""
    here = folder(checkout)
    os.mkfifo(here / "pipe")
    (here / "link.npy").symlink_to(write_book(tmp_path / "secret.npy"))
    (here / "loop").symlink_to("loop")
    (here / "there").symlink_to(tmp_path)
    (here / "inner").mkdir()
    (here / "inner" / "link").symlink_to("/etc/passwd")
    (here / "odd").mkdir()
    (here / "odd" / "a\nb").write_text("")
    (here / "empty").mkdir()
    return here


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("own-file-pipe", "pipe"),
        ("own-file-link", "link.npy"),
        ("own-file-loop", "loop"),
        ("own-file-behind-link", "there/secret.npy"),
        ("own-file-link-inside", "inner"),
        ("own-file-odd-name", "odd"),
        ("own-file-empty", "empty"),
        ("own-file-above", "../b2/x.npy"),
        ("own-file-absolute", "/dev/null"),
        ("own-file-long-name", "x" * 300),
        ("own-file-invisible", "a\x07b"),
        ("own-file-number", 5),
    ],
)
def test_what_cannot_be_taken_is_said_at_its_place(checkout, odd, code, text):
    checkout.benchmark(named(text))
    place = f"{odd / 'benchmark.yaml'}:27:{15 if code == 'own-file-invisible' else 7}"
    where = f"{place}: matrices[0].defenses[1].params.book"
    if text == 5:
        where = f"{odd / 'benchmark.yaml'}:24:5: matrices[0].defenses[1]"
    with raises_error(code, where=where):
        checkout.plan()


def test_every_file_that_cannot_be_taken_has_its_line(checkout, odd):
    where = f"{odd / 'benchmark.yaml'}:27:7: matrices[0].defenses[1].params.book"
    with raises_error("own-file-first-of-three", mistakes=3, where=where):
        checkout.plan(named("pipe", "link.npy", "empty"))


def test_an_own_benchmark_may_name_any_path_and_no_device(tmp_path):
    with raises_error("own-file-device", where="here"):
        own_files.find_own_file(tmp_path, "/dev/null", "here")
    with pytest.raises(UserError):  # at the first device: it is not walked to its end
        own_files.find_own_file(tmp_path, "/dev", "here")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(tmp_path, os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
    with raises_error("own-file-socket", where="here"):
        own_files.find_own_file(tmp_path, "socket", "here")
    assert own_files.find_own_file(tmp_path, "../nowhere", "here") is None
    book = write_book(tmp_path / "a" / "book.npy")
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(book)
    direct = own_files.find_own_file(tmp_path / "b", "../a/book.npy", "here")
    linked = own_files.find_own_file(tmp_path / "b", "../link", "here")
    assert direct.sha256 == linked.sha256


def test_size_and_number_are_bounded(tmp_path, monkeypatch):
    for name in "abc":
        write_book(tmp_path / "many" / f"{name}.npy")
    monkeypatch.setattr(own_files, "MOST_FILES", 2)
    with raises_error("own-file-many", where="here"):
        own_files.find_own_file(tmp_path, "many", "here")
    with (tmp_path / "sparse.npy").open("wb") as file:
        file.truncate(own_files.MOST_BYTES + 1)
    with raises_error("own-file-large", where="here"):
        own_files.find_own_file(tmp_path, "sparse.npy", "here")


def test_an_unchanged_file_is_read_once(checkout, monkeypatch):
    path = write_book(folder(checkout) / "one.npy")
    checkout.plan(named("one.npy"))
    monkeypatch.setattr(own_files, "open_plain", lambda *_: pytest.fail("read again"))
    checkout.plan(named("one.npy"))
    monkeypatch.undo()
    before = path.stat()
    write_book(path, 2.0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (
        own_files.content_digest(path) == own_files.find_own_file(path.parent, path.name, "").sha256
    )


def test_a_variant_names_a_file_of_the_module_s_folder(checkout):
    write_book(reader(checkout, variants={"own": {"book": "./data/book.npy"}}) / "data/book.npy")
    plan = checkout.plan(matrix(defenses=["none", "reader/own"]))
    one = cell(plan, defense="reader/own")
    assert one.params["defense"] == {"book": "data/book.npy"}
    assert not [stage for stage in plan.graph.stages.values() if stage.kind == "file"]
    before = one.stages["after"]
    write_book(checkout.root / "defenses/reader/data/book.npy", 2.0)
    plan = checkout.plan(matrix(defenses=["none", "reader/own"]))
    assert cell(plan, defense="reader/own").stages["after"] != before


@pytest.mark.parametrize(
    ("code", "key", "fields"),
    [
        ("file-of-module-gone", "variants.own.book", {"variants": {"own": {"book": "gone.npy"}}}),
        ("file-of-module-above", "variants.own.book", {"variants": {"own": {"book": "../b.npy"}}}),
        ("file-of-module-itself", "variants.own.book", {"variants": {"own": {"book": "."}}}),
        ("file-of-module-text", "variants.own.book", {"variants": {"own": {"book": "README.md"}}}),
        ("file-of-default-gone", "params.book.default", {"params": default("/etc/passwd")}),
        ("file-of-default-number", "params.book.default", {"params": default(3)}),
        ("file-with-choices", "params.book.choices", {"params": default("", choices=["a"])}),
        ("file-with-range", "params.book.max", {"params": default("", max=1)}),
        ("file-of-smoke-gone", "smoke.params.book", {"smoke": {"params": {"book": "gone.npy"}}}),
        (
            "file-in-rule",
            "requires[0].when.book[0]",
            {"requires": [{"when": {"book": ["a.npy"]}, "inputs": ["images"]}]},
        ),
    ],
)
def test_a_manifest_names_files_of_its_folder_only(tmp_path, code, key, fields):
    place = reader(Checkout(tmp_path), **fields)
    (place / "README.md").write_text("# Reader")
    with pytest.raises(UserError) as caught:
        load_manifest(place)
    (found,) = split(caught.value)
    with raises_error(code, where=found.where):
        load_manifest(place)
    assert found.where.endswith(f": {key}")
