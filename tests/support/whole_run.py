"""The matrices of a whole run, one of each threat model, and its records."""

from tests.support.workspaces import (
    BACKDOOR,
    POISONING,
    QUERY,
    SUPPLY_CHAIN,
    TRANSFER,
    cell,
    matrix,
)

TARGETED = matrix("goal", goal={"targeted": "next"}, attacks=["noop", "sign"])
MATRICES = [
    matrix(
        "evasion",
        attacks=["noop", "sign"],
        defenses=["none", "guard", "trainer", "repairer", "sanitizer"],
        ensembles={"both": ["noop", "sign"]},
        clean=50,
    ),
    TARGETED,
    matrix("draws", goal={"targeted": "least_likely"}, attacks=["sign"]),
    matrix("query", **QUERY),
    matrix("transfer", **TRANSFER, attacks=["sign"], defenses=["none", "guard"]),
    matrix("poisoning", **POISONING, defenses=["none", "sanitizer"]),
    matrix("backdoor", **BACKDOOR),
    matrix("supply", **SUPPLY_CHAIN),
    matrix("ranking", **POISONING | {"data": {"student": "digits-ranking"}}),
]


def find(checkout, plan=None, **labels):
    """The record of the one cell with these labels."""
    return checkout.records()[cell(plan or checkout.plan(), **labels).id]


def value(record, metric):
    return record.metrics[metric].value
