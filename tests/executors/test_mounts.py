"""Mounts: granted files are linked, modules copied, and no link is followed on the way."""

import os
import shutil

import pytest

from harness.common.errors import UserError
from harness.config.module_files import file_digests, module_files
from harness.executors import mounts
from harness.executors.mounts import expose
from tests.support.errors import raises_error


def test_what_is_granted_is_linked_and_readable(tmp_path):
    source = tmp_path / "entry"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "x.npy").write_bytes(b"1")
    (source / "deep" / "x.npy").chmod(0o600)
    expose(source, tmp_path / "box" / "in" / "train")
    found = tmp_path / "box" / "in" / "train"
    assert sorted(os.listdir(found)) == ["deep"]
    assert (found / "deep" / "x.npy").stat().st_mode & 0o777 == 0o644
    assert (found / "deep" / "x.npy").samefile(source / "deep" / "x.npy")
    assert all(p.stat().st_mode & 0o005 == 0o005 for p in (found.parent, found, found / "deep"))
    expose(source, tmp_path / "copied", link=False)
    assert not (tmp_path / "copied" / "deep" / "x.npy").samefile(source / "deep" / "x.npy")


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "nowhere", "deep"])
def test_a_link_among_granted_files_is_refused_by_name(tmp_path, target):
    source = tmp_path / "store" / "entry"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "link").symlink_to(target)
    with raises_error("link-in-artefact", where="store/entry/deep/link"):
        expose(source, tmp_path / "box")
    (source / "deep" / "link").unlink()
    os.mkfifo(source / "deep" / "pipe")
    with raises_error("pipe-in-artefact", where="store/entry/deep/pipe"):
        expose(source, tmp_path / "box")


def test_a_link_that_appears_after_the_files_were_listed_is_not_followed(tmp_path, monkeypatch):
    """Neither of a file nor of a folder on the way to it; and no pipe blocks."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x.txt").write_text("hunter2")
    folder = tmp_path / "attacks" / "m"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "x.txt").write_text("mine")
    listed = module_files(folder)
    monkeypatch.setattr(mounts, "module_files", lambda _: listed)
    monkeypatch.setattr("harness.config.module_files.module_files", lambda _: listed)
    (folder / "sub").rename(folder / "old")
    for number, put in enumerate((
        lambda: (folder / "sub").symlink_to(secret),
        lambda: ((folder / "sub").mkdir(), (folder / "sub/x.txt").symlink_to(secret / "x.txt")),
        lambda: ((folder / "sub").mkdir(), os.mkfifo(folder / "sub/x.txt")),
    )):  # fmt: skip
        put()
        kind = "pipe" if number == 2 else "link"
        with pytest.raises(UserError, match=rf"attacks/m/sub/x.txt: a (named )?{kind} in a"):
            mounts.expose_module(folder, tmp_path / f"box{number}")
        with pytest.raises(UserError, match=rf"attacks/m/sub/x.txt: a (named )?{kind} in a"):
            file_digests(folder)
        shutil.rmtree(folder / "sub") if number else (folder / "sub").unlink()
    assert "hunter2" not in "".join(p.read_text() for p in tmp_path.glob("box*/**/x.txt"))
