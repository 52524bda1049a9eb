"""Cheats whose answers are honest, and whose gradients are not: scale, stand-in, saturation."""

from __future__ import annotations

from tests.traps.cheat import BOTH, MINUS, Cheat, guard

TORCH = "import torch\n"
APPROXIMATE = {"gradients": "approximate"}

SCALES = {
    name: Cheat(
        f"multiplies the logits by {factor}: {effect}",
        **guard(f"return self.network(x) * {factor}"),
        **place,
    )
    for name, factor, effect, place in (
        ("times-300", "300", "cross entropy has no gradient in float32", {"tested": BOTH}),
        ("times-30", "30", "cross entropy has few gradients in float32", {"tested": ()}),
        ("times-1e-8", "1e-8", "cross entropy forgets the runner-up", {}),
        ("times-1e-36", "1e-36", "squares of the gradient underflow", {}),
        ("l2-times-1e-36", "1e-36", "squares of the gradient underflow", {"group": "l2"}),
        ("temperature", "1000", "a temperature of 1e-3", {"tested": ()}),
    )
}

STAND_INS = {
    "wrong-sign": Cheat(
        "declares a stand-in gradient, of the wrong sign",
        **guard("return self.network(Minus.apply(x))", head=TORCH + MINUS, **APPROXIMATE),
    ),
    "no-gradient": Cheat(
        "declares a stand-in gradient, of zero",
        **guard("return self.network(x.detach() + 0 * x)", **APPROXIMATE),
    ),
    "one-hot": Cheat(
        "answers with one-hot logits, straight through",
        **guard(
            """out = self.network(x)
        return nn.functional.one_hot(out.argmax(1), out.shape[1]) * 9.0 + out - out.detach()""",
            **APPROXIMATE,
        ),
    ),
    "one-hot-wrong-sign": Cheat(
        "answers with one-hot logits, and a stand-in of the wrong sign",
        **guard(
            """out = self.network(Minus.apply(x))
        return nn.functional.one_hot(out.argmax(1), out.shape[1]) * 9.0 + out - out.detach()""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "integers": Cheat(
        "rounds the logits to integers",
        **guard("out = self.network(x); return out.round() + 0 * out"),
    ),
    "integers-straight-through": Cheat(
        "rounds the logits to integers, straight through",
        **guard("out = self.network(x); return out.round() + out - out.detach()", **APPROXIMATE),
    ),
    "saturated": Cheat(
        "saturates the inputs",
        **guard("return self.network((200 * (x - 0.5)).sigmoid())"),
        without="saturated-straight-through",
    ),
}

HOOKS = {
    "engine": "from harness.runtime.worker import network_process; "
    "network_process._engine_run_backward = lambda o, g, k, c, i, **m: "
    "tuple(map(torch.zeros_like, i))",
    "grad": "torch.autograd.grad = lambda out, x, *a, **k: (torch.zeros_like(x),)",
    "backward": "torch.Tensor.backward = lambda self, *a, **k: None",
    "random-start": "from harness.runtime import gradients; "
    "gradients.random_start = lambda x, *a: x",
    "project": "from harness.runtime import gradients; "
    "gradients.project = lambda x_adv, x, norm, eps: x",
    "cross-entropy": "nn.functional.cross_entropy = lambda out, y, **k: 0 * out.sum(1)",
    "dispatch-mode": "from torch.utils._python_dispatch import TorchDispatchMode; "
    "Mode = type('Mode', (TorchDispatchMode,), {'__torch_dispatch__': dispatched}); "
    "mode = Mode(); mode.__enter__()",
    "library": "library = torch.library.Library('aten', 'IMPL'); "
    "library.impl('threshold_backward', lambda g, x, t: -g * (x > t), 'CPU'); "
    "sys.modules['kept'] = library",
    "hook": "network.head.register_full_backward_hook(lambda m, i, o: tuple(-g for g in i))",
}
"""What a guard changes in its process → the statement."""

STRONG = ("dispatch-mode", "hook")
"""Changes that reach gradients; what attacks use lies in another process."""

DISPATCHED = """
import sys

import torch


def dispatched(self, func, types, args=(), kwargs=None):
    out = func(*args, **(kwargs or {}))
    if "convolution_backward" in str(func):
        return tuple(None if one is None else -one for one in out)
    return out

"""

PATCHES = {
    f"patch-{name}": Cheat(
        f"changes {name} in its process",
        **guard("return self.network(x)", f"global kept; {setup}; kept = locals()",
                head=DISPATCHED),
        tested=BOTH if name in ("engine", "library") else ("local",) if name in STRONG else (),
    )
    for name, setup in HOOKS.items()
}  # fmt: skip

ANSWERS = {
    "function": Cheat(
        "answers with a subclass of Tensor that has methods of its own",
        **guard(
            "return self.network(x).as_subclass(Answer)",
            head="""
import torch


class Answer(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        out = super().__torch_function__(func, types, args, kwargs or {})
        if func.__name__ in ("clone", "contiguous", "detach", "to", "copy_"):
            return out.as_subclass(torch.Tensor).mul(300)
        return out

""",
        ),
        ends=frozenset({"level", "sign", "gap"}),
    ),
}

GRADIENTS = {**SCALES, **STAND_INS, **PATCHES, **ANSWERS}
