"""Lists of pictures and of pixels: what they may look like, and each way of being wrong."""

import gzip
import io
import json

import numpy as np
import pytest
from scipy.io import savemat

from harness.common.errors import UserError
from tests.support.errors import raises_error
from tests.support.own_data import describe, picture, read_own
from tests.support.sources import parts, write_folder, write_tar

GREY = {"channels": 1}
LIST = {"file": "list.txt", "columns": {"path": 1, "label": 2}}
CSV = {"file": "list.csv", "columns": {"path": "file", "label": "kind"}}


def tables(*lists, **layout):
    return [{"tables": {"tables": list(lists), **layout}}]


def pictures(*names, below="img"):
    return {f"{below}/{name}": picture(number) for number, name in enumerate(names)}


def read(tmp_path, files, *lists, picture=GREY, manifest=None, **layout):
    files = {k: v.encode() if isinstance(v, str) else v for k, v in files.items()}
    layout.setdefault("pictures", "img/{path}")
    found = tables(*(lists or (LIST,)), **layout)
    return read_own(tmp_path, files, layouts=found, picture=picture, **(manifest or {}))


def facts(tmp_path):
    return json.loads((tmp_path / "root" / "own" / "manifest.json").read_text())


def mat(**variables):
    out = io.BytesIO()
    savemat(out, variables)
    return out.getvalue()


ROWS = [("a.png", "cat"), ("b b.png", "dog"), ("c.png", "cat")]


@pytest.mark.parametrize(
    "text",
    [
        "file;kind\na.png;cat\nb b.png;dog\nc.png;cat\n",
        "\ufefffile,kind\r\na.png,cat\r\nb b.png,dog\r\n\r\nc.png,cat",
        'kind\tfile\ncat\t"a.png"\n"dog"\tb b.png\ncat\tc.png\n\n',
        'file kind\na.png  cat\n"b b.png" dog \n c.png cat\n',
        "File, Kind , more\na.png, cat,1\nb b.png, dog,2\nc.png, cat,3\n",
    ],
    ids=["semicolons", "mark-and-crlf", "tabs-and-quotes", "spaces", "case-and-blanks"],
)
def test_every_form_of_a_list_gives_the_same(tmp_path, text):
    splits = read(tmp_path, {"list.csv": text, **pictures("a.png", "b b.png", "c.png")}, CSV)
    assert splits.train.y.tolist() == [0, 1, 0]
    assert splits.train.x[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert splits.spec["classes"] == ["cat", "dog"]
    assert facts(tmp_path)["note"] == ""


def test_a_gzipped_list_in_an_archive_is_read(tmp_path):
    files = {"list.txt.gz": gzip.compress(b"a.png cat\nb.png dog\n"), **pictures("a.png", "b.png")}
    write_tar(tmp_path / "source" / "all.tar.gz", {f"set/{k}": v for k, v in files.items()})
    splits = read(tmp_path, {}, below=["set"])
    assert splits.train.y.tolist() == [0, 1]
    assert set(facts(tmp_path)["files"]) == {"list.txt", "all.tar.gz"}


def test_numbers_are_classes_whether_or_not_they_have_an_example(tmp_path):
    files = {"list.txt": "a.png 1\nb.png 4\n", **pictures("a.png", "b.png")}
    splits = read(tmp_path, files, label_from=1)
    assert splits.train.y.tolist() == [0, 3]
    assert splits.spec["classes"] == ["1", "2", "3", "4"]
    assert "no train example of 2, 3" in facts(tmp_path)["note"]


def test_numbers_of_classes_that_the_file_names(tmp_path):
    files = {"list.txt": "a.png 00\nb.png 1\nc.png 0\n", **pictures("a.png", "b.png", "c.png")}
    splits = read(tmp_path, files, manifest={"classes": ["zebra", "ant"]})
    assert splits.train.y.tolist() == [0, 1, 0]
    assert splits.spec["classes"] == ["zebra", "ant"]


def test_tables_are_joined_by_id(tmp_path):
    """As CUB: the class is in the path, its number and the split in lists of their own."""
    names = ["x.cat/a.png", "y.dog/b.png", "x.cat/c.png"]
    files = {
        "images.txt": "".join(f"{n} {name}\n" for n, name in enumerate(names, start=1)),
        "labels.txt": "3 2\n01 2\n2 1\n",
        "split.txt": "1 1\n2 0\n3 1\n",
        **pictures(*names),
    }
    splits = read(
        tmp_path,
        files,
        {"file": "images.txt", "columns": {"id": 1, "path": 2}, "path": "{class}/{}"},
        {"file": "labels.txt", "columns": {"id": 1, "label": 2}},
        {"file": "split.txt", "columns": {"id": 1, "split": 2}},
        parts={"train": 1, "test": 0},
        label_from=1,
    )
    assert splits.spec["classes"] == ["y.dog", "x.cat"]
    assert (splits.train.y.tolist(), splits.test.y.tolist()) == ([1, 1], [0])


SETID = [
    {"file": "labels.mat", "columns": {"label": "labels"}},
    {"file": "setid.mat", "columns": {"id": "trn"}, "split": "train"},
    {"file": "setid.mat", "columns": {"id": "val"}, "split": "train"},
    {"file": "setid.mat", "columns": {"id": "tst"}, "split": "test"},
]
SETS = {"trn": [[4]], "val": [[1]], "tst": [[3, 2]]}


def test_variables_of_matlab_are_tables(tmp_path):
    """As Flowers-102: row numbers are ids, and a file lists those of each split."""
    files = {"labels.mat": mat(labels=[[2, 1, 1, 2]]), "setid.mat": mat(**SETS)}
    files |= {f"img/p_{n:04}.png": picture(n) for n in range(1, 5)}
    splits = read(tmp_path, files, *SETID, pictures="img/p_{id:04}.png", label_from=1)
    assert (splits.train.y.tolist(), splits.test.y.tolist()) == ([1, 1], [0, 0])
    assert splits.train.x[:, 0, 0, 0].tolist() == [1, 4]
    assert splits.test.x[:, 0, 0, 0].tolist() == [2, 3]


def test_cell_arrays_of_strings_are_texts(tmp_path):
    """As Stanford Dogs."""
    names = np.array([["x/a.png"], ["y/b.png"]], dtype=object)
    table = {
        "file": "train.mat",
        "columns": {"id": "files", "path": "files", "label": "labels"},
        "path": "{class}/{}",
    }
    files = {"train.mat": mat(files=names, labels=[[2.0], [1.0]]), **pictures("x/a.png", "y/b.png")}
    splits = read(tmp_path, files, table, label_from=1)
    assert splits.train.y.tolist() == [1, 0]
    assert splits.spec["classes"] == ["y", "x"]


def test_lists_by_class_and_split(tmp_path):
    """As Stanford 40."""
    files = {
        "lists/cat_train.txt": "a 1.png\n",
        "lists/cat_test.txt": "b.png\n",
        "lists/big_dog_train.txt": "c.png\n",
        "lists/kinds.txt": "name\tnumber\n",
        **pictures("a 1.png", "b.png", "c.png"),
    }
    table = {"file": "lists/{class}_{split}.txt", "columns": {"path": 1}, "separator": "line"}
    splits = read(tmp_path, files, table)
    assert splits.spec["classes"] == ["big_dog", "cat"]
    assert (splits.train.y.tolist(), splits.test.y.tolist()) == ([0, 1], [1])


def test_rows_of_pixels(tmp_path):
    x = np.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3)
    text = "".join(",".join(map(str, [n + 1, *row.ravel()])) + "\n" for n, row in enumerate(x))
    table = {"file": "test.csv", "columns": {"label": 1, "pixels": 2}, "split": "test"}
    splits = read(tmp_path, {"test.csv": text}, table, picture=None, pictures=None, label_from=1)
    np.testing.assert_array_equal(splits.test.x, x.transpose(0, 3, 1, 2))
    assert splits.test.y.tolist() == [0, 1]


BOXED = {
    "file": "list.csv",
    "columns": {"path": "file", "label": "kind"} | {k: k for k in ("x1", "y1", "x2", "y2")},
}


def test_boxes_are_cut_out_and_a_picture_may_have_several(tmp_path):
    text = "file,kind,x1,y1,x2,y2\na.png,stop,0,0,3,3\na.png,yield,4,4,7,7\na.png,stop,0,0,3,3\n"
    form = {"channels": 1, "boxes": True}
    splits = read(tmp_path, {"list.csv": text, **pictures("a.png")}, BOXED, picture=form)
    assert splits.train.x.shape == (2, 1, 4, 4)
    assert splits.train.x[1, 0, 0].tolist() == [12, 15, 18, 21]
    assert splits.train.y.tolist() == [0, 1]
    assert facts(tmp_path)["note"] == "1 rows are there twice"


@pytest.mark.parametrize(
    ("resize", "box"), [([16, 8], [2, 2, 12, 7]), (16, [2, 4, 12, 14])], ids=["sides", "square"]
)
def test_boxes_are_kept_in_the_pixels_of_the_stored_picture(tmp_path, resize, box):
    """The box is half of an original of 80 x 80; the copy is smaller."""
    table = BOXED | {"columns": BOXED["columns"] | {"width": "w", "height": "h"}}
    text = "file,kind,x1,y1,x2,y2,w,h\na.png,stop,10,20,59,69,80,80\n"
    form = {"channels": 1, "resize": resize}
    read(tmp_path, {"list.csv": text, **pictures("a.png")}, table, picture=form)
    assert np.load(tmp_path / "root/own/train_boxes.npy").tolist() == [box]


def test_a_group_is_on_one_side(tmp_path):
    rows = [(f"{t:02}_{f}.png", k) for k in range(2) for t in range(k, 12, 2) for f in range(3)]
    text = "".join(f"{name} {kind}\n" for name, kind in rows)
    files = {"list.txt": text, **pictures(*(name for name, _ in rows))}
    table = LIST | {"path": "{track}_{}"}
    cut = {"splits": {"val": 0.2, "test": 2}}
    splits = read(tmp_path, files, table, group="{label}/{track}", manifest=cut)
    assert [len(split.y) for split in parts(splits).values()] == [18, 6, 12]
    groups = [set(np.load(tmp_path / f"root/own/{p}_groups.npy").tolist()) for p in parts(splits)]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 12


def test_what_is_there_is_read_and_the_rest_counted(tmp_path):
    files = {"list.txt": "x/a.png\ny/b.png\nz/c.png\n", **pictures("z/c.png", "x/a.png", "x/d.png")}
    table = {"file": "list.txt", "columns": {"path": 1}, "path": "{class}/{}", "separator": "line"}
    splits = read(tmp_path / "own", files, table, absent="leave_out")
    assert splits.spec["classes"] == ["x", "z"]
    note = facts(tmp_path / "own")["note"]
    assert "1 of 3 listed pictures are not there; " in note
    assert "1 classes of its lists have no picture here" in note
    assert "1 pictures that no list names (img/x/d.png)" in note
    fixed = {"class_count": 3}
    splits = read(tmp_path / "fixed", files, table, absent="leave_out", manifest=fixed)
    assert (splits.spec["classes"], splits.train.y.tolist()) == (["x", "y", "z"], [0, 2])


def test_names_in_another_case_are_found_and_said(tmp_path):
    splits = read(tmp_path, {"list.txt": "A.PNG cat\n./b.png dog\n", **pictures("a.png", "b.png")})
    assert len(splits.train.y) == 2
    assert facts(tmp_path)["note"].startswith("1 pictures whose names differ in case")


AB = pictures("a.png", "b.png")
PIXELS = {"file": "list.txt", "columns": {"label": 1, "pixels": 2}}
JOINED = ({"file": "list.txt", "columns": {"id": 1, "path": 2}},
          {"file": "more.txt", "columns": {"id": 1, "label": 2}})  # fmt: skip
SPLIT = {"file": "list.txt", "columns": {"path": 1, "label": 2, "split": 3}}

WRONG = {
    "heading-not-there": (
        {"list.csv": "file,sort\na.png,cat\n"}, [CSV], {}, "list.csv, row 1"),
    "heading-read-as-a-row": (
        {"list.txt": "path label\na.png 0\nb.png 1\n"}, [], {}, "list.txt, row 1"),
    "row-too-long": (
        {"list.txt": "a.png 0\nb.png 1 2\n"}, [], {}, "list.txt, row 2"),
    "column-not-there": (
        {"list.txt": "a.png\nb.png\n"}, [], {}, "list.txt, row 1"),
    "table-not-utf-8": (
        {"list.txt": b"a.png 0\nb\xfc.png 1\n"}, [], {}, "list.txt, row 2"),
    "list-unclosed-quote": (
        {"list.txt": 'a.png,0\n"b.png,1\n'}, [], {}, "list.txt, row 2"),
    "list-empty": (
        {"list.txt": "\n\n"}, [], {}, "list.txt"),
    "list-gzip-cut": (
        {"list.txt.gz": gzip.compress(b"a.png 0\n")[:-9]}, [], {}, "list.txt.gz"),
    "cell-empty": (
        {"list.txt": "a.png,0\nb.png,\n"}, [], {}, "list.txt, row 2"),
    "label-outside": (
        {"list.txt": "a.png 1\nb.png 2\n"}, [], {"manifest": {"class_count": 2}},
        "list.txt, row 2"),
    "label-zero-from-one": (
        {"list.txt": "a.png 0\nb.png 1\n"}, [], {"label_from": 1}, "list.txt, row 1"),
    "label-not-a-class": (
        {"list.txt": "a.png cat\nb.png dgo\n"}, [], {"manifest": {"classes": ["cat", "dog"]}},
        "list.txt, row 2"),
    "label-number-among-names": (
        {"list.txt": "a.png cat\nb.png 7\n"}, [], {}, "list.txt, row 2"),
    "label-of-a-number-of-millions": (
        {"list.txt": "a.png 0\nb.png 123456789\n"}, [], {}, "list.txt, row 2"),
    "named-twice-two-labels": (
        {"list.txt": "a.png 0\nb.png 1\na.png 1\n"}, [], {}, "list.txt, row 3"),
    "named-twice-two-splits": (
        {"list.txt": "a.png 0 train\nb.png 1 test\na.png 0 test\n"}, [SPLIT], {},
        "list.txt, row 3"),
    "split-of-another-name": (
        {"list.txt": "a.png 0 train\nb.png 1 dev\n"}, [SPLIT], {}, "list.txt, row 2"),
    "listed-picture-not-there": (
        {"list.txt": "a.png 0\nb.png 1\nsub/c.png 1\n"}, [], {}, "list.txt, row 3"),
    "no-listed-picture-there": (
        {"list.txt": "c.png 0\nd.png 1\n"}, [], {}, ""),
    "path-climbs-out": (
        {"list.txt": "a.png 0\n../b.png 1\n"}, [], {}, "list.txt, row 2"),
    "path-absolute": (
        {"list.txt": "img/a.png 0\n/etc/b.png 1\n"}, [], {"pictures": "{path}"}, "list.txt, row 2"),
    "path-hidden": (
        {"list.txt": "a.png 0\n.git/b.png 1\n"}, [], {}, "list.txt, row 2"),
    "path-not-of-its-template": (
        {"list.txt": "x_a.png 0\nb.png 1\n", **pictures("x_a.png")},
        [LIST | {"path": "{track}_{}"}], {}, "list.txt, row 2"),
    "id-without-label": (
        {"list.txt": "1 a.png\n2 b.png\n", "more.txt": "1 0\n"}, JOINED, {}, "list.txt, row 2"),
    "id-with-two-labels": (
        {"list.txt": "1 a.png\n2 b.png\n", "more.txt": "1 0\n2 1\n2 0\n"}, JOINED, {},
        "more.txt, row 3"),
    "joined-list-not-there": (
        {"list.txt": "1 a.png\n2 b.png\n"}, JOINED, {}, ""),
    "pixel-of-256": (
        {"list.txt": "0,1,2,3,4\n1,1,2,256,4\n"}, [PIXELS], {"pictures": None}, "list.txt, row 2"),
    "pixels-of-no-square": (
        {"list.txt": "0,1,2,3\n1,1,2,3\n"}, [PIXELS], {"pictures": None}, ""),
    "box-inside-out": (
        {"list.csv": "file,kind,x1,y1,x2,y2\na.png,s,5,0,3,3\n"}, [BOXED], {}, "list.csv, row 2"),
    "box-of-an-unknown-size": (
        {"list.csv": "file,kind,x1,y1,x2,y2\na.png,s,0,0,3,3\n"}, [BOXED],
        {"picture": {"channels": 1, "resize": [4, 4]}}, "list.csv, row 2"),
    "variable-not-there": (
        {"labels.mat": mat(other=[[1]]), "setid.mat": mat(**SETS)}, SETID[:1], {"pictures":
        "img/{id}.png"}, "labels.mat"),
    "variable-of-halves": (
        {"labels.mat": mat(labels=[[1.5]])}, SETID[:1], {"pictures": "img/{id}.png"},
        "labels.mat: labels"),
    "matlab-seven-three": (
        {"labels.mat": b"MATLAB 7.3 MAT-file".ljust(600)}, SETID[:1], {"pictures":
        "img/{id}.png"}, "labels.mat"),
    "matlab-damaged": (
        {"labels.mat": mat(labels=[[1, 2]])[:150]}, SETID[:1], {"pictures": "img/{id}.png"},
        "labels.mat"),
}  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_what_is_wrong_is_said_in_one_line(tmp_path, code):
    files, lists, changes, place = WRONG[code]
    where = "<tmp>/source" + (f"/{place}" if place else "")
    with raises_error(code, where=where):
        read(tmp_path, {**AB, **files}, *lists, **changes)


def test_all_mistakes_of_all_lists_at_once(tmp_path):
    rows = "".join(f"{n}.png 0\n" for n in range(30))
    files = {"list.txt": rows + "../x.png 0\n", "other.txt": "a.png x\n", **pictures("0.png")}
    other = LIST | {"file": "other.txt"}
    with pytest.raises(UserError) as caught:
        read(tmp_path, files, LIST, other)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("has 31 mistakes, of which these are the first 20; "
                              "mend their cause, then try again")  # fmt: skip
    assert any("other.txt, row 1: label 'x' is not a whole number" in line for line in lines)
    assert any("row 31: names img/../x.png" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tables": [LIST | {"columns": {"path": 1}}]}, "no column has labels"),
        ({"pictures": "img/{name}"}, "no table has {name}"),
        ({"group": "{track}"}, "no table has {track}"),
        ({"group": "track"}, "expected fields in braces"),
        ({"group": "{label:>999999999}"}, "expected fields in braces"),
        ({"pictures": None}, "null needs a column pixels"),
        ({"pictures": "../{path}"}, "expected a path below the source"),
        ({"tables": [LIST | {"split": "train", "columns": {"split": 1, "label": 2}}]},
         "columns has it too"),
        ({"tables": [LIST | {"columns": {"path": 1, "label": 2, "x1": 3}}]}, "has x1 of a box"),
        ({"tables": [LIST | {"columns": {"path": 0, "label": 2}}]}, "expected a heading"),
        ({"label_from": 2}, "label_from"),
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_is_refused(tmp_path, changes, what):
    layout = {"tables": [LIST]} | changes
    with pytest.raises(UserError, match=what.replace("{", r"\{")):
        describe(tmp_path, layouts=[{"tables": layout}])


def test_a_number_below_0_is_a_number(tmp_path):
    files = {"list.txt": "a.png -1\nb.png 1\n", **pictures("a.png", "b.png")}
    with pytest.raises(UserError, match="row 1: label -1 is outside 0 to 99,999"):
        read(tmp_path, files)


def test_of_many_classes_some_are_named(tmp_path):
    files = {"list.txt": "a.png owl\n", **pictures("a.png")}
    classes = [f"kind {number}" for number in range(1000)]
    with pytest.raises(UserError, match=r"use one of kind 0, .*kind 49 and 950 more$"):
        read(tmp_path, files, manifest={"classes": classes})


def test_a_linked_folder_of_pictures_is_refused_even_where_some_may_be_absent(tmp_path):
    files = pictures("a.png") | {"list.txt": b"a.png cat\nb.png dog\n"}
    elsewhere = write_folder(tmp_path / "elsewhere", {"b.png": picture(7)})
    (write_folder(tmp_path / "source", files) / "more").symlink_to(elsewhere)
    with raises_error("listed-linked-folder", where="<tmp>/source/more", to=elsewhere):
        read(tmp_path, {}, pictures=["img/{path}", "more/{path}"], absent="leave_out")
