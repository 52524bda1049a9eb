"""Figures of the site: single classes, perturbation sizes, boards without a bound."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from harness.report.cells import cell_rows
from harness.report.site import build, class_plots, findings
from harness.report.site.classes import classes_of, largest_moves, moves_of
from harness.report.worst_case import Estimate, decode
from tests.support import synthetic
from tests.support.site_colours import contrast, token
from tests.support.synthetic import CLASSES, UNBOUNDED, Suite
from tests.support.synthetic_maps import iou

MAPS = Suite(
    matrix="maps",
    task="segmentation",
    examples=20,
    seeds=(0, 1),
    defenses={"trades": 0.5, "none": 0.0},
    attacks={"pgd": 1.0, "fgsm": 0.7, "noop": 0.0},
    budgets=((UNBOUNDED, None), ("L∞ 8/255", 8 / 255), ("L∞ 4/255", 4 / 255)),
)
CELL = "invented/maps/small-cnn/none/pgd"


@pytest.fixture(scope="module")
def frame():
    return synthetic.frame(MAPS)


@pytest.fixture(scope="module")
def site(frame, tmp_path_factory):
    return build(frame, tmp_path_factory.mktemp("figures") / "site").parent


@pytest.fixture
def seeds(frame):
    """Return the seeds of one cell."""
    return [
        line
        for line in cell_rows(frame)
        if (line.defense, line.attack, line.eps) == ("none", "pgd", 8 / 255)
    ]


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def pooled_iou(seeds, part):
    """Return the IoU of each class, mean over seeds, from the confusions."""
    counts = [decode(line.record).confusions[part].sum(axis=0) for line in seeds]
    return np.mean([iou(one) for one in counts], axis=0)


# ---- single classes ----


def test_classes_are_the_confusions_own_figures_sorted_by_clean_iou(seeds):
    found = classes_of(seeds)
    clean, attacked = pooled_iou(seeds, "before"), pooled_iou(seeds, "after")
    labels = decode(seeds[0].record).confusions["before"].sum(axis=(0, 2))
    order = np.argsort(-clean)
    assert [row.name for row in found.rows] == [CLASSES[i] for i in order]
    for row, i in zip(found.rows, order, strict=True):
        assert row.clean.value == pytest.approx(clean[i])
        assert row.attacked.value == pytest.approx(attacked[i])
        assert row.drop == pytest.approx(clean[i] - attacked[i])
        assert row.share == pytest.approx(labels[i] / labels.sum())
    assert found.mean.clean.value == pytest.approx(clean.mean())
    moves = sum(moves_of(line.record.confusions, 3) for line in seeds)
    assert (found.moves == moves).all()


def test_a_record_without_names_and_moves_has_numbers_and_no_heat_map(seeds, tmp_path, frame):
    old = synthetic.frame(replace(MAPS, seeds=(0,)))
    for record in old.record:
        del record.confusions["classes"], record.confusions["moves"]
    found = classes_of([line for line in cell_rows(old) if line.attack == "pgd"][:1])
    assert {row.name for row in found.rows} == {"class 0", "class 1", "class 2"}
    assert class_plots.heat_map(found) is None
    page = (build(old, tmp_path / "site").parent / f"{CELL}.html").read_text()
    assert '<th scope="row">class 0</th>' in page
    assert "Change of predictions" not in page
    assert not (tmp_path / "site" / f"{CELL}.moves.csv").exists()


def test_bars_end_where_the_figures_are():
    assert class_plots.bar(Estimate(0.421, 0.3, 0.5)) == class_plots.Bar(42.1, 30.0, 50.0)
    assert class_plots.bar(Estimate(0.4)) == class_plots.Bar(40.0, None, None)
    assert class_plots.bar(None) is None


def test_the_page_has_a_bar_a_whisker_and_a_number_for_each_class_and_the_mean(site, seeds):
    page = (site / f"{CELL}.html").read_text()
    section = page[page.index('id="linf-8-255"') : page.index('id="linf-4-255"')]
    table = section[section.index("classes bars") : section.index("</tfoot>")]
    body, foot = table.split("<tfoot>")
    clean, attacked = pooled_iou(seeds, "before"), pooled_iou(seeds, "after")
    for i, name in enumerate(CLASSES):
        (row,) = re.findall(rf'<th scope="row">{name}</th>.*?</tr>', body, re.S)
        ends = [
            float(end) for end in re.findall(r'<rect class="\w+" x="0" [^>]*width="(.*?)%"', row)
        ]
        assert ends == pytest.approx([100 * clean[i], 100 * attacked[i]], abs=0.01)
        assert row.count("<line") == 2
        assert f">{100 * clean[i]:.0f}<small>" in row
    assert '<th scope="row">mean</th>' in foot
    assert foot.count("<rect") == 2


def test_every_field_of_the_heat_map_has_the_shade_of_its_share(seeds):
    counts = np.zeros((4, 4), np.int64)
    counts[:3, :3] = [[99_740, 200, 60], [500, 97_500, 2_000], [7_000, 15_000, 78_000]]
    found = replace(classes_of(seeds), moves=counts)
    picture = class_plots.heat_map(found)
    k = picture.size
    assert k == len(CLASSES)  # nothing was predicted as no class, so it takes no room
    shades = np.full((k, k), -1)
    for level, path in enumerate(picture.shades):
        for x, y, wide in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path):
            shades[int(y), int(x) : int(x) + int(wide)] = level
    counts = found.moves[:k, :k]
    share = counts / counts.sum(axis=1, keepdims=True)
    for i, j in np.ndindex(k, k):
        steps = (0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.1)
        assert steps[shades[i, j]] <= share[i, j] < steps[shades[i, j] + 1]
    assert set(shades.flat) == set(range(7))
    empty = class_plots.heat_map(replace(found, moves=np.diag([5, 5, 5, 0])))
    assert empty.shades == ("", "", "", "", "", "", "M0 0h1v1h-1zM1 1h1v1h-1zM2 2h1v1h-1z")


def test_predictions_of_no_class_have_a_row_and_a_column(seeds):
    found = classes_of(seeds)
    more = found.moves.copy()
    more[0, 3] = 7
    picture = class_plots.heat_map(replace(found, moves=more))
    assert [tick.text for tick in picture.rows] == [*CLASSES, "no class"]
    assert largest_moves(replace(found, moves=more * [[0, 0, 0, 1]]))[0].after == "no class"


def test_the_largest_moves_are_the_largest(seeds):
    found = classes_of(seeds)
    moves = largest_moves(found, most=3)
    off = found.moves[:3, :3] - np.diag(np.diag(found.moves[:3, :3]))
    assert [move.pixels for move in moves] == sorted(off[off > 0].tolist(), reverse=True)[:3]
    first = moves[0]
    row = found.moves[CLASSES.index(first.before)]
    assert row[CLASSES.index(first.after)] == first.pixels
    assert first.share == pytest.approx(first.pixels / row.sum())


def test_marks_of_the_share_plot_are_at_their_drop_and_share(seeds):
    found = classes_of(seeds)
    plot = class_plots.share_plot(found)
    frame = plot.frame
    (x0, at0), (x1, at1) = ((float(t.text), t.at) for t in (plot.x_ticks[0], plot.x_ticks[-1]))
    (y0, up0), (y1, up1) = ((float(t.text), t.at) for t in (plot.y_ticks[0], plot.y_ticks[-1]))
    assert (at0, at1, up0, up1) == (frame.left, frame.right, frame.bottom, frame.top)
    for row, point in zip(found.rows, plot.points, strict=True):
        part = (point.x - at0) / (at1 - at0)
        share = np.exp(np.log(x0) + part * (np.log(x1) - np.log(x0)))
        assert share == pytest.approx(100 * row.share, rel=0.02)
        drop = y0 + (point.y - up0) / (up1 - up0) * (y1 - y0)
        assert drop == pytest.approx(100 * row.drop, abs=0.2)
    assert class_plots.share_plot(replace(found, rows=found.rows[:2])) is None


def test_rank_correlation_equals_scipys():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 6, (2, 9)).tolist()
        assert findings.spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)


def test_sentences_name_what_is_lost_most_and_where_it_goes(seeds):
    found = classes_of(seeds)
    sentence = "".join(part.text for part in findings.iou_drop(found, 1))
    worst = max(found.rows, key=lambda row: row.drop)
    assert f"The largest drop is on {worst.name}" in sentence
    gone = found.moves - np.diag(np.diag(found.moves))
    sentence = "".join(part.text for part in findings.prediction_changes(found))
    share = 100 * gone.sum() / found.moves.sum()
    assert sentence.startswith(f"{share:.1f} % of the labelled pixels")
    assert sentence.endswith(f"become {CLASSES[gone.sum(axis=0).argmax()]}.")


def test_class_files_hold_what_the_pictures_show(site, seeds):
    found = classes_of(seeds)
    at = [row for row in rows(site / f"{CELL}.classes.csv") if row["budget"] == "L∞ 8/255"]
    assert [row["class"] for row in at] == [*(row.name for row in found.rows), "mean"]
    assert float(at[0]["clean_iou"]) == found.rows[0].clean.value
    assert float(at[0]["iou_lo"]) == found.rows[0].attacked.lo
    moves = [row for row in rows(site / f"{CELL}.moves.csv") if row["budget"] == "L∞ 8/255"]
    assert sum(int(row["pixels"]) for row in moves) == found.moves.sum()
    assert {row["from"] for row in moves} <= set(CLASSES)


# ---- sizes of the change, boards without a bound ----


def test_a_cell_page_has_the_perturbation_size(tmp_path):
    frame = synthetic.frame(replace(MAPS, seeds=(0,)))
    sizes = {"linf_max": 8 / 255, "linf_mean": 6 / 255, "l2_max": 3.0, "l2_mean": 2.5,
             "rmse": 0.0291, "psnr": 30.72, "ssim": 0.8701, "changed": 3071.5, "identical": 2,
             "examples": 20}  # fmt: skip
    synthetic.alter(frame, lambda record: {"perturbation": sizes})
    page = (build(frame, tmp_path / "site").parent / f"{CELL}.html").read_text()
    table = page[page.index("Perturbation size <small>") :].split("</table>")[0]
    titles = re.findall(r'<th scope="col" class="num">(.*?)</th>', table)
    texts = re.findall(r'<td class="num">(.*?)</td>', table)
    assert dict(zip(titles, texts, strict=True)) == {
        "L∞, largest": "8/255", "L∞, mean": "6/255", "L2, mean": "2.5", "RMSE": "0.0291",
        "PSNR, dB": "30.7", "SSIM": "0.870", "Changed pixels": "3072", "Unchanged inputs": "2",
    }  # fmt: skip
    cells = rows(tmp_path / "site/invented/maps/cells.csv")
    assert {row["perturbation_ssim"] for row in cells} == {"0.8701"}


def test_an_unbounded_board_has_the_size_beside_each_score(site):
    page = (site / "invented/maps/index.html").read_text()
    boards = re.split(r'<div class="board ', page)[1:]
    unbounded = [board for board in boards if ", unbounded</small>" in board]
    (board,) = unbounded
    assert board is boards[-1]
    attacks = board[board.index("strongest first") :]
    for title in ("mIoU left, %", "PSNR, dB", "SSIM", "L∞", "RMSE"):
        assert f'<th scope="col" class="num">{title}</th>' in attacks
    (pgd,) = re.findall(r'<tr><th scope="row">pgd</th>.*?</tr>', attacks, re.S)
    texts = re.findall(r'class="num">([^<]*)</td>', pgd)
    assert texts[1:5] == ["12.0", "0.300", "229.5/255", "0.2"]
    assert "<small>12.0 dB</small></a>" in board
    assert "The attacks are unbounded" in board
    for other in boards[:-1]:
        assert "PSNR" not in other
        assert "The attacks are unbounded" not in other


# ---- figures for everybody ----


def test_every_figure_has_a_title_and_a_description_that_exist(site):
    for path in site.rglob("*.html"):
        page = path.read_text()
        for figure in re.findall(r'<svg class="plot (?:moves|shares|curve)".*?</svg>', page, re.S):
            title, desc = re.search(
                r'aria-labelledby="(.*?)" aria-describedby="(.*?)"', figure
            ).groups()
            assert re.search(rf'<title id="{title}">[^<]+</title>', figure)
            assert re.search(rf'<desc id="{desc}">[^<]+</desc>', figure)


def test_lines_and_bars_can_be_seen_on_both_papers():
    sheet = (Path(class_plots.__file__).parent / "static/figures.css").read_text()
    assert len(sheet) < 10_000
    pairs = re.findall(r"--k\d: light-dark\((#\w+), (#\w+)\)", sheet)
    assert len(pairs) == 6
    for dark in (False, True):
        paper = token("paper", dark)
        assert all(contrast(pair[dark], paper) >= 3 for pair in pairs)
        assert contrast(token("damage", dark), paper) >= 3
