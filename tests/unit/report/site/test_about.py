"""The facts above the first number: data, network, attacker, effort, who ran it."""

from dataclasses import replace

import pytest

from harness.common.keys import ROOT
from harness.config.attack_family import QUERIES, attack_family
from harness.config.catalog import Catalog
from harness.config.threat import CONTROLS
from harness.report.cells import cell_rows
from harness.report.leaderboard import tables
from harness.report.site.about import (
    DataCard,
    Fact,
    Heading,
    budget_words,
    facts,
    input_words,
    tried,
    who_ran,
)
from harness.report.site.findings import first_place
from tests.support import synthetic
from tests.support.synthetic import Suite

SMALL = Suite(
    defenses={"trades": 0.6, "none": 0.0},
    attacks={"pgd": 1.0, "noop": 0.0},
    budgets=(("L∞ 8/255", 8 / 255),),
    seeds=(0,),
    examples=100,
)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"norm": "linf", "eps": 8 / 255}, "each pixel by at most 8 of 255 levels"),
        ({"norm": "linf", "eps": 0.1}, "each pixel by at most 25.5 of 255 levels"),
        (
            {"norm": "l2", "eps": 0.5},
            "a change of Euclidean length at most 0.5, where the range of one pixel is 1",
        ),
        ({"unbounded": True}, "anything may change"),
        ({"patch": 3}, "a square of 3 × 3 pixels, at will"),
        ({"pixels": 1600}, "pixels of a picture: at most 1,600, at will"),
        ({"edits": 0.1, "labels": True}, "the labels of 10 % of the training examples"),
        (
            {"edits": 0.005, "features": True},
            "the inputs of 0.5 % of the training examples",
        ),
        (
            {"patch": 2, "edits": 0.1, "labels": True, "features": True, "target": 0},
            "a square of 2 × 2 pixels, at will, 10 % of the training examples, "
            "the target is class 0",
        ),
        (
            {"norm": "linf", "eps": 1 / 255, "queries": 5000, "answers": "labels"},
            "each pixel by at most 1 of 255 levels, 5,000 queries for each input, "
            "answered by labels",
        ),
    ],
)
def test_budgets_as_people_say_them(limits, words):
    assert budget_words(limits).replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 48, 64), "64 × 48 pixels, colour"),
        ((1, 8, 8), "8 × 8 pixels, grey"),
        ((542,), "542 features"),
        ((), "items known by number, without pictures"),
    ],
)
def test_shapes_in_words(shape, words):
    card = DataCard("", "", "", 1, 1, shape, "classification")
    assert input_words(card).replace("\u00a0", " ") == words


def test_bundled_attacks_have_the_family_that_a_reader_expects():
    modules = Catalog.load(ROOT).modules.values()
    found = {
        module.manifest.name: attack_family(module.manifest)
        for module in modules
        if module.manifest.kind == "attack" and module.manifest.name not in CONTROLS["attack"]
    }
    expected = {
        "apgd": "gradient search",
        "backdoored-teacher": "delivered network",
        "badnets": "trigger in training data",
        "feature-attack": "inner features",
        "fgsm": "gradient search",
        "latent-backdoor": "delivered network",
        "label-flip": "edits without a model",
        "learned-flip": "edits chosen by a model",
        "malicious-autoencoder": "learned perturbation",
        "margin-flip": "edits chosen by a model",
        "pgd": "gradient search",
        "square": QUERIES,
        "universal": "learned perturbation",
    }
    assert {name: found[name] for name in expected} == expected


def all_facts(suite: Suite, **changes) -> dict[str, Fact]:
    frame = synthetic.frame(suite)
    rows = [row for row in cell_rows(frame) if row.record]
    found = {"heading": Heading("m"), "cards": {}, "families": {}, "victims": {}} | changes
    from harness.config.threat import THREATS

    made = facts(
        THREATS[suite.threat_model],
        benchmark=Heading("b", out_of_scope="Not large networks."),
        tables=tables(frame),
        ran=rows,
        **found,
    )
    return {fact.term: fact for fact in made}


def test_without_words_and_cards_the_records_still_tell_what_they_know():
    found = all_facts(SMALL)
    assert found["Data"].text == "digits, 100 test examples judged."
    assert found["Network"].text.startswith("small-cnn; ")
    assert found["How hard it was tried"].text.startswith("1 attack, 1 control")
    assert found["What this is not"].text == "Not large networks."


def test_the_public_data_are_named_beside_the_students():
    card = DataCard("Digits 5-9", "CC0", "here", 261, 5, (1, 8, 8), "classification")
    public = replace(card, title="Digits 0-4")
    heading = Heading("m", data={"public": "p", "student": "s"})
    found = all_facts(SMALL, heading=heading, cards={"s": card, "p": public})
    assert found["Data"].text.endswith("The public data: Digits 0-4.")


@pytest.mark.parametrize(
    ("threat", "said"), [("evasion-transfer", True), ("supply-chain", True), ("evasion", False)]
)
def test_weights_that_are_the_public_network_are_named(threat, said):
    found = all_facts(replace(SMALL, threat_model=threat))
    assert ("Public network" in found) is said
    if said:
        assert found["Public network"].text.startswith("Existing weights, from which training")


def test_a_part_of_the_training_set_is_said():
    heading = Heading("m", data={"student": "s"}, training="s: 5 of each class")
    found = all_facts(SMALL, heading=heading)
    assert found["Training examples used"].text == "s: 5 of each class"
    assert "Training examples used" not in all_facts(SMALL)


def test_a_note_on_the_copy_is_a_warning_of_its_own():
    card = DataCard("Digits 5-9", "CC0", "here", 261, 5, (1, 8, 8), "classification")
    noted = replace(card, note="2 test pictures are also in train")
    heading = Heading("m", data={"public": "s", "student": "s"})
    found = all_facts(SMALL, heading=heading, cards={"s": noted})["This copy of the data"]
    assert found.text == "Digits 5-9: 2 test pictures are also in train."
    assert found.warn
    assert "This copy of the data" not in all_facts(SMALL, heading=heading, cards={"s": card})


def test_segmentation_names_its_figure():
    found = all_facts(replace(SMALL, task="segmentation", examples=20))
    assert "% mIoU on clean inputs without a defence" in found["Network"].text


def test_passes_are_for_one_example_and_name_their_attack():
    suite = replace(SMALL, attacks={"pgd": 1.0, "fgsm": 0.5, "noop": 0.0})
    (table,) = tables(synthetic.frame(suite))
    place = {row.attack: i for i, row in enumerate(table.attacks)}
    cost = {place["pgd"]: 4000.0, place["fgsm"]: 200.0, place["noop"]: 0.0}
    rows = tuple(
        replace(row, cells=tuple(replace(c, cost=cost[i]) for i, c in enumerate(row.cells)))
        for row in table.rows
    )
    text = tried(
        replace(table, rows=rows), {"pgd": ("gradient search",), "fgsm": ("gradient search",)}
    )
    assert text == (
        "2 attacks of 1 family (gradient search), 1 control; for each example 40 passes of the "
        "network (pgd), at the least 2 (fgsm)."
    )


@pytest.mark.parametrize(
    ("suite", "start", "warn"),
    [
        (SMALL, "Self-reported. All 4 cells ran outside containers", True),
        (replace(SMALL, executor="docker"), "All 4 cells ran in containers.", False),
        (
            replace(SMALL, executor="docker", outside=("pgd",)),
            "Self-reported. 2 of 4 cells ran outside containers",
            True,
        ),
    ],
)
def test_who_ran_it(suite, start, warn):
    fact = who_ran(cell_rows(synthetic.frame(suite)))
    assert fact.text.startswith(start)
    assert fact.warn == warn
    assert "Machine: " in fact.text


def test_first_place_is_a_name_a_tie_or_nobodys():
    (table,) = tables(synthetic.frame(SMALL))
    assert first_place(table) == "trades"
    rows = tuple(replace(row, rank=1) for row in table.rows)
    tied = replace(table, rows=tuple(replace(row, is_control=False) for row in rows))
    assert first_place(tied) == "2 of 2 share first place"
    control = "no defence is significantly better than the undefended network"
    assert first_place(replace(table, rows=rows)) == control
    defended = tuple(row for row in rows if not row.is_control)
    alone = replace(table, rows=tuple(row for row in rows if row.is_control))
    assert first_place(alone) == "no defence was tried"
    assert first_place(replace(alone, unranked=defended)) == "no defence is ranked"
    assert first_place(replace(table, rows=())) == "no defence was tried"
