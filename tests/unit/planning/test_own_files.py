"""Files of a benchmark's own: content in keys, names in records, and what cannot be taken."""

import json
import os
import shutil
import socket

import pytest

from harness.common.errors import UserError
from harness.planning import own_files
from tests.support.own_files import folder, named, reader, write_book
from tests.support.workspaces import Checkout, cell, matrix


@pytest.fixture
def checkout(tmp_path):
    found = Checkout(tmp_path / "checkout")
    reader(found)
    return found


def stages(plan, label="r0"):
    return dict(cell(plan, defense=label).stages)


def errors_of(checkout, *books, **changes):
    with pytest.raises(UserError) as caught:
        checkout.plan(named(*books, **changes))
    return str(caught.value).splitlines()


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


def test_what_cannot_be_taken_is_said_at_its_place(checkout, tmp_path):
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
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{os.open(here, os.O_PATH)}/socket")
    expected = {
        "pipe": "a named pipe",
        "socket": "a socket",
        "link.npy": "is or follows a link",
        "loop": "cannot be read (Too many levels of symbolic links)",
        "there/secret.npy": "is or follows a link",
        "inner": '"link" in it is a link',
        "odd": "has an invisible character",
        "empty": "an empty folder",
        "../b2/x.npy": "is outside the benchmark's folder",
        "/dev/null": "is outside the benchmark's folder",
        "/etc/passwd": "is outside the benchmark's folder",
        "x" * 300: "cannot be read (File name too long)",
    }
    found = errors_of(checkout, *expected)
    assert len(found) == len(expected)
    for number, (line, (text, what)) in enumerate(zip(found, expected.items(), strict=True)):
        assert f"matrices[0].defenses[{number + 1}].params.book: " in line, line
        assert text[:20] in line and what in line, line
        assert str(tmp_path) not in line.partition("params.book")[2]


def test_a_path_with_invisible_characters_and_a_number_are_no_paths(checkout):
    (line,) = errors_of(checkout, "a\x07b")
    assert "invisible character U+0007" in line
    (line,) = errors_of(checkout, 5)
    assert "expected the path of a file or a folder, found 5" in line


def test_an_own_benchmark_may_name_a_device_and_that_is_refused(checkout, tmp_path):
    with pytest.raises(UserError, match="a device"):
        own_files.find_own_file(tmp_path, "/dev/null", "here")
    with pytest.raises(UserError, match="in it is a|more than"):  # not walked to its end
        own_files.find_own_file(tmp_path, "/dev", "here")
    assert own_files.find_own_file(tmp_path, "../nowhere", "here") is None


def test_size_and_number_are_bounded(checkout, monkeypatch):
    here = folder(checkout)
    for name in "abc":
        write_book(here / "many" / f"{name}.npy")
    monkeypatch.setattr(own_files, "MOST_FILES", 2)
    (line,) = errors_of(checkout, "many")
    assert '"many" has more than 1 GiB or 2 files' in line
    with (here / "sparse.npy").open("wb") as file:
        file.truncate(own_files.MOST_BYTES + 1)
    (line,) = errors_of(checkout, "sparse.npy")
    assert '"sparse.npy" has more than 1 GiB' in line


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
    ("fields", "where"),
    [
        ({"variants": {"own": {"book": "gone.npy"}}}, "variants.own.book"),
        ({"variants": {"own": {"book": "../book.npy"}}}, "variants.own.book"),
        ({"variants": {"own": {"book": "/etc/passwd"}}}, "variants.own.book"),
        ({"variants": {"own": {"book": "."}}}, "variants.own.book"),
        ({"variants": {"own": {"book": "README.md"}}}, "variants.own.book"),
        ({"params": {"book": {"type": "file", "default": "gone.npy"}}}, "params.book.default"),
        ({"params": {"book": {"type": "file", "default": 3}}}, "params.book.default"),
        ({"params": {"book": {"type": "file", "default": "", "choices": ["a"]}}}, "choices"),
        ({"params": {"book": {"type": "file", "default": "", "max": 1}}}, "params.book.max"),
        ({"smoke": {"params": {"book": "gone.npy"}}}, "smoke.params.book"),
        ({"requires": [{"when": {"book": ["a.npy"]}, "inputs": ["images"]}]}, "when.book[0]"),
    ],
)
def test_a_manifest_names_files_of_its_folder_only(checkout, fields, where):
    place = reader(checkout, **fields)
    (place / "README.md").write_text("# Reader")
    with pytest.raises(UserError) as caught:
        checkout.plan(matrix())
    (line,) = str(caught.value).splitlines()
    assert where in line
