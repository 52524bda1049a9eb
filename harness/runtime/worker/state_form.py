"""Form of a network's state, which a hook that trains or changes the network must keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from harness.runtime.contracts import OutputError

NAMED = 3
"""Tensors that a message names."""


@dataclass(frozen=True)
class StateForm:
    """Names, shapes and types of the tensors of a network's state.

    Attributes:
        shapes: name → shape; ``None`` where a lazy module has not seen an input yet.
        dtypes: name → type of the values.
    """

    shapes: dict[str, tuple[int, ...] | None]
    dtypes: dict[str, torch.dtype]

    @classmethod
    def of(cls, network: nn.Module) -> StateForm:
        """Return the form of a network as ``build`` made it.

        Raises:
            OutputError: a part of its state is no tensor, so that it cannot be saved.
        """
        state: dict[str, object] = dict(network.state_dict())
        tensors = {name: one for name, one in state.items() if isinstance(one, Tensor)}
        if odd := state.keys() - tensors.keys():
            raise OutputError(f"build(): {min(odd)} of the network's state is no tensor")
        return cls(
            {name: None if is_lazy(one) else tuple(one.shape) for name, one in tensors.items()},
            {name: one.dtype for name, one in tensors.items()},
        )

    def check_network(self, value: object, hook: str) -> nn.Module:
        """Return what a hook made of the network, if its state has this form.

        Args:
            value: the network that the hook returned or trained.
            hook: name of the hook.

        Raises:
            OutputError: it is no network, or its tensors are others.
        """
        if not isinstance(value, nn.Module):
            raise OutputError(f"{hook}() returned {type(value).__name__}, expected nn.Module")
        self.check(value.state_dict(), hook)
        return value

    def check(self, state: object, hook: str, *, types: bool = True) -> dict[str, Tensor]:
        """Return a state, if it has this form.

        Args:
            state: what should be a dictionary of tensors by name.
            hook: name of the hook that it is from.
            types: whether the types of values must be equal, too.

        Raises:
            OutputError: it is no such dictionary, or its tensors are others.
        """
        if not isinstance(state, Mapping):
            kind = type(state).__name__
            raise OutputError(f"{hook}() returned {kind}, expected a dictionary of tensors")
        names = sorted({*self.shapes, *map(str, state)})
        found = [self._difference(name, state.get(name), types=types) for name in names]
        if wrong := [one for one in found if one]:
            more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            raise OutputError(
                f"{hook}(): the network's tensors differ from build()'s: "
                f"{', '.join(wrong[:NAMED])}{more}"
            )
        return dict(state)

    def _difference(self, name: str, value: object, *, types: bool) -> str:
        """Return how one tensor differs from this form, or an empty text."""
        if name not in self.shapes:
            return f"{name} is not among them"
        if value is None:
            return f"{name} is missing"
        if not isinstance(value, Tensor):
            return f"{name} is of type {type(value).__name__}"
        shape, dtype = self.shapes[name], self.dtypes[name]
        if is_lazy(value):
            return f"{name} has no shape yet"
        if shape is not None and tuple(value.shape) != shape:
            return f"{name} has shape {list(value.shape)} and not {list(shape)}"
        if types and value.dtype != dtype:
            found, wanted = (str(one).removeprefix("torch.") for one in (value.dtype, dtype))
            return f"{name} is {found} and not {wanted}"
        return ""
