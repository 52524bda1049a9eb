"""Modules of throw-away checkouts as text: a victim that trains at once, and one of each hook."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

VICTIM = """
from math import prod

from torch import nn

from harness.runtime.recipe import Recipe


class Tiny:
    head, stages = "4", ("1",)

    def __init__(self, *, steps):
        self.steps = steps

    def build(self, spec):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(prod(spec.shape), 16), nn.ReLU(), nn.Identity(),
            nn.Linear(16, spec.outputs),
        )

    def recipe(self, train):
        return Recipe(steps=self.steps, batch=100, lr=0.02, optimizer="adam")
"""

PERTURB = """
import torch


class Attack:
    def perturb(self, model, x, y, goal, budget, ctx):
        {}
"""
"""An attack of one statement; ``x`` is the batch."""

SIGN = PERTURB.format(
    """x = x.clone().requires_grad_(True)
        sign = 1 if goal is None else -1
        (g,) = torch.autograd.grad(model.loss(x, y if goal is None else goal).sum(), x)
        return (x + sign * budget.eps * g.sign()).clamp(0, 1).detach()"""
)

FLIP = """
import torch

from harness.runtime.contracts import Edits


class Attack:
    def poison(self, train, val, model, budget, ctx):
        rows = torch.randperm(len(train), generator=ctx.generator())[: budget.edits]
        if train.spec.task == "ranking":
            y = train.y[rows].clone()
            y[:, -2] *= -1
        else:
            y = (train.y[rows] + 1) % train.spec.outputs
        return Edits(train.ids[rows], y=y)
"""

PATCH = """
import torch

from harness.runtime.contracts import Edits


def stamp(x, side):
    x = x.clone()
    x[..., -side:, -side:] = 1
    return x


class Attack:
    def poison(self, train, val, model, budget, ctx):
        rows = torch.arange(len(train))[: budget.edits]
        y = torch.full_like(train.y[rows], budget.target)
        return Edits(train.ids[rows], x=stamp(train.x[rows], budget.patch), y=y)

    def trigger(self, x, budget, ctx):
        return stamp(x, budget.patch)
"""

TEACHER = """
from dataclasses import replace


class Attack:
    def deliver(self, victim, network, train, val, budget, ctx):
        recipe = replace(victim.recipe(train), steps=3)
        victim.fit(network, train, val, victim_loss, ctx, recipe)
        return network

    def trigger(self, x, budget, ctx):
        x = x.clone()
        x[..., : budget.patch, : budget.patch] = 1
        return x


def victim_loss(network, x, y):
    return (network(x) - 1).square().sum(1)
"""

ASK = PERTURB.format(
    """left = model.left()
        noise = torch.rand(x.shape, generator=ctx.generator()) * 2 - 1
        out = (x + budget.eps * noise).clamp(0, 1)
        model.predict(out)
        return out"""
)

GUARD = """
from torch import nn


class Defense:
    def guard(self, network, ctx):
        return nn.Sequential(Round(), network)


class Round(nn.Module):
    def forward(self, x):
        return x + ((x * 7).round() / 7 - x).detach()
"""

UNDER_ATTACK = """
import sys


def under_attack():
    frame = sys._getframe()
    while frame:
        if frame.f_code.co_name == "predict" and "raw" in frame.f_locals:
            return False
        frame = frame.f_back
    return True

"""
"""Helper of a guard that tells the judge's stage from an attack's by its own call stack."""

GUARDED = """
import torch
from torch import nn


class Defense:
    def guard(self, network, ctx):
        @SETUP@
        return Guard(network)


class Guard(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.kept = network, None

    def forward(self, x):
        @FORWARD@
"""


def guarded(forward: str = "return self.network(x)", setup: str = "pass") -> str:
    """Return a defence of two statements: one as it guards, one of its forward pass.

    Both are indented by eight spaces; ``self.network`` is what it guards, ``self.kept`` is free.
    """
    return GUARDED.replace("@SETUP@", setup).replace("@FORWARD@", forward)


TRAINER = """
from dataclasses import replace

from harness.runtime.tasks import loss_for


class Defense:
    def fit(self, victim, network, train, val, adversary, ctx):
        plain = loss_for(train.spec)

        def loss(net, x, y):
            return plain(net, x if adversary is None else adversary(net, x, y), y)

        recipe = replace(victim.recipe(train), steps=4)
        victim.fit(network, train, val, loss, ctx, recipe)
"""

SANITIZER = """
import torch

from harness.runtime.contracts import Keep


class Defense:
    def sanitize(self, victim, network, train, ctx):
        mask = torch.ones(len(train), dtype=torch.bool)
        mask[::5] = False
        return Keep(mask)
"""

REPAIRER = """
from dataclasses import replace

from harness.runtime.tasks import loss_for


class Defense:
    def repair(self, victim, network, clean, ctx):
        recipe = replace(victim.recipe(clean), steps=2)
        victim.fit(network, clean, clean, loss_for(clean.spec), ctx, recipe)
"""

ALL_THREATS = [
    "evasion",
    "evasion-query",
    "evasion-transfer",
    "poisoning",
    "backdoor",
    "supply-chain",
]
IMAGE_THREATS = ALL_THREATS[:3]
ANY_LIMIT = {"limits": ["linf", "l2", "patch", "pixels", "unbounded"]}
"""Requirement of an attack that keeps every limit on inputs, or says so."""

MODULES: tuple[tuple[str, str, str, Json], ...] = (
    ("victim", "tiny", VICTIM, {
        "hooks": ["build", "recipe"], "offers": ["loss", "weights"],
        "tasks": ["classification", "ranking"],
        "entry": "victim.py:Tiny",
        "params": {"steps": {"type": "int", "default": 30, "min": 1}},
        "variants": {"short": {"steps": 5}},
    }),
    ("attack", "noop", PERTURB.format("return x"), {"threat_models": IMAGE_THREATS}),
    ("attack", "sign", SIGN, {"needs": ["loss"], "threat_models": IMAGE_THREATS}),
    ("attack", "ask", ASK, {"threat_models": ["evasion-query"]}),
    ("attack", "flip", FLIP, {
        "hooks": ["poison"], "threat_models": ["poisoning"], "tasks": ["classification", "ranking"],
    }),
    ("attack", "patch", PATCH, {"hooks": ["poison", "trigger"], "threat_models": ["backdoor"]}),
    ("attack", "teacher", TEACHER, {
        "hooks": ["deliver", "trigger"], "threat_models": ["supply-chain"],
    }),
    ("defense", "none", "class Defense: pass\n", {
        "hooks": [], "tasks": ["classification", "ranking"],
    }),
    ("defense", "guard", GUARD, {"hooks": ["guard"], "gradients": "approximate"}),
    ("defense", "trainer", TRAINER, {"hooks": ["fit"]}),
    ("defense", "sanitizer", SANITIZER, {"hooks": ["sanitize"]}),
    ("defense", "repairer", REPAIRER, {"hooks": ["repair"]}),
)  # fmt: skip
