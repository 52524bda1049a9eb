"""Codebooks of label representations: drawn bit for bit, read from files, described, written."""

import hashlib
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.runtime.contracts import Spec
from tests.support.labels import DIGITS, codebook, part
from tests.support.sources import shared


def published(name):
    return np.load(shared("labels") / "chen" / f"cifar10_{name}.npy").astype(np.float32)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("random", "dfa41820699fc951"),
        ("lowdim", "6907f94d04e23fb7"),
        ("uniform", "9da4612a54f97d8a"),
    ],
)
def test_a_codebook_is_drawn_as_it_was_published(name, digest):
    """The digests are those of the published arrays."""
    content = codebook(name).astype(np.float32).tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == digest


@pytest.mark.parametrize("name", ["random", "lowdim", "composite", "uniform"])
def test_a_drawn_codebook_equals_the_stored_one(name):
    assert np.array_equal(codebook(name).astype(np.float32), published(name))


def test_shuffled_labels_come_from_spoken_ones_bit_for_bit():
    found = part("codebooks").shuffle(published("speech").astype(np.float64))
    assert np.array_equal(found.astype(np.float32), published("shuffle"))


def test_recordings_make_the_spoken_labels_to_003_db():
    words = "airplane,car,bird,cat,deer,dog,frog,horse,ship,truck"
    found = codebook("speech", files=shared("labels") / "cifar10_wav", words=words)
    assert np.abs(found - published("speech")).mean() < 0.03
    assert found.min() == -80
    assert found.max() <= 0


# name, bits, RMS distances min, median, max, effective rank: the specification's table
TABLE = [
    ("uniform", 0.00, 8.9, 26.7, 80.0, 1.00),
    ("random", 12.00, 31.8, 32.7, 33.3, 8.99),
    ("lowdim", 3.32, 18.0, 33.4, 43.9, 5.76),
    ("composite", 12.00, 20.9, 24.1, 27.6, 8.10),
]
STORED = [
    ("speech", 11.35, 8.4, 16.3, 23.7, 6.39),
    ("shuffle", 11.35, 20.5, 23.3, 29.0, 8.56),
    ("bert", 11.05, 0.21, 0.25, 0.34, 8.15),
    ("glove", 5.64, 0.27, 0.77, 1.10, 5.42),
]


def assert_statistics(codebook, bits, low, median, high, rank):
    found = part("statistics").describe(codebook)
    assert found.bits == pytest.approx(bits, abs=0.005)
    digits = 0.005 if high < 2 else 0.05
    assert [found.low, found.median, found.high] == pytest.approx([low, median, high], abs=digits)
    assert found.rank == pytest.approx(rank, abs=0.005)


@pytest.mark.parametrize(("name", "bits", "low", "median", "high", "rank"), TABLE)
def test_statistics_of_drawn_labels(name, bits, low, median, high, rank):
    assert_statistics(codebook(name), bits, low, median, high, rank)


@pytest.mark.parametrize(("name", "bits", "low", "median", "high", "rank"), STORED)
def test_statistics_of_stored_labels(name, bits, low, median, high, rank):
    assert_statistics(
        codebook(name, files=shared("labels") / "chen"), bits, low, median, high, rank
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_entropy_is_varied_at_equal_distance(bits):
    found = part("statistics").describe(codebook(f"levels-{bits}-bit"))
    assert found.bits == pytest.approx(bits)
    assert 31 < found.low < found.high < 33
    assert found.rank > 8.9


@pytest.mark.parametrize("dim", [10, 50, 200, 1000, 4096])
def test_dimension_is_varied_at_equal_distance(dim):
    found = part("statistics").describe(codebook(f"simplex-{dim}"))
    assert [found.low, found.high] == pytest.approx([32, 32])
    assert found.rank == pytest.approx(9)


def test_overlap_is_varied_without_a_line():
    """As far apart in each coordinate as the published labels, which are points on a line."""
    line = part("statistics").describe(codebook("uniform-gap-10"))
    free = part("statistics").describe(codebook("offset-10"))
    assert line.rank < 1.1
    assert free.rank > 8


@pytest.mark.parametrize("classes", [2, 43, 100])
@pytest.mark.parametrize("name", ["random", "composite", "uniform", "lowdim", "offset-1"])
def test_other_numbers_of_classes(name, classes):
    spec = Spec("classification", classes, (3, 32, 32))
    found = codebook(name, spec)
    assert len(found) == classes
    if name in ("random", "composite"):  # drawn once for all
        assert np.array_equal(
            found, codebook(name, Spec("classification", 100, (1, 8, 8)))[:classes]
        )


def test_more_classes_than_a_codebook_has():
    with pytest.raises(ValueError, match="random has labels for 100 classes, the data set has 101"):
        codebook("random", Spec("classification", 101, (3, 32, 32)))


def test_all_labels_can_be_rescaled_to_one_distance():
    for name in ("random", "composite", "uniform", "lowdim", "onehot"):
        found = part("codebooks").distances(codebook(name, distance=5.0))
        assert found.mean() == pytest.approx(5)


def save(folder: Path, name: str, array) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / name, array, allow_pickle=True)
    return folder / name


GOOD = np.arange(10)[:, None] * np.ones((1, 7))


@pytest.mark.parametrize("name", ["random.npy", "cifar10_random.npy"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_stored_arrays_are_found_with_and_without_a_prefix(name, dtype, tmp_path):
    save(tmp_path / "labels", name, GOOD.astype(dtype))
    save(tmp_path / "labels", "cifar100_random.npy", np.arange(700).reshape(100, 7))
    assert np.array_equal(codebook("random", files=tmp_path / "labels"), GOOD)


def test_published_names_of_parameters(tmp_path):
    save(tmp_path / "labels", "cifar10_normal_dim=5.npy", GOOD)
    save(tmp_path / "labels", "cifar10_uniform_gap=0.1.npy", 2 * GOOD)
    assert np.array_equal(codebook("normal-dim-5", files=tmp_path / "labels"), GOOD)
    assert np.array_equal(codebook("uniform-gap-0_1", files=tmp_path / "labels"), 2 * GOOD)


def bad(change):
    found = GOOD.copy()
    change(found)
    return found


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (GOOD[:9], "9 labels, the data set has 10 classes"),
        (bad(lambda a: a.__setitem__(3, a[1])), "classes 1 and 3 have the same label"),
        (bad(lambda a: a.__setitem__((0, 0), np.nan)), "not all numbers are finite"),
        (bad(lambda a: a.__setitem__((0, 0), np.inf)), "not all numbers are finite"),
        (GOOD.astype(object), "not an array of numbers"),
        (GOOD.astype(str), "expected an array of numbers"),
        (GOOD.astype(complex), "expected an array of numbers"),
        (GOOD[:, 0], "expected an array of numbers"),
    ],
)
def test_arrays_that_are_no_codebook(array, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        codebook("random", files=save(tmp_path, "codes.npy", array))


def test_labels_that_cannot_be_drawn_need_files(tmp_path):
    for name in ("speech", "shuffle", "bert", "glove"):
        with pytest.raises(ValueError, match=f"label {name}: cannot be drawn; name its `files`"):
            codebook(name)
    with pytest.raises(ValueError, match=r"expected one glove\.npy"):
        codebook("glove", files=tmp_path)


def test_word_vectors(tmp_path):
    lines = "".join(f"w{k} {k} {k + 0.5}\n" for k in range(12))
    (tmp_path / "vectors.txt").write_text(lines)
    words = ",".join(f"w{k}" for k in range(9, -1, -1))
    found = codebook("glove", files=tmp_path / "vectors.txt", words=words)
    assert found[0].tolist() == [9, 9.5]
    with pytest.raises(ValueError, match="no vector of '0'; name the words in `words`"):
        codebook("glove", files=tmp_path / "vectors.txt")
    with pytest.raises(ValueError, match="words: 2 words, the data set has 10 classes"):
        codebook("glove", files=tmp_path / "vectors.txt", words="w1,w2")


def record(path: Path, samples, rate=24_000, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return path


def tone(seconds, rate=24_000):
    return 8000 * np.sin(2 * np.pi * 1000 * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
def test_a_recording_at_another_rate(rate, tmp_path):
    """The peak of 1 kHz stays in its band."""
    found = part("speech").spectrogram(record(tmp_path / "a.wav", tone(0.6, rate), rate))
    assert found.shape == (64, 64)
    assert found.dtype == np.float32
    wanted = part("speech").spectrogram(record(tmp_path / "b.wav", tone(0.6)))
    assert found[:, 32].argmax() == wanted[:, 32].argmax()
    assert np.abs(found - wanted)[wanted > -30].mean() < 1


@pytest.mark.parametrize(
    ("samples", "given", "said"),
    [
        (np.zeros(20_000), {}, "silent"),
        ([], {}, "silent"),
        (tone(0.05), {}, "s of sound, expected 0.093 or more"),
        (tone(1), {"channels": 2}, "2 channels of 16 bits at 24,000 Hz"),
        (tone(1), {"width": 1}, "1 channels of 8 bits"),
        (tone(1), {"rate": 8000}, "at 8,000 Hz, expected one of 16 bits at 16,000 Hz or more"),
    ],
)
def test_recordings_without_a_label(samples, given, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        part("speech").spectrogram(record(tmp_path / "a.wav", samples, **given))


def test_a_file_that_is_no_recording(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"a\.wav: not a WAV file"):
        part("speech").spectrogram(tmp_path / "a.wav")
    with pytest.raises(ValueError, match=r"no 0\.wav; name the files in `words`"):
        codebook("speech", files=tmp_path)


def test_export_writes_codebooks_classes_and_statistics(tmp_path):
    names = tuple(DIGITS.classes)
    left = part("export").export(tmp_path / "out", names, None)
    assert sorted(line.partition(":")[0] for line in left) == ["bert", "glove", "shuffle", "speech"]
    found = np.load(tmp_path / "out" / "random.npy", allow_pickle=False)
    assert np.array_equal(found, codebook("random").astype(np.float32))
    assert (tmp_path / "out" / "classes.txt").read_text().split() == list(names)
    lines = (tmp_path / "out" / "statistics.csv").read_text().splitlines()
    assert lines[0] == "label,shape,bits,low,median,high,rank"
    assert "random,64×64,11.9998,31.8117,32.6801,33.3107,8.9873" in "\n".join(lines)
    bars = (tmp_path / "out" / "histograms.csv").read_text().splitlines()[1:]
    constant = [line.split(",") for line in bars if line.startswith("uniform,")]
    assert sum(int(cells) for *_, cells in constant) == 10 * 64 * 64
    assert [int(cells) for _, name, *_, cells in constant if name == "9"] == [0] * 19 + [4096]
    with Image.open(tmp_path / "out" / "uniform.png") as picture:
        assert picture.size == (10 * 66, 66)
        shades = [picture.getpixel((66 * k + 33, 33)) for k in range(10)]
    assert shades == [round(255 * k / 9) for k in range(10)]
