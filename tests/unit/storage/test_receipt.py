"""Receipts: the bytes of ``receipt.json`` stay what they are, and what is no receipt is refused."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from harness.common.files import write_json
from harness.storage.receipt import RECEIPT, Receipt, ReceiptDraft
from harness.storage.store import Store

KEY = "ab" + "0" * 62
FULL = ReceiptDraft(
    kind="attack",
    status="ok",
    seconds=1.2345,
    hook_seconds=0.5,
    peak_memory=7,
    passes={"forward": 3, "backward": 2},
    exit_code=0,
    modules={"victim": "victims/cnn", "attack": "attacks/pgd"},
    run="0123456789ab",
    image="sha256:0f",
    refused_queries=4,
)
GOLDEN = """{
 "by": null,
 "device_memory": null,
 "exit_code": 0,
 "files": {
  "attacked/x.npy": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
  "log.txt": "fb46c79b7eb7af175f493755b491afa9b25574a9230b8822c629f224a2df4e58"
 },
 "hook_seconds": 0.5,
 "image": "sha256:0f",
 "key": "ab00000000000000000000000000000000000000000000000000000000000000",
 "kind": "attack",
 "modules": {
  "attack": "attacks/pgd",
  "victim": "victims/cnn"
 },
 "oracle": {
  "refused": 4
 },
 "passes": {
  "backward": 2,
  "forward": 3
 },
 "peak_memory": 7,
 "reason": "",
 "removed": [],
 "run": "0123456789ab",
 "schema": "receipt/1",
 "seconds": 1.2345,
 "status": "ok"
}"""
HEALTHY = replace(FULL, image=None, refused_queries=None, health={"gradient_gain": 5.5})
GOLDEN_HEALTHY = (
    GOLDEN.replace(' "image": "sha256:0f",\n', "")
    .replace(' "oracle": {\n  "refused": 4\n },\n', "")
    .replace(' "hook_seconds"', ' "health": {\n  "gradient_gain": 5.5\n },\n "hook_seconds"')
)
FAILED = ReceiptDraft("data", "missing", reason="no", by="harness", run="0123456789ab")
GOLDEN_FAILED = """{
 "by": "harness",
 "device_memory": null,
 "exit_code": null,
 "files": {},
 "hook_seconds": 0.0,
 "key": "ab00000000000000000000000000000000000000000000000000000000000000",
 "kind": "data",
 "modules": {},
 "passes": {},
 "peak_memory": 0,
 "reason": "no",
 "removed": [],
 "run": "0123456789ab",
 "schema": "receipt/1",
 "seconds": 0.0,
 "status": "missing"
}"""


@pytest.mark.parametrize(
    ("draft", "files", "golden"),
    [
        (FULL, {"attacked/x.npy": b"1", "log.txt": b"said"}, GOLDEN),
        (HEALTHY, {"attacked/x.npy": b"1", "log.txt": b"said"}, GOLDEN_HEALTHY),
        (FAILED, {}, GOLDEN_FAILED),
    ],
)
def test_the_bytes_of_a_receipt_are_pinned(tmp_path, draft, files, golden):
    store, out = Store(tmp_path / "store"), tmp_path / "out"
    (out / "attacked").mkdir(parents=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    receipt = store.commit(KEY, out, draft)
    path = store.path(KEY) / RECEIPT
    assert path.read_text() == golden
    assert Receipt.from_json(golden) == receipt == store.receipt(KEY)
    write_json(path, Receipt.from_json(golden).to_json())
    assert path.read_text() == golden


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"schema": "receipt/0"}',
        '{"schema": "receipt/1"}',
        pytest.param(GOLDEN[:-9], id="cut"),
    ],
)
def test_what_is_no_receipt_is_refused(text):
    with pytest.raises(ValueError, match=r"receipt/1|Expecting|Unterminated"):
        Receipt.from_json(text)


@pytest.mark.parametrize("change", [{"strange": 1}, {"removed": None}, {"oracle": {"no": 1}}])
def test_a_receipt_with_a_wrong_field_is_refused(change):
    with pytest.raises(ValueError, match="receipt/1"):
        Receipt.from_json(json.dumps(json.loads(GOLDEN) | change))


def test_a_receipt_is_frozen():
    with pytest.raises(FrozenInstanceError):
        FULL.status = "timeout"
