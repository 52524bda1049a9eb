"""One signed gradient step: the smallest white-box attack."""

import torch


class Attack:
    """Moves every pixel by ``share × eps`` in the direction that raises the victim's loss."""

    def __init__(self, *, share):
        self.share = share

    def perturb(self, model, x, y, goal, budget, ctx):
        """Return attacked inputs of the same shape, in [0, 1] and within the budget.

        Args:
            model: the victim. model.loss(x, y) gives one loss a row, differentiable in x.
            x: inputs in [0, 1], float32 [B, C, H, W]. y: their labels.
            goal: labels to aim at, or None when any error will do.
            budget: budget.norm and budget.eps, set by the benchmark; checked by the judge.
            ctx: ctx.device, ctx.generator(…) for chance, ctx.log(…).
        """
        x_adv = x.clone().requires_grad_(True)
        loss = model.loss(x_adv, y if goal is None else goal).sum()
        (gradient,) = torch.autograd.grad(loss if goal is None else -loss, x_adv)
        step = self.share * budget.eps
        if budget.norm == "l2":
            length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
            direction = gradient / length
        else:
            direction = gradient.sign()
        return (x + step * direction).clamp(0, 1).detach()
