"""Promises about what goes into a stage and what comes out."""

from __future__ import annotations

import hashlib
import os

from harness.common.keys import file_digest, tree_digest
from harness.executors.outcome import copy_tail
from harness.executors.selfcheck.context import Rig, check, expect
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store

BIG = 200 << 20
LINES = 500_000
ODD_NAMES = ("two words", "-rf", "a\nb", "'\"\\", "ünïcode-你好-\U0001f600", "%s{x}", "x" * 255)


@check
def big_output(rig: Rig) -> None:
    """A file of 200 MB comes back intact."""
    seen = rig.see("artefacts.big_file", size=BIG)
    seen.ended("ok")
    wanted = hashlib.sha256()
    for _ in range(BIG >> 20):
        wanted.update(bytes(range(256)) * 4096)
    expect(file_digest(seen.state / "big.bin") == wanted.hexdigest(), "its bytes changed")
    (seen.state / "big.bin").unlink()


@check
def big_log(rig: Rig) -> None:
    """A log of 50 MB does no harm, and is kept as head and tail."""
    seen = rig.see("artefacts.big_log", lines=LINES)
    seen.ended("ok")
    kept = rig.root / "log.txt"
    copy_tail(seen.job.folder / "log.txt", kept)
    text = kept.read_text(encoding="utf-8")
    ends = text.startswith("the first line: ε\n") and text.endswith(
        "the last line: 你好 \U0001f600\n"
    )
    expect(ends and len(text) < 1 << 20, f"{len(text)} characters, {text[:40]!r} … {text[-40:]!r}")


@check
def odd_names(rig: Rig) -> None:
    """Odd file names and empty folders arrive and can be stored."""
    seen = rig.see("artefacts.odd_names", names=ODD_NAMES)
    seen.ended("ok")
    names = {name for name in os.listdir(seen.state) if (seen.state / name).is_file()}
    wanted = {*ODD_NAMES, os.fsdecode(b"bytes-\xff\xfe")}
    expect(names == wanted, f"missing {sorted(wanted - names)}, more {sorted(names - wanted)}")
    store = Store(rig.root / "store")
    store.commit(seen.job.key, seen.out, ReceiptDraft("learn", "ok"))
    again = Store(rig.root / "store")
    expect(again.verify(seen.job.key), "the store does not recognise what it stored")


@check
def strange_output(rig: Rig) -> None:
    """Links, FIFOs and hard links in the output are refused; the host follows none."""
    target = rig.root / "elsewhere" / "precious.txt"
    target.parent.mkdir()
    target.write_text("precious", encoding="utf-8")
    before = tree_digest(target.parent)
    kinds = ("link", "fifo", "hard link", "log", "folder", "depth")
    store = Store(rig.root / "store")
    for kind in kinds:
        seen = rig.see("artefacts.strange", kind=kind, target=str(target))
        seen.ended("contract_violation", "output")
        copy_tail(seen.job.folder / "log.txt", seen.out / "log.txt")
        store.commit(seen.job.key, seen.out, ReceiptDraft("learn", "contract_violation"))
        expect(tree_digest(target.parent) == before, f"{kind}: a file of the host was changed")
        expect(os.listdir(store.path(seen.job.key)) != [], f"{kind}: nothing was stored")


@check
def inputs_in_memory(rig: Rig) -> None:
    """What a stage changes in granted arrays stays in its own memory."""
    before = tree_digest(rig.data)
    report = rig.report("artefacts.changes_in_memory")
    expect(report["after"] > report["before"], "the probe changed nothing")
    expect(tree_digest(rig.data) == before, "a granted file changed")


@check
def inputs_on_disk(rig: Rig) -> None:
    """Granted files are read-only."""
    own = rig.copy_of_data()
    report = rig.report("artefacts.changes_on_disk", data=own, path="x.npy")
    expect("refused" in report, "a granted file was written to")
