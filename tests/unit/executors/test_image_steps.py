"""What an image build sends to the engine, and what is kept of the result."""

import io
import stat
import tarfile
from types import SimpleNamespace

import pytest

from harness.common.errors import UserError
from harness.config.dockerfile import Instruction, parse
from harness.executors.image_archives import Stream
from harness.executors.image_build import INHERITED, check_layer, label_base
from harness.executors.image_steps import (
    ENVIRONMENT,
    MAX_FILES,
    changed_elsewhere,
    install,
    keep,
    render,
)
from tests.support.errors import raises_error


def archive(*entries):
    """An archive as the engine sends it: (name, content or link or type)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, what in (("opt", tarfile.DIRTYPE), *entries):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.uid, entry.mtime = 0o4755, 7, 12
            content = None
            match what:
                case str():
                    entry.size, content = len(what), io.BytesIO(what.encode())
                case (kind, target):
                    entry.type, entry.linkname = kind, target
                case kind:
                    entry.type = kind
            tar.addfile(entry, content)
    out.seek(0)
    return out


def kept(*entries, pins=False):
    out = io.BytesIO()
    count = keep(archive(*entries), out, "attacks/m", pins=pins)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        members = tar.getmembers()
    assert count == sum(not one.isdir() for one in members)
    return members


FOLDER = tarfile.DIRTYPE
GOOD = (
    ("opt/gauntlet", FOLDER),
    ("opt/gauntlet/packages", FOLDER),
    ("opt/gauntlet/packages/a.py", "a"),
    ("opt/gauntlet/packages/a.pth", "import os"),
    ("opt/tool", FOLDER),
    ("opt/tool/run", "x" * 100_000),
    ("opt/tool/same", (tarfile.LNKTYPE, "opt/tool/run")),
    ("opt/tool/link", (tarfile.SYMTYPE, "/usr/bin/python3")),
)


def test_a_dockerfile_keeps_its_files_and_not_those_of_the_requirements():
    found = {one.name: one for one in kept(*GOOD)}
    assert list(found) == ["opt", "opt/tool", "opt/tool/run", "opt/tool/same", "opt/tool/link"]
    assert found["opt/tool/run"].size == 100_000
    assert found["opt/tool/same"].islnk()
    assert found["opt/tool/link"].linkname == "/usr/bin/python3"


def test_requirements_keep_their_folder_alone_without_start_up_hooks():
    names = [one.name for one in kept(*GOOD, pins=True)]
    assert names == [
        "opt",
        "opt/gauntlet",
        "opt/gauntlet/packages",
        "opt/gauntlet/packages/a.py",
    ]


def test_what_is_kept_belongs_to_root_and_gives_no_rights():
    for one in kept(*GOOD):
        assert one.mode & ~0o777 == 0
        assert not one.mode & stat.S_ISUID
        assert (one.uid, one.gid, one.mtime) == (0, 0, 12)
        assert not one.pax_headers


@pytest.mark.parametrize(
    ("code", "path", "entries"),
    [
        ("kept-device", "opt/x", [("opt/x", tarfile.CHRTYPE)]),
        ("kept-pipe", "opt/x", [("opt/x", tarfile.FIFOTYPE)]),
        ("kept-outside", "etc", [("etc", FOLDER), ("etc/passwd", "x")]),
        ("kept-parent", "opt/../etc", [("opt/../etc", "x")]),
        ("kept-below-link", "opt/l/x", [("opt/l", (tarfile.SYMTYPE, "/etc")), ("opt/l/x", "x")]),
        ("kept-twice", "opt/l", [("opt/l", (tarfile.SYMTYPE, "/etc/x")), ("opt/l", "x")]),
        ("kept-without-folder", "opt/a/x", [("opt/a/x", "x")]),
        ("kept-hard-link", "opt/x", [("opt/x", (tarfile.LNKTYPE, "etc/shadow"))]),
        ("kept-pth", "opt/packages/a.pth", [("opt/packages", FOLDER), ("opt/packages/a.pth", "")]),
        ("kept-sitecustomize", "opt/sitecustomize.py", [("opt/sitecustomize.py", "")]),
        ("kept-usercustomize", "opt/usercustomize.so", [("opt/usercustomize.so", "")]),
        ("kept-hook-folder", "opt/sitecustomize", [("opt/sitecustomize", FOLDER)]),
    ],
)
def test_anything_else_is_refused_by_name(code, path, entries):
    with raises_error(code, where="attacks/m", path=path):
        kept(*entries)


def test_a_link_in_place_of_opt_is_refused():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("opt")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/"
        tar.addfile(entry)
    out.seek(0)
    with raises_error("kept-link-for-opt", where="attacks/m"):
        keep(out, io.BytesIO(), "attacks/m", pins=False)


def test_a_layer_has_limits(monkeypatch):
    monkeypatch.setattr("harness.executors.image_steps.MAX_FILES", 1)
    with raises_error("kept-too-many", where="attacks/m"):
        kept(("opt/a", "a"), ("opt/b", "b"))
    monkeypatch.setattr("harness.executors.image_steps.MAX_FILES", MAX_FILES)
    monkeypatch.setattr("harness.executors.image_steps.MAX_BYTES", 1 << 30)
    entry = tarfile.TarInfo("opt")
    entry.type = FOLDER
    large = tarfile.TarInfo("opt/x")
    large.size = (1 << 30) + 1
    text = Stream(iter([entry.tobuf(), large.tobuf()]))  # no content follows: it is not read
    with raises_error("kept-too-large", where="attacks/m"):
        keep(text, io.BytesIO(), "attacks/m", pins=False)


@pytest.mark.parametrize("size", [1, 7, 512, 100_000])
def test_chunks_of_any_size_are_one_file(size):
    data = archive(*GOOD).getvalue()
    chunks = (data[i : i + size] for i in range(0, len(data), size))
    out = io.BytesIO()
    assert keep(Stream(chunks), out, "m", pins=False) == 3
    assert Stream(iter([b"", b"ab", b"", b"c"])).read() == b"abc"


# -- what the engine is sent -----------------------------------------------------------------------

TEXT = r"""from gauntlet-base
WORKDIR /work
ENV CC=gcc CFLAGS="-O2 -g"
COPY sub ./
RUN echo "a\\b" \
  # FROM other
  && echo 'ADD x y' $HOME
RUN ["echo", "ü \"q\""]
"""


def test_one_instruction_a_line_and_every_word_quoted():
    steps = parse(TEXT.encode(), "Dockerfile", {"sub/a"})
    ours = (one.replace("=", '="', 1) + '"' for one in ENVIRONMENT.words)
    assert render(steps, "gauntlet:1", {"a.b": 'c "d'}, "files").splitlines() == [
        "FROM gauntlet:1",
        'LABEL "a.b"="c \\"d"',
        "ENV " + " ".join(ours),
        "WORKDIR /work",
        'ENV CC="gcc" CFLAGS="-O2 -g"',
        'COPY ["files/sub", "./"]',
        r"""RUN ["/bin/sh", "-c", "echo \"a\\\\b\"   && echo 'ADD x y' $HOME"]""",
        'RUN ["echo", "ü \\"q\\""]',
    ]


def test_an_instruction_that_nobody_read_is_a_bug():
    with pytest.raises(AssertionError, match="VOLUME"):
        render([Instruction("VOLUME", ("/x",))], "b", {}, "files")


@pytest.mark.parametrize(("pins", "hashes"), [(("a==1",), False), (("a==1 --hash=x",), True)])
def test_requirements_are_wheels_alone_and_checked(pins, hashes):
    _, run = install(pins)
    assert "--only-binary=:all:" in run.words[2]
    assert ("--require-hashes" in run.words[2]) == hashes
    assert run.words[2].startswith("unset PYTHONPATH && ")
    assert "--no-deps" in run.words[2]
    assert "check" in run.words[2]


def test_every_layer_of_the_base_is_labelled():
    text = label_base("# FROM x\nFROM a AS cpu\nRUN x\n\nFROM b AS cuda\n")
    assert text.count('LABEL "gauntlet.build"=') == 2
    assert text.splitlines()[1].startswith("FROM a")
    assert text.splitlines()[2].startswith("LABEL")


# -- what comes out --------------------------------------------------------------------------------


def image(layers, **settings):
    return SimpleNamespace(attrs={"Config": settings, "RootFS": {"Layers": layers}})


BASE = image(["a", "b"], Env=["X=1", "Y=2"], Cmd=["python3"], Labels={"l": "1"})


def test_an_image_is_its_base_and_one_layer():
    same = image(["a", "b", "c"], Env=["Y=2", "X=1"], Cmd=["python3"], Volumes={}, Labels={})
    check_layer(same, BASE, "attacks/m")
    for layers in (["a", "b"], ["a", "c", "b"], ["b", "c"], ["a", "b", "c", "d"]):
        with raises_error("image-with-other-layers", where="attacks/m"):
            check_layer(image(layers, **BASE.attrs["Config"]), BASE, "attacks/m")


@pytest.mark.parametrize("key", INHERITED)
def test_an_image_has_the_settings_of_its_base(key):
    changed = image(["a", "b", "c"], **BASE.attrs["Config"] | {key: ["odd"]})
    with pytest.raises(UserError, match=f"the image has not its base's {key}"):
        check_layer(changed, BASE, "attacks/m")


def test_changes_elsewhere_are_found():
    listed = [{"Path": path} for path in ("/opt", "/opt/x", "/optional", "/etc", "/etc/x")]
    assert list(changed_elsewhere(listed)) == ["/optional", "/etc", "/etc/x"]
