"""What a stage key holds of a module: its code and declarations, and nothing that people read."""

import copy
import json
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from harness.config.identity import IN_KEY, declarations, module_digest
from harness.config.manifest import Manifest
from harness.config.manifest_file import load_manifest
from tests.support.module_sources import PERTURB
from tests.support.workspaces import Checkout, cell, matrix

ATTACK = {
    "schema": "manifest/1",
    "kind": "attack",
    "name": "a",
    "summary": "Steps.",
    "reference": {"title": "T", "url": "https://example.org", "year": 2018},
    "license": "MIT",
    "tasks": ["classification"],
    "threat_models": ["evasion"],
    "entry": "attack.py:A",
    "hooks": ["perturb"],
    "requires": [{"limits": ["linf"]}],
    "params": {"steps": {"type": "int", "default": 5, "min": 1, "max": 9, "help": "steps"}},
    "variants": {"long": {"steps": 9}},
    "limits": {"minutes": 20, "memory_gb": 4},
    "smoke": {"params": {"steps": 2}},
}
DEFENSE = {
    key: ATTACK[key] for key in ("schema", "name", "summary", "license", "tasks", "threat_models")
} | {"kind": "defense", "entry": "defense.py:D", "hooks": ["guard"]}
LEARNER = ATTACK | {"hooks": ["learn", "perturb"]}
SMOOTHED = DEFENSE | {"params": {"sigma": {"type": "float", "default": 1, "min": 0.1}}}
DELIVERER = ATTACK | {"hooks": ["deliver"], "threat_models": ["supply-chain"]}
VICTIM = {
    "schema": "manifest/1",
    "kind": "victim",
    "name": "v",
    "summary": "A network.",
    "license": "MIT",
    "tasks": ["classification"],
    "entry": "victim.py:V",
    "hooks": ["build", "recipe", "import_weights"],
    "params": {"wide": {"type": "str", "default": "no", "choices": ["no", "yes"]}},
    "variants": {"wide": {"wide": "yes"}},
    "weights": {
        "w": {"file": "w.pt", "sha256": "0" * 64, "license": "MIT", "source": "https://a.org"}
    },
}
FILES = VICTIM | {
    "weights": {
        "w": {"files": {"a.npy": "0" * 64}, "license": "MIT", "source": "https://a.org/"},
    }
}

# key path -> (the manifest, the key's new value)
CHANGES = {
    "kind": (DEFENSE, "attack"),
    "name": (ATTACK, "b"),
    "summary": (ATTACK, "Steps!"),
    "reference": (ATTACK, {"title": "T", "url": "https://example.org", "year": 2019}),
    "license": (ATTACK, "BSD-3-Clause"),
    "tasks": (ATTACK, ["classification", "ranking"]),
    "threat_models": (ATTACK, ["evasion", "evasion-query"]),
    "needs": (ATTACK, ["loss"]),
    "offers": (VICTIM, ["loss"]),
    "entry": (ATTACK, "attack.py:B"),
    "hooks": (ATTACK, ["learn", "perturb"]),
    "params.steps.type": (ATTACK, "float"),
    "params.steps.default": (ATTACK, 6),
    "params.steps.min": (ATTACK, 2),
    "params.steps.max": (ATTACK, 10),
    "params.wide.choices": (VICTIM, ["no", "yes", "very"]),
    "params.steps.help": (ATTACK, "gradient steps"),
    "variants": (ATTACK, {"long": {"steps": 8}}),
    "weights.w.file": (VICTIM, "v.pt"),
    "weights.w.sha256": (VICTIM, "1" * 64),
    "weights.w.files": (FILES, {"a.npy": "1" * 64}),
    "weights.w.license": (VICTIM, "BSD-3-Clause"),
    "weights.w.source": (VICTIM, "https://b.org"),
    "weights.w.trained_on": (VICTIM, "digits"),
    "weights.w.claims": (VICTIM, [{"metric": "accuracy", "value": 0.5, "source": "a"}]),
    "weights.w.proven": (
        VICTIM,
        [
            {
                "title": "a",
                "images": "1" * 64,
                "of": 9,
                "norm": "l2",
                "eps": 2,
                "at_least": 3,
                "source": "a",
            }
        ],
    ),
    "weights.w.variant": (VICTIM, "wide"),
    "weights.w.start": (VICTIM, True),
    "limits": (ATTACK, {"minutes": 21, "memory_gb": 4}),
    "smoke": (ATTACK, {"params": {"steps": 3}}),
    "random": (ATTACK, True),
    "batch_dependent": (ATTACK, True),
    "no_model_access": (ATTACK, True),
    "gradients": (DEFENSE, "approximate"),
    "smoothing": (SMOOTHED, "sigma"),
    "against": (ATTACK, ["none"]),
    "requires": (ATTACK, [{"limits": ["linf", "l2"]}]),
    "learn_when": (LEARNER, {"steps": [5, 6]}),
    "clean_form": (DELIVERER, {"steps": 1}),
    "scale_invariant_when": (LEARNER, {"steps": [5, 6]}),
    "remarks": (ATTACK, [{"classes_max": 2, "text": "It is another one."}]),
}


def general(path):
    """A key path with ``*`` for a name that the module chose."""
    first, *rest = path.split(".")
    return ".".join((first, "*", *rest[1:]) if rest else (first,))


def digest_of(folder, data):
    return module_digest(folder, Manifest.model_validate(data))


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "attacks" / "a"
    path.mkdir(parents=True)
    (path / "attack.py").write_text("class A: pass\n")
    return path


def inner_model(kind):
    """The model behind a field's type, and whether names of the module's choice lie between."""
    while get_origin(kind) in (Annotated, Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is dict:
        model, _ = inner_model(get_args(kind)[1])
        return model, True
    return (kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None), False


def paths_of(model, above=""):
    """Every key path that ``IN_KEY`` has to decide."""
    for name, field in model.model_fields.items():
        path = above + (field.alias or name)
        inside, named = inner_model(field.annotation)
        if inside is not None and path not in IN_KEY:
            yield from paths_of(inside, f"{path}.*." if named else f"{path}.")
        else:
            yield path


def test_every_key_of_a_manifest_is_decided():
    assert sorted(paths_of(Manifest)) == sorted(IN_KEY)


def test_every_decision_is_tried():
    assert {general(path) for path in CHANGES} == set(IN_KEY) - {"schema"}  # has one value


@pytest.mark.parametrize("path", CHANGES)
def test_a_key_changes_the_digest_if_results_may_depend_on_it(folder, path):
    base, value = CHANGES[path]
    changed = copy.deepcopy(base)
    *above, last = path.split(".")
    inner = changed
    for step in above:
        inner = inner[step]
    inner[last] = value
    before = Manifest.model_validate(base)
    if path == "kind":  # no hook fits two kinds
        after = before.model_copy(update={"kind": value})
    else:
        after = Manifest.model_validate(changed)
    same = module_digest(folder, before) == module_digest(folder, after)
    assert same != IN_KEY[general(path)]


def test_the_schema_and_keys_at_their_default_are_no_part_of_it():
    plain = declarations(Manifest.model_validate(ATTACK))
    assert "schema" not in plain
    written_out = ATTACK | {"random": False, "batch_dependent": False, "needs": []}
    assert declarations(Manifest.model_validate(written_out)) == plain


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("README.md", False),
        ("notes/More.MD", False),
        ("LICENSE", False),
        ("readme.txt", False),
        ("test_attack.py", True),
        ("tests/test_more.py", True),
        ("readme.py", True),
        ("license.bin", True),
        ("md", True),
        ("requirements.txt", True),
        ("Dockerfile", True),
        ("weights.bin", True),
        ("sub/manifest.yaml", True),
        ("__pycache__/attack.pyc", False),
        (".ipynb_checkpoints/attack.py", False),
        (".#attack.py", False),
    ],
)
def test_a_file_changes_the_digest_if_results_may_depend_on_it(folder, name, counts):
    seen = [digest_of(folder, ATTACK)]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in ("one", "two"):
        path.write_text(text)
        seen.append(digest_of(folder, ATTACK))
    assert len(set(seen)) == (3 if counts else 1)


def test_the_form_of_a_manifest_changes_nothing(tmp_path):
    folder = Checkout(tmp_path).module("attack", "form", PERTURB.format("return x"))
    manifest = folder / "manifest.yaml"
    before = module_digest(folder, load_manifest(folder))
    keys = [
        f'"{key}" : {json.dumps(value)}' for key, value in json.loads(manifest.read_text()).items()
    ]
    block = "# a comment\n\n" + "\n".join(reversed(keys))
    manifest.write_text(block + "\nrandom: false   # as it is by default\n")
    assert module_digest(folder, load_manifest(folder)) == before


def keys_of(checkout):
    return {cell.id: cell.key for cell in checkout.plan().cells.values()}


def test_documentation_makes_no_cell_stale_and_code_does(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.benchmark(matrix(attacks=["noop", "sign"]))
    before = keys_of(checkout)
    folder = checkout.root / "attacks" / "sign"
    (folder / "README.md").write_text("# Sign\n")
    text = (folder / "manifest.yaml").read_text()
    (folder / "manifest.yaml").write_text(
        "# of a test\n" + text.replace("the sign of a test", "said better").replace("MIT", "BSD")
    )
    assert keys_of(checkout) == before
    with (folder / "attack.py").open("a") as code:
        code.write("\n")
    after = keys_of(checkout)
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if "/sign/" in name
    }


def test_a_stage_is_given_nothing_that_its_key_leaves_out(tmp_path):
    from harness.config.module_files import module_files
    from harness.executors.mounts import expose_module

    folder = Checkout(tmp_path).module("attack", "rich", PERTURB.format("return x"))
    for name in ("README.md", "sub/notes.md", "sub/table.csv", "test_rich.py", "only/LICENSE"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("text")
    expose_module(folder, tmp_path / "box")
    given = sorted(p.relative_to(tmp_path / "box") for p in (tmp_path / "box").rglob("*"))
    assert [str(name) for name in given] == ["attack.py", "sub", "sub/table.csv", "test_rich.py"]
    assert [p.relative_to(folder) for p in module_files(folder)] == [
        name for name in given if (folder / name).is_file()
    ]


def test_a_planned_cell_knows_its_modules_by_this_digest(tmp_path):
    checkout = Checkout(tmp_path)
    plan = checkout.plan(matrix())
    module = checkout.workspace().catalog.get("attack", "noop", "")
    assert module.digest == module_digest(module.folder, module.manifest)
    assert cell(plan, attack="noop").modules["attacks/noop"] == module.digest
