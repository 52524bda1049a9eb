"""Adversarial weight perturbation: a training loss at the worst weights nearby (AWP).

Wu, Xia and Wang, NeurIPS 2020, https://arxiv.org/abs/2004.05884, section 4 with one step in v. With
weights w and attacked inputs x′ the training minimises the loss L(w + v; x′), where
v = γ ‖w‖ ∇L / ‖∇L‖ in each layer, with the gradient in the weights at w.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Loss

AttackedLoss = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
"""``loss(network, x, x_adv, y) -> [B]``: a loss of clean inputs and of the same under attack."""

LossAt = Callable[[nn.Module], Tensor]
"""``loss(network) -> [B]``: a loss of inputs that are fixed, as a function of the network."""


class _LossOf(nn.Module):
    """A loss as a module around its network, so that torch can call it with other weights."""

    def __init__(self, network: nn.Module, loss: LossAt) -> None:
        super().__init__()
        self.network = network
        self._loss = loss

    def forward(self) -> Tensor:
        return self._loss(self.network)


def attacked_loss(adversary: Adversary, loss: AttackedLoss, gamma: float) -> Loss:
    """Return the training loss of a defence that attacks each batch first, for ``victim.fit``.

    The adversary sees the weights as they are; the loss is taken at the worst weights nearby.

    Args:
        adversary: the attack that the benchmark's entry names.
        loss: the loss of a batch and of its attacked inputs.
        gamma: as in ``perturbed_loss``; 0 is the plain loss.
    """

    def found(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x_adv = adversary(network, x, y)
        return perturbed_loss(network, lambda net: loss(net, x, x_adv, y), gamma)

    return found


def perturbed_loss(network: nn.Module, loss: LossAt, gamma: float) -> Tensor:
    """Return ``loss`` at the worst weights nearby, ``[B]``, for ``training.fit`` to minimise.

    Its gradient is that of the loss at w + v, which falls to the parameters as they are: nothing is
    written into them, so that they need no restoration before the optimiser's step. This pass
    updates batch-norm statistics as any pass in train mode does; the one that finds v does not.

    A network whose weights need no gradient, as in validation, is not perturbed.

    Args:
        network: the network in training.
        loss: loss of the network that it is given, ``[B]``, on inputs attacked before: it may call
            the network several times, and must not freeze it, as the entry's adversary does.
        gamma: length of v as a share of the weights' in each layer, γ ≥ 0; 0 is the plain loss.

    Example:
        x_adv = adversary(net, x, y)
        return perturbed_loss(net, lambda net: own(net, x_adv, y), gamma)
    """
    weights = _weights(network) if gamma else {}
    if not weights:
        return loss(network)
    found = _perturbation(network, loss, gamma, weights)
    return _call(network, loss, {name: weights[name] + v for name, v in found.items()})


def perturbation(network: nn.Module, loss: LossAt, gamma: float) -> dict[str, Tensor]:
    """Return v by the name of each weight: γ‖w‖ g / ‖g‖, with the gradient g of the mean loss.

    The norm is Frobenius', over a whole tensor. Weights are the parameters that have more than one
    dimension and need a gradient; where g is zero, v is. Neither weights nor buffers change.

    Args:
        network: the network in training.
        loss: as in ``perturbed_loss``.
        gamma: length of v as a share of the weights' in each layer, γ ≥ 0.
    """
    return _perturbation(network, loss, gamma, _weights(network))


def _perturbation(
    network: nn.Module, loss: LossAt, gamma: float, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    # a pass in train mode moves batch-norm statistics: those of copies, as the authors' proxy does
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    value = _call(network, loss, buffers).mean()
    gradients = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
    found = {}
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        if gradient is not None:  # a layer that the loss does not use
            length = gradient.norm()
            scale = gamma * weight.detach().norm() / torch.where(length > 0, length, 1)
            found[name] = scale * gradient
    return found


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and parameter.requires_grad
    }


def _call(network: nn.Module, loss: LossAt, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the loss with some of the network's tensors replaced for the time of the call."""
    replaced = {f"network.{name}": tensor for name, tensor in tensors.items()}
    result: Tensor = torch.func.functional_call(_LossOf(network, loss), replaced, ())
    return result
