"""The store: entries by key, whole or not at all."""

import errno
import os
import threading
from pathlib import Path

import pytest

from harness.storage import store as module
from harness.storage.receipt import RECEIPT, ReceiptDraft
from harness.storage.store import Store, plain_files
from tests.support.errors import raises_error

KEY, OTHER = "ab" + "0" * 62, "cd" + "1" * 62


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def output(folder, **files):
    """An output folder: ``part__name=text``."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folder.mkdir(exist_ok=True)
    return folder


def commit(store, key=KEY, status="ok", **files):
    made = output(store.root.parent / f"out-{threading.get_ident()}", **files)
    return store.commit(key, made, ReceiptDraft("train", status))


def left_aside(store):
    return [path.name for path in store.aside.iterdir()]


def test_an_entry_is_moved_in_whole_with_a_receipt(store):
    commit(store, weights="w", part__x="1")
    assert store.has(KEY)
    assert store.has(KEY, "part")
    assert (store.part(KEY, "part") / "x").read_text() == "1"
    receipt = store.receipt(KEY)
    assert receipt.key == KEY
    assert set(receipt.files) == {"weights", "part/x"}
    assert receipt.removed == ()
    assert not left_aside(store)
    assert list(store.entries()) == [KEY]
    assert store.size(KEY) > 2


def test_what_is_not_there_is_not_there(store):
    assert not store.has(KEY)
    assert store.receipt(KEY) is None
    assert not store.verify(KEY)
    store.drop(KEY)
    store.remove_part(KEY, "part")
    assert list(store.entries()) == []


@pytest.mark.parametrize("damage", ["change", "grow", "remove", "receipt", "schema"])
def test_a_corrupt_entry_is_dropped(store, damage):
    commit(store, weights="w", part__x="1")
    file, receipt = store.path(KEY) / "weights", store.path(KEY) / RECEIPT
    match damage:
        case "change":
            file.write_text("v")
        case "grow":
            file.write_text("ww")
        case "remove":
            file.unlink()
        case "receipt":
            receipt.write_text(receipt.read_text()[:-20])
        case "schema":
            receipt.write_text('{"schema": "receipt/0"}')
    fresh = Store(store.root)
    assert not fresh.verify(KEY)
    assert not fresh.has(KEY)
    commit(fresh, weights="w", part__x="1")
    assert Store(store.root).verify(KEY)


def test_an_entry_is_verified_once_a_process(store, monkeypatch):
    commit(store, weights="w")
    fresh = Store(store.root)
    assert fresh.verify(KEY)
    monkeypatch.setattr(module, "file_digest", lambda path: pytest.fail("read again"))
    assert fresh.verify(KEY)


def test_a_part_is_removed_and_the_rest_stays_valid(store):
    commit(store, weights="w", attacked__x="1", other__x="2")
    store.remove_part(KEY, "attacked")
    store.remove_part(KEY, "attacked")
    assert store.has(KEY)
    assert store.has(KEY, "other")
    assert not store.has(KEY, "attacked")
    assert not store.part(KEY, "attacked").exists()
    assert store.receipt(KEY).removed == ("attacked",)
    assert Store(store.root).verify(KEY)


def test_a_part_whose_removal_was_interrupted_counts_as_removed(store, monkeypatch):
    commit(store, weights="w", attacked__x="1")
    monkeypatch.setattr("harness.storage.store.remove_tree", lambda path: None)
    store.remove_part(KEY, "attacked")
    (store.part(KEY, "attacked") / "x").write_text("half")
    assert not store.has(KEY, "attacked")
    assert Store(store.root).verify(KEY)


def test_making_an_entry_again_brings_a_removed_part_back(store):
    commit(store, weights="w", attacked__x="1")
    store.remove_part(KEY, "attacked")
    receipt = commit(store, weights="w", attacked__x="1")
    assert receipt.removed == ()
    assert store.has(KEY, "attacked")
    assert (store.part(KEY, "attacked") / "x").read_text() == "1"
    assert Store(store.root).verify(KEY)
    assert not left_aside(store)


def test_failing_to_make_a_removed_part_again_is_a_failure(store):
    commit(store, weights="w", attacked__x="1")
    store.remove_part(KEY, "attacked")
    assert commit(store, status="timeout").status == "timeout"
    assert store.receipt(KEY).status == "timeout"


def test_a_store_below_is_read_and_never_written(store, tmp_path):
    for key in (KEY, OTHER):
        commit(store, key=key, weights="below", attacked__x="1")
    before = {p: p.read_bytes() for p in store.root.rglob("*") if p.is_file()}
    above = Store(tmp_path / "above", below=store, hidden=frozenset({OTHER}))
    assert above.verify(KEY)
    assert not above.has(OTHER)
    above.remove_part(KEY, "attacked")
    above.drop(KEY)
    assert above.has(KEY, "attacked")
    made = output(tmp_path / "out", weights="above")
    above.commit(OTHER, made, ReceiptDraft("train", "ok"))
    assert (above.path(OTHER) / "weights").read_text() == "above"
    assert {p: p.read_bytes() for p in store.root.rglob("*") if p.is_file()} == before


def test_who_comes_second_throws_his_copy_away(store):
    commit(store, weights="first")
    receipt = commit(store, weights="second", status="timeout")
    assert receipt.status == "ok"
    assert (store.path(KEY) / "weights").read_text() == "first"
    assert not left_aside(store)


def test_an_entry_without_a_readable_receipt_is_replaced(store):
    commit(store, weights="old")
    (store.path(KEY) / RECEIPT).unlink()
    commit(store, weights="new")
    assert (store.path(KEY) / "weights").read_text() == "new"
    assert Store(store.root).verify(KEY)


def test_many_commit_one_key_at_once_and_one_whole_entry_is_left(store):
    stores = [Store(store.root) for _ in range(8)]
    failures = []

    def work(mine):
        try:
            for _ in range(20):
                commit(mine, weights="w", part__x="1")
                assert mine.receipt(KEY) is not None
        except Exception as error:  # noqa: BLE001 - told in the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert Store(store.root).verify(KEY)
    assert not left_aside(store)


def test_an_interrupted_commit_leaves_no_entry(store, monkeypatch):
    monkeypatch.setattr(
        module, "rename_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        commit(store, weights="w")
    assert not store.has(KEY)
    assert list(store.entries()) == []


@pytest.mark.parametrize("what", ["link", "dangling", "folder link", "fifo", "hard link", "socket"])
def test_anything_but_plain_files_is_refused(store, tmp_path, what):
    out = output(tmp_path / "out", part__x="1")
    strange = out / "part" / "strange"
    match what:
        case "link":
            strange.symlink_to("/etc/passwd")
        case "dangling":
            strange.symlink_to("nowhere")
        case "folder link":
            strange.symlink_to("/etc", target_is_directory=True)
        case "fifo":
            os.mkfifo(strange)
        case "hard link":
            os.link(out / "part" / "x", strange)
        case "socket":
            import socket

            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(strange))
    with pytest.raises(ValueError, match=r"strange|x, a hard link"):
        store.commit(KEY, out, ReceiptDraft("train", "ok"))
    assert not store.has(KEY)


def test_an_output_folder_that_is_a_link_is_refused(store, tmp_path):
    output(tmp_path / "elsewhere", x="1")
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(ValueError, match="out"):
        store.commit(KEY, tmp_path / "out", ReceiptDraft("train", "ok"))
    assert (tmp_path / "elsewhere" / "x").exists()


def test_plain_files_are_listed_in_order(tmp_path):
    out = output(tmp_path / "out", b__x="1", a="2", b__a__z="3")
    assert [str(p.relative_to(out)) for p in plain_files(out)] == ["a", "b/a/z", "b/x"]


FULL = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES]


def failing(code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", FULL)
@pytest.mark.parametrize("step", ["write_json", "rename_folder"])
def test_a_full_or_read_only_disk_is_one_clear_line(store, monkeypatch, code, step):
    commit(store, key=OTHER, weights="kept")
    monkeypatch.setattr(module, step, failing(code))
    with raises_error("stage-on-a-full-disk", where="<tmp>/store", reason=os.strerror(code)):
        commit(store, weights="w")
    assert Store(store.root).verify(OTHER)


@pytest.mark.parametrize("code", FULL)
def test_a_store_that_cannot_be_written_is_one_clear_line_at_once(tmp_path, monkeypatch, code):
    monkeypatch.setattr(Path, "write_text", failing(code))
    with raises_error("store-on-a-full-disk", where="<tmp>/store", reason=os.strerror(code)):
        Store(tmp_path / "store")


def test_other_errors_are_bugs(store, monkeypatch):
    monkeypatch.setattr(module, "write_json", failing(errno.EIO))
    with pytest.raises(OSError, match="error"):
        commit(store, weights="w")
