"""From a matrix to cells and de-duplicated stages; nothing is run."""

import pytest

from harness.config.threat import THREATS
from harness.planning.attacks import GRANTS
from harness.planning.stages import COMPARISONS
from tests.support.module_sources import PERTURB, VICTIM
from tests.support.workspaces import (
    BACKDOOR,
    POISONING,
    QUERY,
    SUPPLY_CHAIN,
    TRANSFER,
    Checkout,
    cell,
    kinds,
    matrix,
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("plan"))


@pytest.fixture
def own(tmp_path):
    """A checkout that a test may change."""
    return Checkout(tmp_path)


def keys_of(plan, kind):
    return {key for key, stage in plan.graph.stages.items() if stage.kind == kind}


# -- what is shared ---------------------------------------------------------------------------


def test_a_cell_is_victim_defence_attack_budget_and_seed(checkout):
    plan = checkout.plan(
        matrix(
            victims=["tiny", "tiny/short"],
            defenses=["none", "guard"],
            attacks=["noop", "sign"],
            budgets=[{"norm": "linf", "eps": 0.1}, {"norm": "l2", "eps": 1}],
            seeds=[0, 1],
        )
    )
    assert len(plan.cells) == 2 * 2 * 2 * 2 * 2
    assert "b/m/tiny.short/guard/sign/l2-1/s1" in plan.cells
    assert len({c.key for c in plan.cells.values()}) == len(plan.cells)


def test_all_evasion_attacks_and_a_guard_share_the_undefended_training(checkout):
    plan = checkout.plan(matrix(attacks=["noop", "sign"], defenses=["none", "guard"]))
    assert kinds(plan) == {
        **{"data": 1, "slice": 1, "train": 1, "attack": 4, "measure": 4},
        # clean inputs once per defence, attacked inputs once per cell
        "predict": 2 + 4,
        "probe": 2,  # one for each network that answers
    }


def test_a_network_is_probed_once_whatever_attacks_it_and_within_what_budget(checkout):
    budgets = [{"norm": "linf", "eps": eps} for eps in (0.1, 0.2)]
    plan = checkout.plan(
        matrix(attacks=["noop", "sign"], defenses=["none", "guard"], budgets=budgets, seeds=[0, 1])
    )
    assert kinds(plan)["probe"] == 2 * 2
    for one in plan.cells.values():
        stage = plan.graph.stages[one.stages["probe"]]
        assert "attack" not in stage.modules
        assert not stage.recipe.budget
        assert stage.key in one.own  # where it fails, the network does, and never the attack
    assert stage.recipe.options.to_json() == {
        **{"access": "victim", "hook": "probe", "no_model_access": False, "batch": 64},
    }


def test_only_white_box_evasion_is_probed(checkout):
    others = [matrix("q", **QUERY), matrix("t", **TRANSFER), matrix("b", **BACKDOOR)]
    others += [matrix("p", **POISONING), matrix("s", **SUPPLY_CHAIN)]
    assert "probe" not in kinds(checkout.plan(*others))


def test_a_defence_that_trains_does_not_share_it(checkout):
    plan = checkout.plan(matrix(defenses=["none", "trainer", "repairer", "sanitizer"]))
    assert kinds(plan)["train"] == 2  # sanitizers play no part in evasion
    assert kinds(plan)["repair"] == 1


def test_budgets_share_the_training_and_seeds_do_not(checkout):
    budgets = [{"norm": "linf", "eps": eps} for eps in (0.1, 0.2, 0.3)]
    plan = checkout.plan(matrix(attacks=["sign"], budgets=budgets))
    assert kinds(plan)["train"] == 1
    assert kinds(plan)["attack"] == 3
    assert kinds(checkout.plan(matrix(seeds=[0, 1, 2])))["train"] == 3


def test_an_adversary_belongs_to_the_training(checkout):
    def entry(eps):
        adversary = {"attack": "sign", "budget": {"norm": "linf", "eps": eps}}
        return {"name": "trainer", "adversary": adversary, "as": f"trainer-{int(eps * 100)}"}

    plan = checkout.plan(matrix(defenses=["trainer", entry(0.1), entry(0.2)], attacks=["sign"]))
    assert kinds(plan)["train"] == 3
    refs = cell(plan, defense="trainer-10").modules
    assert set(refs) == {"victims/tiny", "defenses/trainer", "attacks/sign"}


def test_a_transfer_batch_serves_every_student_and_defence(checkout):
    plan = checkout.plan(
        matrix(**TRANSFER, attacks=["sign"], defenses=["none", "guard", "trainer"])
    )
    assert kinds(plan)["attack"] == 1
    assert kinds(plan)["measure"] == 1
    # surrogate and undefended victim are one network here; guard shares it, trainer does not
    assert kinds(plan)["train"] == 2


def test_a_transfer_attack_counts_on_inputs_that_the_defended_network_had_right(checkout):
    """Not on those that the surrogate had right."""
    knowledge = {"surrogate": {"name": "tiny", "params": {"steps": 5}}}
    plan = checkout.plan(matrix(**TRANSFER | {"knowledge": knowledge}, defenses=["guard"]))
    stages = plan.graph.stages
    only = cell(plan, defense="guard")
    held = stages[only.stages["attack"]].inputs["weights"].key
    before, after = (stages[only.stages[role]] for role in ("before", "after"))
    assert before.inputs["weights"] == after.inputs["weights"]
    assert before.inputs["weights"].key == only.stages["network"] != held
    assert "defense" in before.modules


def test_a_query_attack_holds_the_defended_network(checkout):
    plan = checkout.plan(matrix(**QUERY, defenses=["none", "guard"]))
    assert kinds(plan)["attack"] == 2
    (stage,) = (
        s for s in plan.graph.stages.values() if s.kind == "attack" and "defense" in s.modules
    )
    assert stage.recipe.options.access == "oracle"


def test_equal_cells_of_two_matrices_share_every_stage_and_have_their_own_records(checkout):
    plan = checkout.plan(matrix("one", attacks=["sign"]), matrix("two", attacks=["sign"]))
    one, two = plan.cells.values()
    assert one.stages == two.stages
    assert one.key != two.key


def test_parameters_that_are_written_out_are_the_defaults(checkout):
    plan = checkout.plan(
        matrix(victims=["tiny", {"name": "tiny", "params": {"steps": 30}, "as": "same"}])
    )
    assert kinds(plan)["train"] == 1
    plan = checkout.plan(
        matrix(victims=["tiny/short", {"name": "tiny", "params": {"steps": 5}, "as": "same"}])
    )
    assert kinds(plan)["train"] == 1


# -- poisoning, backdoors, supply chain -------------------------------------------------------


def test_poisoning_compares_with_the_same_defence_without_the_attack(checkout):
    plan = checkout.plan(matrix(**POISONING, defenses=["none", "sanitizer"]))
    for defense in ("none", "sanitizer"):
        stages = cell(plan, defense=defense).stages
        assert "control_before" not in stages
        assert "attack" not in stages
        assert "measure" not in stages
        before, after = (plan.graph.stages[stages[role]] for role in ("before", "after"))
        assert before.inputs["x"] == after.inputs["x"]
        ways = [
            [s.kind for s in plan.graph.ancestors([one.key]).values()] for one in (before, after)
        ]
        assert "poison" not in ways[0]
        assert "poison" in ways[1]
        assert ("sanitize" in ways[0]) == (defense == "sanitizer") == ("sanitize" in ways[1])


def test_a_backdoor_has_four_predictions_of_two_networks_on_two_inputs(checkout):
    plan = checkout.plan(matrix(**BACKDOOR, defenses=["none"]))
    (only,) = plan.cells.values()
    stage = {
        role: plan.graph.stages[only.stages[role]]
        for role in ("before", "after", "control_before", "control_after")
    }
    weights = {role: s.inputs["weights"].key for role, s in stage.items()}
    inputs = {role: s.inputs["x"].key for role, s in stage.items()}
    assert weights["before"] == weights["after"] == only.stages["network"]
    assert weights["control_before"] == weights["control_after"] != weights["before"]
    assert inputs["before"] == inputs["control_before"] == only.stages["slice"]
    assert inputs["after"] == inputs["control_after"] == only.stages["attack"]
    trigger = plan.graph.stages[only.stages["attack"]]
    assert set(trigger.inputs) == {"spec", "state", "slice_x"}  # neither labels nor weights


def test_a_supply_chain_starts_from_the_delivered_network_and_its_control_from_the_public(checkout):
    plan = checkout.plan(matrix(**SUPPLY_CHAIN))
    (only,) = plan.cells.values()
    train = {
        role: plan.graph.stages[plan.graph.stages[only.stages[role]].inputs["weights"].key]
        for role in ("after", "control_after")
    }
    starts = {role: plan.graph.stages[s.inputs["start"].key].kind for role, s in train.items()}
    assert starts == {"after": "deliver", "control_after": "public"}


def test_the_attacker_is_granted_what_knowledge_says(checkout):
    inputs = {}
    for name, knowledge in {
        "none": {},
        "victim": {"knowledge": "clean-victim"},
        "surrogate": {"knowledge": {"surrogate": "tiny"}},
    }.items():
        plan = checkout.plan(matrix(**POISONING, **knowledge, victims=["tiny/short"]))
        (key,) = keys_of(plan, "poison")
        inputs[name] = plan.graph.stages[key]
    assert "knowledge" not in inputs["none"].inputs
    assert inputs["victim"].modules["victim"].params == {"steps": 5}
    assert inputs["surrogate"].modules["victim"].params == {"steps": 30}
    assert inputs["victim"].inputs["knowledge"] != inputs["surrogate"].inputs["knowledge"]


def test_without_a_surrogate_a_transfer_attack_holds_the_public_network(checkout):
    data = {"public": "digits-0-4", "student": "digits-5-9"}
    plan = checkout.plan(matrix(threat_model="evasion-transfer", data=data))
    (only,) = plan.cells.values()
    attack = plan.graph.stages[only.stages["attack"]]
    assert plan.graph.stages[attack.inputs["weights"].key].kind == "public"
    student = plan.graph.stages[only.stages["network"]]
    assert student.inputs["start"] == attack.inputs["weights"]


@pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS.keys())
def test_the_tables_of_stages_have_a_row_for_every_threat_model(threat):
    assert threat.access in GRANTS
    assert (threat.control, threat.at_test is not None) in COMPARISONS


# -- keys -------------------------------------------------------------------------------------


def test_goals_and_slices_do_not_depend_on_the_seed(checkout):
    plan = checkout.plan(matrix(goal={"targeted": "random"}, attacks=["sign"], seeds=[0, 1, 2]))
    assert kinds(plan)["goal"] == kinds(plan)["slice"] == kinds(plan)["data"] == 1
    assert kinds(plan)["attack"] == 3


def test_targets_that_the_model_draws_have_no_goal_stage(checkout):
    plan = checkout.plan(matrix(goal={"targeted": "least_likely"}))
    assert "goal" not in kinds(plan)
    (key,) = keys_of(plan, "attack")
    assert plan.graph.stages[key].recipe.options.least_likely


def test_the_same_plan_twice_has_the_same_keys_in_the_same_order(checkout):
    matrices = [matrix(attacks=["noop", "sign"]), matrix("p", **POISONING)]
    plans = [checkout.plan(*matrices) for _ in range(2)]
    assert list(plans[0].graph.stages) == list(plans[1].graph.stages)
    assert [c.key for c in plans[0].cells.values()] == [c.key for c in plans[1].cells.values()]


def test_time_limits_and_labels_are_not_in_any_stage_key(own):
    own.benchmark(matrix())
    before = set(own.plan().graph.stages)
    own.benchmark(matrix(keep={"examples": 8}), minutes=9)
    assert set(own.plan().graph.stages) == before
    own.benchmark(matrix("renamed", victims=[{"name": "tiny", "as": "other"}]))
    assert set(own.plan().graph.stages) == before


def test_only_the_stages_of_a_changed_folder_get_new_keys(own):
    matrices = [matrix(attacks=["noop", "sign"], defenses=["none", "guard"])]
    before = own.plan(*matrices).graph.stages
    (own.root / "attacks" / "sign" / "table.csv").write_text("a word more")
    after = own.plan().graph.stages
    gone = {stage.kind for key, stage in before.items() if key not in after}
    assert gone == {"attack", "measure", "predict"}
    kept = {stage.kind for key, stage in before.items() if key in after}
    assert kept == {"data", "slice", "train", "attack", "measure", "predict", "probe"}
    noop = [c for c in own.plan().cells.values() if c.info.attack == "noop"]
    assert all(set(c.stages.values()) <= before.keys() for c in noop)


def test_a_folder_that_no_cell_uses_changes_nothing(own):
    before = {c.key for c in own.plan(matrix()).cells.values()}
    (own.root / "attacks" / "sign" / "attack.py").write_text("another\n")
    (own.root / "attacks" / "noop" / "__pycache__").mkdir()
    (own.root / "attacks" / "noop" / "__pycache__" / "attack.pyc").write_bytes(b"byte code")
    assert {c.key for c in own.plan().cells.values()} == before


# -- cells that cannot be ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attacks": ["flip"]}, "evasion is not a threat model of attack flip"),
        (
            {"attacks": ["noop"], **QUERY | {"attacks": ["sign"]}},
            "attack sign needs loss; an oracle",
        ),
        ({"defenses": ["sanitizer"]}, "no hook of defence sanitizer plays a part in evasion"),
        (POISONING | {"defenses": ["guard"]}, "no hook of defence guard plays a part"),
        ({"data": {"student": "digits-ranking"}}, "evasion is not defined for ranking"),
        (
            POISONING | {"data": {"student": "digits-ranking"}, "defenses": ["sanitizer"]},
            "ranking is not a task of defense sanitizer",
        ),
        (
            TRANSFER | {"attacks": ["sign"], "goal": {"targeted": "least_likely"}},
            "the goal least_likely needs the victim's outputs, which evasion-transfer withholds",
        ),
        (
            {
                "threat_model": "evasion-transfer",
                "data": {"public": "digits-0-4", "student": "digits-5-9"},
                "attacks": ["sign"],
            },
            "attack sign needs a loss on the student's labels",
        ),
        ({"attacks": ["adaptive"]}, "attack adaptive is made against guard only"),
        ({"attacks": ["mapper"]}, "attack mapper needs maps, which victim tiny does not offer"),
    ],
)
def test_a_cell_that_cannot_be_says_which_rule(own, changes, reason):
    own.module("attack", "adaptive", "", against=["guard"])
    own.module("attack", "mapper", "", needs=["maps"])
    plan = own.plan(matrix(**changes))
    (only,) = plan.cells.values()
    assert only.reason is not None
    assert reason in only.reason
    assert not only.stages


def test_impossible_cells_do_not_keep_possible_ones_away(checkout):
    plan = checkout.plan(matrix(attacks=["noop", "flip"], defenses=["none", "sanitizer"]))
    possible = [(c.info.attack, c.info.defense) for c in plan.cells.values() if not c.reason]
    assert possible == [("noop", "none")]
    assert len(plan.cells) == 4


def test_an_adaptive_attack_plays_against_its_defence(own):
    own.module("attack", "adaptive", "", against=["guard"])
    assert cell(own.plan(matrix(defenses=["guard"], attacks=["adaptive"]))).reason is None


def test_each_network_s_clean_predictions_are_repeated_in_other_batches(own):
    """Once a network; where an attack changes no test input, they are the cell's own."""
    plan = own.plan(
        matrix("evasion", attacks=["noop", "sign"], defenses=["none", "guard"]),
        matrix("poisoning", **POISONING),
    )
    found = {
        (c.info.matrix, c.info.defense, c.info.attack, role): plan.graph.stages[c.stages[role]]
        for c in plan.cells.values()
        for role in ("before", "after")
    }
    repeated = {labels for labels, stage in found.items() if stage.recipe.options.rebatch}
    clean = {labels for labels, stage in found.items() if stage.inputs["x"].part == "x"}
    assert repeated == clean
    assert {(m, role) for m, *_, role in repeated} == {
        ("evasion", "before"),
        ("poisoning", "before"),
        ("poisoning", "after"),
    }
    # none, guard and poisoned: the control of poisoning is the clean network of evasion
    assert len({found[labels].key for labels in repeated}) == 3


# -- maps of pixels ---------------------------------------------------------------------------


def test_maps_are_predicted_once_more_after_rounding(tmp_path):
    """As a picture file would keep the attacked inputs; elsewhere nothing is planned for it."""
    checkout = Checkout(tmp_path)
    checkout.module("attack", "still", PERTURB.format("return x"), tasks=["segmentation"])
    maps = {"victims": ["scenes"], "attacks": ["still"], "data": {"student": "digit-scenes"}}
    steps = {"steps": {"type": "int", "default": 1}}
    checkout.module("victim", "scenes", VICTIM, tasks=["segmentation"], hooks=["build", "recipe"],
                    entry="victim.py:Tiny", params=steps)  # fmt: skip
    checkout.module("defense", "none", "class Defense: pass", hooks=[],
                    tasks=["classification", "segmentation"])  # fmt: skip
    plan = checkout.plan(matrix("maps", **maps), matrix("classes"))
    found = {cell.info.matrix: cell.stages for cell in plan.cells.values()}
    stage = plan.graph.stages[found["maps"]["eight_bit"]]
    assert stage.recipe.options.eight_bit is True
    assert stage.inputs == plan.graph.stages[found["maps"]["after"]].inputs
    assert "eight_bit" not in found["classes"]
