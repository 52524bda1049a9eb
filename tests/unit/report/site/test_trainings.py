"""Training curves on the pages: from the store to lines, gaps, bands and CSV."""

import csv
import json
import re
from xml.etree import ElementTree

import pytest

from harness.commands.curve_loader import load_curves, make_curve_loader
from harness.report.cells import cell_rows
from harness.report.site import build
from harness.report.site.seed_bands import mean_of_seeds
from harness.report.site.training_rows import row_charts
from harness.report.site.trainings import cell_trainings, is_without_artefacts
from harness.results.training_curves import TrainingCurve
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store
from harness.workspace import Workspace
from tests.support import synthetic
from tests.support.site_pages import Page, html_of, text_of
from tests.support.synthetic import Suite, digest

SUITE = Suite(
    defenses={"trades": 0.6, "jpeg": 0.1, "none": 0.0},
    attacks={"pgd": 1.0, "noop": 0.0},
    budgets=(("L∞ 8/255", 8 / 255), ("L∞ 4/255", 4 / 255)),
    seeds=(0, 1),
    examples=50,
)
POISONED = Suite(
    matrix="poisoned",
    threat_model="supply-chain",
    defenses={"none": 0.0},
    attacks={"teacher": 1.0, "noop": 0.0},
    budgets=(("5 % edits", None),),
    seeds=(0,),
    examples=50,
)


def train_key(record):
    """A key by defence and seed; jpeg trains nothing of its own, and attacks may."""
    cell = record.cell
    defense = "none" if cell.defense == "jpeg" else cell.defense
    attack = cell.attack if cell.threat_model == "supply-chain" else ""
    return digest("train", defense, cell.seed, attack)


def with_stages(*suites):
    """The frame of suites whose cells were trained."""
    frame = synthetic.frame(*suites)

    def stages(record):
        more = {"train": train_key(record)}
        if record.cell.attack == "teacher":
            more |= {"deliver": digest("deliver"), "teacher": digest("deliver")}
        return {"stages": record.stages | more | {"network": train_key(record)}}

    return synthetic.alter(frame, stages)


def key_of(defense, seed, attack=""):
    return digest("train", defense, seed, attack)


def curve(*values, name="val_accuracy", fit=1, every=10):
    points = tuple(((i + 1) * every, value) for i, value in enumerate(values))
    return TrainingCurve(name, fit, points)


CURVES = {
    key_of("none", 0): (curve(0.5, 0.8), curve(2.0, 1.0, name="loss")),
    key_of("none", 1): (curve(0.6, 0.9), curve(2.5, 1.5, name="loss")),
    key_of("trades", 0): (curve(0.3, None, 0.7), curve(9.0, 8.0, name="loss")),
    key_of("trades", 1): (curve(0.4, 0.5, 0.6), curve(9.5, 8.5, name="loss")),
}


@pytest.fixture(scope="module")
def frame():
    return with_stages(SUITE)


@pytest.fixture(scope="module")
def site(frame, tmp_path_factory):
    out = tmp_path_factory.mktemp("trainings") / "site"
    return build(frame, out, load_curves=CURVES.get).parent


def seeds_of(frame, defense, attack="pgd"):
    """The cells of one defence and attack, by budget."""
    found = {}
    for line in cell_rows(frame):
        if (line.defense, line.attack) == (defense, attack):
            found.setdefault(line.budget, []).append(line)
    return found


def section_of(path):
    """The section of the training curves of a page."""
    text = path.read_text(encoding="utf-8")
    return re.search(r'<section[^>]*labelledby="trainings.*?</section>', text, re.DOTALL)


def svgs(text):
    return [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


# ---- one cell ----


def test_a_cell_has_a_chart_a_name_and_a_line_a_seed(frame):
    (found,) = cell_trainings(seeds_of(frame, "none"), CURVES.get)
    assert (found.title, found.note) == ("Training", "")  # one training for both budgets
    assert [one.name for one in found.charts] == ["val_accuracy", "loss"]
    for chart in found.charts:
        assert [line.name for line in chart.curves] == ["seed 0", "seed 1"]
        assert [line.path.count("L") for line in chart.curves] == [1, 1]
    assert "seed 0 0.5 at step 10, 0.8 at 20" in found.charts[0].description


def test_a_value_that_is_not_finite_interrupts_the_line(frame):
    (found,) = cell_trainings(seeds_of(frame, "trades"), CURVES.get)
    broken, whole = found.charts[0].curves
    assert broken.path == ""
    assert broken.dots.count("M") == 2
    assert (whole.path.count("M"), whole.path.count("L")) == (1, 2)


def test_several_fits_are_several_lines(frame):
    fits = tuple(curve(1.0, 0.5, name="loss", fit=k) for k in (1, 2, 3))
    (found,) = cell_trainings(seeds_of(frame, "none"), dict.fromkeys(CURVES, fits).get)
    (chart,) = found.charts
    assert len(chart.curves) == 6
    assert chart.curves[2].name == "seed 0, fit 3"
    for line in chart.curves:
        xs = [float(x) for x in re.findall(r"[ML]([\d.]+) ", line.path)]
        assert xs == sorted(xs)


def test_of_very_many_fits_the_first_are_drawn_and_the_rest_is_counted(frame):
    fits = tuple(curve(1.0, 0.5, fit=k) for k in range(1, 31))
    (found,) = cell_trainings(seeds_of(frame, "none"), dict.fromkeys(CURVES, fits).get)
    assert (len(found.charts[0].curves), found.charts[0].omitted) == (12, 48)


def test_what_an_attack_delivers_has_curves_beside_the_victim_s():
    lines = seeds_of(with_stages(POISONED), "none", "teacher")
    loaded = {digest("deliver"): (curve(1.0),), key_of("none", 0, "teacher"): (curve(0.5),)}
    delivered, trained = cell_trainings(lines, loaded.get)  # once, though it is the teacher, too
    assert delivered.title == "Training of the network that the attack delivers"
    assert trained.title == "Training"


def test_curves_without_any_value_draw_nothing(frame):
    assert cell_trainings(seeds_of(frame, "none"), lambda key: (curve(None, None),)) == ()
    assert cell_trainings(seeds_of(frame, "none"), lambda key: ()) == ()


def test_pages_say_that_curves_are_self_reported(site):
    page = site / "invented/linf/small-cnn/none/pgd.html"
    text = text_of(section_of(page)[0])
    assert text.startswith("Training curves self-reported, never scored")
    assert len(svgs(section_of(page)[0])) == 2
    assert "curves.csv" in page.read_text()


def test_without_the_artefacts_one_line_says_so_and_only_where_a_training_was(frame, tmp_path):
    site = build(frame, tmp_path / "site").parent
    page = (site / "invented/linf/small-cnn/none/pgd.html").read_text()
    assert page.count("No training curves: their artefacts are not in the store") == 1
    assert "Training curves" not in (site / "invented/linf/index.html").read_text()
    assert not (site / "invented/linf/curves.csv").exists()
    untrained = seeds_of(synthetic.frame(SUITE), "none")["L∞ 8/255"]
    assert not is_without_artefacts(untrained, lambda key: None)
    assert not is_without_artefacts(seeds_of(frame, "none")["L∞ 8/255"], lambda key: ())


# ---- the rows of a matrix ----


def test_a_matrix_has_one_line_a_defence_with_a_band_over_seeds(frame):
    (found,) = row_charts(tuple(cell_rows(frame)), ["small-cnn"], CURVES.get)
    assert found.name == "val_accuracy"  # before losses, which are the defences' own
    assert found.others == "loss"
    assert found.shared == {"none": ("jpeg",)}
    (chart,) = found.charts
    assert [(line.name, line.style) for line in chart.curves] == [
        ("none", "control"),
        ("trades", "k0"),
    ]
    assert chart.curves[0].band.endswith("z")
    # where one seed has no value, neither line nor band goes on
    assert chart.curves[1].band == ""
    assert chart.curves[1].dots.count("M") == 2


def test_a_matrix_whose_attacks_change_the_training_shows_that_of_the_control():
    frame = with_stages(POISONED)
    loaded = {key_of("none", 0, "noop"): (curve(0.1, 0.2),), key_of("none", 0, "teacher"): ()}
    (found,) = row_charts(tuple(cell_rows(frame)), ["small-cnn"], loaded.get)
    assert found.attack == "noop"
    assert "none 0.1 at step 10" in found.charts[0].description


def test_many_defences_are_drawn_in_groups_with_the_same_axes():
    suite = Suite(
        defenses={f"d{i}": 0.5 for i in range(8)} | {"none": 0.0},
        attacks={"pgd": 1.0, "noop": 0.0},
        seeds=(0,),
        examples=50,
    )
    frame = with_stages(suite)
    (found,) = row_charts(tuple(cell_rows(frame)), ["small-cnn"], lambda key: (curve(0.1, 0.9),))
    assert [[line.name for line in chart.curves] for chart in found.charts] == [
        ["none", "d0", "d1", "d2", "d3", "d4", "d5"],
        ["none", "d6", "d7"],
    ]
    assert len({chart.y_ticks for chart in found.charts}) == 1


def test_the_longest_of_several_fits_stands_for_a_row(frame):
    fits = (curve(0.1), curve(0.2, 0.3, 0.4, fit=2), curve(0.9, fit=3))
    (found,) = row_charts(tuple(cell_rows(frame)), ["small-cnn"], lambda key: fits)
    assert "0.2 at step 10, 0.4 at 30" in found.charts[0].description


def test_a_matrix_without_curves_draws_nothing(frame):
    lines = tuple(cell_rows(frame))
    for curves in (None, (), (curve(None),)):
        assert row_charts(lines, ["small-cnn"], lambda key, curves=curves: curves) == ()


def test_seeds_with_other_steps_are_interpolated_over_the_steps_of_all():
    mean, band = mean_of_seeds([curve(1.0, 3.0, every=10).points, curve(0.0, 4.0, 8.0).points])
    assert mean == ((10, 0.5), (20, 3.5))
    assert band == ((10, 0.0, 1.0), (20, 3.0, 4.0))
    mean, _ = mean_of_seeds([((0, 0.0), (10, 1.0), (20, None)), ((0, 0.0), (5, 1.0), (20, 1.0))])
    assert mean == ((0, 0.0), (5, 0.75), (10, 1.0), (20, None))
    assert mean_of_seeds([((0, 1.0),), ((5, 1.0), (6, 1.0))]) == (((5, 1.0), (6, 1.0)), ())
    assert mean_of_seeds([((0, None),), ()]) == ((), ())


def test_the_csv_file_has_every_point_of_every_row_and_seed(site):
    found = rows(site / "invented/linf/curves.csv")
    assert len(found) == 2 * 2 * 4 + 2 * 5  # none and jpeg; trades, whose score has three points
    own = [r for r in found if (r["row"], r["seed"], r["name"]) == ("trades", "0", "val_accuracy")]
    assert [(r["step"], r["value"]) for r in own] == [("10", "0.3"), ("20", ""), ("30", "0.7")]
    assert {(r["matrix"], r["stage"], r["attack"], r["budget"]) for r in found} == {
        ("linf", "train", "", "")
    }


def test_equal_records_and_curves_give_equal_bytes(frame, site, tmp_path):
    again = build(frame, tmp_path / "site", load_curves=CURVES.get).parent
    for path in sorted(site.rglob("*")):
        if path.is_file():
            assert (again / path.relative_to(site)).read_bytes() == path.read_bytes(), path


# ---- untrusted content ----

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=cmd|'/c calc'!A1",
    "esc\x1b[31m\u202egnp\u2028\nline",
    "{{ 7 * 7 }}",
    "A" * 10_000,
]


@pytest.fixture
def store(tmp_path):
    """A store with the trainings of the suite, which a test fills by ``write``."""
    return Store(tmp_path / "home" / "store")


def write(store, key, text):
    out = store.root / "out"
    out.mkdir()
    (out / "curves.jsonl").write_text(text, encoding="utf-8")
    store.commit(key, out, ReceiptDraft("train", "ok"))


def hostile_text():
    points = [(name, step, value) for name in HOSTILE for step, value in ((1, -1e29), (2, 1e29))]
    points += [("loss", 1, 1.0)] * 500  # one name, one step, again and again
    points += [(f"name {i}", 1, None) for i in range(500)]
    return "".join(json.dumps({"name": n, "step": s, "value": v}) + "\n" for n, s, v in points)


def test_hostile_names_and_points_stay_text_and_small(frame, store, tmp_path):
    for defense in ("none", "trades"):
        for seed in (0, 1):
            write(store, key_of(defense, seed), hostile_text())
    load = make_curve_loader(Workspace(tmp_path, tmp_path / "home"))
    site = build(frame, tmp_path / "site", load_curves=load).parent
    for path in html_of(site):
        page = Page(path)
        assert not page.refused
        assert page.scripts == 1
        assert len(page.ids) == len(set(page.ids))
        text = path.read_text()
        assert len(text) < 400_000
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e\u2028]", text)
        for figure in svgs(text):  # each is whole, and its paths hold numbers alone
            for one in figure.iter("path"):
                assert re.fullmatch(r"[MLhHvVz0-9. -]*", one.attrib["d"])
    path = site / "invented/linf/curves.csv"
    assert path.stat().st_size < 1_000_000
    assert all(not re.match(r"[=+@]|-[^\d]", field) for row in rows(path) for field in row.values())


def test_the_loader_tells_no_artefact_from_no_curves(store, tmp_path):
    write(store, "ab" * 32, '{"name": "loss", "step": 1, "value": 2.0}\n')
    assert load_curves(store, "ab" * 32) == (TrainingCurve("loss", 1, ((1, 2.0),)),)
    (store.path("ab" * 32) / "curves.jsonl").unlink()
    assert load_curves(store, "ab" * 32) == ()
    assert load_curves(store, "cd" * 32) is None
    assert make_curve_loader(Workspace(tmp_path, tmp_path / "elsewhere"))("ab" * 32) is None
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("step", [0, 1, 7, 123_456, 2**53 - 1])
def test_the_steps_fill_the_axis_from_zero(step, frame):
    one = TrainingCurve("loss", 1, ((step, 1.0),))
    (found,) = cell_trainings(seeds_of(frame, "none"), {key_of("none", 0): (one,)}.get)
    (chart,) = found.charts
    assert chart.x_ticks[0].text == "0"
    (line,) = chart.curves
    assert line.x == (chart.frame.right if step else chart.frame.left)
    assert all(tick.at <= chart.frame.right for tick in chart.x_ticks)
