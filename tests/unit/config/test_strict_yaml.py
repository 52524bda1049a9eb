"""The one door for YAML: what it reads, what it refuses, and where it says the fault is."""

import copy
import pickle
from pathlib import Path

import pytest
import yaml

from harness.common.errors import UserError, UserErrors
from harness.config import strict_yaml
from harness.config.strict_yaml import Ratio, Unknown, key, nearest, parse, quote
from tests.support.errors import raises_error

UNKNOWN = Unknown.UNKNOWN


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def scanner(request, monkeypatch):
    """Both scanners must agree: a wheel without the C one reads the same files."""
    if not hasattr(yaml, request.param):
        pytest.skip("this PyYAML was built without libyaml")
    monkeypatch.setattr(strict_yaml, "_Scanner", getattr(yaml, request.param))


def load(path):
    """A file of which nothing was refused."""
    document, refusals = parse(path)
    if refusals:
        raise UserErrors(refusal.error for refusal in refusals)
    return document


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text: str | bytes):
        raw = text.encode() if isinstance(text, str) else text
        Path("a.yaml").write_bytes(raw)
        return load(Path("a.yaml"))

    return read


def lines_of(read, text) -> list[str]:
    with pytest.raises(UserError) as caught:
        read(text)
    return str(caught.value).splitlines()


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("n", "n"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("3", 3),
        ("-3", -3),
        ("0", 0),
        ("1.10", 1.1),
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("10:30", "10:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2024-01-01", "2024-01-01"),
        ('"010"', "010"),
        ("'1.10'", "1.10"),
        ('"no"', "no"),
        ("a/b", "a/b"),
        ("pgd/pgd-100", "pgd/pgd-100"),
        ("8/255", 8 / 255),
        ("8 / 255", 8 / 255),
        ("0.5/255", 0.5 / 255),
        ("[1, {b: 2}]", [1, {"b": 2}]),
    ],
)
def test_a_scalar_means_what_a_person_meant(read, written, meant):
    found = read(f"a: {written}\n").data["a"]
    assert found == meant
    assert type(found) is type(meant) or isinstance(found, Ratio)


def test_a_fraction_keeps_its_text_and_is_rounded_once(read):
    ratio = read("eps: 8 / 255").data["eps"]
    assert isinstance(ratio, Ratio)
    assert ratio.text == "8/255"
    assert ratio == 8 / 255
    assert type(float(ratio)) is float
    for twin in (pickle.loads(pickle.dumps(ratio)), copy.deepcopy(ratio)):
        assert (twin, twin.text) == (ratio, "8/255")


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "a.yaml:3:1: a: duplicate key (first on line 1); keep one"),
        ("x: {a: 1, a: 2}\n", "a.yaml:1:11: x.a: duplicate key (first on line 1); keep one"),
        ("a: &x 1\n", "a.yaml:1:4: a: an anchor (&x); remove it"),
        ("a: *x\n", "a.yaml:1:4: a: an alias (*x); write the value out"),
        ("<<: {a: 1}\n", "a.yaml:1:1: a merge key (<<); write the keys out"),
        (
            "a: !!python/name:os.system x\n",
            "a.yaml:1:4: a: a tag (tag:yaml.org,2002:python/name:os.system); "
            "remove it; quote what is text",
        ),
        ("? [a]\n: 1\n", "a.yaml:1:3: a key that is not a word; write key: value"),
        ("'': 1\n", "a.yaml:1:1: an empty or marked key; write a plain word"),
        (
            "a: 010\n",
            "a.yaml:1:4: a: a number with a leading zero is ambiguous, found 010; "
            'quote it ("010") if it is text',
        ),
        (
            "a: .inf\n",
            'a.yaml:1:4: a: expected a finite number, found .inf; quote it (".inf") if it is text',
        ),
        (
            "a: 1e999\n",
            "a.yaml:1:4: a: expected a finite number, found 1e999; "
            'quote it ("1e999") if it is text',
        ),
        (
            "a: 1/0\n",
            "a.yaml:1:4: a: a fraction with nothing below the line, found 1/0; "
            'quote it ("1/0") if it is text',
        ),
        (
            f"a: {'9' * 30}\n",
            f"a.yaml:1:4: a: a whole number of more than 18 digits, found {'9' * 30}; "
            f'quote it ("{"9" * 20}") if it is text',
        ),
        ("a:\n\tb: 1\n", "a.yaml:2:1: broken YAML: a tab in the indentation; use spaces"),
        (
            "a: 1\n<<<<<<< ours\nb: 2\n",
            "a.yaml:2:1: a merge conflict was left; keep one side, delete the markers",
        ),
        ("", "a.yaml:1:1: the file is empty; fill it, or delete it"),
        ("# only a comment\n", "a.yaml:1:1: the file is empty; fill it, or delete it"),
        ("a: 1\n---\nb: 2\n", "a.yaml:2:1: a second document in one file; remove the ---"),
        (
            b"a: 1\nb: x\xff\n",
            "a.yaml:2:5: not UTF-8 text, found byte 0xff; save the file as UTF-8",
        ),
        (
            "a: 1\nb: \x07\n",
            "a.yaml:2:4: broken YAML: a character that YAML does not allow; delete it",
        ),
        ("a: [" + "[" * 90, "a.yaml:1:1: nested deeper than 50 levels; flatten it"),
        pytest.param(
            b"#" * 1_000_001,
            "a.yaml:1:1: larger than 1,000,000 bytes; is it the right file?",
            id="too-large",
        ),
    ],
)
def test_what_is_not_clear_is_refused_with_its_place(read, text, line):
    assert lines_of(read, text) == [line]


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize(
    ("text", "place"),
    [("a: [1,\nb: 2\n", "3:1"), ("a: b: c\n", "1:5"), ('a: "x\n', "2:1"), ("k: @x\n", "1:4")],
)
def test_broken_syntax_is_one_line_with_its_place(read, text, place):
    (line,) = lines_of(read, text)
    assert line.startswith(f"a.yaml:{place}: broken YAML: ")


def test_all_faults_of_a_file_are_told_at_once(read):
    lines = lines_of(read, "a: 010\nb: &x 1\na: *x\n")
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3", "3"]


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize(
    ("text", "data", "unknown"),
    [
        ("a: 1\na: 2\nb: 3\n", {"a": 1, "b": 3}, []),
        ("a: &x 1\nb: *x\n", {"a": 1, "b": UNKNOWN}, ["b"]),
        ("a: 010\nb: !t 1\n", {"a": UNKNOWN, "b": 1}, ["a", "b"]),
        ("<<: {x: 1}\nb: 3\n", {"<<": {"x": 1}, "b": 3}, ["<<"]),
        ("? [x]\n: 1\nb: 3\n", {"?": 1, "b": 3}, ["?"]),
        ("b: 3\n---\nb: 4\nc: 5\n", {"b": 3}, []),
        ("b: {c: [010]}\n", {"b": {"c": [UNKNOWN]}}, ["b.c[0]"]),
    ],
)
def test_what_is_refused_leaves_the_rest_to_be_read(tmp_path, text, data, unknown):
    (tmp_path / "a.yaml").write_text(text)
    parsed = parse(tmp_path / "a.yaml")
    assert parsed.document.data == data
    assert [key(r.loc) for r in parsed.refusals if r.loc is not None] == unknown
    for refusal in parsed.refusals:
        if refusal.loc is not None:
            assert not parsed.known(refusal.loc)
            assert not parsed.known((*refusal.loc, "deeper"))
    assert parsed.known(("elsewhere",))


@pytest.mark.usefixtures("scanner")
def test_each_duplicate_names_the_first_of_its_own_mapping(read):
    assert lines_of(read, "a: {x: 1}\na:\n  x: 1\n  x: 2\n  x: 3\n") == [
        "a.yaml:2:1: a: duplicate key (first on line 1); keep one",
        "a.yaml:4:3: a.x: duplicate key (first on line 3); keep one",
        "a.yaml:5:3: a.x: duplicate key (first on line 3); keep one",
    ]


def test_a_missing_file_and_a_folder_are_the_persons_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("none.yaml", "folder"):
        with raises_error("no-such-yaml-file", where=name):
            load(Path(name))


def test_a_byte_order_mark_and_windows_line_ends_are_fine(read):
    document = read(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert document.data == {"a": 1, "b": "x"}
    assert document.marks.at(("b",)) == (2, 1)


@pytest.mark.usefixtures("scanner")
def test_every_key_path_has_its_place_and_a_missing_one_its_parents(read):
    document = read("name: é\nlist:\n  - x\n  - {eps: 8/255, é: 1, z: 2}\n")
    at = document.marks.at
    assert at(("list",)) == (2, 1)
    assert at(("list", 0)) == (3, 5)
    assert at(("list", 1, "eps")) == (4, 6)
    assert at(("list", 1, "z")) == (4, 24)
    assert at(("list", 1, "absent", "deeper")) == (4, 5)
    assert at(("absent",)) == (1, 1)
    assert document.where(("list", 1, "eps")) == "a.yaml:4:6: list[1].eps"
    assert str(document.error((), "wrong", "mend it")) == "a.yaml:1:1: wrong; mend it"


def test_small_helpers():
    assert key(("a", 0, "b")) == "a[0].b"
    assert quote("x" * 100) == '"' + "x" * 56 + "…"
    assert quote("two\nlines") == '"two\\nlines"'
    assert quote(Ratio("8/255")) == "8/255"
    assert nearest("x", []) == "remove it"


def test_errors_pickle_and_flatten():
    one = UserError("a", "b", "c")
    group = UserErrors([one, UserErrors([UserError("d", "e", "f"), one])])
    assert str(group) == "a: b; c\nd: e; f\na: b; c"
    assert str(pickle.loads(pickle.dumps(group))) == str(group)
    assert str(pickle.loads(pickle.dumps(one))) == str(one)
