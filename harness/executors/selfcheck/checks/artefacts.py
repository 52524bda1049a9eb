"""Promises about the inputs and the output of a stage."""

from __future__ import annotations

import hashlib
import os

from harness.common.keys import file_digest, tree_digest
from harness.executors.outcome import copy_tail
from harness.executors.selfcheck.context import SelfCheckContext
from harness.executors.selfcheck.errors import expect
from harness.executors.selfcheck.promise_check import promise
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store

BIG = 200 << 20
LINES = 500_000
ODD_NAMES = ("two words", "-rf", "a\nb", "'\"\\", "ünïcode-你好-\U0001f600", "%s{x}", "x" * 255)


@promise
def big_output(context: SelfCheckContext) -> None:
    """A file of 200 MB comes back intact."""
    stage = context.run("artefacts.big_file", size=BIG)
    stage.expect("ok")
    wanted = hashlib.sha256()
    for _ in range(BIG >> 20):
        wanted.update(bytes(range(256)) * 4096)
    expect(file_digest(stage.state / "big.bin") == wanted.hexdigest(), "its bytes changed")
    (stage.state / "big.bin").unlink()


@promise
def big_log(context: SelfCheckContext) -> None:
    """A log of 50 MB does no harm; its head and tail are stored."""
    stage = context.run("artefacts.big_log", lines=LINES)
    stage.expect("ok")
    shortened = context.root / "log.txt"
    copy_tail(stage.job.folder / "log.txt", shortened)
    text = shortened.read_text(encoding="utf-8")
    ends = text.startswith("the first line: ε\n") and text.endswith(
        "the last line: 你好 \U0001f600\n"
    )
    expect(ends and len(text) < 1 << 20, f"{len(text)} characters, {text[:40]!r} … {text[-40:]!r}")


@promise
def odd_names(context: SelfCheckContext) -> None:
    """Odd file names and empty folders arrive and can be stored."""
    stage = context.run("artefacts.odd_names", names=ODD_NAMES)
    stage.expect("ok")
    names = {name for name in os.listdir(stage.state) if (stage.state / name).is_file()}
    wanted = {*ODD_NAMES, os.fsdecode(b"bytes-\xff\xfe")}
    expect(names == wanted, f"missing {sorted(wanted - names)}, more {sorted(names - wanted)}")
    store = Store(context.root / "store")
    store.commit(stage.job.key, stage.out, ReceiptDraft("learn", "ok"))
    again = Store(context.root / "store")
    expect(again.verify(stage.job.key), "the store does not recognise what it stored")


@promise
def strange_output(context: SelfCheckContext) -> None:
    """Links, FIFOs and hard links in the output are refused; the host follows none."""
    target = context.root / "elsewhere" / "precious.txt"
    target.parent.mkdir()
    target.write_text("precious", encoding="utf-8")
    before = tree_digest(target.parent)
    kinds = ("link", "fifo", "hard link", "log", "folder", "depth")
    store = Store(context.root / "store")
    for kind in kinds:
        stage = context.run("artefacts.strange", kind=kind, target=str(target))
        stage.expect("contract_violation", "output")
        copy_tail(stage.job.folder / "log.txt", stage.out / "log.txt")
        store.commit(stage.job.key, stage.out, ReceiptDraft("learn", "contract_violation"))
        expect(tree_digest(target.parent) == before, f"{kind}: a file of the host was changed")
        expect(os.listdir(store.path(stage.job.key)) != [], f"{kind}: nothing was stored")


@promise
def inputs_in_memory(context: SelfCheckContext) -> None:
    """Changes to granted arrays stay in the memory of the stage, and are found there."""
    before = tree_digest(context.data)
    context.run("artefacts.changes_in_memory").expect("contract_violation", "in place")
    expect(tree_digest(context.data) == before, "a granted file changed")


@promise
def inputs_on_disk(context: SelfCheckContext) -> None:
    """Granted files are read-only."""
    own = context.jobs.copy_of_data()
    report = context.report("artefacts.changes_on_disk", data=own, path="x.npy")
    expect("refused" in report, "a granted file was written to")
