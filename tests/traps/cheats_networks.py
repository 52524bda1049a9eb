"""Cheats with weights of their own, an honest accident, and defences without their trick."""

from __future__ import annotations

from typing import Any

from tests.traps.cheat import HONEST, MINUS, Cheat, guard

TORCH = "import torch\n"
ADVERSARY = {
    "adversary": {
        "attack": "pgd",
        "params": {"steps": 5, "rel_stepsize": 1},
        "budget": {"norm": "linf", "eps": 32 / 255},
    }
}

FIT = """

from harness.runtime.training import loss_of


def fit(self, victim, network, train, val, adversary, ctx):
    own = loss_of(victim, train.spec)
    attacked = lambda net, x, y: own(net, adversary(net, x, y), y)
    victim.fit(network, train, val, attacked if adversary else own, ctx)


Defense.fit = fit
"""

BUILD = """

def build(self, victim, spec):
    torch.manual_seed(3)
    return Own()


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        mixed = torch.linalg.qr(torch.randn(64, 64))[0]
        self.register_buffer("mixed", mixed)
        self.layers = nn.Sequential(
            nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 10)
        )

    def forward(self, x):
        return self.layers((x.flatten(1) - 0.3) @ self.mixed / 0.3)


Defense.build = build
"""

BLIND = """out = self.network(Minus.apply(x))
        return nn.functional.one_hot(out.argmax(1), out.shape[1]) * 9.0 + out - out.detach()"""
"""One-hot answers with a stand-in gradient of the wrong sign."""


def trained(forward: str = HONEST, head: str = "", tail: str = "", **fields: Any) -> dict[str, Any]:
    """Return an adversarially trained network behind a guard."""
    hooks = ["build", "fit", "guard"] if "build" in tail else ["fit", "guard"]
    return guard(
        forward, head=TORCH + MINUS + head, tail=FIT + tail, requires=[{"adversary": True}],
        **fields | {"hooks": hooks},
    ) | {"entry": ADVERSARY}  # fmt: skip


def retrained(forward: str = HONEST, head: str = "", **fields: Any) -> dict[str, Any]:
    """Return the victim's network with weights of another training, behind a guard."""
    return guard(
        forward, head=TORCH + MINUS + head, tail=FIT, **fields | {"hooks": ["fit", "guard"]}
    )


def own(forward: str = HONEST, **fields: Any) -> dict[str, Any]:
    """Return another network than the victim's, behind a guard."""
    return guard(
        forward,
        head=TORCH + MINUS,
        tail=FIT + BUILD,
        **fields | {"hooks": ["build", "fit", "guard"]},
    )


TRAINED = {
    "trained-times-300": Cheat(
        "adversarial training, and logits times 300",
        **trained("return self.network(x) * 300"),
        without="adversarial-training",
        group="trained",
        tested=(),
    ),
    "trained-wrong-sign": Cheat(
        "adversarial training, and a stand-in gradient of the wrong sign",
        **trained("return self.network(Minus.apply(x))", gradients="approximate"),
        without="adversarial-training",
        group="trained",
        tested=(),
    ),
    "trained-blind": Cheat(
        "adversarial training, one-hot answers and a stand-in of the wrong sign",
        **trained(BLIND, gradients="approximate"),
        without="adversarial-training",
        group="trained",
        tested=(),
    ),
}
OWN = {
    "retrained-blind": Cheat(
        "weights of its own training, one-hot answers and a stand-in of the wrong sign",
        **retrained(BLIND, gradients="approximate"),
        without="retrained-honest",
        group="trained",
    ),
    "retrained-times-300": Cheat(
        "weights of its own training, and logits times 300",
        **retrained("return self.network(x) * 300"),
        without="retrained-honest",
        group="trained",
        tested=(),
    ),
    "own-wrong-sign": Cheat(
        "a network unlike the victim's, and a stand-in gradient of the wrong sign",
        **own("return self.network(Minus.apply(x))", gradients="approximate"),
        without="own-honest",
        group="trained",
        tested=(),
    ),
    "own-blind": Cheat(
        "the same with one-hot answers",
        **own(BLIND, gradients="approximate"),
        without="own-honest",
        group="trained",
        tested=(),
    ),
}

DENSE = """
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime.model import capture


class Decode(nn.Module):
    def __init__(self, codes):
        super().__init__()
        self.register_buffer("codes", codes)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, code):
        middle = self.codes.mean(0)
        codes = self.codes - middle
        return self.scale * ((code - middle) @ codes.T - 0.5 * codes.square().sum(1))


class Defense:
    def build(self, victim, spec):
        network = victim.build(spec)
        codes = torch.rand(spec.outputs, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
        network.head = nn.Sequential(nn.Linear(network.head.in_features, 512), Decode(codes))
        return network

    def fit(self, victim, network, train, val, adversary, ctx):
        victim.fit(network, train, val, loss, ctx)
        if @SCALED@:
            network.eval()
            with torch.no_grad():
                two = torch.cat([network(x) for x, _ in val.batches(500)]).topk(2).values
                network.head[1].scale.mul_(8 / (two[:, 0] - two[:, 1]).median())
            network.train()


def loss(network, x, y):
    with capture(network, ("head.1",), inputs=True) as seen:
        network(x)
    return 64 * F.smooth_l1_loss(seen[0], network.head[1].codes[y], reduction="none").mean(1)
"""
"""Dense labels: the head draws a code, the nearest codeword decides (Chen et al. 2021)."""
DENSE_HOOKS = {"hooks": ["build", "fit"]}
ACCIDENTS = {
    "dense-labels": Cheat(
        "an honest accident: regression to dense labels, whose scores are not scaled",
        code=DENSE.replace("@SCALED@", "False"),
        fields=DENSE_HOOKS,
        without="dense-labels-scaled",
        group="trained",
    ),
}

WITHOUT: dict[str, tuple[str, dict[str, Any]]] = {
    "saturated-straight-through": (
        "weights",
        guard(
            "return self.network(x + ((200 * (x - 0.5)).sigmoid() - x).detach())",
            gradients="approximate",
        ),
    ),
    "own-honest": ("trained", own()),
    "retrained-honest": ("trained", retrained()),
    "dense-labels-scaled": (
        "trained",
        {"code": DENSE.replace("@SCALED@", "True"), "fields": DENSE_HOOKS},
    ),
}
"""Defence without its trick → its group, and arguments of ``Cheat``."""

NETWORKS = {**TRAINED, **OWN, **ACCIDENTS}
