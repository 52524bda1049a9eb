"""Sets of lists or class folders: a small source of each, and copies of the real ones."""

import csv
import io
import tarfile
from collections.abc import Callable

import numpy as np
import pytest
from scipy.io import savemat

from harness import datasets
from harness.datasets import read
from harness.datasets.examples import Example
from harness.datasets.splitting import split_examples
from tests.support.errors import raises_error
from tests.support.own_data import describe
from tests.support.sources import Files, description, image, manifest, parts, shared, write_folder

SIDE = 40
"""Of the made pictures; they are stored at 256 pixels, or 32."""


def photo(name: str, form: str = "JPEG") -> bytes:
    return image(name, (SIDE, SIDE + 10), form)


def lines(rows) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def mat(**variables) -> bytes:
    out = io.BytesIO()
    savemat(out, variables)
    return out.getvalue()


def table(heading: str, rows) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=";", lineterminator="\r\n").writerows([heading.split(";"), *rows])
    return out.getvalue().encode()


def cub200(classes: int) -> Files:
    names = [f"{n:03}.Bird_{n}/b_{n}_{k}.jpg" for n in range(1, classes + 1) for k in (1, 2)]
    files = {f"images/{name}": photo(name) for name in names}
    ids = range(1, len(names) + 1)
    files["images.txt"] = lines(f"{n} {name}" for n, name in zip(ids, names, strict=True))
    files["image_class_labels.txt"] = lines(f"{n} {(n + 1) // 2}" for n in ids)
    files["train_test_split.txt"] = lines(f"{n} {n % 2}" for n in ids)
    return {f"CUB_200_2011/{name}": blob for name, blob in files.items()}


def flowers102(classes: int) -> Files:
    ids = np.arange(1, 3 * classes + 1)
    files = {f"flowers-102/jpg/image_{n:05}.jpg": photo(str(n)) for n in ids}
    own = {"trnid": ids[0::3], "valid": ids[1::3], "tstid": ids[2::3]}
    files["flowers-102/setid.mat"] = mat(**{key: [value] for key, value in own.items()})
    files["flowers-102/imagelabels.mat"] = mat(labels=[(ids - 1) // 3 + 1])
    return files


def stanford_dogs(classes: int) -> Files:
    files = {}
    for part, key in (("train", "a"), ("test", "b")):
        names = [f"n{n:08}-dog_{n}/n{n:08}_{key}.jpg" for n in range(1, classes + 1)]
        files |= {f"Images/{name}": photo(name) for name in names}
        files[f"{part}_list.mat"] = mat(
            file_list=np.array([[name] for name in names], dtype=object),
            labels=np.arange(1, classes + 1)[:, np.newaxis].astype(float),
            annotation_list=np.array([[name[:-4]] for name in names], dtype=object),
        )
    return files


def stanford40(classes: int) -> Files:
    files = {"ImageSplits/actions.txt": lines(["action_name\tnumber", "act_00\t2"])}
    for n in range(classes):
        for part, key in (("train", "001"), ("test", "002")):
            name = f"act_{n:02}_{key}.jpg"
            files[f"ImageSplits/act_{n:02}_{part}.txt"] = lines([name])
            files[f"JPEGImages/{name}"] = photo(name)
    return files


def mit67(classes: int) -> Files:
    own = {part: [f"room_{n:02}/{part} {n}.jpg" for n in reversed(range(classes))]
           for part in ("Train", "Test")}  # fmt: skip
    files = {f"Images/{name}": photo(name) for names in own.values() for name in names}
    return files | {f"{part}Images.txt": lines(names) for part, names in own.items()}


def caltech257(classes: int) -> Files:
    names = [f"{n:03}.thing-{n}/{n:03}_{k:04}.jpg" for n in range(1, classes + 1)
             for k in range(1, 22)]  # fmt: skip
    return {f"256_ObjectCategories/{name}": photo(name) for name in names}


ROI = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


def gtsrb(classes: int) -> Files:
    files = {}
    for n in range(classes):
        names = [f"{track:05}_{frame:05}.ppm" for track in (0, 1) for frame in (0, 1)]
        rows = [[name, SIDE, SIDE + 10, 5, 6, 34, 43, n] for name in names]
        folder = f"GTSRB/Final_Training/Images/{n:05}"
        files[f"{folder}/GT-{n:05}.csv"] = table(ROI, rows)
        files |= {f"{folder}/{name}": photo(f"{n}/{name}", "PPM") for name in names}
    tests = [[f"{n:05}.ppm", SIDE, SIDE + 10, 5, 6, 34, 43, n] for n in range(classes)]
    folder = "GTSRB/Final_Test/Images"
    files |= {f"{folder}/{row[0]}": photo(f"test {row[0]}", "PPM") for row in tests}
    return files | {f"{folder}/GT-final_test.csv": table(ROI, tests)}


LISA = (
    "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
    "Lower right corner Y;Occluded,On another road;Origin file;Origin frame number;Origin track;"
    "Origin track frame number"
)


def lisa(classes: int) -> Files:
    files, rows = {}, []
    for n in range(classes):
        for track in (0, 1):
            for frame in (0, 1):
                name = f"drive-{n % 3}/frames/sign_{n}_{track}.avi_image{frame}.png"
                files[name] = photo(name, "PNG")
                rows.append([name, f"sign{n:02}", 3, 4, 30, 39, "0,0", f"drive-{n % 3}/a.avi",
                             frame, f"sign_{n}_{track}.avi", frame])  # fmt: skip
    return files | {"allAnnotations.csv": table(LISA, rows)}


def pubfig83(classes: int) -> Files:
    return {f"pubfig83/Person {n:02}/{k}.jpg": photo(f"{n} {k}")
            for n in range(classes) for k in range(5)}  # fmt: skip


def vggface2(classes: int) -> Files:
    """A list of all identities, and the pictures of three."""
    names = [f"n{n:06}/{k:04}_01.jpg" for n in range(2, classes + 2) for k in range(1, 23)]
    here = [name for name in names if name[:7] in ("n000003", "n000004", "n000009")]
    return {"train_list.txt": lines(names)} | {f"train/{name}": photo(name) for name in here}


SETS: dict[str, tuple[Callable[[int], Files], int, list[int], list[int]]] = {
    "cub200": (cub200, 224, [200, 0, 200], [0, 1]),
    "flowers102": (flowers102, 224, [204, 0, 102], [0, 0]),
    "stanford-dogs": (stanford_dogs, 224, [120, 0, 120], [0, 1]),
    "stanford40": (stanford40, 224, [40, 0, 40], [0, 1]),
    "mit67": (mit67, 224, [67, 0, 67], [66, 65]),
    "caltech257": (caltech257, 224, [257, 0, 5140], [0, 1]),
    "gtsrb": (gtsrb, 32, [86, 86, 43], [0, 0]),
    "gtsrb-224": (gtsrb, 224, [86, 86, 43], [0, 0]),
    "lisa": (lisa, 32, [94, 0, 94], [0, 0]),
    "pubfig83": (pubfig83, 224, [332, 0, 83], [0, 0]),
    "vggface2": (vggface2, 224, [6, 0, 60], [1, 1]),
}
"""Set → maker of a source with so many classes, side of a picture, examples, first labels."""


@pytest.fixture(scope="module", params=SETS)
def small(request, tmp_path_factory):
    """A small source of a set, read: name, what is stored, its ``manifest.json``, its folder.

    Pictures are stored at 8 pixels, which keeps thousands of them small.
    """
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    whole = description(name)
    resize = 8 if isinstance(whole.picture.resize, int) else (8, 8)
    form = whole.picture.model_copy(update={"crop": None, "resize": resize})
    source = write_folder(folder / "source", SETS[name][0](whole.class_count))
    read.fetch(whole.model_copy(update={"picture": form}), folder, source)
    return name, datasets.load(name, folder), manifest(folder, name), folder / name


def test_a_small_source_of_each_set_is_read(small):
    name, splits, facts, _ = small
    _, _, counts, labels = SETS[name]
    assert [len(split.y) for split in parts(splits).values()] == counts
    assert splits.train.y[:2].tolist() == labels
    assert splits.spec["outputs"] == len(splits.spec["classes"]) == description(name).class_count
    assert splits.train.x.shape[1:] == (3, 8, 8)
    ids = np.concatenate([split.ids for split in parts(splits).values()])
    assert len(np.unique(ids)) == len(ids)
    listed = description(name).published
    assert ("not the published set" in facts["note"]) == (listed is not None)


def test_each_set_says_its_classes_and_its_form():
    for name, (_, side, _, _) in SETS.items():
        found = description(name)
        assert found.class_count == len(found.classes or range(found.class_count))
        assert (found.picture.crop or found.picture.resize) in (side, (side, side))
        assert found.title
        assert found.license
        assert found.citation
        assert found.source


def test_signs_of_one_track_are_on_one_side_and_boxes_fit(small):
    name, _splits, _, folder = small
    if not name.startswith("gtsrb"):
        assert not (folder / "train_boxes.npy").exists()
        return
    groups = {part: np.load(folder / f"{part}_groups.npy") for part in ("train", "val")}
    assert not set(groups["train"]) & set(groups["val"])
    assert len(set(groups["train"])) == len(set(groups["val"])) == 43
    # 5..34 of 40 columns and 6..43 of 50 rows, in 8 pixels: of all, as of their middle square
    assert np.load(folder / "test_boxes.npy").tolist() == [[1, 0, 7, 8]] * 43


def test_a_class_too_few_is_refused(tmp_path):
    whole = description("stanford40")
    source = write_folder(tmp_path / "source", stanford40(39))
    with raises_error("set-of-fewer-classes", where="<tmp>/source"):
        read.fetch(whole, tmp_path / "root", source)


def test_real_signs_have_the_counts_of_their_copy(tmp_path):
    """4,300 in training, of which a tenth of the tracks is validation, and 3,000 in the test."""
    read.fetch(description("gtsrb"), tmp_path, shared("gtsrb"))
    splits, folder = datasets.load("gtsrb", tmp_path), tmp_path / "gtsrb"
    assert [len(split.y) for split in parts(splits).values()] == [3850, 450, 3000]
    assert np.bincount(np.concatenate([splits.train.y, splits.val.y])).tolist() == [100] * 43
    groups = {part: set(np.load(folder / f"{part}_groups.npy")) for part in ("train", "val")}
    assert not groups["train"] & groups["val"]
    boxes = np.load(folder / "train_boxes.npy")
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert (boxes.min(), boxes.max()) == (2, 32)
    assert "44,539 of 51,839 listed pictures are not there" in manifest(tmp_path, "gtsrb")["note"]


BIRDS = {
    "below": ["cub_subset"],
    "tables": [
        {"file": "images.txt", "columns": {"id": 1, "path": 2}, "path": "{class}/{}"},
        {"file": "image_class_labels.txt", "columns": {"id": 1, "label": 2}},
        {"file": "train_test_split.txt", "columns": {"id": 1, "split": 2}},
    ],
    "pictures": "images/{path}",
    "parts": {"train": 1, "test": 0},
    "absent": "leave_out",
}
"""The lists of the copy of birds have commas, and count from 0, unlike the published ones."""


def test_real_birds_are_of_twenty_classes(tmp_path):
    form = {"resize": [16, 16]}
    found = describe(tmp_path, name="birds", layouts=[{"tables": BIRDS}], picture=form)
    read.fetch(found, tmp_path, shared("cub_subset"))
    splits = datasets.load("birds", tmp_path)
    assert splits.spec["outputs"] == 20
    assert [len(split.y) for split in parts(splits).values()] == [586, 0, 600]
    assert (np.bincount(splits.train.y) > 0).all()
    assert (np.bincount(splits.test.y) > 0).all()


def test_real_flowers_of_another_set_are_of_twelve_classes(tmp_path):
    """A stand-in of class folders: the classes are those of Flowers-17."""
    layouts = [{"class_folders": {"below": ["flowers"]}}]
    found = describe(tmp_path, name="flowers", layouts=layouts, picture={"size": 224})
    read.fetch(found, tmp_path, shared("oxford_flowers_subset"))
    splits = datasets.load("flowers", tmp_path)
    assert [len(split.y) for split in parts(splits).values()] == [720, 0, 240]
    assert splits.spec["outputs"] == 12


@pytest.mark.parametrize("name", ["gtsrb", "gtsrb-224"])
def test_published_counts_of_signs_are_those_of_their_lists(name):
    """The training lists of the copy are whole: 39,209 signs, of which tracks are cut."""
    examples = []
    with tarfile.open(shared("gtsrb") / "gtsrb_32x32_subset.tar.xz") as tar:
        for member in tar:
            if "Final_Training" in member.name and member.name.endswith(".csv"):
                text = tar.extractfile(member).read().decode()
                for row in csv.DictReader(io.StringIO(text), delimiter=";"):
                    label, track = row["ClassId"], row["Filename"].partition("_")[0]
                    path = f"{label}/{row['Filename']}"
                    examples.append(Example(path, int(label), "train", f"{label}/{track}"))
    whole = description(name)
    numbers = split_examples(name, examples, whole.splits)
    assert [len(own) for own in numbers.values()] == [whole.published.train, whole.published.val, 0]
    assert len(examples) == 39_209
    assert len({example.group for example in examples}) == 1307
