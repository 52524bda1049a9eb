"""Packages import downwards only: the floors of the house, read from the source."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
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

FLOORS = (
    ("common", "judge", "runtime"),
    ("config", "storage"),
    ("datasets",),
    ("planning",),
    ("results", "executors", "workspace"),
    ("running", "report"),
    ("conformance",),
    ("commands",),
    ("cli",),
)
"""From the ground up. A package imports itself and packages of lower floors, nothing else."""

APART = {
    "runtime": ("common",),  # what runs beside a module stands alone
    "judge": ("common", "runtime"),  # and so does what scores it
    "report": ("running", "executors", "storage", "runtime"),  # pages are made of records alone
    "results.records": ("storage", "datasets", "judge"),
    "planning": ("executors", "running"),
}
"""Who → what it must not import, beyond the order of the floors."""

INNER = {
    "runtime": ("worker",),
    "executors": ("selfcheck",),
    "report": ("site",),
}
"""Packages inside packages: the outer one's files do not import them, nor do they each other."""

HOMES = {
    "pandas": ("report",),
    "jinja2": ("report.site",),
    "yaml": ("config.strict_yaml",),
    "pydantic": (
        "config",
        "results.records",
        "results.record_parts",
        "results.record_tree",
        "results.checks",
    ),
    "pydantic_core": ("config", "results.records"),
    "torch": ("runtime", "executors.selfcheck.probes"),  # the probes are module code
    "safetensors": ("runtime", "executors.selfcheck.context"),
    "docker": (
        "executors.docker",
        "executors.images",
        "executors.image_build",
        "executors.image_network",
        "executors.image_sweep",
    ),
    "urllib3": ("executors.image_build",),
    "typer": ("cli",),
    "sklearn": ("datasets",),
    "torchvision": ("datasets",),
    "PIL": ("datasets", "report.site"),
}
"""Library → where it may be imported, at the top of a file or inside a function."""


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, wherever it does; relative imports stay in a module."""
    return frozenset(walk_imports(path))


def walk_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names):
                yield from (one.name for one in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                # `from harness.results import records` names a module only in its names
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


@cache
def ours(name: str) -> frozenset[str]:
    """Modules of the harness that a module imports, named below ``harness``."""
    found = {one.removeprefix("harness.") for one in imports(FILES[name]) if one != "harness"}
    packages = {f"{one}.__init__" for one in found if f"{one}.__init__" in FILES}
    modules = {one for one in found if one in FILES}
    # `from harness.datasets.ranking import signs` needs the module; the package comes along
    return frozenset(modules | {one for one in packages if not any(
        below(module, (one.removesuffix(".__init__"),)) for module in modules)})  # fmt: skip


def room(name: str) -> str:
    """The package of a module; ``cli`` and ``workspace`` are rooms of their own."""
    return name.partition(".")[0]


def arrows() -> dict[tuple[str, str], list[str]]:
    """(room, room) → imports between them; a room's own are under (room, room)."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in FILES:
        for other in ours(name):
            if room(other) != "__init__" and other != name:
                found.setdefault((room(name), room(other)), []).append(f"{name} imports {other}")
    return found


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
    assert "planning.plan" in ours("workspace")
    assert "results.records" in ours("running.recorder")


def test_every_package_has_a_floor():
    assert {room(name) for name in FILES} - {"__init__"} == {one for row in FLOORS for one in row}


def test_imports_lead_downwards():
    """No upward import, none between neighbours, and so no circle of packages."""
    floor = {package: height for height, row in enumerate(FLOORS) for package in row}
    found = [
        one
        for (upper, lower), all_of in arrows().items()
        if upper != lower and upper != "__init__" and floor[lower] >= floor[upper]
        for one in all_of
    ]
    assert not found


def test_no_module_imports_itself_by_a_detour():
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " imports ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in ours(name):
                visit(other, (*trail, name))
            done.add(name)

    for name in FILES:
        visit(name, ())


@pytest.mark.parametrize("who", APART)
def test_what_stands_apart(who):
    assert not offences((who,), APART[who])


@pytest.mark.parametrize("outer", INNER)
def test_inner_packages_are_not_imported_by_the_outer_ones_files_or_by_each_other(outer):
    inner = tuple(f"{outer}.{name}" for name in INNER[outer])
    found = []
    for name in FILES:
        if below(name, (outer,)) and name not in (f"{outer}.__init__", outer):
            own = next((one for one in inner if below(name, (one,))), None)
            found += [f"{name} imports {o}" for o in ours(name) for one in inner
                      if one != own and below(o, (one,))]  # fmt: skip
    assert not found


def test_the_house_stays_small():
    """Few rooms, few arrows between them, and half of all imports stay inside a room."""
    between = {pair: all_of for pair, all_of in arrows().items() if "__init__" not in pair}
    inside = sum(len(all_of) for (a, b), all_of in between.items() if a == b)
    total = sum(map(len, between.values()))
    rooms = {one for pair in between for one in pair}
    links = [pair for pair in between if pair[0] != pair[1]]
    share = inside / total
    figures = f"{len(rooms)} rooms, {len(FLOORS)} floors, {len(links)} arrows, {share:.3f} inside"
    assert len(rooms) <= 16, figures
    assert len(links) <= 62, figures
    assert share >= 0.5, figures


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


def test_what_reads_records_does_not_reach_torch_by_any_way():
    """Transitively: a report may import the plan, as long as nothing below it runs anything."""
    reached = set()
    queue = [name for name in FILES if below(name, ("report", "results.records"))]
    while queue:
        name = queue.pop()
        if name not in reached:
            reached.add(name)
            queue += ours(name)
    assert "planning.plan" in reached
    assert not [name for name in reached if below(name, ("runtime", "executors", "running"))]


@pytest.mark.parametrize("library", HOMES)
def test_each_library_has_one_home(library):
    found = [
        name
        for name, path in FILES.items()
        if not below(name, HOMES[library])
        if any(one.partition(".")[0] == library for one in imports(path))
    ]
    assert not found, f"{library} is imported outside {HOMES[library]}"


def declared_and_imported() -> tuple[set[str], set[str]]:
    """Distributions that ``pyproject.toml`` names, and those whose modules we import."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project["dependencies"] + project["optional-dependencies"]["docker"]
    known = {"yaml": "pyyaml", "sklearn": "scikit-learn", "PIL": "pillow",
             "pydantic_core": "pydantic", "markupsafe": "jinja2"}  # fmt: skip
    declared = {requirement.split(">")[0].split("!")[0].split("=")[0] for requirement in named}
    folders = ("harness", "attacks", "defenses", "victims")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    imported = {one.partition(".")[0] for path in files for one in imports(path)}
    foreign = imported - sys.stdlib_module_names - {"harness"}
    return declared, {known.get(one, one) for one in foreign}


def test_every_library_that_we_import_is_declared():
    """A dependency that another one happens to bring goes when that one drops it."""
    declared, imported = declared_and_imported()
    assert imported <= declared


def test_every_library_that_is_declared_is_imported():
    declared, imported = declared_and_imported()
    assert declared <= imported
