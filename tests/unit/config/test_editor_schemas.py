"""Schemas for editors: what the loader accepts must satisfy them.

The part of JSON Schema that pydantic writes is small enough to check here without a dependency.
"""

import re
from pathlib import Path

import pytest

from harness.config.benchmark import benchmark_schema
from harness.config.dataset import FOLDER, dataset_schema
from harness.config.manifest import manifest_schema
from harness.config.strict_yaml import Ratio, parse
from tests.support.benchmark_files import BUDGETS, DATA, QUICK, matrix_with, write

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("root")


def faults(value: object, schema: dict, root: dict, at: str = "$") -> list[str]:
    known = {"$ref", "$defs", "$schema", "anyOf", "const", "enum", "type", "pattern", "required"}
    known |= {"properties", "additionalProperties", "patternProperties", "propertyNames", "items"}
    known |= {"title", "description", "default", "minItems", "minimum", "maximum"}
    known |= {"exclusiveMinimum", "maxItems", "oneOf"}
    assert set(schema) <= known, f"{at}: the checker does not know {set(schema) - known}"
    if "$ref" in schema:
        return faults(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if ways := schema.get("anyOf", schema.get("oneOf")):  # our own never fit two ways
        ways = [faults(value, way, root, at) for way in ways]
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
        if len(value) > schema.get("maxItems", len(value)):
            found.append(f"{at}: too many")
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
requires: [{limits: [linf]}]
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


@pytest.mark.parametrize("path", sorted((ROOT / FOLDER).glob("*.yaml")), ids=lambda p: p.stem)
def test_each_data_set_satisfies_the_schema_for_editors(path):
    data = as_an_editor_sees_it(parse(path).document.data)
    schema = dataset_schema()
    assert faults(data, schema, schema) == []
    assert faults({**data, "split": {}}, schema, schema) == ["$: split is unknown"]


def test_the_schema_for_editors():
    schema = manifest_schema()
    assert set(schema["properties"]) >= {"schema", "kind", "params", "smoke", "against"}
    assert schema["additionalProperties"] is False
