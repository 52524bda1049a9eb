"""Training loop that victims share: seeded batches, and checkpoints that survive a kill."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from harness.runtime.augment import take
from harness.runtime.averaging import Mean, estimate_statistics
from harness.runtime.checkpoint import Best, Checkpoint, digest_of, optimizer_digest
from harness.runtime.contracts import Context, Data, Loss, Spec, Victim
from harness.runtime.model import eval_mode
from harness.runtime.recipe import Recipe, Selection, steps_per_epoch
from harness.runtime.tasks import loss_for

Score = Callable[[nn.Module], float]
"""``score(network)``, called in eval mode."""


def fit(
    network: nn.Module,
    train: Data,
    loss: Loss,
    ctx: Context,
    recipe: Recipe,
    *,
    val: Data | None = None,
    validate: Score | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    name: str = "fit",
) -> None:
    """Train ``network`` in place, in train mode, and restore its mode.

    The order of an epoch depends on the epoch's number only, and torch's global generator is seeded
    anew at each step. So a run that was killed and resumed ends in the same bits as an undisturbed
    one, as long as ``loss`` depends on its arguments and torch's global generator only, and the
    score of a selection on its arguments only.

    Args:
        network: network on ``ctx.device``. Parameters that need no gradient do not change.
        train: training set with at least one example. If the last batch has one example only, it is
            left out, because batch norm cannot train on it.
        loss: training loss, one value per row; its mean is minimised.
        ctx: context with the seeds, the log and the folder for checkpoints.
        recipe: recipe of the training. Validation sees no augmentation.
        val: validation set whose mean loss in eval mode is reported and on which a selection
            scores, or ``None``; without examples it is as ``None``, and nothing is selected.
        validate: function that returns this mean, if there is a faster way than batches of ``val``.
        optimizer: optimiser of the network's parameters in place of the recipe's; it keeps its
            state from one fit to the next, and its own momentum and weight decay.
        name: name of the fit; it distinguishes fits of a stage that differ only in ``loss``, or in
            a function as the training set's overlay.

    Raises:
        ValueError: the training set is empty.
        ArithmeticError: the loss is not finite.
    """
    if len(train) == 0:
        raise ValueError("the training set is empty")
    selection, score, measure = recipe.selection, None, validate
    if val is not None and len(val):
        measure = measure or partial(_mean_loss, loss, val, recipe.batch)
        score = selection and partial(_score, selection, val)
    opt, best, mean = optimizer or make_optimizer(network, recipe), Best(), Mean()
    facts = recipe.facts() | {"name": name, "selects": score is not None}
    if optimizer is not None:
        facts["optimizer"] = optimizer_digest(optimizer)
    digest = digest_of(facts, network, train)
    checkpoint = Checkpoint(ctx.checkpoint, network, opt, best, mean, digest)
    first = checkpoint.resume()
    order = _order(len(train), recipe.batch, ctx, name, first)
    project = recipe.project or _leave
    project(network, first)
    mode = network.training
    network.train()
    for step, rows in zip(range(first, recipe.steps), order, strict=False):
        for group in opt.param_groups:
            group["lr"] = recipe.rate(step) * group.get("factor", 1.0)
        seed_globally(ctx.seed("step", name, step), ctx.device)
        x, y = _batch(train, rows, recipe, ctx, "crop", name, step)
        value = loss(network, x, y).mean()
        opt.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        opt.step()
        done = step + 1
        project(network, done)
        last = done == recipe.steps
        if done % recipe.log_every == 0 or last:
            where = f"{name}: step {done} of {recipe.steps}"
            _report(network, value.item(), measure, ctx, done, where)
        if selection and score and (done % selection.every == 0 or last):
            best.offer(network, score, done)
            ctx.metric(selection.name, best.last, done)
            ctx.log(f"{name}: step {done} of {recipe.steps}, {selection.name} {best.last:.4f}, "
                    f"best {best.score:.4f} at step {best.step}")  # fmt: skip
        if recipe.average is not None and recipe.average.due(done):
            mean.add(network)
        checkpoint.save(done, last=last)
    best.restore(network)
    if mean.count:
        mean.restore(network)
        estimate_statistics(network, _pass(train, recipe, ctx, name))
    ctx.count_steps(recipe.steps)
    network.train(mode)


def _leave(network: nn.Module, step: int) -> None:
    """Project onto all networks."""


def fit_by_recipe(
    victim: Victim,
    network: nn.Module,
    train: Data,
    val: Data,
    loss: Loss,
    ctx: Context,
    recipe: Recipe | None = None,
) -> None:
    """Train as a recipe says: ``fit`` of a victim that has no such hook of its own."""
    fit(network, train, loss, ctx, recipe or victim.recipe(train), val=val)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe, with a group of parameters for each rate and decay.

    A group's ``factor`` multiplies the learning rate of a step.

    Raises:
        ValueError: there is no such optimiser, or the network has no such head.
    """
    linear = {p for m in network.modules() if isinstance(m, nn.Linear) for p in m.parameters()}
    head: set[nn.Parameter] = set()
    if recipe.head_lr != 1:
        try:
            head = set(network.get_submodule(recipe.head).parameters())
        except AttributeError as error:
            raise ValueError(
                f"the network has no layer {recipe.head!r}, the recipe's head"
            ) from error
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        factor = recipe.head_lr if parameter in head else 1.0
        decay = recipe.weight_decay + (recipe.linear_decay if parameter in linear else 0.0)
        groups.setdefault((factor, decay), []).append(parameter)
    options = [
        {"params": found, "factor": factor, "weight_decay": decay}
        for (factor, decay), found in groups.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            options, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov
        )
    if recipe.optimizer == "adam":
        return torch.optim.Adam(options, lr=recipe.lr)
    raise ValueError(f"optimizer {recipe.optimizer!r}: expected sgd or adam")


def _batch(
    train: Data, rows: Tensor, recipe: Recipe, ctx: Context, *dims: object
) -> tuple[Tensor, Tensor]:
    """Return some examples, augmented; ``dims`` tell the draws apart."""
    if recipe.crop == "none" and not recipe.flip:
        return train.take(rows)  # without the cost of a generator, which small steps feel
    return take(train, rows, recipe.crop, recipe.flip, ctx.generator(*dims))


def _pass(train: Data, recipe: Recipe, ctx: Context, name: str) -> Iterator[Tensor]:
    """Return the inputs of one epoch of training, for what is estimated after the last step."""
    epoch = steps_per_epoch(len(train), recipe.batch)
    order = _order(len(train), recipe.batch, ctx, f"{name}, statistics", 0)
    for step, rows in zip(range(epoch), order, strict=False):
        seed_globally(ctx.seed("statistics", name, step), ctx.device)
        yield _batch(train, rows, recipe, ctx, "statistics", name, step)[0]


def seed_globally(seed: int, device: torch.device) -> None:
    """Seed torch as ``torch.manual_seed`` does, but without its 0.1 ms if only the CPU is used.

    Torch stores the seed for GPUs that are not initialised yet together with a traceback. On a
    small table that took a third of the time of a step.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def loss_of(victim: Victim, spec: Spec, smoothing: float = 0.0) -> Loss:
    """Return the victim's own loss, or else its task's, on which a defence can build.

    Args:
        victim: the network family.
        spec: description of the data set.
        smoothing: share of each label that is spread over all classes, a recipe's
            ``label_smoothing``.

    Raises:
        ValueError: labels cannot be smoothed in ranking, nor in a victim's own loss.
    """
    own: Loss | None = getattr(victim, "loss", None)
    if own is None:
        return loss_for(spec, smoothing)
    if smoothing:
        raise ValueError("label_smoothing needs the task's loss; the victim has one of its own")
    return own


def _order(count: int, batch: int, ctx: Context, name: str, first: int) -> Iterator[Tensor]:
    """Return the rows of each step from step ``first`` on, without end."""
    per_epoch = steps_per_epoch(count, batch)
    for epoch in itertools.count(first // per_epoch):
        order = torch.randperm(count, generator=ctx.generator("batches", name, epoch))
        yield from torch.split(order, batch)[first % per_epoch : per_epoch]
        first = 0


def _report(
    network: nn.Module,
    value: float,
    measure: Score | None,
    ctx: Context,
    step: int,
    where: str,
) -> None:
    """Add a point to the curve and a line to the log.

    The loss is that of the step itself: a running mean would be a state that a resumed run lacks.
    """
    if not math.isfinite(value):
        raise ArithmeticError(f"the training loss is {value} at step {step}")
    ctx.metric("loss", value, step)
    if measure is None:
        ctx.log(f"{where}, loss {value:.4f}")
        return
    with eval_mode(network):  # no torch.no_grad(): an adversarial loss needs gradients of x
        mean = measure(network)
    ctx.metric("val_loss", mean, step)
    ctx.log(f"{where}, loss {value:.4f}, on validation {mean:.4f}")


def _score(selection: Selection, val: Data, network: nn.Module) -> float:
    return selection.score(network, val)


def _mean_loss(loss: Loss, val: Data, batch: int, network: nn.Module) -> float:
    return sum(float(loss(network, x, y).sum()) for x, y in val.batches(batch)) / len(val)
