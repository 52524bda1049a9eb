"""Maps of a cell from its artefacts: boxes follow the crop, what is missing is said."""

import numpy as np
import pytest

from harness.common.files import save_array, write_json
from harness.results.attention import load_attention
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store

STAGES = {
    "slice": "ab" * 32,
    "measure": "cd" * 32,
    "maps_before": "12" * 32,
    "maps_after": "34" * 32,
}
SPEC = {"task": "classification", "outputs": 2, "shape": [1, 8, 8], "stored": [1, 12, 12]}


def commit(store, folder, role, arrays, status="ok", spec=None):
    out = folder / role
    out.mkdir()
    for name, array in arrays.items():
        save_array(out / name, np.array(array))
    if spec:
        write_json(out / "spec.json", spec)
    reason = "" if status == "ok" else "the last stage answers [2, 16], which is no map"
    store.commit(STAGES[role], out, ReceiptDraft("maps", status, reason, by=None))


@pytest.fixture
def store(tmp_path):
    """Two examples: both triggered below and to the right, one with a box outside the middle."""
    found = Store(tmp_path / "store")
    # stored pictures of 12 pixels, whose middle of 8 networks see: 2 go on each side
    boxes = [[2, 2, 6, 6], [0, 0, 2, 12]]
    commit(found, tmp_path, "slice", {"boxes/boxes.npy": boxes}, spec=SPEC)
    commit(found, tmp_path, "measure", {"changed/boxes.npy": [[6, 6, 8, 8]] * 2})
    for role, cells in (("maps_before", [[1, 0], [0, 0]]), ("maps_after", [[0, 0], [0, 1]])):
        commit(found, tmp_path, role, {"maps/activation.npy": np.float32([cells] * 2)})
    return found


def test_boxes_of_stored_pictures_are_those_of_their_middle(store):
    found = load_attention(STAGES, store)
    looks = found.looks["activation"]
    assert looks.places.objects.tolist() == [[0, 0, 4, 4], [0, 0, 0, 0]]
    assert looks.object_clean.mass[0] == pytest.approx(1)
    assert looks.at_trigger.tolist() == [True, True]
    assert found.notes == (
        "attention leaves out: 1 of 2 examples without an object's box inside the picture",
    )
    figures = found.figures["activation"]
    assert figures["at_object_clean"].to_json()["n"] == 1
    assert figures["object_mass_attacked"].value == pytest.approx(0)


def test_a_network_without_maps_has_none_and_says_why(store, tmp_path):
    store.drop(STAGES["maps_after"])
    (tmp_path / "again").mkdir()
    commit(store, tmp_path / "again", "maps_after", {}, status="not_applicable")
    found = load_attention(STAGES, store)
    assert found.looks == {}
    assert found.notes == ("no attention maps: the last stage answers [2, 16], which is no map",)


def test_a_cell_that_keeps_none_says_nothing(store):
    found = load_attention({"slice": STAGES["slice"]}, store)
    assert (found.looks, found.notes) == ({}, ())
