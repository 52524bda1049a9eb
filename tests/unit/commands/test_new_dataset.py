"""What ``gauntlet new dataset`` makes of folders, and that the manifest reads them."""

import gzip
import io
import struct

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from harness import datasets
from harness.commands.new_dataset import new_dataset
from harness.commands.placeholders import unwritten
from harness.config.dataset import load_dataset
from harness.datasets import read
from harness.workspace import Workspace
from tests.support.errors import raises_error
from tests.support.own_data import class_folders, picture
from tests.support.sources import write_folder, write_tar


class Written:
    """A manifest as ``gauntlet new dataset`` wrote it, and what the command said."""

    def __init__(self, tmp_path, source, name="mine"):
        out = io.StringIO()
        self.path, self.root = tmp_path / f"{name}.yaml", tmp_path / "root"
        console = Console(file=out, width=300)
        new_dataset(Workspace(tmp_path, tmp_path), name, source, self.path, console)
        self.said = out.getvalue()
        self.manifest = load_dataset(self.path)
        ((self.kind, self.layout),) = (
            (entry.kind, entry.layout) for entry in self.manifest.layouts
        )

    def read(self):
        read.fetch(self.manifest, self.root, None)
        return datasets.load(self.manifest.name, self.root)


def written(tmp_path, files):
    return Written(tmp_path, write_folder(tmp_path / "source", files))


def sizes(splits):
    return [len(split.y) for split in (splits.train, splits.val, splits.test)]


def test_a_test_split_alone_of_grey_pictures(tmp_path):
    digits = tuple(str(number) for number in range(10))
    made = written(tmp_path, class_folders({"test": 3}, digits, side=28))
    assert made.said.splitlines() == [
        "classes: 10, from the folders' names",
        "pictures: 28x28 grey (30 of 30 were looked at)",
        "splits: test alone, for victims that come with weights",
        *made.said.splitlines()[-2:],
    ]
    assert made.said.splitlines()[-1].startswith("Next: gauntlet check ")
    splits = made.read()
    assert sizes(splits) == [0, 0, 30]
    assert splits.spec["shape"] == [1, 28, 28]
    assert made.manifest.source_folder() == tmp_path / "source"


def test_its_card_is_to_be_written(tmp_path):
    made = written(tmp_path, class_folders({"test": 1}))
    assert [error.where.rpartition(": ")[2] for error in unwritten(made.manifest)] == [
        "title",
        "license",
        "citation",
        "source",
    ]


@pytest.mark.parametrize(
    ("parts", "expected", "said"),
    [
        ({"train": 20, "test": 5}, [36, 4, 10], "splits: train, test; a tenth for validation"),
        ({"Training": 20, "valid": 4, "Testing": 5}, [40, 8, 10], "splits: train, val, test\n"),
        ({"train": 20, "val": 5}, [36, 4, 10], "splits: train, test; a tenth for validation"),
        ({"": 20}, [28, 4, 8], "splits: none found; a fifth of each class is cut for test"),
    ],
)
def test_splits_are_what_the_folders_say(tmp_path, parts, expected, said):
    made = written(tmp_path, class_folders(parts))
    assert said in made.said
    assert sizes(made.read()) == expected


def test_an_archive_with_folders_around_all(tmp_path):
    files = class_folders({"train": 10, "test": 2})
    packed = {f"Cats/pics/{name}": blob for name, blob in files.items()}
    made = Written(tmp_path, write_tar(tmp_path / "all.tar.gz", packed))
    assert "folders around all: Cats/pics" in made.said
    assert sizes(made.read()) == [18, 2, 4]


def test_tracks_are_groups(tmp_path):
    files = {
        f"{label}/{track:03}_{frame:02}.png": picture(100 * label + 10 * track + frame)
        for label in range(2)
        for track in range(5)
        for frame in range(4)
    }
    made = written(tmp_path, files)
    assert made.layout.group == "{class}/{track}"
    assert sizes(made.read()) == [24, 8, 8]


def test_numbered_names_are_no_tracks(tmp_path):
    files = {f"{label}/img_{n:03}.png": picture(n) for label in ("a", "b") for n in range(9)}
    assert written(tmp_path, files).layout.group is None


def test_pictures_of_several_sizes_and_colours(tmp_path):
    files = {
        "a/0.png": picture(1, 70, channels=3),
        "b/0.png": picture(2, 90, channels=3),
        "b/1.png": picture(3, 66, channels=3),
    }
    red = np.zeros((80, 100, 3), dtype=np.uint8)
    red[..., 0] = 200
    out = io.BytesIO()
    Image.fromarray(red).save(out, "PNG")
    made = written(tmp_path, {**files, "a/1.png": out.getvalue()})
    assert "pictures: RGB, short sides of 66 to 90 pixels, resized to 64 and cropped" in made.said
    assert made.manifest.picture.resize == 64


def test_what_a_layout_does_not_read_is_said(tmp_path):
    files = class_folders({"train": 9, "test": 2}) | {"odd.png": picture(1), "list.txt": b"a b\n"}
    said = written(tmp_path, files).said
    assert "not read: 1 pictures that lie otherwise (odd.png)" in said
    assert "not used: list.txt; if splits stand there, see layout tables" in said


@pytest.mark.parametrize(
    ("text", "columns", "pictures"),
    [
        ("{0} {1}", {"path": 1, "label": 2}, "{path}"),
        ("{0}\t{1}", {"path": 1, "label": 2}, "{path}"),
        ("{2},{1}", {"path": 1, "label": 2}, "pics/{path}.png"),
    ],
)
def test_lists_of_path_and_label(tmp_path, text, columns, pictures):
    files = {f"pics/p{n}.png": picture(n) for n in range(12)}
    for part, numbers in {"train": range(8), "test": range(8, 12)}.items():
        rows = [text.format(f"pics/p{n}.png", n % 2 + 1, f"p{n}") for n in numbers]
        files[f"{part}.txt"] = "\n".join(rows).encode()
    made = written(tmp_path, files)
    assert (made.kind, made.manifest.class_count) == ("tables", 2)
    assert [dict(table.columns) for table in made.layout.tables] == [columns, columns]
    assert [table.split for table in made.layout.tables] == ["test", "train"]
    assert made.layout.label_from == 1
    assert pictures in made.path.read_text() or pictures == "{path}"


def test_a_table_with_headings(tmp_path):
    files = {f"pics/p{n}.png": picture(n) for n in range(12)}
    rows = [f"p{n}.png;{('cat', 'dog')[n % 2]};{'Test' if n > 8 else 'Train'}" for n in range(12)]
    files["all.csv"] = "\r\n".join(["\ufefffile;class;set", *rows]).encode()
    made = written(tmp_path, files)
    (table,) = made.layout.tables
    assert dict(table.columns) == {"path": "file", "label": "class", "split": "set"}
    assert made.layout.part_names() == {"train": ("Train",), "test": ("Test",)}
    assert "splits: train, test" in made.said


def test_a_list_of_more_than_the_folder_has(tmp_path):
    files = {f"pics/{n}.png": picture(n) for n in range(20, 32)}
    rows = [f"{n},{('cat', 'dog')[n % 2]}" for n in range(1, 100)]
    files["labels.csv"] = "\n".join(["id,label", *rows]).encode()
    made = written(tmp_path, files)
    assert "listed pictures that are not there, left out: 87" in made.said
    assert sizes(made.read()) == [8, 2, 2]


def test_rows_of_pixels(tmp_path):
    rows = [",".join(map(str, [n % 3, *range(n, n + 64)])) for n in range(9)]
    made = written(tmp_path, {"test.csv": "\n".join(rows).encode()})
    assert (made.kind, made.layout.pictures) == ("tables", None)
    assert (made.manifest.picture.size, made.manifest.class_count) == (8, 3)


def test_idx_files(tmp_path):
    images = struct.pack(">4I", 0x0803, 5, 28, 28) + bytes(5 * 784)
    labels = struct.pack(">2I", 0x0801, 5) + bytes(range(5))
    made = written(
        tmp_path,
        {
            "MNIST/t10k-images-idx3-ubyte.gz": gzip.compress(images),
            "MNIST/t10k-labels-idx1-ubyte": labels,
        },
    )
    assert (made.kind, made.layout.below) == ("idx", ("MNIST",))
    assert list(made.layout.files) == ["test"]
    assert made.manifest.picture.size == 28


def arrays(**found):
    out = io.BytesIO()
    np.savez(out, **found)
    return out.getvalue()


@pytest.mark.parametrize(
    ("shape", "order", "form"),
    [
        ((6, 3, 8, 8), "nchw", "8x8 RGB"),
        ((6, 8, 8, 3), "nhwc", "8x8 RGB"),
        ((6, 8, 9), "nhw", "9x8 grey"),
        ((6, 40), "nf", "40 features"),
    ],
)
def test_arrays_of_an_archive(tmp_path, shape, order, form):
    y = np.array([1, 2, 3, 1, 2, 3])
    blob = arrays(x_train=np.zeros(shape, np.uint8), y_train=y, x_test=np.zeros(shape), y_test=y)
    made = written(tmp_path, {"all.npz": blob})
    assert (made.kind, made.layout.order, made.layout.archive) == ("arrays", order, "all.npz")
    assert form in made.said
    assert (made.layout.label_from, made.manifest.class_count) == (1, 3)


def test_files_of_arrays(tmp_path):
    files = {}
    for name, array in {"images_test": np.zeros((4, 5, 5)), "labels_test": np.arange(4)}.items():
        out = io.BytesIO()
        np.save(out, array)
        files[f"{name}.npy"] = out.getvalue()
    made = written(tmp_path, files)
    assert made.layout.values == "unit"
    assert dict(made.layout.files)["test"].x == "images_test.npy"


def test_pairs_of_picture_and_class_map(tmp_path):
    files = {}
    for part in ("train", "test"):
        for n in range(4):
            numbers = np.full((8, 8), n % 3, dtype=np.uint8)
            numbers[0] = 255
            out = io.BytesIO()
            Image.fromarray(numbers).save(out, "PNG")
            files[f"{part}/{n}.png"] = picture(n, channels=3)
            files[f"{part}annot/{n}.png"] = out.getvalue()
    made = written(tmp_path, files)
    assert (made.layout.pictures, made.layout.maps) == (
        "{split}/{name}.png",
        "{split}annot/{name}.png",
    )
    assert (len(made.layout.values), made.layout.void) == (3, (255,))


def test_nothing_that_looks_like_data(tmp_path):
    source = write_folder(tmp_path / "source", {"notes.txt": b"hello", "a.bin": b"x"})
    with raises_error("new-dataset-nothing", where=source):
        Written(tmp_path, source)
    assert not (tmp_path / "mine.yaml").exists()


def test_pictures_without_classes(tmp_path):
    source = write_folder(tmp_path / "3", {f"{n}.png": picture(n) for n in range(4)})
    with raises_error("new-dataset-no-classes", where=source):
        Written(tmp_path, source)


def test_pictures_beside_rows_of_pixels_are_named(tmp_path):
    row = ",".join(["1", *["7"] * 64])
    files = {"test.csv": f"{row}\n{row}\n".encode(), "preview.png": picture(1)}
    made = written(tmp_path, files)
    assert made.kind == "tables"
    assert "not read: 1 pictures beside it (preview.png)" in made.said


def test_bad_arguments(tmp_path):
    source = write_folder(tmp_path / "source", class_folders({"test": 1}))
    with raises_error("new-dataset-name", where="new dataset"):
        Written(tmp_path, source, "My Data")
    with raises_error("new-dataset-no-folder", where=tmp_path / "nowhere"):
        Written(tmp_path, tmp_path / "nowhere")
    Written(tmp_path, source)
    with raises_error("new-dataset-exists", where=tmp_path / "mine.yaml"):
        Written(tmp_path, source)
    with raises_error("new-dataset-one-file", where=source / "test/cat/000.png"):
        Written(tmp_path, source / "test/cat/000.png", "other")
    with raises_error("new-dataset-no-source", where="new dataset"):
        Written(tmp_path, None, "other")
