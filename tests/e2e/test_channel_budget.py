"""A run under a radius for each channel, with an attack that ignores one of them."""

import csv
import io
import shutil

import pytest
from PIL import Image, ImageOps

from harness.common.keys import ROOT
from tests.support.module_sources import PERTURB
from tests.support.own_data import class_folders
from tests.support.sources import write_folder
from tests.support.workspaces import Checkout, matrix

UNITS = [0.1, 0.25, 0.5]
LABEL = "L∞ 1/5 × (0.1, 0.25, 0.5) = (5.1, 12.8, 25.5)/255"
LIMITS = {"requires": [{"limits": ["linf", "per_channel"]}]}
CHEAT = PERTURB.format(
    """from harness.runtime.gradients import ball
        radii = ball(budget, x).eps.clone()
        radii[1] = radii.max()  # the radius of another channel
        return (x + radii).clamp(0, 1)"""
)


def coloured(content):
    """Return a grey picture with another content in one channel."""
    grey = Image.open(io.BytesIO(content))
    out = io.BytesIO()
    Image.merge("RGB", (grey, ImageOps.mirror(grey), grey)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a checkout whose benchmark was run on colour pictures."""
    checkout = Checkout(tmp_path_factory.mktemp("channels"))
    shutil.copytree(ROOT / "attacks" / "fgsm", checkout.root / "attacks" / "fgsm")
    checkout.module("attack", "noop", PERTURB.format("return x"), **LIMITS)
    checkout.module("attack", "cheat", CHEAT, **LIMITS)
    files = class_folders({"train": 30, "test": 10}, ("cat", "dog", "owl"))
    files = {path: coloured(content) for path, content in files.items()}
    write_folder(checkout.root / "pictures", files)
    checkout.benchmark(
        matrix(
            data={"student": "../../squares.yaml"},
            attacks=["noop", "fgsm", "cheat", "sign"],
            budgets=[{"norm": "linf", "eps": 0.2, "per_channel": UNITS}],
            eval_subset={"examples": 20, "batch": 10},
        )
    )
    file = checkout.root / "benchmarks" / "b" / "benchmark.yaml"
    file.write_text(file.read_text().replace('"eps": 0.2', '"eps": 1/5'))
    for arguments in (
        ("new", "dataset", "squares", "--from", "pictures", "--out", "squares.yaml"),
        ("check", "squares.yaml"),
        ("run", "b"),
        ("report",),
    ):
        done = checkout.gauntlet(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return checkout


def test_fgsm_keeps_every_radius(ran):
    (record,) = [one for one in ran.records().values() if one.cell.attack == "fgsm"]
    assert (record.status, record.cell.budget_label) == ("ok", LABEL)
    assert record.cell.budget == {"norm": "linf", "eps": 0.2, "per_channel": UNITS}
    assert record.perturbation["linf_max"] == pytest.approx(0.1, abs=1e-6)
    assert "/linf-1_5-x-0.1-0.25-0.5/" in record.id


def test_the_judge_refuses_the_radius_of_another_channel(ran):
    (record,) = [one for one in ran.records().values() if one.cell.attack == "cheat"]
    assert record.status == "budget_violation"
    assert record.reason.startswith("L∞ distance of channel 1 is 0.1")
    assert "the limit is 0.05 (tolerance 1e-06): 20 of 20 examples" in record.reason


def test_an_attack_that_names_no_such_limit_is_not_tried(ran):
    done = ran.gauntlet("plan", "b", "--verbose")
    (record,) = [one for one in ran.records().values() if one.cell.attack == "sign"]
    assert record.status == "not_applicable", done.stdout
    assert record.reason.startswith("the budget has per_channel, and attack sign keeps only linf")


def test_pages_and_tables_have_both_units(ran):
    site = ran.root / "reports"
    pages = [path.read_text() for path in site.rglob("*.html")]
    assert sum(LABEL in text for text in pages) >= 2
    words = "each pixel by 0.2 of its channel's unit (0.1, 0.25, 0.5), that is at most"
    assert any(words in text.replace("&#39;", "'") for text in pages)
    texts = [io.StringIO(path.read_text()) for path in site.rglob("*.csv")]
    tables = [list(csv.DictReader(text)) for text in texts]
    rows = [row for rows in tables for row in rows if "per_channel" in row]
    assert {(row["budget"], row["eps"], row["per_channel"]) for row in rows} == {
        (LABEL, "0.2", "0.1 0.25 0.5")
    }
