"""A copy and the published set: parts, other contents, and other sets are named."""

from __future__ import annotations

import json

from harness.config.dataset import load_dataset
from harness.datasets import read
from harness.datasets.layouts.expected import expected_files
from harness.datasets.published import compare_with_published
from tests.support.own_data import describe, picture
from tests.support.small_images import idx_files, image_files
from tests.support.sources import DATA, description, manifest, shared, write_folder

CLASSES = {"classes": ["a", "b"], "picture": {"channels": 1}}


def stored(tmp_path, name, files, known=(), **changes):
    """Read files as a set, and return its manifest."""
    source = write_folder(tmp_path / str(len(list(tmp_path.iterdir()))), files)
    given = describe(tmp_path, name=name, title=name.title(), **CLASSES, **changes)
    read.fetch(given, tmp_path / "root", source, known)
    return given, json.loads((tmp_path / "root" / name / "manifest.json").read_text())


def files_of(first: int) -> dict[str, bytes]:
    return {f"test/{name}/{row}.png": picture(first + 2 * row + label)
            for label, name in enumerate("ab") for row in range(3)}  # fmt: skip


def test_contents_do_not_depend_on_names_and_order(tmp_path):
    files = files_of(0)
    other = {name.replace("/0.png", "/9.png"): blob for name, blob in files.items()}
    _, one = stored(tmp_path, "one", files)
    _, two = stored(tmp_path, "two", other)
    assert one["contents"] == two["contents"]
    assert list(one["contents"]) == ["test"]
    swapped = files | {"test/a/0.png": files["test/b/0.png"], "test/b/0.png": files["test/a/0.png"]}
    _, three = stored(tmp_path, "three", swapped)
    assert three["contents"] != one["contents"]


def test_other_contents_and_another_known_set_are_named(tmp_path):
    _, facts = stored(tmp_path, "one", files_of(0))
    published = {"test": 6, "sha256": facts["contents"]}
    one, facts = stored(tmp_path, "one", files_of(0), published=published)
    assert facts["note"] == ""
    _, facts = stored(tmp_path, "one", files_of(100), published=published)
    assert facts["note"] == "not the published set: other test examples"
    few = {name: blob for name, blob in files_of(0).items() if not name.endswith("2.png")}
    _, facts = stored(tmp_path, "one", few, published=published)
    assert facts["note"] == "not the published set: 4 of 6 test examples"
    _, facts = stored(tmp_path, "two", files_of(0), [one], published={"test": 6})
    assert facts["note"] == "its test examples are those of One"
    _, facts = stored(tmp_path, "own", files_of(0), [one])
    assert facts["note"] == ""


def test_every_layout_says_what_it_looks_for():
    for path in DATA.glob("*.yaml"):
        said = expected_files(load_dataset(path)).split("; or ")
        assert all(said), path


def test_real_mnist_is_whole_and_known_under_another_name(tmp_path):
    known = [load_dataset(path) for path in DATA.glob("*.yaml")]
    read.fetch(description("mnist"), tmp_path, shared("mnist"), known)
    said = "not the published set: 0 of 54,001 train examples, 0 of 5,999 val examples"
    assert manifest(tmp_path, "mnist")["note"] == said
    read.fetch(description("fashion-mnist"), tmp_path, shared("mnist"), known)
    note = manifest(tmp_path, "fashion-mnist")["note"]
    assert "its test examples are those of MNIST" in note
    assert "other test examples" in note


def test_the_same_pictures_as_idx_and_as_png_have_one_digest(tmp_path):
    digests = []
    for form, files in (("idx", idx_files("mnist")), ("png", image_files("mnist", "png"))):
        source = write_folder(tmp_path / form, files)
        read.fetch(description("mnist"), tmp_path / "root", source)
        digests.append(manifest(tmp_path / "root", "mnist")["contents"]["test"])
    assert digests[0] == digests[1]


def test_a_total_is_compared_where_shares_are_cut_by_group():
    found = description("lisa")
    assert found.published.total == 7855
    counts = {"train": 6000, "val": 0, "test": 1855}
    assert list(compare_with_published(found, counts, {}, [])) == []
    said = list(compare_with_published(found, counts | {"test": 1}, {}, []))
    assert said == ["not the published set: 6,001 of 7,855 examples"]
