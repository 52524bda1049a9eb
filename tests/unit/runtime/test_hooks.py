"""Every hook is described in full, and the example in its description runs."""

import importlib.util
import inspect
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from harness.config.field_types import Need
from harness.runtime.contracts import Budget, Data, Keep, Spec, Victim
from harness.runtime.hooks import HOOKS, PROTOCOLS, hook_of
from harness.runtime.model import NEEDS, LiveModel
from harness.runtime.recipe import Recipe
from harness.runtime.tasks import loss_for
from harness.runtime.worker.context import StageContext
from harness.runtime.worker.hook_calls import check_edits, check_tensor

SPEC = importlib.util.spec_from_file_location("docs", Path(__file__).parents[3] / "ci" / "docs.py")
docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(docs)

EVERY = {
    f"{kind}-{hook_of(protocol)[0]}": protocol
    for kind, protocols in PROTOCOLS.items()
    for protocol in protocols
}


def test_the_table_of_the_loader_is_that_of_the_protocols():
    assert [f"{kind}-{hook}" for kind, hooks in HOOKS.items() for hook in hooks] == list(EVERY)
    assert HOOKS["attack"]["perturb"] == ("model", "x", "y", "goal", "budget", "ctx")
    assert HOOKS["victim"]["fit"] == ("network", "train", "val", "loss", "ctx", "recipe")


@pytest.mark.parametrize("hook", ["build", "recipe", "fit", "import_weights"])
def test_the_victim_of_the_contract_has_the_hooks_of_the_table(hook):
    described = getattr(EVERY[f"victim-{hook}"], hook)
    assert inspect.signature(getattr(Victim, hook)) == inspect.signature(described)


@pytest.mark.parametrize("name", EVERY)
def test_no_part_of_a_description_is_missing(name):
    protocol, (kind, _, hook) = EVERY[name], name.partition("-")
    _, function = hook_of(protocol)
    text = docs.sections(function.__doc__)
    assert tuple(text) == ("", *docs.SECTIONS)
    assert [part for part, words in text.items() if len(words) < 8] == []
    assert tuple(docs.entries(text["Args"])) == HOOKS[kind][hook]
    signature = inspect.signature(function)
    types = [one.annotation for one in list(signature.parameters.values())[1:]]
    assert inspect.Signature.empty not in [*types, signature.return_annotation]
    words = f"{text['']} {text['Called']}"
    assert "Required" in words or "Optional" in words
    assert "tage" in words or "process" in words, "the text names no stage"
    assert inspect.getdoc(protocol)


@pytest.mark.parametrize("name", EVERY)
def test_an_example_has_the_hooks_arguments_and_is_short(name):
    kind, _, hook = name.partition("-")
    example = docs.sections(hook_of(EVERY[name])[1].__doc__)["Example"]
    head, *body = example.splitlines()
    found = head.removeprefix(f"def {hook}(self, ").removesuffix("):").replace("=None", "")
    assert tuple(found.split(", ")) == HOOKS[kind][hook]
    assert 1 <= len([line for line in body if line]) <= 6


@pytest.fixture
def values(tmp_path):
    """Real arguments by name: a small convolutional victim on random pictures."""
    torch.manual_seed(0)
    device, spec = torch.device("cpu"), Spec("classification", 3, (1, 8, 8))
    ctx = StageContext(device=device, spec=spec, seed_root=[0, "test"], deadline=1e12,
                       scratch=tmp_path, state=tmp_path, checkpoint=tmp_path,
                       curves=tmp_path / "curves.jsonl")  # fmt: skip
    raw = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8)
    data = Data(raw, torch.randint(0, 3, (60,)), torch.arange(100, 160), spec, device)

    class Small:
        head, stages = "2", ("0",)

        def build(self, spec):
            return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, spec.outputs))

        def recipe(self, train):
            return replace(made("victim").recipe(train), steps=5)

        def fit(self, network, train, val, loss, ctx, recipe=None):
            made("victim").fit(network, train, val, loss, ctx, recipe or self.recipe(train))

    victim = Small()
    network = victim.build(spec)
    loss = loss_for(spec)
    frozen = victim.build(spec)
    build = lambda: victim.build(spec)  # noqa: E731
    needs = ["loss", "gradients", "features", "maps"]
    x, y = data.take(torch.arange(10))
    return {
        "model": LiveModel(frozen, frozen, victim, spec, build, loss, needs),
        "victim": victim, "network": network, "spec": spec, "loss": loss, "ctx": ctx,
        "train": data, "val": data, "clean": data, "x": x, "y": y, "goal": None,
        "recipe": Recipe(3, 10, 0.1),
        "budget": Budget(norm="linf", eps=0.1, edits=5, labels=True, patch=2, target=1),
        "adversary": lambda network, x, y: x + 0.1,
        "tensors": {"W1": torch.ones(3, 2), "B1": torch.ones(2)},
    }  # fmt: skip


def made(kind):
    """A module whose hooks are the examples of its kind."""
    names = dict[str, object]()
    exec(docs.EXAMPLE_IMPORTS, names)
    for name, protocol in EVERY.items():
        if name.startswith(kind):
            example = docs.sections(hook_of(protocol)[1].__doc__)["Example"]
            exec(textwrap.dedent(example), names)
    return type("Module", (), {hook: names[hook] for hook in HOOKS[kind]})()


def same_form(found, values):
    check_tensor(found, "the example", tuple(values["x"].shape), (torch.float32,))
    assert not torch.equal(found, values["x"])
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def trained(network, values):
    names = {k: v.shape for k, v in network.state_dict().items()}
    assert names == {
        k: v.shape for k, v in values["victim"].build(values["spec"]).state_dict().items()
    }
    assert not torch.equal(network[0].weight, values["before"])


def answers(network, values):
    assert network(values["x"]).shape == (10, 3)


def one_a_row(loss, values):
    assert loss.shape == (10,)
    assert loss.requires_grad


CHECKS = {
    "attack-learn": lambda found, v: (v["ctx"].state / "learned.safetensors").stat(),
    "attack-perturb": same_form,
    "attack-poison": lambda found, v: check_edits(found, v["train"]),
    "attack-trigger": same_form,
    "attack-deliver": trained,
    "defense-build": answers,
    "defense-sanitize": lambda found, v: isinstance(found, Keep) and found.mask.shape == (60,),
    "defense-fit": lambda found, v: trained(v["network"], v),
    "defense-loss": one_a_row,
    "defense-repair": lambda found, v: trained(v["network"], v),
    "defense-guard": answers,
    "victim-build": answers,
    "victim-loss": one_a_row,
    "victim-recipe": lambda found, v: isinstance(found, Recipe),
    "victim-fit": lambda found, v: trained(v["network"], v),
    "victim-import_weights": lambda found, v: found["1.weight"].shape == (2, 3),
}


@pytest.mark.parametrize("name", EVERY)
def test_an_example_runs_and_returns_what_its_description_says(name, values):
    kind, _, hook = name.partition("-")
    values["before"] = values["network"][0].weight.clone()
    found = getattr(made(kind), hook)(**{arg: values[arg] for arg in HOOKS[kind][hook]})
    assert CHECKS[name](found, values) is not False


def test_the_manifest_s_needs_are_those_of_the_runtime():
    assert get_args(Need) == NEEDS
