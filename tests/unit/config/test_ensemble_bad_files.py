"""Ensembles: each mistake gives its own line."""

import pytest

from harness.common.errors import UserError
from tests.support.benchmark_files import matrix_with

pytestmark = pytest.mark.usefixtures("root")

AT = "matrices[0].ensembles"
FIX = "write a list of labels, or {hand_over: [NAME, …]}"
ADVERSARY = "{name: pgd, adversary: {attack: pgd, budget: {norm: linf, eps: 1}}}"
# value of the matrix's line → the expected line
BAD = {
    "{all: [pgd-40, pdg-40]}": f"19:29: {AT}.all[1]: no attack of this matrix is labelled "
    '"pdg-40"; did you mean "pgd-40"?',
    "{fgsm: [pgd-40]}": f'19:15: {AT}.fgsm: "fgsm" is an attack\'s label already; rename the '
    "ensemble",
    "{shrunk: [fgsm]}": f'19:15: {AT}.shrunk: "shrunk" is the name of something else in tables; '
    "rename the ensemble",
    "{all: {}}": f"19:15: {AT}.all: no attacks; {FIX}",
    "{all: {members: [fgsm], hand_over: [fgsm]}}": f"19:15: {AT}.all: both members and "
    f"hand_over; {FIX}",
    "{all: {hand: [fgsm]}}": f'19:21: {AT}.all.hand: unknown key; did you mean "hand_over"?',
    "{all: {hand_over: []}}": f"19:21: {AT}.all.hand_over: expected at least one entry, found []; "
    "add one",
    "{all: {hand_over: [fgsm, fgsm]}}": f'19:21: {AT}.all.hand_over: duplicate entry "fgsm"; '
    "remove one, or tell them apart by as:",
    f"{{all: {{hand_over: [{ADVERSARY}]}}}}": f"19:45: {AT}.all.hand_over[0].adversary: only a "
    "defence trains against an adversary; remove it",
}


def mistake(**lines):
    """The one line about a matrix with these lines."""
    with pytest.raises(UserError) as caught:
        matrix_with(**lines)
    (found,) = str(caught.value).splitlines()
    return found.removeprefix("benchmarks/quick/benchmark.yaml:")


@pytest.mark.parametrize(("value", "line"), BAD.items())
def test_a_mistake_gives_its_line(value, line):
    assert mistake(ensembles=value) == line


def test_a_control_lends_its_name_to_no_ensemble():
    assert mistake(attacks="[fgsm]", ensembles="{noop: [fgsm]}") == (
        f'19:15: {AT}.noop: "noop" is the name of something else in tables; rename the ensemble'
    )


def test_borrowed_inputs_lend_theirs_to_no_attack():
    assert mistake(attacks="[fgsm, {name: pgd, as: shrunk}]", ensembles="{}") == (
        '14:19: matrices[0].attacks[1]: "shrunk" is the label of inputs that defences borrow; '
        "choose another with as:"
    )


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (
            {"goal": "{targeted: least_likely}"},
            "a goal that each network draws itself, which others cannot be handed; write another "
            "goal, or a list of labels of attacks",
        ),
        (
            {"threat_model": "poisoning", "budgets": "[{edits: 0.1, labels: true}]"},
            "poisoning does not attack test inputs one by one; write a list of labels of attacks",
        ),
    ],
)
def test_examples_are_handed_over_under_some_threat_models_and_goals(lines, what):
    found = mistake(ensembles="{all: {hand_over: [fgsm]}}", **lines)
    assert found == f"19:21: {AT}.all.hand_over: {what}"
