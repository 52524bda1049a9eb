"""Conditions in manifests: the plan says which cells do not meet them, before anything runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness import datasets
from harness.common.errors import UserError
from harness.config.catalog import Catalog
from harness.config.manifest_file import load_manifest
from harness.datasets.described import input_kind
from harness.planning.requirements import CellFacts, check_requirements
from harness.planning.resolved_entry import ResolvedEntry
from tests.support.module_sources import ANY_LIMIT, PERTURB
from tests.support.sources import all_sets
from tests.support.workspaces import POISONING, QUERY, Checkout, cell, matrix

ROOT = Path(__file__).parents[3]
FORM = {"form": {"type": "str", "default": "s", "choices": ["s", "m"]}}
LEARN = "class Attack:\n    pass\n"
FLIP = {"hooks": ["poison"], "threat_models": ["poisoning"]}


@pytest.fixture
def own(tmp_path):
    return Checkout(tmp_path)


L2 = {"budgets": [{"norm": "l2", "eps": 1}]}
PATCH = {"budgets": [{"patch": 2}]}
UNITS = {"budgets": [{"norm": "linf", "eps": 0.1, "per_channel": [0.2]}]}
BOTH = {"budgets": [{"norm": "l2", "eps": 1, "patch": 2}]}
LABELS = QUERY | {"budgets": [{"norm": "linf", "eps": 0.1, "queries": 3, "answers": "labels"}]}
CASES = [
    ({"limits": ["linf"]}, {}, None),
    ({"limits": ["linf"]}, L2, "the budget has norm: l2, and attack it keeps only linf"),
    (
        {"limits": ["linf", "l2"]},
        UNITS,
        "the budget has per_channel, and attack it keeps only linf, l2",
    ),
    ({"limits": ["linf", "per_channel"]}, UNITS, None),
    ({"limits": ["linf", "l2"]}, PATCH, "the budget has patch, and attack it keeps only linf, l2"),
    ({"limits": ["patch"]}, BOTH, "the budget has norm: l2, and attack it keeps only patch"),
    ({"limits": ["linf", "l2"]}, BOTH, "the budget has patch, and attack it keeps only linf, l2"),
    (
        {"limits": ["linf"]},
        BOTH,
        "the budget has norm: l2 and patch, and attack it keeps only linf",
    ),
    ({"limits": ["l2", "patch"]}, BOTH, None),
    ({"limits": ["linf"]}, {"budgets": [{"unbounded": True}]}, "the budget has unbounded, and"),
    ({"tasks": ["segmentation"]}, {}, "the task is classification, and attack it needs segm"),
    ({"inputs": ["features"]}, {}, "the inputs are images, and attack it needs features"),
    ({"goals": ["untargeted"]}, {"goal": {"targeted": "next"}}, "the goal is targeted, and attack"),
    ({"goals": ["untargeted"]}, {}, None),
    ({"answers": ["scores"]}, QUERY, None),
    ({"answers": ["scores"]}, LABELS, "the answers are labels, and attack it needs scores"),
    ({"answers": ["scores"]}, {}, None),  # without an oracle there is nothing to ask
    (
        {"when": {"form": ["m"]}, "limits": ["l2"]},
        {},
        "the budget has norm: linf, and attack it names no limit that it keeps",
    ),
    (
        {"when": {"form": ["s"]}, "limits": ["l2"]},
        {},
        "the budget has norm: linf, and attack it keeps only l2",
    ),
    (
        {"when": {"form": ["m"]}, "limits": ["linf"]},
        {},
        "the budget has norm: linf, and attack it names no limit that it keeps",
    ),
]


@pytest.mark.parametrize(("needed", "changes", "reason"), CASES)
def test_an_attack_s_requirement_is_asked_of_each_cell(own, needed, changes, reason):
    threats = ["evasion", "evasion-query"]
    requires = [needed] if "limits" in needed else [needed, ANY_LIMIT]
    own.module("attack", "it", PERTURB.format("return x"), requires=requires, params=FORM,
               threat_models=threats)  # fmt: skip
    only = cell(own.plan(matrix(**changes | {"attacks": ["it"]})))
    assert (only.reason or "").startswith(reason or "")
    assert (only.reason is None) == (reason is None)
    assert bool(only.stages) == (reason is None)


@pytest.mark.parametrize(
    ("needed", "changes", "reason"),
    [
        ({"edits": ["labels"]}, {}, None),
        ({"edits": ["labels", "features"]}, {}, "the budget allows no edits of features, which"),
        ({"knowledge": True}, {}, "the matrix grants no network, and attack it needs one: add"),
        ({"knowledge": True}, {"knowledge": "clean-victim"}, None),
        ({"knowledge": True}, {"knowledge": {"surrogate": "tiny/short"}}, None),
        ({"limits": ["patch"]}, {}, None),  # labels only: no perturbation to limit
    ],
)
def test_a_poisoner_s_requirement_is_asked_of_each_cell(own, needed, changes, reason):
    own.module("attack", "it", "class Attack: pass", requires=[needed], **FLIP)
    only = cell(own.plan(matrix(**POISONING | changes | {"attacks": ["it"]})))
    assert (only.reason or "").startswith(reason or "")
    assert (only.reason is None) == (reason is None)


def test_a_variant_counts_by_its_parameters(own):
    own.module("attack", "it", PERTURB.format("return x"), params=FORM,
               variants={"large": {"form": "m"}},
               requires=[ANY_LIMIT, {"when": {"form": ["m"]}, "limits": ["l2"]}])  # fmt: skip
    entries = ["it", "it/large", {"name": "it", "params": {"form": "m"}, "as": "given"}]
    plan = own.plan(matrix(attacks=entries))
    assert {c.info.attack: c.reason is None for c in plan.cells.values()} == {
        "it": True,
        "it/large": False,
        "given": False,
    }


def test_the_most_classes_of_a_defence_are_a_number_or_a_parameter(own):
    needed = [{"when": {"form": ["s"]}, "classes_max": "dim"}, {"classes_max": 10}]
    params = FORM | {"dim": {"type": "int", "default": 50}}
    own.module("defense", "it", "class Defense: pass", hooks=["fit"], params=params,
               requires=needed)  # fmt: skip
    few = {"name": "it", "params": {"dim": 9}, "as": "few"}
    free = {"name": "it", "params": {"dim": 9, "form": "m"}, "as": "free"}
    plan = own.plan(matrix(defenses=["it", few, free]))
    assert {c.info.defense: c.reason for c in plan.cells.values()} == {
        "it": None,
        "few": "the number of classes is 10, and defence few has at most 9",
        "free": None,
    }


def test_a_defence_that_needs_an_adversary_gets_none_and_its_adversary_is_asked_too(own):
    own.module("attack", "it", PERTURB.format("return x"), requires=[{"limits": ["linf"]}])
    own.module("defense", "hard", "class Defense: pass", hooks=["fit"],
               requires=[{"adversary": True}])  # fmt: skip

    plan = own.plan(matrix(defenses=["none", "hard"]))
    assert cell(plan, defense="none").reason is None
    assert cell(plan, defense="hard").reason == (
        "the entry has no adversary, and defence hard needs one"
    )
    good, bad = ({"norm": norm, "eps": 0.1} for norm in ("linf", "l2"))
    entries = [{"name": "hard", "as": b["norm"], "adversary": {"attack": "it", "budget": b}}
               for b in (good, bad)]  # fmt: skip
    plan = own.plan(matrix(defenses=entries))
    assert cell(plan, defense="linf").reason is None
    assert (
        cell(plan, defense="l2").reason == "the budget has norm: l2, and attack it keeps only linf"
    )


def test_a_defence_says_what_the_victim_must_offer(own):
    own.module("defense", "it", "class Defense: pass", hooks=["fit"],
               requires=[{"offers": ["loss", "maps"]}])  # fmt: skip
    own.module("victim", "rich", "class Victim: pass", hooks=["build", "recipe"],
               offers=["maps", "loss", "weights"])  # fmt: skip
    plan = own.plan(matrix(victims=["tiny", "rich"], defenses=["it"]))
    assert cell(plan, victim="rich").reason is None
    assert cell(plan, victim="tiny").reason == (
        "the victim offers no maps, and defence it needs that"
    )


def test_an_attack_without_limits_plays_where_no_budget_sets_any(own):
    own.module("attack", "it", "class Attack: pass", requires=[], **FLIP)
    bound = {"edits": 0.1, "features": True, "norm": "linf", "eps": 0.1}
    plan = own.plan(matrix(**POISONING | {"attacks": ["it"]}))
    assert cell(plan).reason is None
    plan = own.plan(matrix(**POISONING | {"attacks": ["it"], "budgets": [bound]}))
    assert cell(plan).reason == (
        "the budget has norm: linf, and attack it names no limit that it keeps"
    )


def test_no_reason_is_booked_as_the_defence_s_evasion(own):
    own.module("defense", "it", "class Defense: pass", hooks=["fit"],
               requires=[{"adversary": True, "inputs": ["items"]}])  # fmt: skip
    module = Catalog.load(own.root).modules["defense", "it"]
    facts = CellFacts(frozenset({"classification"}), frozenset({"images"}))
    reason = check_requirements(ResolvedEntry(module, "it", {}), facts)
    assert reason == "the inputs are images, and defence it needs items"


def test_learn_is_planned_where_it_does_something(own):
    own.module("attack", "it", LEARN, hooks=["learn", "perturb"], params=FORM,
               learn_when={"form": ["m"]}, variants={"large": {"form": "m"}})  # fmt: skip
    plan = own.plan(matrix(attacks=["it", "it/large"]))
    made = [s.modules["attack"].params for s in plan.graph.stages.values()
            if s.kind == "learn"]  # fmt: skip
    assert made == [{"form": "m"}]
    attack = plan.graph.stages[cell(plan, attack="it").stages["attack"]]
    assert "state" not in attack.inputs


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        ("attack", {"requires": [{}]}, "requires[0]: requires nothing; add tasks or inputs or"),
        ("attack", {"requires": [{"adversary": True}]}, "requires[0].adversary: means nothing for"),
        ("defense", {"requires": [{"limits": ["linf"]}]}, "requires[0].limits: means nothing for"),
        (
            "attack",
            {"params": FORM, "requires": [{"when": {"from": ["s"]}, "limits": ["linf"]}]},
            'requires[0].when.from: attacks/it has no parameter "from"; did you mean "form"?',
        ),
        (
            "attack",
            {"params": FORM, "requires": [{"when": {"form": ["l"]}, "limits": ["linf"]}]},
            "requires[0].when.form[0]: expected one of",
        ),
        (
            "attack",
            {"requires": [{"inputs": ["images"]}]},
            "requires: no limits, and every budget of evasion sets one; add those that the attack "
            "keeps: [{limits: [linf]}]",
        ),
        (
            "attack",
            {"requires": [], "threat_models": ["poisoning", "supply-chain"], "hooks": ["deliver"]},
            "no limits, and every budget of supply-chain sets one",
        ),
        ("attack", {"params": FORM, "learn_when": {"form": ["s"]}}, "learn_when: there is no hook"),
        (
            "attack",
            {"params": FORM, "clean_form": {"form": "s"}},
            "clean_form: there is no hook de",
        ),
        ("defense", {"clean_form": {}}, "clean_form: means nothing for kind: defense"),
        (
            "attack",
            {"params": FORM, "clean_form": {"fom": "s"}},
            "clean_form.fom: attacks/it has no",
        ),
        (
            "defense",
            {"requires": [{"classes_max": "form"}], "params": FORM},
            'requires[0].classes_max: defenses/it has no parameter "form" of the type int',
        ),
        (
            "defense",
            {"requires": [{"classes_max": 0}]},
            "requires[0].classes_max: expected a number of classes or the name of a parameter",
        ),
        ("defense", {"learn_when": {}}, "learn_when: means nothing for kind: defense"),
    ],
)
def test_a_requirement_that_means_nothing_is_refused(own, kind, fields, line):
    folder = own.module(kind, "it", PERTURB.format("return x"), **fields)
    with pytest.raises(UserError) as caught:
        load_manifest(folder)
    assert any(line in one for one in str(caught.value).splitlines()), str(caught.value)


def test_the_kind_of_inputs_is_that_of_the_data(tmp_path):
    assert len(datasets.BUNDLED) >= 5
    for dataset in datasets.BUNDLED.values():
        assert dataset.inputs == input_kind(dataset.bundled().spec), dataset.name
    known = {data.name: data.inputs for data in all_sets(tmp_path)}
    assert (known["food"], known["pubfig"], known["camvid"]) == ("items", "features", "images")


NET = {"hooks": ["build", "recipe"], "offers": ["loss", "features", "gradients"]}
DIGITS = {"requires": [{"channels": [1], "side": [8], "classes": [10]}]}
FORMS = [
    ({"channels": [1, 3], "side": [8], "side_multiple": 4, "side_min": 8, "classes": [10]}, None),
    ({"channels": [3, 4]}, "the number of channels is 1, and victim net needs 3 or 4"),
    ({"side": [28]}, "the pictures are 8x8, and victim net needs a side of 28"),
    ({"side_min": 16, "side_multiple": 3},
     "the pictures are 8x8, and victim net needs a side of at least 16 and divisible by 3"),
    ({"classes": [5, 20]}, "the number of classes is 10, and victim net needs 5 or 20"),
]  # fmt: skip
TRANSFER = {
    "data": {"student": "digits", "public": "digits-0-4", "attacker": "digits"},
    "threat_model": "evasion-transfer",
}


@pytest.mark.parametrize(("needed", "reason"), FORMS)
def test_a_victim_says_what_it_takes(own, needed, reason):
    own.module("victim", "net", "class Victim: pass", requires=[needed], **NET)
    only = cell(own.plan(matrix(victims=["net"])))
    assert only.reason == reason
    assert bool(only.stages) == (reason is None)


def test_a_victim_is_asked_about_the_data_of_every_role(own):
    own.module("victim", "net", "class Victim: pass", **DIGITS, **NET)
    only = cell(own.plan(matrix(victims=["net"], **TRANSFER)))
    assert only.reason == "the number of classes is 5, and victim net needs 10"


def test_a_victim_for_pictures_takes_no_features():
    facts = CellFacts(frozenset({"ranking"}), frozenset({"features"}), shape=(542,), classes=11)
    found = requirement_of("ranker/resnet-50", facts)
    assert found == "the inputs are features, and victim ranker/resnet-50 needs images"


def requirement_of(label, facts):
    name, _, variant = label.partition("/")
    module = CATALOG.modules["victim", name]
    params = module.manifest.resolve(variant or None)
    return check_requirements(ResolvedEntry(module, label, params), facts)


BALL, SQUARE = frozenset({"linf"}), frozenset({"patch"})
CELL = CellFacts(frozenset({"classification"}), frozenset({"images"}), BALL)
MAPPED = replace(CELL, offers=frozenset({"loss", "maps"}))
RANKED = replace(
    CELL,
    tasks=frozenset({"ranking"}),
    limits=frozenset(),
    edits=frozenset({"labels"}),
    knowledge=True,
)
SCENES = replace(CELL, tasks=frozenset({"segmentation"}))
BUNDLED = [
    ("attack", "apgd", CELL, {"limits": SQUARE}),
    ("attack", "apgd/dlr", CELL, {"tasks": frozenset({"segmentation"})}),
    ("attack", "apgd/dlr-t", replace(CELL, limits=frozenset({"l2"})),
     {"tasks": frozenset({"segmentation"})}),
    ("attack", "apgd/sea-mce", CELL, {"goals": frozenset({"targeted"})}),
    ("attack", "universal", CELL, {"limits": frozenset({"l2"})}),
    ("attack", "malicious-autoencoder/s", CELL, {"limits": frozenset({"l2"})}),
    ("attack", "malicious-autoencoder/psnr-20", replace(CELL, limits=frozenset({"unbounded"})),
     {"limits": BALL}),
    ("attack", "pgd", CELL, {"limits": SQUARE}),
    ("attack", "pgd/segpgd", replace(CELL, tasks=frozenset({"segmentation"})),
     {"tasks": frozenset({"classification"})}),
    ("attack", "fgsm", CELL, {"limits": SQUARE}),
    ("attack", "feature-attack", CELL, {"limits": SQUARE}),
    ("attack", "feature-attack", CELL, {"goals": frozenset({"targeted"})}),
    ("attack", "feature-attack/published", CELL, {"inputs": frozenset({"features"})}),
    ("attack", "feature-attack/original", replace(CELL, limits=frozenset({"unbounded"})),
     {"limits": BALL}),
    ("attack", "square", replace(CELL, answers=frozenset({"scores"})),
     {"answers": frozenset({"labels"})}),
    ("attack", "label-flip", RANKED, {"edits": frozenset({"features"})}),
    ("attack", "label-flip/next", replace(RANKED, tasks=frozenset({"classification"})),
     {"tasks": frozenset({"ranking"})}),
    ("attack", "margin-flip/reverse", RANKED, {"edits": frozenset({"features"})}),
    ("attack", "margin-flip/reverse", RANKED, {"knowledge": False}),
    ("attack", "learned-flip", RANKED, {"edits": frozenset({"features"})}),
    ("attack", "learned-flip", RANKED, {"knowledge": False}),
    ("attack", "badnets", replace(CELL, limits=SQUARE, edits=frozenset({"labels", "features"})),
     {"edits": frozenset({"labels"})}),
    ("attack", "badnets", replace(CELL, limits=SQUARE, edits=frozenset({"labels", "features"})),
     {"limits": BALL}),
    ("attack", "backdoored-teacher", replace(CELL, limits=SQUARE), {"limits": BALL}),
    ("attack", "backdoored-teacher/corners", replace(CELL, limits=frozenset({"pixels"})),
     {"limits": SQUARE}),
    ("attack", "latent-backdoor", replace(CELL, limits=SQUARE), {"limits": BALL}),
    ("defense", "adversarial-training", replace(CELL, adversary=True), {"adversary": False}),
    ("defense", "adversarial-fine-tuning", replace(CELL, adversary=True), {"adversary": False}),
    ("defense", "transfer-training/delta", MAPPED, {"offers": frozenset({"loss"})}),
    ("defense", "transfer-training/delta", MAPPED, {"inputs": frozenset({"features"})}),
    ("defense", "feature-squeezing", CELL, {"inputs": frozenset({"features"})}),
    ("defense", "jpeg", CELL, {"inputs": frozenset({"features"})}),
    ("defense", "knn-sanitizer", CELL, {"inputs": frozenset({"items"})}),
    ("victim", "ranker", RANKED, {"inputs": frozenset({"items"})}),
    ("victim", "ranker/resnet-50", RANKED, {"inputs": frozenset({"features"})}),
    ("victim", "ranker/free", replace(RANKED, inputs=frozenset({"items"})),
     {"inputs": frozenset({"images"})}),
]  # fmt: skip
CATALOG = Catalog.load(ROOT)


@pytest.mark.parametrize(("kind", "label", "facts", "change"), BUNDLED)
def test_the_bundled_modules_say_what_they_need(kind, label, facts, change):
    """Facts that modules once found out at run time: met, and not met."""
    name, _, variant = label.partition("/")
    module = CATALOG.modules[kind, name]
    subject = ResolvedEntry(module, label, module.manifest.resolve(variant or None))
    assert check_requirements(subject, facts) is None
    assert label in (check_requirements(subject, replace(facts, **change)) or "")


def test_controls_and_unbalanced_apgd_learn_nothing():
    for name in ("noop", "random_noise"):
        assert "learn" not in CATALOG.modules["attack", name].manifest.hooks
    apgd = CATALOG.modules["attack", "apgd"].manifest
    assert not apgd.uses("learn", apgd.resolve())
    assert apgd.uses("learn", apgd.resolve("sea-mce-bal"))
