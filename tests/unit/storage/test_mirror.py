from pathlib import Path

import pytest

from harness.storage.mirror import Mirror
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store
from tests.support.errors import raises_error

KEY = "ab" * 32


def entry(store: Store, folder: Path) -> None:
    out = folder / "out"
    (out / "outputs").mkdir(parents=True)
    (out / "outputs" / "x.txt").write_text("kept")
    store.commit(KEY, out, ReceiptDraft("train", "ok"))


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_an_entry_travels_whole(tmp_path: Path, scheme: str) -> None:
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    entry(first, tmp_path)
    mirror = Mirror(f"{scheme}{tmp_path}/mirror")
    mirror.push(first, KEY)
    assert mirror.pull(second, KEY)
    assert second.verify(KEY)
    assert (second.part(KEY, "outputs") / "x.txt").read_text() == "kept"
    assert second.receipt(KEY) == first.receipt(KEY)
    assert not mirror.pull(second, "cd" * 32)


def test_a_damaged_entry_is_not_taken(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    entry(first, tmp_path)
    mirror = Mirror(str(tmp_path / "mirror"))
    mirror.push(first, KEY)
    (tar,) = (tmp_path / "mirror").rglob("*.tar")
    tar.write_bytes(tar.read_bytes().replace(b"kept", b"lost"))
    assert not mirror.pull(second, KEY)
    tar.write_bytes(b"not a tar")
    assert not mirror.pull(second, KEY)
    assert second.receipt(KEY) is None


def test_an_unknown_protocol_is_one_line() -> None:
    with raises_error("mirror-unknown-protocol", where="--mirror"):
        Mirror("nosuch://place")
