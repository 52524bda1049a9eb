"""Pictures of cells: tiles, reuse between builds, and the arrays from the store."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from harness.commands.picture_loader import load_frames as read_frames
from harness.commands.picture_loader import make_loader
from harness.common.files import save_array, write_json
from harness.judge.budget import measure
from harness.judge.common import common
from harness.judge.maps import confusion
from harness.report.site import build, palette
from harness.report.site.frames import COLUMNS, Frames, choose, compose, compose_common, factor
from harness.results.codec import pack_counts
from harness.results.records import Record
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store
from harness.workspace import Workspace
from tests.support import synthetic
from tests.support.synthetic import UNBOUNDED, Suite

SUITE = Suite(
    matrix="maps",
    task="segmentation",
    examples=20,
    seeds=(0, 1),
    defenses={"none": 0.0},
    attacks={"pgd": 1.0, "noop": 0.0},
    budgets=(("L∞ 8/255", 8 / 255), (UNBOUNDED, None)),
)
K, VOID = 3, 255


def made(n: int = 4, shape: tuple[int, int, int] = (3, 12, 16), eps: float = 8 / 255) -> Frames:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    attacked = np.clip(image / 255 + eps * rng.choice([-1, 1], image.shape), 0, 1).astype(
        np.float32
    )
    before, after, truth = rng.integers(0, K, (3, n, *shape[1:])).astype(np.uint8)
    truth[:, :2] = VOID
    d = measure(image, attacked)
    shared = common(image, attacked)
    sizes = (d.linf, d.mse, shared.mean, shared.spectrum)
    return Frames(list(range(n)), image, attacked, before, after, truth, *sizes, VOID)


def tile(tiles, frames, row, column):
    height, width = tiles.shape[0] // len(frames.rows), tiles.shape[1] // len(COLUMNS)
    return tiles[row * height : (row + 1) * height, column * width : (column + 1) * width]


def test_tiles_are_the_arrays_themselves():
    frames = made()
    k = factor(frames)
    tiles = compose(frames, K, k)
    assert tiles.dtype == np.uint8
    colours = palette.rgb(palette.COLOURS)
    for row in range(4):
        shown = [tile(tiles, frames, row, column) for column in range(6)]
        assert (shown[0] == frames.image[row].transpose(1, 2, 0)).all()
        attacked = np.rint(frames.attacked[row] * 255).transpose(1, 2, 0)
        assert (shown[1] == attacked).all()
        difference = 127 + k * (frames.attacked[row] * 255 - frames.image[row].astype(float))
        assert np.abs(shown[2] - difference.transpose(1, 2, 0)).max() <= 1
        void = frames.truth[row] == VOID
        for column, maps in ((3, frames.before), (4, frames.after)):
            assert (shown[column][~void] == colours[maps[row]][~void]).all()
            darkened = shown[column][void].astype(int)
            assert (darkened <= 0.56 * colours[maps[row]][void]).all()
        assert (shown[5][void] == 0).all()
        assert (shown[5][~void] == colours[frames.truth[row][~void]]).all()


def test_wide_pictures_lose_lines_and_keep_the_change_as_it_is():
    frames = made(2, (3, 36, 480))
    tiles = compose(frames, K, 1.0)
    assert tiles.shape == (2 * 18, 6 * 240, 3)
    first = tile(tiles, frames, 0, 0)
    assert (first == frames.image[0, :, ::2, ::2].transpose(1, 2, 0)).all()
    # A mean of two by two neighbours would take most of a random sign away.
    change = np.abs(tile(tiles, frames, 0, 2).astype(int) - 127)
    assert np.median(change) == 8


def test_what_names_no_class_is_grey_and_one_channel_becomes_three():
    frames = made(1, (1, 12, 16))
    frames.after[0, 5, 5] = 77
    tiles = compose(frames, K, 1.0)
    assert tile(tiles, frames, 0, 4)[5, 5].tolist() == [128, 128, 128]
    grey = tile(tiles, frames, 0, 0)
    assert (grey[..., 0] == grey[..., 2]).all()
    assert (
        (compose(replace(frames, void=None, truth=frames.before), K, 1.0)[:, 80:] > 0)
        .any(axis=2)
        .all()
    )


@pytest.mark.parametrize(
    ("eps", "k"), [(8 / 255, 15), (4 / 255, 30), (2 / 255, 60), (1.0, 0.4), (0.0, 1)]
)
def test_the_factor_is_round_and_fills_the_range(eps, k):
    frames = made()
    flat = np.full_like(frames.image, 0 if eps == 1 else 128)
    attacked = (flat / 255 + eps).astype(np.float32)
    assert factor(replace(frames, image=flat, attacked=attacked)) == pytest.approx(k)


def test_the_mean_change_and_its_spectrum_are_drawn_whole_and_with_their_scale():
    frames = made(3, (3, 12, 300))
    stripes = np.broadcast_to(4 / 255 * (-1.0) ** np.arange(300), (3, 12, 300))
    frames = replace(
        frames, mean=stripes, spectrum=np.abs(np.fft.fftshift(np.fft.fft2(stripes[0])))
    )
    tiles, k = compose_common(frames)
    assert k == 30
    assert tiles.shape == (12, 600, 3)
    assert set(np.unique(tiles[:, :300])) == {7, 247}
    spectrum = tiles[:, 300:, 0]
    assert spectrum[6, 0] == 255  # a stripe a pixel is the finest frequency across
    assert np.delete(spectrum.ravel(), 6 * 300).max() == 0


def test_without_a_change_the_mean_is_grey_and_the_spectrum_black():
    frames = made(2, eps=0.0)
    still = frames.image / np.float32(255)
    shared = common(frames.image, still.astype(np.float32))
    tiles, k = compose_common(replace(frames, mean=shared.mean, spectrum=shared.spectrum))
    assert k == 1
    assert set(np.unique(tiles[:, :16])) == {127}
    assert set(np.unique(tiles[:, 16:])) == {0}


def test_frames_are_chosen_by_rule():
    assert choose(8) == [0, 2, 5, 7]
    for kept in range(1, 60):
        found = choose(kept)
        assert len(found) == min(4, kept)
        assert found[0] == 0
        assert found == sorted(set(found))
        if kept > 1:
            assert found[-1] == kept - 1
        assert max(np.diff(found), default=1) - min(np.diff(found), default=1) <= 1


# ---- the palette ----

# Machado, Oliveira, Fernandes 2009, full severity, in linear RGB.
SEEN_BY = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def oklab(colours, eyes):
    rgb = palette.rgb(colours) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(SEEN_BY[eyes]), 0, 1)
    lms = np.cbrt(linear @ np.transpose([
        [0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005]]))  # fmt: skip
    return lms @ np.transpose([
        [0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize(("first", "apart"), [(12, 0.095), (20, 0.057), (32, 0.044)])
def test_colours_can_be_told_apart(eyes, first, apart):
    places = oklab([*palette.COLOURS[:first], palette.VOID, palette.UNNAMED], eyes)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    assert distance[~np.eye(len(places), dtype=bool)].min() >= apart


def test_there_are_32_colours():
    assert len(set(palette.COLOURS)) == 32


# ---- the gallery ----


class Loads:
    """Loader that counts its calls."""

    def __init__(self, frames=None):
        self.frames, self.asked = frames, []

    def __call__(self, record):
        self.asked.append(record.id)
        return self.frames


@pytest.fixture
def frame():
    return synthetic.frame(SUITE)


def pictures(site):
    return sorted(path.name for path in (site / "pictures").glob("*"))


def test_a_page_shows_its_picture_with_numbers_and_a_legend(frame, tmp_path):
    frames = made()
    site = build(frame, tmp_path / "site", load=Loads(frames)).parent
    cell = site / "invented/maps/small-cnn/none/pgd.html"
    page = cell.read_text()
    sources = set(re.findall(r'<image href="(.*?)"', page))
    assert len(sources) == 2 * 2  # two a budget
    shared = {source for source in sources if source.endswith(".common.webp")}
    for source in shared:
        picture = Image.open(cell.parent / source)
        assert np.asarray(picture).tolist() == compose_common(frames)[0].tolist()
    for source in sources - shared:
        picture = Image.open(cell.parent / source)
        assert np.asarray(picture).tolist() == compose(frames, K, factor(frames)).tolist()
        told = json.loads((cell.parent / source).with_suffix(".json").read_text())
        assert [row["row"] for row in told["rows"]] == [0, 1, 2, 3]
        assert told["rows"][0]["linf"] == pytest.approx(8 / 255, abs=1e-3)
        assert told["rows"][0]["psnr"] == pytest.approx(-10 * np.log10(frames.mse[0]))
    assert page.count("<figcaption>Image ") == 2 * 4
    assert "127 + 15 × (attacked − image)" in page
    for column in COLUMNS:
        assert f'aria-label="{column}, image 3"' in page
    for name in (*synthetic.CLASSES, "no label"):
        assert f"</svg>{name}</li>" in page
    assert f"127 + {compose_common(frames)[1]:g} × (attacked − image)" in page
    assert "No pictures" not in page


def test_the_numbers_under_a_frame_are_the_judges(tmp_path):
    frame = synthetic.frame(replace(SUITE, seeds=(0,), budgets=SUITE.budgets[:1]))
    frames = made()
    for record in frame.record:
        for role, maps in (("before", frames.before), ("after", frames.after)):
            counts = confusion(maps, frames.truth, K, VOID)
            record.confusions[role] = pack_counts(counts)
            record.confusions["shape"] = list(counts.shape)
    site = build(frame, tmp_path / "site", load=Loads(frames)).parent
    told = json.loads(next((site / "pictures").glob("*.json")).read_text())
    for i, row in enumerate(told["rows"]):
        kept = frames.truth[i] != VOID
        for role, maps in (("before", frames.before), ("after", frames.after)):
            each = [
                ((maps[i] == c) & (frames.truth[i] == c) & kept).sum()
                / (((maps[i] == c) | (frames.truth[i] == c)) & kept).sum()
                for c in range(K)
            ]
            assert row[role] == pytest.approx(np.mean(each))


@pytest.mark.slow
def test_what_has_not_changed_is_neither_read_nor_drawn_again(frame, tmp_path):
    out = tmp_path / "site"
    first = Loads(made())
    build(frame, out, load=first)
    before = {name: (out / "pictures" / name).read_bytes() for name in pictures(out)}
    assert len(first.asked) == 4  # two attacks, two budgets: one seed each
    again = Loads(made(eps=0.5))
    page = out / "invented/maps/small-cnn/none/pgd.html"
    told = page.read_bytes()
    build(frame, out, load=again)
    assert again.asked == []
    assert {name: (out / "pictures" / name).read_bytes() for name in pictures(out)} == before
    assert page.read_bytes() == told


@pytest.mark.slow
def test_another_result_is_drawn_and_the_old_picture_goes(frame, tmp_path):
    out = tmp_path / "site"
    build(frame, out, load=Loads(made()))
    old = set(pictures(out))
    synthetic.alter(frame, lambda r: {"result": "f" * 64 if r.cell.attack == "pgd" else r.result})
    loads = Loads(made())
    build(frame, out, load=loads)
    assert len(loads.asked) == 2
    assert len(set(pictures(out)) & old) == len(old) / 2 == len(set(pictures(out)) - old)


@pytest.mark.slow
def test_a_broken_picture_is_drawn_again(frame, tmp_path):
    out = tmp_path / "site"
    build(frame, out, load=Loads(made()))
    for path in (out / "pictures").glob("*.json"):
        path.write_text("{}")
    loads = Loads(made())
    build(frame, out, load=loads)
    assert len(loads.asked) == 4


@pytest.mark.parametrize(
    "load", [None, Loads(None), Loads(made(0))], ids=["no store", "none", "empty"]
)
def test_without_artefacts_there_is_one_sentence_and_no_picture(load, frame, tmp_path):
    site = build(frame, tmp_path / "site", load=load).parent
    page = (site / "invented/maps/small-cnn/none/pgd.html").read_text()
    assert page.count("No pictures: their artefacts are not in the store") == 2
    assert "<image" not in page
    assert not (site / "pictures").exists()


def test_only_segmentation_asks_for_pictures(tmp_path):
    suite = replace(SUITE, task="classification")
    loads = Loads(made())
    site = build(synthetic.frame(suite), tmp_path / "site", load=loads).parent
    assert loads.asked == []
    assert "No pictures" not in (site / "invented/maps/small-cnn/none/pgd.html").read_text()


# ---- the artefact store ----

STAGES = {"slice": "aa" * 32, "measure": "bb" * 32, "before": "cc" * 32, "after": "dd" * 32}


def recorded(stages):
    """A record of which only the stages are read."""
    return Record.model_construct(stages=stages)


@pytest.fixture
def stored(tmp_path):
    """Make a store with the artefacts of one cell of ten images, five of them stored."""
    frames = made(10)
    store, out = Store(tmp_path / "home/store"), tmp_path / "out"

    def commit(role, arrays):
        for name, array in arrays.items():
            save_array(out / f"{name}.npy", array)
        if role == "slice":
            write_json(out / "spec.json", {"void": VOID, "outputs": K})
        store.commit(STAGES[role], out, ReceiptDraft("data", "ok"))

    commit("slice", {"x/x": frames.image, "y/y": frames.truth})
    sizes = {"distances/linf": frames.linf, "distances/mse": frames.mse}
    sizes |= {"common/mean": frames.mean, "common/spectrum": frames.spectrum}
    commit("measure", sizes | {"pictures/attacked": frames.attacked[:5]})
    commit("before", {"outputs/outputs": frames.before})
    commit("after", {"outputs/outputs": frames.after})
    return store, frames


def test_frames_are_read_from_the_store(stored):
    store, frames = stored
    found = read_frames(store, recorded(STAGES))
    assert found.rows == choose(5) == [0, 1, 3, 4]
    for name in ("image", "attacked", "before", "after", "truth", "linf", "mse"):
        assert (getattr(found, name) == getattr(frames, name)[found.rows]).all(), name
    assert (found.mean == frames.mean).all()
    assert (found.spectrum == frames.spectrum).all()
    assert found.void == VOID


@pytest.mark.parametrize(
    ("role", "file"),
    [
        ("slice", "x/x.npy"),
        ("slice", "spec.json"),
        ("measure", "pictures/attacked.npy"),
        ("measure", "common/mean.npy"),
        ("after", "outputs/outputs.npy"),
    ],
)
def test_artefacts_that_are_missing_or_broken_give_no_picture_and_no_error(stored, role, file):
    store, _ = stored
    path = store.part(STAGES[role], file)
    path.write_bytes(b"not an array")
    assert read_frames(store, recorded(STAGES)) is None
    path.unlink()
    assert read_frames(store, recorded(STAGES)) is None
    assert read_frames(store, recorded({k: v for k, v in STAGES.items() if k != "measure"})) is None


def test_looking_at_records_makes_no_store(stored, tmp_path):
    assert make_loader(Workspace(tmp_path, tmp_path / "elsewhere")) is None
    assert not (tmp_path / "elsewhere").exists()
    assert make_loader(Workspace(tmp_path, tmp_path / "home"))(recorded(STAGES)) is not None
