"""Benchmarks: the example of the architecture is read, and each mistake gives its own line."""

import json
import re
from pathlib import Path

import pytest

from harness.common.errors import UserError
from harness.config.benchmark import (
    BUDGET_FIELDS,
    BudgetEntry,
    Goal,
    Knowledge,
    benchmark_schema,
    check_benchmarks,
    load_benchmark,
)
from harness.config.field_types import THREAT_MODELS
from harness.config.manifest import manifest_schema
from harness.config.strict_yaml import Ratio, parse

QUICK = """\
schema: benchmark/1
name: quick
ceiling: {minutes: 5, memory_gb: 4}
matrices:
- name: digits-linf
  threat_model: evasion
  data: {student: {name: digits, train_fraction: 1.0}}
  victims: [small-cnn]
  defenses: [none, {name: adversarial-training, adversary: {attack: pgd, params: {steps: 7}, \
budget: {norm: linf, eps: 8/255}}}]
  attacks: [noop, random_noise, fgsm, {name: pgd, params: {steps: 40}, as: pgd-40}, pgd/pgd-100]
  budgets: [{norm: linf, eps: 4/255}, {norm: linf, eps: 8/255}]
  goal: untargeted
  knowledge: none
  poisons: train
  ensembles: {all-pgd: [pgd/pgd-100, pgd-40]}
  eval_subset: {examples: 500, batch: 100}
  clean: 100
  seeds: [0, 1, 2]
  keep: {examples: 8, attention: false}
"""


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "quick") -> Path:
    folder = Path("benchmarks") / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.yaml").write_text(text)
    return folder


def lines_of(text: str) -> list[str]:
    path = write(text) / "benchmark.yaml"
    with pytest.raises(UserError) as caught:
        load_benchmark(path)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def matrix_with(**lines: str | None):
    """The example's matrix with some of its lines replaced, added, or (``None``) left out."""
    text = QUICK
    for name, value in lines.items():
        line = "" if value is None else f"  {name}: {value}\n"
        text, count = re.subn(rf"^  {name}: .*\n", lambda _, line=line: line, text, flags=re.M)
        text += "" if count else line
    write(text)
    return load_benchmark("quick").matrices[0]


def test_an_old_file_gets_one_line_for_each_renamed_key():
    old = QUICK.replace("  eval_subset: {", "  slice: {").replace("  poisons: ", "  strikes: ")
    assert lines_of(old) == [
        f"14:3: {M}.strikes: this key is now called poisons; rename it",
        f"16:3: {M}.slice: this key is now called eval_subset; rename it",
    ]


def test_an_old_name_means_nothing_where_the_new_one_is_no_key():
    line = QUICK.replace("schema: benchmark/1", "schema: benchmark/1\nslice: {examples: 5}")
    assert lines_of(line) == ['2:1: slice: unknown key; did you mean "schema"?']


def test_the_example_of_the_architecture():
    write(QUICK)
    benchmark = load_benchmark("quick")
    (matrix,) = benchmark.matrices
    assert (benchmark.name, benchmark.ceiling.minutes) == ("quick", 5.0)
    assert matrix.data["student"].name == "digits"
    assert [entry.label for entry in matrix.attacks] == [
        "noop",
        "random_noise",
        "fgsm",
        "pgd-40",
        "pgd/pgd-100",
    ]
    assert (matrix.attacks[4].name, matrix.attacks[4].variant) == ("pgd", "pgd-100")
    assert matrix.attacks[3].params == {"steps": 40}
    assert matrix.defenses[1].adversary.attack == "pgd"
    assert matrix.defenses[1].adversary.budget.to_json() == {"norm": "linf", "eps": 8 / 255}
    assert [budget.label for budget in matrix.budgets] == ["L∞ 4/255", "L∞ 8/255"]
    assert (matrix.goal, matrix.goal.label) == (Goal(), "untargeted")
    assert matrix.knowledge == Knowledge()
    assert matrix.ensembles == {"all-pgd": ("pgd/pgd-100", "pgd-40")}
    assert (matrix.eval_subset.examples, matrix.eval_subset.batch, matrix.clean) == (500, 100, 100)
    assert matrix.seeds == (0, 1, 2)
    where = benchmark.where(("matrices", 0, "attacks", 3, "params", "steps"))
    assert where == "benchmarks/quick/benchmark.yaml:10:60: matrices[0].attacks[3].params.steps"


def test_what_may_be_left_out():
    names = ("goal", "knowledge", "poisons", "ensembles", "clean", "seeds", "keep")
    matrix = matrix_with(**dict.fromkeys(names))
    assert matrix.goal == Goal()
    assert (matrix.seeds, matrix.clean, matrix.task) == ((0,), None, None)
    assert (matrix.keep.examples, matrix.keep.attention) == (8, False)


def test_found_by_name_folder_or_file(root):
    folder = write(QUICK)
    for way in ("quick", folder, folder / "benchmark.yaml", str(root / folder)):
        assert load_benchmark(way, root).name == "quick"
    with pytest.raises(UserError, match=r'^quik: no such benchmark; did you mean "quick"\?$'):
        load_benchmark("quik", root)


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("{targeted: random}", "targeted: random"),
        ("{targeted: least_likely}", "targeted: least_likely"),
        ("{targeted: 3}", "targeted: 3"),
        ("untargeted", "untargeted"),
    ],
)
def test_goals(written, label):
    assert matrix_with(goal=written).goal.label == label


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("none", "none"),
        ("clean-victim", "clean-victim"),
        ("{surrogate: small-cnn}", "surrogate: small-cnn"),
    ],
)
def test_knowledge(written, label):
    assert matrix_with(knowledge=written).knowledge.label == label


# (threat model, budget as written, label)
BUDGETS = [
    ("evasion", "{norm: linf, eps: 8/255}", "L∞ 8/255"),
    ("evasion", "{norm: l2, eps: 0.5}", "L2 0.5"),
    ("evasion", "{norm: l2, eps: 1}", "L2 1"),
    ("evasion", "{unbounded: true}", "unbounded"),
    ("evasion", "{patch: 3}", "patch 3×3"),
    ("evasion-query", "{norm: linf, eps: 8 / 255, queries: 200}", "L∞ 8/255, 200 queries"),
    (
        "evasion-query",
        "{norm: l2, eps: 2, queries: 9, answers: labels}",
        "L2 2, 9 queries, labels only",
    ),
    ("poisoning", "{edits: 0.05, labels: true, features: true}", "5 % edits"),
    ("poisoning", "{edits: 1/20, labels: true}", "5 % label edits"),
    ("poisoning", "{edits: 0.001, features: true}", "0.1 % input edits"),
    ("backdoor", "{patch: 3, edits: 0.1, target: 0}", "patch 3×3, 10 % edits, target 0"),
    ("supply-chain", "{patch: 3, target: 1}", "patch 3×3, target 1"),
]
DATA = "{student: digits, public: digits, attacker: digits}"


@pytest.mark.parametrize(("threat_model", "written", "label"), BUDGETS)
def test_budgets_for_people(threat_model, written, label):
    matrix = matrix_with(threat_model=threat_model, budgets=f"[{written}]", data=DATA)
    (budget,) = matrix.budgets
    assert budget.label == label
    assert "Ratio" not in {type(value).__name__ for value in budget.to_json().values()}
    assert json.loads(json.dumps(budget.to_json())) == budget.to_json()
    assert BudgetEntry.model_validate(budget.to_json()).to_json() == budget.to_json()


def test_every_threat_model_has_a_budget():
    assert tuple(BUDGET_FIELDS) == THREAT_MODELS
    for rule in BUDGET_FIELDS.values():
        named = {*rule.allowed, *rule.required, *rule.one_of}
        assert named <= set(BudgetEntry.model_fields)
        assert {*rule.required, *rule.one_of} <= set(rule.allowed)


def test_a_share_becomes_a_count():
    assert BudgetEntry(edits=0.05).count(1437) == 72
    assert BudgetEntry(norm="l2", eps=1.0).count(1437) is None


M = "matrices[0]"
# (line of the matrix, its value, the expected lines)
BAD = [
    (
        "threat_model",
        "evasoin",
        [
            f"6:3: {M}.threat_model: expected one of evasion, evasion-query, evasion-transfer, "
            'poisoning, backdoor, supply-chain, found "evasoin"; did you mean "evasion"?'
        ],
    ),
    (
        "data",
        "{studnet: digits}",
        [
            f"7:10: {M}.data.studnet: expected one of public, attacker, student, found "
            '"studnet"; did you mean "student"?'
        ],
    ),
    ("data", "{public: digits}", [f"7:3: {M}.data: no student's data; add student: NAME"]),
    (
        "data",
        "{student: {name: digits, train_fraction: 2}}",
        [
            f"7:34: {M}.data.student.train_fraction: expected at most 1, found 2; "
            "write a share, such as 0.05"
        ],
    ),
    (
        "data",
        "{student: digits/x}",
        [
            f"7:10: {M}.data.student.name: expected up to 41 of a-z, 0-9, _ and -, found "
            '"digits/x"; use a name that can be a folder and a part of an address'
        ],
    ),
    ("victims", "[]", [f"8:3: {M}.victims: expected at least one entry, found []; add one"]),
    ("victims", "small-cnn", [f'8:3: {M}.victims: expected a list, found "small-cnn"; write [sma']),
    ("victims", "[3]", [f"8:13: {M}.victims[0]: expected keys and values, found 3; change it"]),
    (
        "victims",
        "[{name: a, adversary: {attack: pgd, budget: {norm: l2, eps: 1}}}]",
        [f"8:23: {M}.victims[0].adversary: only a defence trains against an adversary; remove it"],
    ),
    (
        "attacks",
        "[pgd, {name: pgd, params: {steps: 3}}, {name: pgd-40, as: pgd-40}, pgd/pgd-100]",
        [f'10:3: {M}.attacks: duplicate entry "pgd"; remove one, or tell them apart by as:'],
    ),
    (
        "attacks",
        "[{name: pgd/pgd-40, variant: pgd-100}]",
        [
            f'10:13: {M}.attacks[0]: a variant in "pgd/pgd-40" and another in variant; '
            "keep one of them"
        ],
    ),
    (
        "attacks",
        "[{name: pgd, parms: {}}]",
        [f'10:25: {M}.attacks[0].parms: unknown key; did you mean "params"?'],
    ),
    (
        "defenses",
        "[{name: at, adversary: pgd}]",
        [f"9:25: {M}.defenses[0].adversary.budget: missing; add budget"],
    ),
    (
        "defenses",
        "[{name: at, adversary: {attack: pgd, budget: {norm: l2, eps: 1, queries: 3}}}]",
        [
            f"9:77: {M}.defenses[0].adversary.budget.queries: evasion has no budget field "
            "queries; remove it; it has norm, eps, patch, unbounded"
        ],
    ),
    (
        "budgets",
        "[{eps: 8/255}]",
        [f"11:14: {M}.budgets[0].eps: eps without a norm; add norm: linf or norm: l2"],
    ),
    ("budgets", "[{norm: l2}]", [f"11:14: {M}.budgets[0].norm: a norm without eps; add eps"]),
    (
        "budgets",
        "[{norm: l2, eps: 1, unbounded: true}]",
        [f"11:32: {M}.budgets[0].unbounded: unbounded beside a bound; remove one of them"],
    ),
    (
        "budgets",
        "[{unbounded: false}]",
        [f"11:14: {M}.budgets[0].unbounded: expected one of true, found false; choose one of them"],
    ),
    (
        "budgets",
        "[{norm: l1, eps: 1}]",
        [f'11:14: {M}.budgets[0].norm: expected one of linf, l2, found "l1"; did you mean "l2"?'],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 0}]",
        [f"11:24: {M}.budgets[0].eps: expected more than 0, found 0; change it"],
    ),
    (
        "budgets",
        "[{norm: l2, eps: '8/255'}]",
        [f'11:24: {M}.budgets[0].eps: expected a number, found "8/255"; remove the quotes'],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 0/255}]",
        [f"11:24: {M}.budgets[0].eps: expected more than 0, found 0/255; change it"],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 1, edits: 0.1}]",
        [
            f"11:32: {M}.budgets[0].edits: evasion has no budget field edits; "
            "remove it; it has norm, eps, patch, unbounded"
        ],
    ),
    (
        "budgets",
        "[{}]",
        [
            f"11:13: {M}.budgets[0]: evasion needs norm or patch or unbounded in its budget; "
            "add one of them"
        ],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 1/2}, {norm: l2, eps: 0.5}]",
        [f"11:35: {M}.budgets[1]: duplicate entry L2 0.5; keep one"],
    ),
    (
        "goal",
        "targeted",
        [
            f'12:3: {M}.goal: expected a goal, found "targeted"; write untargeted or '
            "{targeted: random}, next, least_likely or a class number"
        ],
    ),
    ("goal", "{targeted: true}", None),
    ("goal", "{targeted: -1}", None),
    (
        "knowledge",
        "{surogate: x}",
        [
            f'13:3: {M}.knowledge: expected what the attacker knows, found {{"surogate": "x"}}; '
            "write none, clean-victim or {surrogate: NAME}"
        ],
    ),
    (
        "poisons",
        "public",
        [f"7:3: {M}.data: a public network without public data; add public: NAME"],
    ),
    (
        "ensembles",
        "{all: [pgd-40, pdg-40]}",
        [
            f"15:29: {M}.ensembles.all[1]: no attack of this matrix is labelled "
            '"pdg-40"; did you mean "pgd-40"?'
        ],
    ),
    (
        "ensembles",
        "{fgsm: [pgd-40]}",
        [f'15:15: {M}.ensembles.fgsm: "fgsm" is an attack\'s label already; rename the ensemble'],
    ),
    ("eval_subset", None, [f"5:3: {M}.eval_subset: missing; add eval_subset"]),
    (
        "eval_subset",
        "{examples: 0, batch: 1.5}",
        [
            f"16:17: {M}.eval_subset.examples: expected at least 1, found 0; change it",
            f"16:30: {M}.eval_subset.batch: expected a whole number, found 1.5; round it",
        ],
    ),
    (
        "clean",
        "yes",
        [f'17:3: {M}.clean: expected a whole number, found "yes"; change it'],
    ),
    ("seeds", "[0, 1, 0]", [f"18:3: {M}.seeds: duplicate entry 0; keep one"]),
    ("seeds", "[-1]", [f"18:11: {M}.seeds[0]: expected at least 0, found -1; change it"]),
    (
        "keep",
        "{examples: 8, attention: no}",
        [f'19:23: {M}.keep.attention: expected true or false, found "no"; write true or false'],
    ),
    (
        "strikes",
        "train",
        [f"20:3: {M}.strikes: this key is now called poisons; rename it"],
    ),
    ("seed", "[0]", [f'20:3: {M}.seed: unknown key; did you mean "seeds"?']),
]


@pytest.mark.parametrize(
    ("name", "value", "lines"), BAD, ids=[f"{name}: {value}" for name, value, _ in BAD]
)
def test_a_mistake_gives_its_line(name, value, lines):
    with pytest.raises(UserError) as caught:
        matrix_with(**{name: value})
    prefix = "benchmarks/quick/benchmark.yaml:"
    found = [line.removeprefix(prefix) for line in str(caught.value).splitlines()]
    if lines is None:  # as the one before
        assert len(found) == 1
        return
    assert len(found) == len(lines), found
    for line, expected in zip(found, lines, strict=True):
        assert line.startswith(expected)


@pytest.mark.parametrize(
    ("threat_model", "budget", "what"),
    [
        ("evasion-query", "{norm: l2, eps: 1}", "evasion-query needs queries in its budget"),
        ("poisoning", "{labels: true}", "poisoning needs edits in its budget"),
        ("poisoning", "{edits: 0.1}", "poisoning needs labels or features in its budget"),
        ("poisoning", "{edits: 0.1, labels: true, target: 0}", "poisoning has no budget field t"),
        ("backdoor", "{edits: 0.1, patch: 3}", "backdoor needs target in its budget"),
        ("backdoor", "{edits: 0.1, target: 0}", "backdoor needs patch or norm in its budget"),
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
            "a transfer attack with neither public network nor surrogate",
        ),
        (
            {"threat_model": "supply-chain", "budgets": "[{patch: 3, target: 0}]"},
            "a public network without public data",
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


def test_names_of_matrices_are_unique():
    matrix = QUICK.partition("matrices:\n")[2]
    assert lines_of(QUICK + matrix) == [
        '20:3: matrices[1].name: duplicate name "digits-linf"; rename one'
    ]


def test_the_name_is_the_folders():
    assert lines_of(QUICK.replace("name: quick", "name: slow")) == [
        '2:1: name: expected the folder\'s name "quick", found "slow"; rename one of them'
    ]


def test_every_error_of_every_file_at_once():
    good = write(QUICK)
    bad = write(QUICK.replace("name: quick", "name: bad").replace("seeds: [0", "seeds: [x"), "bad")
    worse = write("a: 1\na: 2\n", "worse")
    benchmarks, errors = check_benchmarks([good, bad, worse])
    assert [b.name for b in benchmarks] == ["quick"]
    assert [str(e).split(": ")[0] for e in errors] == [
        "benchmarks/bad/benchmark.yaml:18:11",
        "benchmarks/worse/benchmark.yaml:1:1",
        "benchmarks/worse/benchmark.yaml:2:1",
    ]


# The schema is for editors, so what the loader accepts must satisfy it. The part of JSON Schema
# that pydantic writes is small enough to check here without a dependency.


def faults(value: object, schema: dict, root: dict, at: str = "$") -> list[str]:
    known = {"$ref", "$defs", "$schema", "anyOf", "const", "enum", "type", "pattern", "required"}
    known |= {"properties", "additionalProperties", "patternProperties", "propertyNames", "items"}
    known |= {"title", "description", "default", "minItems", "minimum", "maximum"}
    known |= {"exclusiveMinimum"}
    assert set(schema) <= known, f"{at}: the checker does not know {set(schema) - known}"
    if "$ref" in schema:
        return faults(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "anyOf" in schema:
        ways = [faults(value, way, root, at) for way in schema["anyOf"]]
        return [] if any(not way for way in ways) else [fault for way in ways for fault in way]
    found = []
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        found.append(f"{at}: {value!r} is not one of the known")
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": int | float}
    kinds |= {"boolean": bool, "null": type(None)}
    types = schema.get("type", list(kinds))
    if not any(isinstance(value, kinds[t]) for t in ([types] if isinstance(types, str) else types)):
        return [*found, f"{at}: {value!r} is not {types}"]
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at}: {value!r} does not match")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, above = schema.get("minimum", value), schema.get("exclusiveMinimum", value - 1)
        if not (low <= value <= schema.get("maximum", value) and value > above):
            found.append(f"{at}: {value} is out of range")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append(f"{at}: too few")
        for i, item in enumerate(value):
            found += faults(item, schema.get("items", {}), root, f"{at}[{i}]")
    if isinstance(value, dict):
        found += [f"{at}: no {n}" for n in schema.get("required", []) if n not in value]
        for name, item in value.items():
            found += faults(name, schema.get("propertyNames", {}), root, f"{at}.{name}")
            inner = schema.get("properties", {}).get(name)
            for pattern, below in schema.get("patternProperties", {}).items():
                inner = below if re.search(pattern, name) else inner
            inner = schema.get("additionalProperties", {}) if inner is None else inner
            if inner is False:
                found.append(f"{at}: {name} is unknown")
            else:
                found += faults(item, inner, root, f"{at}.{name}")
    return found


def as_an_editor_sees_it(value: object) -> object:
    """Editors read YAML by the standard: a fraction is text to them."""
    if isinstance(value, dict):
        return {name: as_an_editor_sees_it(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_an_editor_sees_it(item) for item in value]
    return value.text if isinstance(value, Ratio) else value


def test_the_example_satisfies_the_schema_for_editors():
    data = as_an_editor_sees_it(parse(write(QUICK) / "benchmark.yaml").document.data)
    schema = benchmark_schema()
    assert faults(data, schema, schema) == []
    data["matrices"][0]["seed"] = [0]
    assert faults(data, schema, schema) == ["$.matrices[0]: seed is unknown"]


@pytest.mark.parametrize(("threat_model", "written", "_"), BUDGETS)
def test_each_budget_satisfies_the_schema_for_editors(threat_model, written, _):
    matrix_with(threat_model=threat_model, budgets=f"[{written}]", data=DATA)
    data = as_an_editor_sees_it(parse(Path("benchmarks/quick/benchmark.yaml")).document.data)
    schema = benchmark_schema()
    assert faults(data, schema, schema) == []


def test_a_manifest_satisfies_its_schema_for_editors():
    text = """\
schema: manifest/1
kind: attack
name: pgd
summary: Projected gradient ascent.
reference: {title: Towards, url: "https://example.org", year: 2018}
license: MIT
tasks: [classification]
threat_models: [evasion]
needs: [loss]
entry: attack.py:PGD
hooks: [perturb]
params:
  steps: {type: int, default: 20, min: 1, max: 1000, help: gradient steps}
  rate: {type: float, default: 1/4, choices: [1/4, 0.5]}
variants: {pgd-100: {steps: 100, rate: 1/2}}
limits: {minutes: 1/2, memory_gb: 4}
smoke: {params: {steps: 5}, budget: {norm: linf, eps: 8/255}, expect: {accuracy: {max: 0.3}}}
random: true
gradients: exact
"""
    Path("m.yaml").write_text(text)
    data = as_an_editor_sees_it(parse(Path("m.yaml")).document.data)
    schema = manifest_schema()
    assert faults(data, schema, schema) == []
