"""Writes the reference pages in ``docs/reference`` from the code: ``python ci/docs.py``.

With ``--check`` nothing is written; the exit status is 1 when a page differs from the code.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

# The path comes first.
from harness.config.benchmark import benchmark_schema  # noqa: E402
from harness.config.budget import BUDGET_FIELDS  # noqa: E402
from harness.config.dataset import dataset_schema  # noqa: E402
from harness.config.manifest import manifest_schema  # noqa: E402
from harness.config.threat import THREATS, ThreatModel  # noqa: E402
from harness.report.cells import STATUSES  # noqa: E402
from harness.runtime import hooks  # noqa: E402

Schema = dict[str, Any]
"""JSON Schema, or a part of it."""

PAGES = ROOT / "docs" / "reference"
NOTE = "<!-- Made from the code by `make docs`: change the docstrings there, not this page. -->"
SECTIONS = ("Called", "Args", "Returns", "Raises", "Withheld", "Example")
"""Sections that every hook's docstring has, in this order, after its summary."""

HEADINGS = (*SECTIONS, "Attributes")


def sections(docstring: str | None) -> dict[str, str]:
    """Return the parts of a docstring by heading; what stands before the first is ``""``."""
    found, heading = {"": ""}, ""
    for line in inspect.cleandoc(docstring or "").splitlines():
        if line.rstrip(":") in HEADINGS and line.endswith(":"):
            heading = line[:-1]
            found[heading] = ""
        else:
            found[heading] += f"{line}\n"
    return {name: textwrap.dedent(text).strip() for name, text in found.items()}


def entries(section: str) -> dict[str, str]:
    """Return the lines ``name: text`` of a section as a table; indented lines continue a text."""
    found: dict[str, str] = {}
    for line in section.splitlines():
        if match := re.match(r"(\w+): (.+)", line):
            found[name := match[1]] = match[2]
        else:
            found[name] += " " + line.strip()
    return found


def hooks_page() -> str:
    """Return the page of hooks: one section for each Protocol."""
    head, *rest = inspect.getdoc(hooks).split("\n\n")  # type: ignore[union-attr]
    parts = ["# Hooks", plain(head), *map(plain, rest)]
    parts.append(HOOKS_NOTE)
    rows = [
        f"| {kind} | [`{hook}`](#{kind}-{hook}) | {inspect.getdoc(protocol)} |"
        for kind, protocols in hooks.PROTOCOLS.items()
        for protocol in protocols
        for hook, _ in [hooks.hook_of(protocol)]
    ]
    parts.append("\n".join(["| kind | hook | purpose |", "|---|---|---|", *rows]))
    for kind, protocols in hooks.PROTOCOLS.items():
        for protocol in protocols:
            parts += hook_parts(kind, protocol)
    parts += ["## Imports of the examples", f"```python\n{EXAMPLE_IMPORTS}```"]
    return page(parts)


HOOKS_NOTE = """\
[Value types](types.md) describes what they receive and return (`Data`, `Budget`, `Context`, …).
An example is a method of a module's class; the end of this page lists what all of them import."""

EXAMPLE_IMPORTS = """\
import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from harness.runtime import training
from harness.runtime.contracts import Edits, Keep
from harness.runtime.gradients import ball, project, steepest
from harness.runtime.model import eval_mode
from harness.runtime.recipe import Recipe
from harness.runtime.training import loss_of
"""


def types_page() -> str:
    """Return the page of value types, read from the source: importing it would load torch."""
    files = [ROOT / "harness" / "runtime" / name for name in ("data.py", "contracts.py")]
    bodies = [ast.parse(file.read_text(encoding="utf-8")).body for file in files]
    parts = [
        "# Value types",
        "What hooks receive and return, from `harness.runtime.contracts`. A module creates "
        "`Edits`, `Keep` and `Overlay` itself and gets the others from the harness; their fields "
        "cannot be set.",
    ]
    classes = [node for body in bodies for node in body if isinstance(node, ast.ClassDef)]
    for node in (one for one in classes if not is_exception(one)):
        parts += type_parts(node)
    parts.append("## Exceptions")
    raised = {one.name: ast.get_docstring(one) or "" for one in classes if is_exception(one)}
    parts.append("\n".join(f"- `{name}`: {joined(text)}" for name, text in raised.items()))
    return page(parts)


def is_exception(node: ast.ClassDef) -> bool:
    """Return whether a class is an exception, by the name of its base."""
    return any(ast.unparse(base) in ("Exception", "ContractError") for base in node.bases)


def type_parts(node: ast.ClassDef) -> Iterator[str]:
    """Yield the Markdown of one value type: its text, attributes and methods."""
    text = sections(ast.get_docstring(node))
    yield f"## {node.name}"
    yield paragraphs(text[""])
    types = {
        one.target.id: ast.unparse(one.annotation)
        for one in node.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }
    described = entries(text.get("Attributes", ""))
    if missing := types.keys() ^ described.keys():
        raise ValueError(f"{node.name}: Attributes and fields differ: {', '.join(sorted(missing))}")
    if types:
        yield "\n".join(f"- `{n}`: `{kind}`; {plain(described[n])}" for n, kind in types.items())
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and (
            method.name == "__call__" or not method.name.startswith("_")
        ):
            yield method_text(method, node.name.lower())


def method_text(method: ast.FunctionDef, called: str) -> str:
    """Return a list entry for a method: call, text, arguments, exceptions.

    Args:
        method: the method.
        called: name of the object in a call of itself.
    """
    names = [one.arg for one in method.args.args if one.arg != "self"]
    names += [f"*{method.args.vararg.arg}"] if method.args.vararg else []
    names += [one.arg for one in method.args.kwonlyargs]
    text = sections(ast.get_docstring(method))
    is_property = any("property" in ast.unparse(one) for one in method.decorator_list)
    name = called if method.name == "__call__" else method.name
    call = name if is_property else f"{name}({', '.join(names)})"
    lines = [f"- `{call}`: {joined(text[''])}"]
    for part, begins in (("Args", ""), ("Raises", "raises ")):
        found = entries(text.get(part, ""))
        lines += [f"    - {begins}`{one}`: {plain(words)}" for one, words in found.items()]
    return "\n".join(lines)


def paragraphs(text: str) -> str:
    """Return a text with its line breaks undone within paragraphs."""
    return "\n\n".join(joined(part) for part in text.split("\n\n"))


def hook_parts(kind: str, protocol: type) -> Iterator[str]:
    """Yield the Markdown of one hook."""
    name, function = hooks.hook_of(protocol)
    text = sections(function.__doc__)
    signature = inspect.signature(function)
    arguments = [*signature.parameters.values()][1:]
    yield f"## {kind}: {name}"
    yield f"*{inspect.getdoc(protocol)}*"
    listed = "".join(f"    {argument},\n" for argument in arguments).replace("'", "")
    yield f"```python\ndef {name}(\n    self,\n{listed}) -> {signature.return_annotation}: ...\n```"
    yield plain(text[""])
    yield f"**Called.** {joined(text['Called'])}"
    yield "**Arguments.**\n\n" + bullets(entries(text["Args"]))
    yield f"**Returns.** {joined(text['Returns'])}"
    yield "**May raise.**\n\n" + bullets(entries(text["Raises"]))
    yield f"**Withheld.** {joined(text['Withheld'])}"
    yield f"**Example.**\n\n```python\n{text['Example']}\n```"


def bullets(table: dict[str, str]) -> str:
    """Return a list of names with their descriptions."""
    return "\n".join(f"- `{name}`: {plain(text)}" for name, text in table.items())


def joined(text: str) -> str:
    """Return a text of several lines as one."""
    return plain(" ".join(text.split()))


def plain(text: str) -> str:
    """Return a docstring's text as Markdown; names of these pages become links."""
    return re.sub(r"`docs/reference/(\w+\.md)`", r"[\1](\1)", text.replace("``", "`"))


def page(parts: list[str]) -> str:
    """Return a page: the title, a note on where it comes from, the parts."""
    return "\n\n".join([parts[0], NOTE, *parts[1:]]) + "\n"


KEYS: dict[str, tuple[str, Callable[[], Schema], str, str]] = {
    "manifest.md": (
        "# Manifest keys",
        manifest_schema,
        "manifest.yaml",
        "Every module folder has a `manifest.yaml` with these keys. It is read strictly: an "
        "unknown key is an error, and all errors of a file are reported at once, each with line "
        "and column. Examples: [`attacks/pgd`](../../attacks/pgd/manifest.yaml), "
        "[`victims/enet`](../../victims/enet/manifest.yaml). `gauntlet schema` prints the same as "
        "JSON Schema, for editors.",
    ),
    "benchmark.md": (
        "# Benchmark keys",
        benchmark_schema,
        "benchmark.yaml",
        "Every benchmark folder has a `benchmark.yaml` with these keys, read as strictly as "
        "[manifests](manifest.md). Example: "
        "[`benchmarks/quick`](../../benchmarks/quick/benchmark.yaml). `gauntlet plan NAME` says "
        "what a benchmark would run.",
    ),
    "dataset.md": (
        "# Data set keys",
        dataset_schema,
        "NAME.yaml",
        "A data set that is not made by code has a file `benchmarks/data/NAME.yaml` (or "
        "`benchmarks/data/NAME/dataset.yaml`) with these keys, read as strictly as "
        "[manifests](manifest.md). A benchmark may name a file of your own by its path instead: "
        "`data: {student: ./mine.yaml}`. `gauntlet new dataset NAME --from FOLDER` writes one, and "
        "`gauntlet check NAME` reads the data: see [Bring your data in ten minutes](../data.md).",
    ),
}
"""Name of a page of a file's keys → its title, the schema, the file, and what stands first."""


def keys_page(title: str, schema: Callable[[], Schema], file: str, text: str) -> str:
    """Return the page of a file's keys."""
    return page([title, text, *model_parts(schema(), file)])


def model_parts(schema: Schema, file: str) -> Iterator[str]:
    """Yield the Markdown of a file's keys: one section for each model, the file's own first."""
    for name, model in models(schema, file):
        body = body_of(model)
        yield f"## {name}"
        yield model_text(model, body)
        rows = [
            f"| `{key}` | {need(key, body)} | {form(one)} | {cell(one['description'])} |"
            for key, one in body["properties"].items()
        ]
        yield "\n".join(["| key | | value | meaning |", "|---|---|---|---|", *rows])


def models(schema: Schema, file: str) -> list[tuple[str, Schema]]:
    """Return the models of a schema with their names, in the order in which keys name them."""
    found = {f"`{file}`": schema}
    waiting = [schema]
    while waiting:
        for name in re.findall(
            r'"#/\$defs/(\w+)"', json.dumps(body_of(waiting.pop(0))["properties"])
        ):
            if name not in found and name in schema["$defs"]:
                found[name] = schema["$defs"][name]
                waiting.append(found[name])
    return list(found.items())


def body_of(model: Schema) -> Schema:
    """Return the part of a model's schema that has the keys; a short form stands beside it."""
    ways = [model, *model.get("anyOf", ())]
    return next(way for way in ways if "properties" in way)


def model_text(model: Schema, body: Schema) -> str:
    """Return a model's description, its line breaks undone within paragraphs."""
    text = str(model.get("description") or body["description"])
    return paragraphs(text)


def need(key: str, body: Schema) -> str:
    """Return whether a key is required; what its absence means stands in its description."""
    return "required" if key in body.get("required", ()) else "optional"


NUMBERS = {"exclusiveMinimum": "> {}", "minimum": "≥ {}", "maximum": "≤ {}"}
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}


def form(one: Schema) -> str:
    """Return the form of a value in words.

    >>> form({"type": "array", "items": {"type": "integer", "minimum": 0}})
    'list of: whole number ≥ 0'
    """
    if "$ref" in one:
        name = str(one["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in one:
        return f"`{json.dumps(one['const'])}`"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    if ways := one.get("anyOf", one.get("oneOf")):
        return " or ".join(form(way) for way in ways if way.get("type") != "null")
    kind = one.get("type")
    if kind == "array":
        return f"list of: {form(one['items'])}"
    if kind == "object" and "properties" in one:
        return "{" + ", ".join(f"{k}: {form(v)}" for k, v in one["properties"].items()) + "}"
    if kind == "object":
        inner = [*one.get("patternProperties", {}).values(), one.get("additionalProperties")]
        return f"name → {form(inner[0])}"
    if isinstance(kind, list):
        return " or ".join(TYPES[name] for name in kind if name in TYPES)
    if str(one.get("pattern", "")).startswith("^[0-9.]+ ?/"):
        return "fraction (`8/255`)"
    limits = [text.format(one[name]) for name, text in NUMBERS.items() if name in one]
    return " ".join([TYPES.get(str(kind), "any value"), *limits])


def cell(text: str) -> str:
    """Return a text that may stand in a table."""
    return plain(text).replace("|", "\\|")


def statuses_page() -> str:
    """Return the page of statuses."""
    rows = [f"| `{name}` | {one.word} | {one.meaning} |" for name, one in STATUSES.items()]
    return page([
        "# Statuses",
        "Every planned cell ends in exactly one record, and every record has one of these "
        "statuses. A failure is a record too; it says in which stage it happened and why. Nothing "
        "that is missing becomes zero.",
        "\n".join(["| status | on pages | meaning |", "|---|---|---|", *rows]),
    ])  # fmt: skip


def threat_models_page() -> str:
    """Return the page of threat models: what each grants, withholds, runs and judges."""
    parts = [
        "# Threat models",
        "A matrix has one threat model. It decides which hooks run, what the attacker is granted, "
        "which keys a budget has, and what the judge measures.",
    ]
    for name, threat in THREATS.items():
        rule = BUDGET_FIELDS[name]  # type: ignore[index]
        optional = [hook for hook in (*threat.optional, threat.at_test) if hook]
        facts = {
            "tasks": codes(threat.tasks),
            "hooks an attack needs": codes(threat.hooks),
            "hooks it may have": codes(h for h in dict.fromkeys(optional) if h not in threat.hooks),
            "hooks of a defence that apply": codes(threat.defense_hooks),
            "withheld from the attacker": threat.withheld,
            "budget keys": codes(rule.allowed),
            "required in a budget": codes(rule.required),
            "at least one of": codes(rule.one_of),
            "measured by the judge": ", ".join(threat.judged),
            "control": _control(threat),
            "borrowed inputs": threat.borrowing,
        }
        rows = [f"| {what} | {text or 'none'} |" for what, text in facts.items()]
        parts += [f"## {name}", f"**{threat.title}.** {threat.sentence}"]
        parts.append("\n".join(["| | |", "|---|---|", *rows]))
    return page(parts)


def _control(threat: ThreatModel) -> str:
    """Return the controls of a threat model in words."""
    if not threat.control:
        return "none"
    text = "the same defence trained without the attack"
    return f"{text}; one that starts from the attack's `clean_form`" if threat.delivers else text


def codes(names: Iterable[str]) -> str:
    """Return names as code, with commas."""
    return ", ".join(f"`{name}`" for name in names)


MADE: dict[str, Callable[[], str]] = {
    **{name: partial(keys_page, *row) for name, row in KEYS.items()},
    "hooks.md": hooks_page,
    "statuses.md": statuses_page,
    "threat_models.md": threat_models_page,
    "types.md": types_page,
}
"""Name of a page → what makes it."""


def main(arguments: list[str]) -> int:
    """Write the pages, or name those that differ from the code."""
    stale = 0
    for name, make in MADE.items():
        path, text = PAGES / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"docs/reference/{name}: differs from the code; run `make docs`")
            stale = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"docs/reference/{name}: written")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
