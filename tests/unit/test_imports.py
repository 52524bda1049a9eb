"""Dependencies point one way: the import rules of the architecture, read from the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "harness"
FILES = {
    str(path.relative_to(HARNESS).with_suffix("")).replace("/", "."): path
    for path in sorted(HARNESS.rglob("*.py"))
    if path.relative_to(HARNESS).parts[0] != "scaffold"
}
"""Module name below ``harness`` → its file; what ``gauntlet new`` copies is not ours."""

FAMILY = ("frame", "leaderboard", "board", "lines", "headline", "worst_case", "cross_flags",
          "sizes")  # fmt: skip
"""What makes tables of records."""

RUNNING = ("scheduler", "executors", "jobs", "runtime", "hoststages", "store", "work", "outputs")
"""The running side, which nothing that reads records may know."""

READING = ("records", *FAMILY, "site")

MODELS = ("manifest", "manifest_parts", "benchmark", "matrix_entries")
"""What manifests and benchmarks are made of."""

HOMES = {
    "pandas": (*FAMILY, "site"),
    "jinja2": ("site",),
    "yaml": ("strict_yaml",),
    "pydantic": (*MODELS, "budget", "validation", "records"),
    "pydantic_core": (*MODELS, "budget", "validation", "records"),
    "torch": ("runtime", "executors.probes"),  # the probes are module code for the self-check
    "safetensors": ("runtime", "executors.rig"),
    "docker": ("executors.docker", "images"),
    "typer": ("cli",),
    "sklearn": ("datasets",),
    "torchvision": ("datasets",),
    "PIL": ("datasets", "site"),
}
"""Library → where it may be imported, at the top of a file or inside a function."""


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever it does; relative ones are refused by ruff."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names):
                yield from (one.name for one in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                # `from harness import records` names a module only in its names
                yield from (f"{module}.{one.name}" for one in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=name)]
            ):
                yield str(name)
            case ast.Call(func=ast.Name(id="__import__"), args=[ast.Constant(value=name), *_]):
                yield str(name)


def below(name: str, parents: tuple[str, ...]) -> bool:
    """Whether a module is one of these, or in one of these packages."""
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def ours(name: str) -> set[str]:
    """Modules of the harness that a module imports, named below ``harness``."""
    found = (one.removeprefix("harness.") for one in imports(FILES[name]) if one != "harness")
    return {one for one in found if one in FILES or f"{one}.__init__" in FILES}


def offences(who: tuple[str, ...], forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{name} imports {found}"
        for name in FILES
        if below(name, who)
        for found in ours(name)
        if below(found, forbidden)
    ]


def test_the_walk_sees_every_kind_of_import(tmp_path):
    file = tmp_path / "sample.py"
    file.write_text(
        "import a.b, c as d\nfrom e.f import g\n"
        "def later():\n    import h\n    from i import j\n"
        "    import importlib\n    importlib.import_module('k.l')\n    __import__('m')\n"
        "if True:\n    try:\n        import n\n    except ImportError:\n        pass\n"
    )
    assert set(imports(file)) >= {"a.b", "c", "e.f", "h", "i", "k.l", "m", "n"}
    assert len(FILES) > 50
    assert "plan" in ours("workspace")
    assert "records" in ours("recorder")


def test_runtime_imports_nothing_of_ours_but_itself():
    outside = tuple(name for name in FILES if not below(name, ("runtime", "__init__")))
    assert not offences(("runtime",), outside)


def test_the_judge_imports_itself_and_value_types_only():
    outside = tuple(n for n in FILES if not below(n, ("judge", "runtime.contracts", "__init__")))
    assert not offences(("judge",), outside)


def test_the_judge_needs_numpy_and_scipy_only():
    standard = sys.stdlib_module_names | {"harness", "numpy", "scipy"}
    found = {
        f"{name} imports {one}"
        for name, path in FILES.items()
        if below(name, ("judge",))
        for one in imports(path)
        if one.partition(".")[0] not in standard
    }
    assert not found


def test_the_runtime_needs_torch_numpy_and_safetensors_only():
    known = sys.stdlib_module_names | {"harness", "numpy", "torch", "safetensors"}
    found = {
        f"{name} imports {one}"
        for name, path in FILES.items()
        if below(name, ("runtime",))
        for one in imports(path)
        if one.partition(".")[0] not in known
    }
    assert not found


def test_what_reads_records_never_imports_the_running_side():
    assert not offences(READING, RUNNING)


def test_what_reads_records_does_not_reach_torch_by_any_way():
    """Transitively: ``frame`` may import ``plan``, as long as nothing below it runs anything."""
    reached = set()
    queue = [name for name in FILES if below(name, READING)]
    while queue:
        name = queue.pop()
        if name in reached:
            continue
        reached.add(name)
        inner = ours(name) | {f"{one}.__init__" for one in ours(name)}
        queue += [one for one in inner if one in FILES]
    assert "plan" in reached
    assert not [name for name in reached if below(name, ("runtime", "executors", "scheduler"))]


def test_planning_does_not_import_the_running_side():
    planning = ("plan", "recipes", "graph", "keys", "catalog", "manifest", "benchmark", "threat")
    assert not offences(planning, (*RUNNING, "recorder", *READING))


def test_nothing_below_the_commands_imports_them():
    who = tuple(n for n in FILES if not below(n, ("commands", "cli")))
    assert not offences(who, ("commands", "cli"))


@pytest.mark.parametrize("library", HOMES)
def test_each_library_has_one_home(library):
    found = [
        name
        for name, path in FILES.items()
        if not below(name, HOMES[library])
        if any(one.partition(".")[0] == library for one in imports(path))
    ]
    assert not found, f"{library} is imported outside {HOMES[library]}"


def test_every_library_that_we_import_is_declared():
    """A dependency that another one happens to bring goes when that one drops it."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project["dependencies"] + project["optional-dependencies"]["docker"]
    known = {"yaml": "pyyaml", "sklearn": "scikit-learn", "PIL": "pillow",
             "pydantic_core": "pydantic",
             "markupsafe": "jinja2"}  # fmt: skip
    declared = {requirement.split(">")[0].split("!")[0].split("=")[0] for requirement in named}
    imported = {one.partition(".")[0] for path in FILES.values() for one in imports(path)}
    foreign = imported - sys.stdlib_module_names - {"harness"}
    assert {known.get(one, one) for one in foreign} <= declared
