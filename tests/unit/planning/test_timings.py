"""What a plan expects of time and disk: known, as a range, or unknown."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from harness.commands.plan import plan as plan_command
from harness.common.files import save_array, write_json
from harness.planning import timings as module
from harness.planning.forecast import Forecast, Range
from harness.planning.timing_file import Work
from harness.planning.timings import Timings
from harness.running.scheduler import Scheduler
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store
from tests.support.workspaces import QUERY, Checkout, cell, matrix

STEPS = {"steps": {"type": "int", "default": 10}, "rate": {"type": "float", "default": 0.5}}


@pytest.fixture
def checkout(tmp_path):
    own = Checkout(tmp_path)
    own.module("attack", "slow", "", params=STEPS, variants={"more": {"steps": 40}})
    own.module("attack", "sly", "", params=STEPS, threat_models=["evasion-query"])
    return own


def slow(**params):
    return {"attacks": [{"name": "slow", "params": params}]}


def sized(examples, **changes):
    return matrix(eval_subset={"examples": examples, "batch": 20}, **changes)


def learn(checkout, plan, role, seconds, size=0):
    """Put a stage's artefact into the store as if a run had made it, and learn from it."""
    store, key = Store(checkout.home / "store"), cell(plan).stages[role]
    stage = plan.graph.stages[key]
    out = checkout.home / "out"
    save_array(out / "a.npy", np.zeros(size)) if size else write_json(out / "a.json", 1)
    modules = {r: ref.module for r, ref in stage.modules.items()}
    receipt = ReceiptDraft(stage.kind, "ok", seconds=seconds, modules=modules)
    store.commit(key, out, receipt)
    Timings(checkout.home, plan).learn(store, [key])


def seconds(checkout, plan, role):
    """What is expected of the role's stage of the plan's one cell."""
    found = Timings(checkout.home, plan).expect(plan.graph.stages[cell(plan).stages[role]])
    return None if found is None else tuple(round(end, 6) for end in found[0])


def test_a_stage_takes_what_such_a_stage_took_whatever_its_seed_and_code(checkout):
    for took in (4.0, 30.0, 6.0):
        learn(checkout, checkout.plan(matrix(**slow(), seeds=[int(took)])), "attack", took)
    checkout.module("attack", "slow", "# edited", params=STEPS)
    assert seconds(checkout, checkout.plan(matrix(**slow(), seeds=[9])), "attack") == (6.0, 6.0)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (sized(80, **slow()), (6.0, 12.0)),
        (sized(10, **slow()), (1.5, 6.0)),
        (sized(40, **slow(steps=30)), (6.0, 18.0)),
        (sized(80, **slow(steps=30)), (6.0, 36.0)),
        (sized(80, **slow(steps=5)), (3.0, 12.0)),
        (sized(40, **slow(rate=0.1)), (6.0, 6.0)),
        (sized(40, **slow(), budgets=[{"norm": "linf", "eps": 0.3}]), (6.0, 6.0)),
        (sized(40, **slow(), data={"student": "digits-0-4"}), (6.0, 6.0)),
        (sized(40, attacks=["noop"]), None),
        (sized(40, **slow(), defenses=["guard"]), None),
    ],
)
def test_another_amount_or_another_number_of_steps_gives_a_range(checkout, asked, expected):
    learn(checkout, checkout.plan(sized(40, **slow())), "attack", 6.0)
    assert seconds(checkout, checkout.plan(asked), "attack") == expected


def test_queries_are_an_amount_too(checkout):
    query = QUERY | {"attacks": ["sly"]}
    learn(checkout, checkout.plan(matrix(**query)), "attack", 2.0)
    more = query | {"budgets": [{"norm": "linf", "eps": 0.1, "queries": 30}]}
    assert seconds(checkout, checkout.plan(matrix(**more)), "attack") == (2.0, 20.0)


def test_the_nearest_of_several_settings_counts(checkout):
    for examples, took in ((10, 1.0), (300, 20.0)):
        learn(checkout, checkout.plan(sized(examples, **slow())), "attack", took)
    assert seconds(checkout, checkout.plan(sized(20, **slow())), "attack") == (1.0, 2.0)
    assert seconds(checkout, checkout.plan(sized(200, **slow())), "attack") == (13.333333, 20.0)


def test_training_is_by_the_share_of_the_training_set(checkout):
    learn(checkout, checkout.plan(matrix()), "train", 8.0)
    half = {"student": {"name": "digits", "train_fraction": 0.5}}
    assert seconds(checkout, checkout.plan(matrix(data=half)), "train") == (4.0, 8.0)


def test_training_on_shots_is_by_their_number(checkout):
    learn(checkout, checkout.plan(matrix()), "train", 8.0)
    shots = {"student": {"name": "digits", "shots": 5}}
    plan = checkout.plan(matrix(data=shots))
    assert seconds(checkout, plan, "train") == (0.4, 8.0)
    learn(checkout, plan, "train", 1.0)
    assert seconds(checkout, plan, "train") == (1.0, 1.0)


@pytest.mark.parametrize("known", [True, False])
def test_large_pictures_say_little_of_digits(checkout, monkeypatch, known):
    """After a run on road scenes, a plan of digits expects no 27 s for each of its stages."""
    learn(checkout, checkout.plan(sized(40)), "measure", 27.0)
    path = checkout.home / "timings.json"
    text = json.loads(path.read_text())
    (sample,) = text["samples"]["cpu measure"]
    sample["work"] = list(Work("camvid", 1.0, "test", 233))
    sample["setting"] = sample["setting"].replace('"digits"', '"camvid"')
    pictures = {"examples": {"train": 367, "val": 101, "test": 233}, "values": 3 * 360 * 480}
    text["data"] = {"camvid": pictures} if known else {}
    path.write_text(json.dumps(text))
    found = seconds(checkout, checkout.plan(sized(40)), "measure")
    # of data that are not here, nobody knows the size: nothing can be compared
    assert found == (pytest.approx(27 * 40 * 64 / (233 * 3 * 360 * 480), abs=1e-6), 27.0) if known \
        else found is None  # fmt: skip


def test_sizes_of_data_are_learnt_from_what_a_run_left(checkout, tmp_path):
    plan = checkout.plan(matrix(data={"student": {"name": "digits", "train_fraction": 0.5}}))
    (stage,) = [one for one in plan.graph.stages.values() if one.kind == "data"]
    out, store = tmp_path / "out", Store(checkout.home / "store")
    for part, count in (("train", 5), ("val", 3), ("test", 2)):
        save_array(out / part / "ids.npy", np.arange(count))
    write_json(out / "spec.json", {"shape": [3, 10, 10]})
    store.commit(stage.key, out, ReceiptDraft("data", "ok", seconds=1.0))
    Timings(checkout.home, plan).learn(store, [stage.key])
    found = json.loads((checkout.home / "timings.json").read_text())["data"]["digits"]
    assert found == {"examples": {"train": 10, "val": 3, "test": 2}, "values": 300}


def test_a_gpu_says_nothing_of_a_processor_but_for_our_own_stages(checkout):
    plan = checkout.plan(sized(40, **slow()))
    for role in ("attack", "measure"):
        learn(checkout, plan, role, 6.0)
    workspace = checkout.workspace()
    other = workspace.plan(workspace.benchmark("b"), device="cuda")
    assert seconds(checkout, other, "attack") is None
    assert seconds(checkout, other, "measure") == (6.0, 6.0)


OLD = {"measure": [[27.0, 1000]], "cpu attack attacks/slow+victims/tiny": [[9.0, 10]]}
EMPTY = {"schema": "timings/2", "data": {}, "samples": {
    "cpu attack attacks/slow+victims/tiny":
        [{"setting": "x", "counts": {}, "work": None, "seconds": [], "sizes": []}]}}  # fmt: skip


@pytest.mark.parametrize(
    "text", [json.dumps(OLD), json.dumps(EMPTY), "{", "[]", "[" * 9999, "\xff"]
)
def test_old_and_broken_timings_count_as_none_and_are_replaced(checkout, text):
    plan = checkout.plan(sized(40, **slow()))
    checkout.home.mkdir(exist_ok=True)
    (checkout.home / "timings.json").write_text(text, "latin-1")
    assert seconds(checkout, plan, "attack") is None
    learn(checkout, plan, "attack", 6.0)
    assert seconds(checkout, plan, "attack") == (6.0, 6.0)


def test_what_is_kept_is_bounded(checkout, monkeypatch):
    monkeypatch.setattr(module, "MAX_SAMPLES", 2)
    monkeypatch.setattr(module, "MAX_SETTINGS", 2)
    for steps in (1, 2, 3, 2):
        for took in (1.0, 8.0, 9.0):
            plan = checkout.plan(matrix(**slow(steps=steps), seeds=[int(took), 100 + steps * 7]))
            one = cell(plan, seed=int(took))
            timings, store = Timings(checkout.home, plan), Store(checkout.home / "store")
            out = checkout.home / "out"
            write_json(out / "a.json", 1)
            key = one.stages["attack"]
            store.commit(key, out, ReceiptDraft("attack", "ok", seconds=took))
            timings.learn(store, [key])
    (samples,) = json.loads((checkout.home / "timings.json").read_text())["samples"].values()
    assert [one["counts"]["attack steps"] for one in samples] == [3, 2]
    assert [len(one["seconds"]) for one in samples] == [2, 2]


def test_thousands_of_seeds_are_estimated_once(checkout, monkeypatch):
    calls = []
    nearest = Timings._nearest
    monkeypatch.setattr(Timings, "_nearest", lambda *a: calls.append(a) or nearest(*a))
    plan = checkout.plan(matrix(seeds=list(range(200)), attacks=["noop", "slow", "slow/more"]))
    store = Store(checkout.home / "store")
    monkeypatch.setattr(Store, "receipt", lambda *_: pytest.fail("reads a file a stage"))
    found = Timings(checkout.home, plan).forecast(list(plan.graph.stages.values()))
    assert store.root.is_dir()
    assert found.stages == found.unknown == len(plan.graph.stages) > 2000
    assert len(calls) < 20


@pytest.mark.slow
def test_a_run_that_is_stopped_has_learnt_what_it_saw(checkout, monkeypatch):
    run = Scheduler.run

    def stopped(self, cells):
        run(self, cells)
        raise KeyboardInterrupt

    monkeypatch.setattr(Scheduler, "run", stopped)
    checkout.benchmark(matrix())
    with pytest.raises(KeyboardInterrupt):
        checkout.run()
    found = json.loads((checkout.home / "timings.json").read_text())
    assert found["data"]["digits"]["values"] == 64
    asked = sized(40, seeds=[1], data={"student": "digits"})
    plan = checkout.plan(asked)
    expected = Timings(checkout.home, plan).forecast(list(plan.graph.stages.values()))
    assert (expected.stages, expected.unknown) == (8, 0)
    assert 0 < expected.seconds.lo == expected.seconds.hi
    assert 0 < expected.size.lo == expected.size.hi


# -- the words ------------------------------------------------------------------------------------


def said(checkout, *matrices):
    checkout.benchmark(*matrices)
    text = io.StringIO()
    plan_command(checkout.workspace(), "b", why=None, only=None, device="cpu", executor="local",
                 console=Console(file=text, width=100))  # fmt: skip
    return text.getvalue()


def test_on_a_fresh_store_the_time_is_unknown(checkout):
    text = said(checkout, matrix())
    assert "0 of 1 cells recorded, 1 to do. Expected: unknown; 8 stages to run, and nothing" in text
    assert not any(word in text for word in ("0 s", "0 MB"))
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert len(rows) == 7
    assert all(line.split("│")[-2].strip() == "unknown" for line in rows)


def test_with_nothing_to_run_no_time_is_said(checkout):
    flip = {"attacks": ["flip"]}  # no evasion
    text = said(checkout, matrix(**flip))
    assert "0 of 1 cells recorded, 1 to do; 1 of all not applicable. No stage to run." in text
    assert "\nnot applicable (1 cell): " in text
    assert "Expected" not in text


def test_what_is_known_stands_beside_the_number_of_what_is_not(checkout):
    learn(checkout, checkout.plan(sized(40, **slow())), "attack", 600.0)
    text = said(checkout, sized(80, seeds=[0, 1], attacks=["noop", "slow"]))
    assert "20–40 min + 2 unknown" in text
    assert "stages to run are unknown: nothing like them has run here." in text


@pytest.mark.parametrize(
    ("forecast", "brief", "sentence"),
    [
        (Forecast(0, 0, Range(0, 0), Range(0, 0)), "", "No stage to run."),
        (
            Forecast(1, 1, Range(0, 0), Range(0, 0)),
            "unknown",
            "Expected: unknown; 1 stage to run, and nothing like it has run here.",
        ),
        (
            Forecast(5, 0, Range(40, 40), Range(3e6, 3e6)),
            "40 s",
            "Expected: 20 s on 2 cores, 3 MB.",
        ),
        (
            Forecast(5, 0, Range(40, 400), Range(10, 3e6)),
            "40 s–7 min",
            "Expected: 20 s–3 min on 2 cores, 0–3 MB.",
        ),
        (
            Forecast(5, 2, Range(0.1, 1.5), Range(10, 20)),
            "0–2 s + 2 unknown",
            "Expected: under 1 s on 2 cores, under 1 MB; beside that, 2 of 5 stages to run are "
            "unknown: nothing like them has run here.",
        ),
    ],
)
def test_words_of_a_forecast(forecast, brief, sentence):
    assert (forecast.brief(), forecast.sentence(2)) == (brief, sentence)
