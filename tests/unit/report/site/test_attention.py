"""Pictures of where networks look: colours, the choice of examples, albums on disk."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from harness.judge.attention import Looks, find_places
from harness.report.site.albums import Albums
from harness.report.site.attention import Attention, AttentionRow
from harness.report.site.attention_choice import MOST, AttentionFrames, choose, conditions
from harness.report.site.attention_pictures import GAP, SIDE, colours, grid, normalised, tile

GREY = np.full((1, 8, 8), 0.5, np.float32)


def hot(line, column, cells=(4, 4)):
    """A map with one hot cell."""
    found = np.zeros(cells, np.float32)
    found[line, column] = 3
    return found


def redness(picture):
    return picture[..., 0].astype(int) - picture[..., 2]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 448, 448), (1, 24, 48)])
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (3, 3)])
def test_a_hot_cell_lands_on_its_cell_after_resizing(shape, place):
    picture = tile(np.full(shape, 0.5, np.float32), hot(*place))
    height, width = picture.shape[:2]
    line, column = np.unravel_index(redness(picture).argmax(), (height, width))
    assert (line * 4 // height, column * 4 // width) == place
    # and the whole cell is redder than every cell that is not beside it
    cells = redness(picture).reshape(4, height // 4, 4, width // 4).mean(axis=(1, 3))
    assert np.unravel_index(cells.argmax(), (4, 4)) == place


def test_colours_run_once_from_blue_to_red():
    ramp = colours(np.linspace(0, 1, 101))
    difference = ramp[:, 0] - ramp[:, 2]
    assert (np.diff(difference) >= 0).all()  # a circle of hues comes back to its start
    assert difference[0] < -150
    assert difference[-1] > 150
    assert np.abs(ramp[50] - ramp[50].mean()).max() < 1  # white in the middle


def test_each_map_runs_from_its_own_lowest_to_its_own_highest_value():
    found = normalised(np.array([[2.0, 4.0], [3.0, 2.0]]))
    assert found.tolist() == [[0, 1], [0.5, 0]]
    assert (normalised(np.full((2, 2), 7.0)) == 0.5).all()


def test_tiles_of_small_pictures_are_enlarged_by_a_whole_factor_and_large_ones_reduced():
    assert tile(GREY, hot(0, 0)).shape == (SIDE, SIDE, 3)
    assert tile(np.zeros((3, 100, 60), np.float32), hot(0, 0)).shape == (200, 120, 3)
    assert tile(np.zeros((3, 448, 224), np.float32), hot(0, 0)).shape == (SIDE, SIDE // 2, 3)


def test_a_grid_has_the_clean_image_left_and_a_row_for_each_network():
    image = np.zeros((1, 8, 8), np.uint8)
    attacked = np.ones((1, 8, 8), np.float32)
    maps = [(hot(0, 0), hot(3, 3)), (hot(0, 0), hot(0, 0))]
    found = grid(image, attacked, maps)
    assert found.shape == (2 * SIDE + GAP, 2 * SIDE + GAP, 4)
    left, right = found[:, :SIDE, :3], found[:, -SIDE:, :3]
    assert left.mean() < right.mean()  # black left, white right
    assert (found[:, SIDE : SIDE + GAP, 3] == 0).all()
    assert (left[:SIDE] == left[-SIDE:]).all()
    assert (right[:SIDE] != right[-SIDE:]).any()


# -- choice -----------------------------------------------------------------------------------

AT_OBJECT, AT_TRIGGER = [[9, 1], [0, 1]], [[1, 1], [0, 9]]


def frames(*attacked, after, boxes=True, **changes):
    """Frames of a network whose maps of attacked inputs are given; label 1, target 0."""
    n = len(attacked)
    objects = np.tile([0, 0, 4, 4], (n, 1)) if boxes else None
    places = find_places(objects, np.tile([6, 6, 8, 8], (n, 1)), (8, 8))
    before = np.array([AT_OBJECT] * n, np.float32)
    found = AttentionFrames(
        index=np.arange(n) + 7,
        image=np.zeros((n, 1, 8, 8), np.uint8),
        attacked=np.zeros((n, 1, 8, 8), np.float32),
        label=np.ones(n, np.int64),
        before=np.ones(n, np.int64),
        after=np.array(after),
        target=np.zeros(n, np.int64),
        classes=("Zero", "Priority road"),
        looks={"activation": Looks(before, np.array(attacked, np.float32), places)},
    )
    return replace(found, **changes)


def met(*networks):
    return [conditions(one, one.looks["activation"]) for one in networks]


def test_examples_are_chosen_that_the_first_network_loses_and_another_keeps():
    baseline = frames(AT_TRIGGER, AT_TRIGGER, AT_OBJECT, AT_TRIGGER, after=[0, 0, 0, 0])
    weak = frames(AT_TRIGGER, AT_TRIGGER, AT_TRIGGER, AT_TRIGGER, after=[0, 0, 0, 0])
    strong = frames(AT_OBJECT, AT_TRIGGER, AT_OBJECT, AT_OBJECT, after=[1, 1, 1, 0])
    # 1: nobody stays at the object; 2: the first did not move; 3: it stays, but answers the target
    assert choose(met(baseline, weak, strong)) == ([0], True)


@pytest.mark.parametrize(
    "changes",
    [
        {"before": np.array([0])},  # wrong on the clean image
        {"label": np.array([0])},  # of the target class already
        {"target": np.array([2])},  # called another class than the attack wants
    ],
)
def test_predictions_count_too(changes):
    baseline = frames(AT_TRIGGER, after=[0])
    strong = frames(AT_OBJECT, after=[1])
    assert choose(met(baseline, strong)) == ([0], True)
    assert choose(met(replace(baseline, **changes), strong)) == ([0], False)


def test_without_a_target_any_wrong_class_is_a_success():
    baseline = frames(AT_TRIGGER, after=[2], target=None)
    assert choose(met(baseline, frames(AT_OBJECT, after=[1]))) == ([0], True)


def test_without_boxes_predictions_decide_beside_the_trigger():
    baseline = frames(AT_TRIGGER, AT_OBJECT, after=[0, 0], boxes=False)
    strong = frames(AT_TRIGGER, AT_TRIGGER, after=[1, 1], boxes=False)
    assert choose(met(baseline, strong)) == ([0], True)


def test_where_none_fits_the_first_are_shown():
    alone = frames(*[AT_TRIGGER] * 9, after=[0] * 9)
    assert choose(met(alone)) == (list(range(MOST)), False)


# -- albums -----------------------------------------------------------------------------------


def page(*names):
    def row(name):
        record = SimpleNamespace(key=f"key of {name}", result="r")
        line = SimpleNamespace(defense=name, seed=0, record=record)
        return AttentionRow(line, {})

    return Attention(0, "victim", "patch", "attack", "activation", tuple(map(row, names)))


@pytest.fixture
def known():
    return {
        "key of none": frames(AT_TRIGGER, AT_OBJECT, after=[0, 0]),
        "key of kept": frames(AT_OBJECT, AT_OBJECT, after=[1, 1]),
    }


def test_an_album_is_written_and_copied_while_its_records_are_the_same(tmp_path, known):
    first = Albums(lambda record: known[record.key], tmp_path / "no", tmp_path / "one")
    made = first.of(page("none", "kept"))
    assert made.fits
    assert made.objects
    (shown,) = made.shown
    assert shown.file == "7_priority-road.png"
    with Image.open(tmp_path / "one" / made.path / shown.file) as picture:
        assert picture.size == (shown.width, shown.height) == (2 * SIDE + GAP, 2 * SIDE + GAP)
    assert [score.defense for score in shown.scores] == ["none", "kept"]
    assert [score.after for score in shown.scores] == [0, 1]
    assert shown.scores[0].conditions == (True, True, False)
    assert shown.scores[1].conditions == (True, False, True)
    assert shown.scores[0].masses == pytest.approx((9 / 11, 1 / 11, 1 / 44, 9 / 44), abs=1e-6)

    second = Albums(lambda record: None, tmp_path / "one", tmp_path / "two")
    assert second.of(page("none", "kept")) == made
    assert (tmp_path / "two" / made.path / shown.file).is_file()
    assert second.of(page("kept", "none")) is None  # another album, and no artefacts


def test_a_network_without_artefacts_leaves_no_album(tmp_path, known):
    del known["key of kept"]
    albums = Albums(lambda record: known.get(record.key), tmp_path / "no", tmp_path / "new")
    assert albums.of(page("none", "kept")) is None
    assert albums.of(page("none")) is not None


def test_a_broken_album_of_the_old_site_is_made_again(tmp_path, known):
    albums = Albums(lambda record: known[record.key], tmp_path / "no", tmp_path / "one")
    made = albums.of(page("none", "kept"))
    file = tmp_path / "one" / made.path / "album.json"
    file.write_text(json.dumps({"shown": 3}))
    again = Albums(lambda record: known[record.key], tmp_path / "one", tmp_path / "two")
    assert again.of(page("none", "kept")) == made
