"""What modules need installed: read strictly, joined per stage, refused where it clashes."""

import re

import pytest

from harness.common.keys import ROOT, RUNTIME_PINS
from harness.config.dockerfile import Instruction
from harness.config.environments import (
    DOCKERFILE,
    Environment,
    base_pins,
    dockerfile,
    environment_of,
    find_conflict,
    problems,
    read_pins,
    requirements,
    versions,
)
from tests.support.errors import raises_error
from tests.support.workspaces import Checkout, cell, matrix

TORCH = base_pins()["torch"]


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def module(checkout):
    """Writes an attack that needs something, and returns it."""

    def make(name, text, file="requirements.txt"):
        folder = checkout.module("attack", name, "class Attack: pass")
        (folder / file).write_text(text, encoding="utf-8")
        return checkout.workspace().catalog.get("attack", name, "")

    return make


def test_images_hold_the_pins_of_the_lock():
    lock = {str(one) for _, one in read_pins(ROOT / "requirements" / "lock.txt")}
    ours = {str(one).split(";")[0] for _, one in read_pins(RUNTIME_PINS)}
    assert len(ours) > 20
    assert ours <= {one.split(";")[0] for one in lock}
    assert all(hashes for (_, hashes), _ in read_pins(RUNTIME_PINS))


def test_versions_are_those_of_the_recipe():
    assert re.fullmatch(r"3\.\d+", versions()["python"])
    assert f"torch=={versions()['torch']}" == TORCH


def test_a_module_that_brings_nothing_runs_in_the_base(checkout):
    modules = list(checkout.workspace().catalog.modules.values())
    assert environment_of(modules) == Environment()
    assert find_conflict(modules) is None


def test_requirements_are_joined_sorted_and_keep_their_hashes(module):
    one = module(
        "one", "# why\nZope.Interface==5.0  # really\n\nattrs==1.0 \\\n    --hash=sha256:ab\n"
    )
    two = module("two", "attrs==1.0 --hash=sha256:ab\nboltons==2.0\n")
    assert requirements(one.folder)["zope-interface"] == "zope-interface==5.0"
    pins = ("attrs==1.0 --hash=sha256:ab", "boltons==2.0", "zope-interface==5.0")
    assert environment_of([one, two]).pins == pins
    assert environment_of([two, one]) == environment_of([one, two])
    assert find_conflict([one, two]) is None
    assert str(environment_of([two])) == "base cpu + attrs==1.0 + boltons==2.0"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("attrs\n", 1, "no exact version"),
        ("\nattrs>=1\n", 2, "no exact version"),
        ("attrs==1.*\n", 1, "no exact version"),
        ("attrs==1,<2\n", 1, "no exact version"),
        ("a==1 \\\n  --hash=sha256:ab\nattrs[x]==1\n", 3, "more than a name"),
        ("attrs==1; python_version<'3'\n", 1, "more than a name"),
        ("-r other.txt\n", 1, "cannot read"),
        ("git+file:///tmp/x\n", 1, "cannot read"),
        ("attrs @ file:///tmp/x\n", 1, "no exact version"),
    ],
)
def test_anything_but_exact_pins_is_refused_at_its_line(module, text, line, what):
    (error,) = problems(module("odd", text))
    assert error.where.endswith(f"odd/requirements.txt:{line}")
    assert what in error.what


def test_a_clash_is_one_sentence(module):
    one, two = module("one", "attrs==1.0\n"), module("two", "attrs==2.0\n")
    assert find_conflict([one, two]) == "attacks/two needs attrs==2.0, attacks/one attrs==1.0"
    three = module("three", "torch==1.0\n")
    assert find_conflict([three]) == f"attacks/three needs torch==1.0, the base image {TORCH}"
    assert "the base image" in problems(three)[0].what
    same = module("same", f"{TORCH}\n")
    assert find_conflict([same]) is None


def test_a_module_is_told_all_conflicts_at_once(module):
    numpy = base_pins()["numpy"]
    found = problems(module("three", "torch==1.0\nattrs==1.0\nnumpy==1.0\n"))
    assert [error.what for error in found] == [
        f"attacks/three needs torch==1.0, the base image {TORCH}",
        f"attacks/three needs numpy==1.0, the base image {numpy}",
    ]


def test_a_local_run_says_once_for_each_module_what_it_ignores(checkout, module):
    module("needy", "attrs==1.0 --hash=sha256:ab\nsix==1.16.0\nzipp==3\nyarl==1\n")
    module("built", "FROM gauntlet-base\nCOPY attack.py /opt/tool\n", "Dockerfile")
    module("unused", "attrs==1.0\n")
    checkout.benchmark(matrix(attacks=["noop", "needy", "built"], seeds=[0, 1]))
    lines = [line for line in checkout.run().said.splitlines() if "ignores" in line]
    assert sorted(lines) == [
        "attacks/built: a local run ignores its Dockerfile",
        "attacks/needy: a local run ignores its requirements.txt (attrs==1.0, six==1.16.0, 2 more)",
    ]


def test_a_mistake_in_a_dockerfile_is_said_at_its_line(module):
    (error,) = problems(module("odd", "FROM gauntlet-base\nVOLUME /data\n", "Dockerfile"))
    assert error.where.endswith("attacks/odd/Dockerfile:2")
    assert error.what == "VOLUME is not allowed"


def test_two_dockerfiles_clash_and_one_makes_the_environment(module):
    text = "FROM gauntlet-base\nCOPY attack.py /opt/tool\n"
    one, two = module("one", text, "Dockerfile"), module("two", text, "Dockerfile")
    assert dockerfile(one.folder) == (Instruction("COPY", ("attack.py", "/opt/tool")),)
    assert environment_of([one]).module == one
    assert environment_of([one]).key != environment_of([two]).key != Environment().key
    assert "both bring a Dockerfile" in (find_conflict([one, two]) or "")
    assert find_conflict([one, one]) is None


def test_the_key_holds_content(module, monkeypatch, tmp_path):
    keys = [Environment().key, Environment("cuda").key, environment_of([module("a", "b==1\n")]).key]
    changed = tmp_path / "Dockerfile"
    changed.write_text(DOCKERFILE.read_text("utf-8") + "\n# more\n", encoding="utf-8")
    monkeypatch.setattr("harness.config.environments.DOCKERFILE", changed)
    keys.append(Environment().key)
    assert len(set(keys)) == 4


def test_what_clashes_is_not_applicable_in_the_plan_and_the_rest_is_planned(checkout, module):
    module("needy", "attrs==1.0\n")
    victim = checkout.root / "victims" / "tiny" / "requirements.txt"
    victim.write_text("attrs==2.0\n", encoding="utf-8")
    plan = checkout.plan(matrix(attacks=["noop", "needy"]))
    ruled_out = cell(plan, attack="needy")
    assert ruled_out.reason == "attacks/needy needs attrs==1.0, victims/tiny attrs==2.0"
    assert [c.id for c in plan.cells.values() if c.reason] == [ruled_out.id]


def test_only_stages_of_a_needy_module_have_other_keys_in_containers(checkout, module):
    checkout.benchmark(matrix(attacks=["noop", "sign"]))
    workspace = checkout.workspace()

    def keys(executor):
        fresh = checkout.workspace()
        return fresh.plan(workspace.benchmark("b"), executor=executor).graph.stages

    local, docker = keys("local"), keys("docker")
    ours = {key for key, stage in local.items() if stage.kind in ("data", "slice")}
    assert ours == local.keys() & docker.keys()
    module("sign", "attrs==1.0\n")  # the same attack, with a wish
    needy = keys("docker")
    kept = {stage.kind for key, stage in needy.items() if key in docker}
    assert {"train", "predict"} <= kept


def test_a_mistake_in_requirements_is_said_before_a_run(checkout, module):
    module("odd", "attrs\n")
    with raises_error("requirement-without-version", where="<tmp>/attacks/odd/requirements.txt:1"):
        checkout.plan(matrix(attacks=["odd"]))
