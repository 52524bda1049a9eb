"""Files of the host side."""

import os

import pytest

from harness.common.files import remove_tree
from tests.support.folders import deep_folder


@pytest.fixture
def tree(tmp_path):
    """Folders in folders, with files, links, a socket's like, and one that nobody may enter."""
    top = tmp_path / "place" / "top"
    for name in ("a/b/c", "a/d", "e"):
        (top / name).mkdir(parents=True)
    for name in ("f", "a/f", "a/b/f", "a/b/c/f", "e/f"):
        (top / name).write_text(name)
    (top / "link").symlink_to(tmp_path)
    os.mkfifo(top / "e" / "pipe")
    (top / "a" / "d").chmod(0)
    return top


def test_a_tree_goes_and_what_links_lead_to_stays(tree, tmp_path):
    remove_tree(tree)
    assert os.listdir(tree.parent) == []
    assert tmp_path.is_dir()


def test_a_link_goes_and_not_its_target(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    remove_tree(tmp_path / "link")
    assert os.listdir(tmp_path) == ["kept"]


def test_a_tree_deeper_than_a_path_may_be_goes(tmp_path):
    """Longer than a path may be, and deeper than Python's stack."""
    with deep_folder(tmp_path / "x", levels=1100, name="folder"):
        remove_tree(tmp_path / "x")
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("moment", range(14))
def test_a_removal_that_is_killed_leaves_nothing_elsewhere(tree, monkeypatch, moment):
    """At whatever moment: what is left lies where it lay, and the next removal takes it."""
    calls = []

    def counted(real):
        def call(*arguments):
            calls.append(arguments)
            if len(calls) > moment:
                raise KeyboardInterrupt
            return real(*arguments)

        return call

    with monkeypatch.context() as patched:
        for name in ("rename", "unlink"):
            patched.setattr(os, name, counted(getattr(os, name)))
        try:
            remove_tree(tree)
        except KeyboardInterrupt:
            assert os.listdir(tree.parent) == ["top"]
        else:
            assert moment >= 12  # seven entries and five folders
    remove_tree(tree)
    assert os.listdir(tree.parent) == []
