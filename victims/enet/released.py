"""Weights released for CamVid in 2018, whose tensors are renamed."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .network import STAGES

BLOCKS = {
    **{"initial": "initial_block", "head": "transposed_conv"},
    **{"down1": "downsample1_0", "down2": "downsample2_0"},
    **{"up4": "upsample4_0", "up5": "upsample5_0"},
    **{
        f"stage{n}.{k}": f"{ {0: 'asymmetric', 1: 'regular'}.get(d, 'dilated') }{n}_{k + (n != 3)}"
        for n, blocks in STAGES.items()
        for k, d in enumerate(blocks)
    },
}
"""Block of our network → its name in the released weights."""

PARTS = {
    **{"conv": "main_branch", "norm": "batch_norm", "act": "out_prelu", "main": "main_conv1"},
    **{"reduce": "ext_conv1", "middle": "ext_conv2", "expand": "ext_conv3"},
}
"""Part of a block → its name in the released weights."""


def released_name(name: str) -> str:
    """Return a tensor's name in the released weights."""
    block = next(block for block in BLOCKS if name.startswith(f"{block}."))
    part, dot, rest = name.removeprefix(f"{block}.").partition(".")
    return f"{BLOCKS[block]}.{PARTS.get(part, part)}{dot}{rest}"


def rename(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the released tensors under our names.

    Args:
        tensors: the tensors of the file.
        state: state dict of a new network, which the tensors must match in name and shape.

    Raises:
        ValueError: they are those of another network.
    """
    names = {name: released_name(name) for name in state
             if not name.endswith(("num_batches_tracked", "class_weights"))}  # fmt: skip
    wrong = sorted(set(names.values()) ^ set(tensors)) or [
        theirs for ours, theirs in names.items() if tensors[theirs].shape != state[ours].shape
    ]
    if wrong:
        raise ValueError(
            f"this is not the released ENet: {len(wrong)} tensors are missing, unknown or "
            f"misshapen, among them {', '.join(wrong[:3])}"
        )
    # old PyTorch counted no batches, and the loss's weights are not in the file: both stay new
    return dict(state) | {ours: tensors[theirs].float() for ours, theirs in names.items()}
