"""Cheats that answer an attack otherwise than the judge, or leave the count."""

from __future__ import annotations

from tests.support.module_sources import UNDER_ATTACK
from tests.traps.cheat import BOTH, GAP, LEVEL, MINUS, SIGN, Cheat, guard

LIE = "nn.functional.one_hot(({}).argmax(1), 10) * 9.0 + 0 * {}"
"""Logits of the class of other logits, without a gradient."""
ENDS = frozenset({LEVEL, SIGN, GAP})
RANDOM = {"random": True}
DECLINES = "from harness.runtime.contracts import NotApplicable\n"

FACES = {
    "tenth": Cheat(
        "keeps one in ten of the attack's successes from it",
        **guard(
            """if not under_attack():
            return self.network(x)
        out, flat = self.network(x), x.detach().flatten(1)
        if self.kept is not None:
            far, rows = torch.cdist(flat, self.kept, p=torch.inf).min(1)
        if self.kept is None or far.max() > 0.3:  # another batch
            self.kept, self.classes, rows = flat.clone(), out.argmax(1), torch.arange(len(x))
        lie = out + (nn.functional.one_hot(self.classes[rows], 10) * 9.0 - out).detach()
        return torch.where((rows % 10 == 0)[:, None], out, lie)""",
            head=UNDER_ATTACK,
        ),
        tested=BOTH,
    ),
    "two-faced": Cheat(
        "answers one-hot while it is attacked",
        **guard(
            """out = self.network(x)
        if not under_attack():
            return out
        return nn.functional.one_hot(out.argmax(1), out.shape[1]) * 9.0 + 0 * out""",
            head=UNDER_ATTACK,
        ),
        tested=BOTH,
    ),
    "requires-grad": Cheat(
        "answers one-hot where the input requires a gradient",
        **guard(
            """out = self.network(x)
        if not x.requires_grad:
            return out
        return nn.functional.one_hot(out.argmax(1), out.shape[1]) * 9.0 + 0 * out"""
        ),
    ),
    "batch-size": Cheat(
        "lies in batches of another size than the judge's",
        **guard(
            """if len(x) % 50 == 0 or len(x) < 8:
            return self.network(Minus.apply(x))
        return self.network(Minus.apply((x * 3).round() / 3 + x - x.detach()))""",
            head="import torch\n" + MINUS,
            gradients="approximate",
        ),
    ),
    "times-gradients": Cheat(
        "lies for a moment after a backward pass",
        **guard(
            """now, kept = time.monotonic(), self.kept or 0.0
        out = self.network(x)
        if x.requires_grad:
            x.register_hook(self.note)
        if now - kept > 0.5:
            return out
        return out + (nn.functional.one_hot(out.argmax(1), 10) * 9.0 - out).detach()

    def note(self, gradient):
        self.kept = time.monotonic()
        return -gradient""",
            head="import time\n",
        ),
    ),
    "first-time": Cheat(
        "lies on inputs that it has not seen, and is honest on those that it has",
        **guard(
            """out = self.network(x)
        if not under_attack():
            return out
        self.kept = set() if self.kept is None else self.kept
        rows = [row.numpy().tobytes() for row in x.detach()]
        known = torch.tensor([row in self.kept for row in rows])
        self.kept.update(rows)
        lie = self.network((x.detach() * 3).round() / 3) + 0 * out
        return torch.where(known[:, None], out, lie)""",
            head=UNDER_ATTACK,
        ),
    ),
    "in-place": Cheat(
        "edits its input behind torch's back where gradients are on",
        **guard(
            """if x.requires_grad:
            x.data.mul_(3).round_().div_(3)
        return self.network(x)"""
        ),
        ends=ENDS,
    ),
    "in-place-always": Cheat(
        "edits its input behind torch's back",
        **guard("x.data.mul_(3).round_().div_(3); return self.network(x)"),
        ends=frozenset({GAP}),
        words="changed its inputs in place",
    ),
}

RANDOMNESS = {
    "noise-under-gradients": Cheat(
        "adds ten times more noise where gradients are on, declared random",
        **guard(
            "return self.network(x + (0.2 if x.requires_grad else 0.02) * torch.randn_like(x))",
            **RANDOM,
        ),
    ),
    "noise": Cheat(
        "adds noise, declared random",
        **guard("return self.network(x + 0.1 * torch.randn_like(x))", **RANDOM),
        without="noise",
        tested=(),
        reference="eot",
        group="random",
    ),
    "dropout": Cheat(
        "leaves dropout on, undeclared",
        **guard("return self.network(nn.functional.dropout(x, 0.1, training=True))"),
    ),
}

DECLINED = {
    "declines-judge": Cheat(
        "is not applicable for the judge",
        **guard(
            """if not under_attack():
            raise NotApplicable("not today")
        return self.network(x)""",
            head=DECLINES + UNDER_ATTACK,
        ),
        ends=frozenset({GAP}),
        tested=BOTH,
    ),
    "declines-gradients": Cheat(
        "is not applicable where gradients are on",
        **guard(
            """if x.requires_grad:
            raise NotApplicable("not today")
        return self.network(x)""",
            head=DECLINES,
        ),
        ends=frozenset({GAP, LEVEL}),
        tested=BOTH,
    ),
    "exits": Cheat(
        "ends its process with 99 where gradients are on",
        **guard(
            """if x.requires_grad:
            os._exit(99)
        return self.network(x)""",
            head="import os\n",
        ),
        ends=frozenset({GAP, LEVEL}),
        tested=BOTH,
    ),
}
"""A row without results has no rank; what is left stands below the line."""

ANSWERS = {**FACES, **RANDOMNESS, **DECLINED}
