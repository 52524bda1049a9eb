"""Smoke matrices: a module under test, its control, and the reference modules around it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from harness.config.catalog import Module
from harness.config.manifest import Manifest
from harness.config.strict_yaml import Json
from harness.config.threat import THREATS
from harness.conformance.opponents import opponents
from harness.planning.fitting_data import Form, choose_form, data_name, split_sizes

DATA = {
    "classification": "digits",
    "ranking": "digits-ranking",
    "segmentation": "digit-scenes",
}
"""Task → bundled set; a victim gets it in a form that it takes."""
TRANSFER_DATA: dict[str, Json] = {
    "student": "digits-5-9",
    "public": "digits-0-4",
    "attacker": "digits-5-9",
}

VICTIMS = {
    "classification": "small-cnn",
    "ranking": "ranker",
    "segmentation": "small-segnet",
}
"""Task → reference victim."""

SHORT = 60
"""Training steps of a victim whose answers nothing is expected of."""

VICTIM_THREATS = ("evasion", "evasion-query", "evasion-transfer", "poisoning")
"""Threat models under which a victim is checked; in the others it plays as in these."""

SUBSETS = {"classification": (200, 40), "ranking": (200, 40), "segmentation": (40, 40)}
"""Task → examples of a smoke run, and of a batch."""

MOST_PIXELS = 64 * 64
"""Pixels of a picture up to which a smoke run has as many examples as on the bundled set."""

LARGE_SUBSET = (16, 8)
"""The same on large pictures, of which a network takes a few a second."""

BALL: dict[str, Json] = {"norm": "linf", "eps": 32 / 255}
BUDGETS: dict[str, dict[str, Json]] = {
    "evasion": BALL,
    "evasion-query": BALL | {"queries": 60},
    "evasion-transfer": BALL,
    "poisoning": {"edits": 0.3, "labels": True},
    "backdoor": {"edits": 0.1, "labels": True, "features": True, "patch": 3, "target": 0},
    "supply-chain": {"patch": 3, "target": 0},
}
"""Threat model → the budget of smoke runs; a manifest's ``smoke.budget`` replaces it."""

EDGES: dict[str, tuple[dict[str, Json], ...]] = {
    "evasion": ({"norm": "linf", "eps": 1 / 255}, {"norm": "linf", "eps": 1.0},
                {"norm": "l2", "eps": 0.01}, {"norm": "l2", "eps": 5.0},
                BALL | {"patch": 3}, {"patch": 3}),
    "evasion-query": (BALL | {"queries": 1},),
    "evasion-transfer": ({"norm": "linf", "eps": 1 / 255}, {"norm": "linf", "eps": 1.0}),
    "poisoning": ({"edits": 0.001, "labels": True}, {"edits": 1.0, "labels": True}),
    "backdoor": ({"edits": 0.001, "labels": True, "features": True, "patch": 1, "target": 9},
                 {"edits": 1.0, "labels": True, "features": True, "patch": 8, "target": 0},
                 {"edits": 0.2, "labels": True, "features": True, "patch": 3, "target": "next"}),
    "supply-chain": ({"patch": 1, "target": 0}, {"patch": 3, "target": "next"}),
}  # fmt: skip
"""Threat model → very small and very large budgets, which an attack must keep, too."""


def list_settings(module: Module) -> list[tuple[str, str]]:
    """List every threat model and task that a module declares, and that has smoke data.

    The threat model of the smoke expectation comes first: variants play under the first one alone.
    """
    manifest = module.manifest
    found = [
        (threat, task)
        for threat, task in itertools.product(THREATS, manifest.tasks)
        if manifest.plays(threat)
        and task in THREATS[threat].tasks
        and (
            is_victim_setting(threat, task) if manifest.kind == "victim" else has_data(threat, task)
        )
    ]
    main = manifest.smoke and manifest.smoke.threat_model
    return sorted(found, key=lambda setting: setting[0] != main)


def is_victim_setting(threat: str, task: str) -> bool:
    """Return whether a victim is checked under a threat model: there a reference attack plays."""
    return threat in VICTIM_THREATS and bool(opponents(threat, task))


def has_data(threat: str, task: str) -> bool:
    """Return whether there are data for a smoke run; public ones only in classification."""
    return task == "classification" or not needs_public(threat)


def needs_public(threat: str) -> bool:
    """Return whether a smoke run needs a public network."""
    return THREATS[threat].delivers or THREATS[threat].access == "source"


def needs_clean_victim(manifest: Manifest, threat: str) -> bool:
    """Return whether a poisoning attack reads a network: it is granted the clean victim."""
    return THREATS[threat].poisons and manifest.kind == "attack" and bool(manifest.needs)


def smoke_variant(module: Module) -> str | None:
    """Return the variant that a module's smoke expectation is about."""
    return module.manifest.smoke.variant if module.manifest.smoke else None


def choose_budget(module: Module, threat: str) -> dict[str, Json]:
    """Choose the budget of a module's smoke runs: its manifest's, if it fits the threat model."""
    smoke = module.manifest.smoke
    budget = smoke.budget if smoke is not None else None
    if smoke is None or budget is None or smoke.threat_model not in (None, threat):
        return BUDGETS[threat]
    fits = not list(budget.problems_under(threat))  # type: ignore[arg-type]
    return dict(budget.to_json()) if fits else BUDGETS[threat]  # type: ignore[arg-type]


def make_matrix(
    module: Module,
    threat: str,
    task: str,
    variant: str | None,
    budget: dict[str, Json],
    *,
    largest: bool = False,
) -> dict[str, Json]:
    """Make the smoke matrix of a module: it, its control, and the reference modules around it.

    Args:
        module: the module under test.
        threat: threat model of the matrix.
        task: task of the matrix.
        variant: the module's variant; ``None`` for its defaults.
        budget: the only budget of the matrix.
        largest: whether pictures have the largest side that a victim takes, else the smallest.
    """
    manifest, entry = module.manifest, make_entry(module, task, variant)
    around: dict[str, list[Json]] = {
        "victims": [reference_victim(module, threat, task, variant)],
        "defenses": ["none"],
        "attacks": ["noop"],
    }
    around |= SURROUNDINGS[manifest.kind](manifest, entry, threat, task)
    form = smoke_form(module, task, variant, largest=largest)
    name = data_name(DATA[task], form)
    data: dict[str, Json] = {"student": name}
    knowledge: Json = "clean-victim" if needs_clean_victim(manifest, threat) else "none"
    if needs_public(threat) and manifest.kind == "victim":
        knowledge = {"surrogate": entry}  # the same network: nothing more is trained
    elif needs_public(threat):
        data = TRANSFER_DATA
    examples, batch = LARGE_SUBSET if is_large(form) else SUBSETS[task]
    val, test = split_sizes(name)  # of few classes there are few examples
    return {
        "threat_model": threat,
        "data": data,
        "knowledge": knowledge,
        **around,
        "budgets": [budget],
        "eval_subset": {"examples": min(examples, test), "batch": batch},
        "clean": min(20 if task == "segmentation" else 100, val),
        "smoothing": {"draws": 100, "selection": 10},
    }


def reference_victim(module: Module, threat: str, task: str, variant: str | None) -> Json:
    """Return the victim around a module.

    What an attack delivers is a training of its own for each variant, and so is every student of
    it: only the variant that a manifest expects something of gets students that learn to the end.
    """
    delivers = THREATS[threat].delivers and module.manifest.kind == "attack"
    if not delivers or variant == smoke_variant(module):
        return VICTIMS[task]
    return {"name": VICTIMS[task], "params": {"steps": SHORT}}


def is_large(form: Form) -> bool:
    """Return whether pictures are so large that few can be tried."""
    return form.height * form.width > MOST_PIXELS


def smoke_form(module: Module, task: str, variant: str | None, *, largest: bool = False) -> Form:
    """Return the form of pictures in which a module is checked: the bundled set's, if it can be."""
    params = module.manifest.resolve(variant, make_params(module, variant))
    return choose_form(module.manifest, params, DATA[task], largest=largest)


def make_entry(module: Module, task: str, variant: str | None) -> dict[str, Json]:
    """Return the matrix's entry of a module, with the parameters of its smoke runs."""
    manifest = module.manifest
    entry: dict[str, Json] = {"name": manifest.name, "params": make_params(module, variant)}
    if variant is not None:
        entry["variant"] = variant
    if manifest.kind == "defense" and "fit" in manifest.hooks:
        eps = 32 / 255 if task == "classification" else 8 / 255
        entry["adversary"] = {"attack": "fgsm", "budget": {"norm": "linf", "eps": eps}}
    return entry


def make_params(module: Module, variant: str | None) -> dict[str, Json]:
    """Return the parameters of a module's smoke runs that its variant or defaults do not give."""
    smoke = module.manifest.smoke
    if smoke is None:
        return {}
    return {**smoke.quick, **(smoke.params if smoke.variant == variant else {})}


def around_victim(manifest: Manifest, entry: Json, threat: str, task: str) -> dict[str, list[Json]]:
    """Return a victim's place in a matrix; an attack on training costs a network: no control."""
    if THREATS[threat].poisons:
        return {"victims": [entry], "attacks": [one.attack for one in opponents(threat, task)]}
    return {"victims": [entry]}


def around_defense(
    manifest: Manifest, entry: Json, threat: str, task: str
) -> dict[str, list[Json]]:
    """Return a defence's place in a matrix, with the control and a reference attack."""
    attacks: list[Json] = ["noop", *(one.attack for one in opponents(threat, task)[:1])]
    return {"defenses": ["none", *([entry] if manifest.name != "none" else [])], "attacks": attacks}


def around_attack(manifest: Manifest, entry: Json, threat: str, task: str) -> dict[str, list[Json]]:
    """Return an attack's place in a matrix, with the control."""
    return {"attacks": ["noop", *([entry] if manifest.name != "noop" else [])]}


SURROUNDINGS: dict[str, Callable[[Manifest, Json, str, str], dict[str, list[Json]]]] = {
    "victim": around_victim,
    "defense": around_defense,
    "attack": around_attack,
}
"""Kind of module → its place in a smoke matrix."""


def with_reference(matrix: dict[str, Json], task: str) -> dict[str, Json]:
    """Return a smoke matrix with the reference victim alone in place of the module under test."""
    victim = VICTIMS[task]
    changes: dict[str, Json] = {"victims": [victim], "defenses": ["none"]}
    if isinstance(matrix["knowledge"], dict):
        changes["knowledge"] = {"surrogate": victim}
    return matrix | changes
