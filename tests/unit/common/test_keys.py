"""Canonical JSON, digests, and the golden key."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness.common import keys
from harness.planning import stage_keys
from harness.planning.graph import Graph, Input
from harness.planning.options import NoOptions, PredictOptions
from harness.planning.recipe import (
    DataRecipe,
    GoalRecipe,
    MeasureRecipe,
    ModuleRef,
    StageRecipe,
    SubsetRecipe,
)

GOLDEN = "72c652010bb88ddec2e175023647066ddd33e6768f017a976e509fd5d29a223a"
"""Changes only with the recipe of keys; then raise ``KEY_VERSION`` and pin the new one."""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "module" / "sub").mkdir(parents=True)
    (tmp_path / "module" / "attack.py").write_text("x = 1\n")
    (tmp_path / "module" / "sub" / "data.bin").write_bytes(b"\x00\x01")
    return tmp_path / "module"


def test_canonical_json_has_one_text_for_a_value():
    assert (
        keys.canonical_json({"b": [1, 2.5, None], "a": "ε"}) == b'{"a":"\\u03b5","b":[1,2.5,null]}'
    )
    assert keys.canonical_json({"x": 1, "y": 2}) == keys.canonical_json(dict(y=2, x=1))
    assert keys.canonical_json((1, (2,))) == keys.canonical_json([1, [2]])


def test_canonical_json_tells_a_whole_number_from_a_fraction_and_from_text():
    assert len({keys.digest(value) for value in (1, 1.0, "1", True, None, [1])}) == 6


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {"deep": [{"er": math.nan}]}])
def test_nan_and_infinity_are_refused(value):
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        keys.digest(value)


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, b"bytes", object()])
def test_nothing_is_hashed_by_its_repr(value):
    with pytest.raises(TypeError):
        keys.digest(value)


def test_a_tree_digest_ignores_byte_code_and_caches(folder):
    before = keys.tree_digest(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "attack.cpython-311.pyc").write_bytes(b"byte code")
    (folder / "sub" / "__pycache__").mkdir()
    (folder / "sub" / "__pycache__" / "x.pyc").write_bytes(b"byte code")
    (folder / ".DS_Store").write_bytes(b"finder")
    assert keys.tree_digest(folder) == before


def test_a_tree_digest_does_not_depend_on_where_the_tree_lies(folder, tmp_path):
    before = keys.tree_digest(folder)
    (tmp_path / "__pycache__").mkdir()
    assert keys.tree_digest(folder.rename(tmp_path / "__pycache__" / "elsewhere")) == before


def test_a_tree_digest_changes_with_one_byte_one_name_and_one_empty_file(folder):
    seen = {keys.tree_digest(folder)}
    (folder / "sub" / "data.bin").write_bytes(b"\x00\x02")
    seen.add(keys.tree_digest(folder))
    (folder / "sub" / "data.bin").rename(folder / "sub" / "date.bin")
    seen.add(keys.tree_digest(folder))
    (folder / "empty").touch()
    seen.add(keys.tree_digest(folder))
    (folder / "empty").unlink()
    (folder / "attack.py").rename(folder / "sub" / "attack.py")
    seen.add(keys.tree_digest(folder))
    assert len(seen) == 5


def test_a_file_digest_is_the_sha256_that_everyone_knows(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert keys.file_digest(tmp_path / "abc") == known


def test_the_environment_is_what_runs_beside_a_module(monkeypatch, tmp_path):
    before = keys.environment_digest.__wrapped__()
    pins = tmp_path / "runtime.txt"
    pins.write_bytes(keys.RUNTIME_PINS.read_bytes())
    monkeypatch.setattr(keys, "RUNTIME_PINS", pins)
    assert keys.environment_digest.__wrapped__() == before
    pins.write_text("torch==2.99")
    assert keys.environment_digest.__wrapped__() != before


@pytest.fixture
def fixed(monkeypatch):
    """A graph whose base is literal, so that its keys depend on nothing of today."""
    monkeypatch.setattr(stage_keys, "environment_digest", lambda: "environment")
    monkeypatch.setattr(stage_keys, "runtime_digest", lambda: "runtime")
    monkeypatch.setattr(stage_keys, "code_digest", "+".join)
    return Graph("cpu")


RECIPE = StageRecipe(
    modules={"attack": ModuleRef("attacks/pgd", "d" * 64, {"steps": 7})},
    seed=0,
    threads=1,
    budget={"norm": "linf", "eps": 8 / 255},
    options=PredictOptions(batch=100),
)


def test_golden_key(fixed):
    data = fixed.add("data", {}, DataRecipe("digits", "x", 1.0))
    key = fixed.add("attack", {"slice_x": Input(data, "x")}, RECIPE)
    assert key == GOLDEN


def test_the_key_depends_on_each_of_its_parts(fixed):
    other = "0" * 64
    variants = [
        fixed.add("attack", {"weights": Input("a" * 64, "")}, RECIPE),
        fixed.add("predict", {"weights": Input("a" * 64, "")}, RECIPE),
        fixed.add("attack", {"weights": Input(other, "")}, RECIPE),
        fixed.add("attack", {"weights": Input("a" * 64, "part")}, RECIPE),
        fixed.add("attack", {"start": Input("a" * 64, "")}, RECIPE),
        *(
            fixed.add("attack", {"weights": Input("a" * 64, "")}, replace(RECIPE, **change))
            for change in ({"seed": 1}, {"threads": 2}, {"budget": {}}, {"options": NoOptions()})
        ),
        Graph("cuda").add("attack", {"weights": Input("a" * 64, "")}, RECIPE),
    ]
    assert len(set(variants)) == len(variants)


def test_equal_stages_are_one(fixed):
    first = fixed.add("attack", {"a": Input("k", ""), "b": Input("l", "")}, RECIPE)
    again = fixed.add("attack", {"b": Input("l", ""), "a": Input("k", "")}, replace(RECIPE))
    assert first == again
    assert list(fixed.stages) == [first]


def test_host_stages_do_not_depend_on_torch_nor_on_the_device(monkeypatch):
    keys_of = []
    for environment in ("one torch", "another torch"):
        monkeypatch.setattr(stage_keys, "environment_digest", lambda e=environment: e)
        keys_of.append(Graph("cpu").add("slice", {"data": Input("d", "test")}, SubsetRecipe(5)))
    keys_of.append(Graph("cuda").add("slice", {"data": Input("d", "test")}, SubsetRecipe(5)))
    assert len(set(keys_of)) == 1


def test_ancestors_come_inputs_first_and_once(fixed):
    a = fixed.add("data", {}, DataRecipe("a", "x", 1.0))
    b = fixed.add("slice", {"data": Input(a, "test"), "spec": Input(a, "")}, SubsetRecipe(5))
    c = fixed.add(
        "measure", {"clean": Input(b, "x"), "attacked": Input(a, "test")}, MeasureRecipe(8)
    )
    fixed.add("goal", {"slice": Input(b, "")}, GoalRecipe("next"))
    assert list(fixed.ancestors([c, b])) == [a, b, c]


def test_the_digest_of_our_code_takes_a_file_or_a_package(tmp_path, monkeypatch):
    (tmp_path / "harness" / "pack").mkdir(parents=True)
    (tmp_path / "harness" / "one.py").write_text("1")
    (tmp_path / "harness" / "pack" / "two.py").write_text("2")
    monkeypatch.setattr(keys, "ROOT", tmp_path)
    before = keys.code_digest(["one.py", "pack"])
    (tmp_path / "harness" / "pack" / "notes.md").write_text("not code")
    assert keys.code_digest(["one.py", "pack"]) == before
    (tmp_path / "harness" / "pack" / "two.py").write_text("3")
    assert keys.code_digest(["one.py", "pack"]) != before
