"""Packed arrays of records: what is written is read back, and what is malformed is refused."""

import base64
import hashlib
import json
import tracemalloc
import zlib

import numpy as np
import pytest

from harness.judge.metrics import Comparisons, judge_flips
from harness.report.worst_case import decode
from harness.results import codec
from harness.results.ensembles import score_ensemble
from harness.results.records import Record

RNG = np.random.default_rng(0)


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def judged(scale: float = 1.0, n: int = 300, ties: bool = False) -> tuple:
    """An edited training set whose clean ranker's outputs are large or small."""
    rng = np.random.default_rng(1)
    clean, attacked = rng.standard_normal((2, 12, 1)) * scale
    if ties:
        clean = np.round(clean / scale) * scale
    first = rng.integers(0, 12, n)
    y = np.column_stack(
        [first, (first + rng.integers(1, 12, n)) % 12, rng.choice([-1, 1], n), np.zeros(n, int)]
    )
    edited = y.copy()
    edited[rng.permutation(n)[:90], 2] *= -1
    found = judge_flips(Comparisons(y, clean, attacked), edited, Comparisons(y, clean, attacked))
    return found, codec.pack_flips(found, ["smiling"])


# What is written, byte for byte: records in git hold it.


def test_the_bytes_of_each_kind():
    assert codec.pack_bits(np.array([1, 0, 1, 1, 0, 0, 0, 0, 1], bool)) == "sIA="
    assert codec.pack_bits(np.zeros(0, bool)) == ""
    counts = RNG.integers(0, 1000, (3, 2, 3))
    little = b"".join(int(v).to_bytes(4, "little") for v in counts.ravel())
    assert codec.pack_counts(counts) == text(zlib.compress(little, 9))
    wide = counts[0, :, :2] * 2**33
    little = b"".join(int(v).to_bytes(8, "little") for v in wide.ravel())
    assert codec.pack_moves(wide) == text(zlib.compress(little, 9))


def test_outcomes_name_their_examples():
    packed = codec.pack_outcomes({"before": np.array([1, 0], bool)}, np.array([7, 8]))
    ids = (7).to_bytes(8, "little") + (8).to_bytes(8, "little")
    assert packed == {"ids": hashlib.sha256(ids).hexdigest(), "n": 2, "before": "gA=="}


def test_distances_come_back_and_are_never_shorter():
    distances = np.array([0.0, 0.1, 1 / 3, np.inf, 7e-5])
    part = {"n": 5, "distances": codec.pack_distances(distances)}
    found = codec.unpack_distances(part)
    assert (found >= distances).all()
    assert np.allclose(found, distances, rtol=1e-6)
    assert codec.unpack_distances({"n": 5}) is None


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_what_is_no_distance_is_refused(value):
    packed = codec._deflated(np.array([value]), "<f4")
    with pytest.raises(ValueError, match="a distance is below 0"):
        codec.unpack_distances({"n": 1, "distances": packed})


def test_distances_of_another_number_of_examples_are_refused():
    with pytest.raises(ValueError, match="expected 24 bytes"):
        codec.unpack_distances({"n": 6, "distances": codec.pack_distances(np.zeros(5))})


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000])
def test_bits_come_back(n):
    bits = RNG.random(n) < 0.5
    found = codec.unpack_bits(codec.pack_bits(bits), n)
    assert found.dtype == bool
    assert found.tolist() == bits.tolist()


@pytest.mark.parametrize("shape", [(5, 3, 4), (0, 3, 4), (1, 1, 2)])
def test_counts_come_back(shape):
    counts = RNG.integers(0, 2**32, shape)
    held = json.loads(json.dumps({"shape": list(shape), "before": codec.pack_counts(counts)}))
    found = codec.unpack_confusions(held, "before")
    assert (found.dtype, found.shape) == (np.uint32, shape)
    assert (found == counts).all()


def test_moves_come_back():
    moves = RNG.integers(0, 2**62, (4, 4))
    assert (codec.unpack_moves(codec.pack_moves(moves), 3) == moves).all()


def test_outcomes_come_back_without_other_fields():
    outcomes = {name: RNG.random(11) < 0.5 for name in codec.OUTCOMES}
    held = codec.pack_outcomes(outcomes, np.arange(11)) | {"later": "?"}
    found = codec.unpack_outcomes(held)
    assert {name: bits.tolist() for name, bits in found.items()} == {
        name: bits.tolist() for name, bits in outcomes.items()
    }


SCALES = [5e-324, 1e-310, 1e-40, 1e-7, 1.0, 1e5, 1e30, 1e38, 1e300]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("scale", SCALES)
def test_flips_come_back_with_exact_counts(scale, ties):
    found, packed = judged(scale, ties=ties)
    flip = codec.unpack_flips(json.loads(json.dumps(packed, allow_nan=False)))
    assert flip.rows.tolist() == found.flipped.nonzero()[0].tolist()
    assert flip.edits.sum() == len(flip.rows) == 90
    assert (flip.edits <= flip.train).all()
    for name in ("edges", "train", "edits", "wrong", "attacked"):
        assert getattr(flip, name).tolist() == getattr(found, name).tolist()
    assert flip.places == pytest.approx(found.decisions / found.edges[-1], abs=1e-3)


def test_a_decision_that_is_not_finite_has_no_place_and_no_bin():
    found, _ = judged()
    found.decisions[:3] = [np.nan, np.inf, -np.inf]
    flip = codec.unpack_flips(codec.pack_flips(found, []))
    assert np.isnan(flip.places[:3]).all()
    assert np.isfinite(flip.places[3:]).all()


def older(found, packed):
    """The same flips as a record held them before."""
    values = found.decisions.astype("<f2")
    held = {name: value for name, value in packed.items() if name not in ("places", "edits")}
    return held | {"decisions": text(zlib.compress(values.tobytes(), 9))}


def test_older_records_are_read():
    found, packed = judged()
    flip = codec.unpack_flips(older(found, packed))
    assert flip.edits.sum() == 90
    assert np.abs(flip.edits - found.edits).sum() <= 4  # 16 bits move values beside an edge
    assert flip.places == pytest.approx(found.decisions / found.edges[-1], abs=1e-3)


@pytest.mark.filterwarnings("ignore:overflow")
def test_older_records_with_infinite_values_keep_every_flip_within_the_picture():
    flip = codec.unpack_flips(older(*judged(1e6)))
    assert flip.edits.sum() == 90
    assert np.abs(flip.places).max() == 1


# What is malformed.

BITS = [
    (None, 3), (3, 3), ("?", 3), ("oA", 3), ("oA==\n", 3), ("öA==", 3), ("oA==", 9), ("oA==", 0),
    ("oA==", -1), ("oA==", "3"), ("oA==", 3.0), ("oA==", None), ("", 2**62), ("oA==", 10**30),
]  # fmt: skip


@pytest.mark.parametrize(("packed", "n"), BITS)
def test_malformed_bits(packed, n):
    with pytest.raises(ValueError, match=r"\w"):
        codec.unpack_bits(packed, n)


GOOD = codec.pack_counts(np.ones((2, 3), int))
SHAPES = [
    None, 6, "23", {}, [], [2], [2, 2], [2, 4], [2, -3], [-2, -3], [2, 3.0], ["2", "3"], [None],
    [2**32, 2**32], [2**62, 4], [10**30], [1] * 100 + [6], [[2, 3]],
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_malformed_shapes(shape):
    with pytest.raises(ValueError, match=r"\w"):
        codec.unpack_counts(GOOD, shape)


RAW = zlib.compress(np.ones((2, 3), "<u4").tobytes(), 9)
STREAMS = {
    "none": None,
    "number": 1,
    "not base64": "!" + GOOD,
    "no stream": text(b"abc"),
    "empty": "",
    "cut": text(RAW[:-1]),
    "cut in the middle": text(RAW[: len(RAW) // 2]),
    "wrong check sum": text(RAW[:-1] + bytes([RAW[-1] ^ 1])),
    "more behind": text(RAW + b"x"),
    "longer": codec.pack_counts(np.ones((2, 4), int)),
    "shorter": codec.pack_counts(np.ones((2, 2), int)),
    "needs a dictionary": text(b"\x78\xbb\x00\x00\x00\x01\x03\x00"),
}


@pytest.mark.parametrize("packed", STREAMS.values(), ids=STREAMS)
def test_malformed_streams(packed):
    with pytest.raises(ValueError, match=r"\w"):
        codec.unpack_counts(packed, [2, 3])


BROKEN = [
    ("n", None), ("n", 10), ("flipped", ""), ("flipped", None), ("places", None), ("places", ""),
    ("places", codec.pack_counts(np.zeros(44))), ("edges", [0.0]), ("edges", [0.0] * 41),
    ("edges", list(range(41, 0, -1))),
    ("edges", ["0"] * 41), ("edges", {}), ("edges", [1e999] * 41),
    ("train", None), ("train", [1] * 39), ("train", [-1] * 40), ("train", [1.5] * 40),
    ("train", [10**30] * 40), ("edits", "x" * 40), ("attacked", [[1]] * 40), ("wrong", 7),
    ("attributes", 3), ("edges", [*range(40), 10**400]),
    ("places", text(zlib.compress(np.full(90, 2, "<f2").tobytes(), 9))),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BROKEN)
def test_malformed_flips(field, value):
    _, packed = judged()
    with pytest.raises(ValueError, match=r"\w"):
        codec.unpack_flips(packed | {field: value})


@pytest.mark.parametrize("field", ["n", "flipped", "places", "edges", "train", "edits", "wrong"])
def test_flips_without_a_field(field):
    _, packed = judged()
    del packed[field]
    with pytest.raises(ValueError, match=f"has no {field}"):
        codec.unpack_flips(packed)


def test_a_small_text_does_not_become_gigabytes(monkeypatch):
    packer = zlib.compressobj(1)
    bomb = text(b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush())
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected 800 bytes"):
            codec.unpack_moves(bomb, 9)
        monkeypatch.setattr(codec, "MOST_BYTES", 1 << 20)
        with pytest.raises(ValueError, match="expected a size of 0 to 1,048,576"):
            codec.unpack_counts(bomb, [1 << 12, 1 << 12])  # what it really holds
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def member(**changes):
    """One ensemble member's record, with right and fooled examples."""
    outcomes = {
        "before": np.array([1, 1, 1, 0], bool),
        "after": np.array([1, 1, 0, 0], bool),
        "success": np.array([0, 0, 1, 0], bool),
        "eligible": np.array([1, 1, 1, 0], bool),
    }
    held = codec.pack_outcomes(outcomes, np.arange(4)) | changes
    return Record.model_construct(status="ok", metrics={}, outcomes=held)


def test_an_ensemble_reads_its_members():
    other = member(after=codec.pack_bits(np.array([0, 1, 1, 0], bool)))
    found = score_ensemble("classification", [member(), other])
    assert found.metrics["robust_accuracy"].value == 0.25
    assert list(found.outcomes) == ["ids", "n", "before", "after", "success", "eligible"]
    assert found.outcomes["after"] == codec.pack_bits(np.array([0, 1, 0, 0], bool))


@pytest.mark.parametrize("changes", [{"after": "!"}, {"after": ""}, {"n": 2**40}, {"n": "4"}])
def test_a_member_that_cannot_be_read_blocks_its_ensemble(changes):
    found = score_ensemble("classification", [member(), member(**changes)])
    assert found.status == "blocked"
    assert found.reason.startswith("a member's record cannot be read")


@pytest.mark.parametrize(
    "shape", [[2**32, 2**32, 2], [2**62, 4], [4], [4, 1, 1], "ab", None, [2, 1, 2.0]]
)
def test_confusions_of_an_impossible_shape_are_no_outcome(shape):
    packed = codec.pack_counts(np.ones((2, 1, 2), int))
    held = {"shape": [2, 1, 2], "before": packed, "after": packed}
    fields = {"outcomes": None, "stages": {}}
    assert decode(Record.model_construct(**fields, confusions=held)).size == 2
    assert decode(Record.model_construct(**fields, confusions=held | {"shape": shape})) is None
