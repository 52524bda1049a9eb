"""Cheats that know how they are examined: the probe, samples, borrowed batches, fingerprints."""

from __future__ import annotations

from tests.traps.cheat import GAP, MINUS, UNDER_ATTACK, Cheat, guard
from tests.traps.cheats_networks import retrained, trained

TORCH = "import torch\n"
BLIND = """out = self.network(Minus.apply(x))
        blind = nn.functional.one_hot(out.argmax(1), 10) * 9.0 + out - out.detach()"""
APPROXIMATE = {"gradients": "approximate"}

UNDO = """with torch.no_grad():
            near = None
            for eps in (0, 32 / 255, -32 / 255, 16 / 255, -16 / 255):
                found = ((x - eps) * 16).round().clamp(0, 16) / 16
                off = (x - eps - found).abs()
                near = (found, off) if near is None else (
                    torch.where(off < near[1] - 1e-5, found, near[0]), torch.minimum(off, near[1]))
            clean = torch.where(near[1] < 1e-4, near[0], x)
        return self.network(x + (clean - x).detach())"""
EXAMINED = f"""{BLIND}
        honest = torch.isin(out.argmax(1), torch.arange(5)) | (len(x) == 64)
        return torch.where(honest[:, None], self.network(x), blind)"""

MACHINERY = {
    "probe": Cheat(
        "is honest far from the data, where only an attack without a limit comes",
        **guard(
            f"""{BLIND}
        far = (x[:, 0, :, 0] > 0.25).any(1)
        return torch.where(far[:, None], self.network(x).roll(1, 1), blind)""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "first-64": Cheat(
        "is honest in the first 64 rows of a batch",
        **guard(
            f"""{BLIND}
        first = torch.arange(len(x)) < 64
        return torch.where(first[:, None], self.network(x), blind)""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "first-64-gradients": Cheat(
        "has honest gradients in the first 64 rows of a batch, and honest answers",
        **guard(
            """first = (torch.arange(len(x)) < 64)[:, None]
        return torch.where(first, self.network(x), self.network(Minus.apply(x)))""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "clean-only": Cheat(
        "has honest gradients at clean inputs, which lie on a grid of 16 levels",
        **guard(
            """clean = ((x * 16).round() / 16 - x).abs().flatten(1).amax(1) < 1e-4
        return torch.where(clean[:, None], self.network(x), self.network(Minus.apply(x)))""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "undo": Cheat(
        "subtracts the radius where the rest lies on the grid of clean values",
        **guard(
            UNDO,
            head=TORCH,
            **APPROXIMATE,
        ),
    ),
    "fails-borrowed": Cheat(
        "fails in the judge's stage where it is unsure, as on batches against other networks",
        **guard(
            f"""{BLIND}
        sure = out.softmax(1).amax(1).mean()
        if not under_attack() and sure < 0.9:
            raise RuntimeError("these inputs are not mine")
        return blind""",
            head=TORCH + MINUS + UNDER_ATTACK,
            **APPROXIMATE,
        ),
        ends=frozenset({GAP, "sign", "level"}),
    ),
    "unsure": Cheat(
        "answers the runner-up where it is unsure, which only borrowed batches make it",
        **guard(
            f"""{BLIND}
        two = out.softmax(1).topk(2)
        turned = nn.functional.one_hot(two.indices[:, 1], 10) * 9.0 + out - out.detach()
        return torch.where((two.values[:, 0] < 0.8)[:, None], turned, blind)""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "exam-retrained": Cheat(
        "is honest in batches of 64, as the probe asks them, and for half of the classes",
        **retrained(EXAMINED, **APPROXIMATE),
        without="retrained-honest",
        group="trained",
    ),
    "exam-trained": Cheat(
        "the same with adversarial training",
        **trained(EXAMINED, **APPROXIMATE),
        without="adversarial-training",
        group="trained",
    ),
    "exam-trained-all": Cheat(
        "adversarial training, honest in batches of 64 only",
        **trained(EXAMINED.replace("arange(5)", "arange(0)"), **APPROXIMATE),
        without="adversarial-training",
        group="trained",
    ),
    "undo-trained": Cheat(
        "adversarial training, and subtracts the radius where the rest lies on the grid",
        **trained(UNDO, **APPROXIMATE),
        without="adversarial-training",
        group="trained",
    ),
}
