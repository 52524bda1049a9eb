"""Benchmarks: budgets, roles and goals that do not fit the threat model."""

import pytest

from harness.common.errors import UserError
from tests.support.benchmark_files import DATA, matrix_with

pytestmark = pytest.mark.usefixtures("root")


@pytest.mark.parametrize(
    ("threat_model", "budget", "what"),
    [
        ("evasion-query", "{norm: l2, eps: 1}", "evasion-query needs queries in its budget"),
        ("poisoning", "{labels: true}", "poisoning needs edits in its budget"),
        ("poisoning", "{edits: 0.1}", "poisoning needs labels or features in its budget"),
        ("poisoning", "{edits: 0.1, labels: true, target: 0}", "poisoning has no budget field t"),
        ("backdoor", "{edits: 0.1, patch: 3}", "backdoor needs target in its budget"),
        (
            "backdoor",
            "{edits: 0.1, target: 0}",
            "backdoor needs patch or pixels or norm",
        ),
        ("supply-chain", "{patch: 3}", "supply-chain needs target in its budget"),
        ("supply-chain", "{patch: 3, target: 0, edits: 0.1}", "supply-chain has no budget field e"),
    ],
)
def test_each_threat_model_has_its_own_budget_fields(threat_model, budget, what):
    with pytest.raises(UserError) as caught:
        matrix_with(threat_model=threat_model, budgets=f"[{budget}]", data=DATA)
    assert f": {what}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (
            {"threat_model": "evasion-transfer"},
            "no public network: no public data, and no weights",
        ),
        (
            {"threat_model": "supply-chain", "budgets": "[{patch: 3, target: 0}]"},
            "no public network: no public data, and no weights",
        ),
        (
            {
                "threat_model": "poisoning",
                "budgets": "[{edits: 0.1, labels: true}]",
                "goal": "{targeted: next}",
            },
            "poisoning has no goal per example",
        ),
    ],
)
def test_roles_and_goals_must_fit_the_threat_model(lines, what):
    with pytest.raises(UserError) as caught:
        matrix_with(**lines)
    assert f": {what}; " in str(caught.value)
