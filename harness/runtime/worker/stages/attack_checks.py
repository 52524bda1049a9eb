"""Conformance stage ``probe_attack``: honest mistakes of an attack's ``perturb`` or ``trigger``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Model, QueryRefused, Spec, as_input
from harness.runtime.worker import probe_names
from harness.runtime.worker.batches import Batch
from harness.runtime.worker.job import Job
from harness.runtime.worker.stages.network_checks import (
    REFUSALS,
    save_findings,
    storage,
)

PROBED = {"classification": 8, "segmentation": 3}
"""Task → number of inputs that are attacked."""

MOST_DIFFERENT = 0.05
"""Share of a row's values that may differ between batches: where a gradient is zero but for
rounding, its sign is anything."""


def probe_attack(job: Job) -> None:
    """Save what is wrong with the results of an attack's hook, by the name of each check.

    The attack shares this process with the reference victim: it may not be compared with anything
    that a judge computes. Its code could forge the result, as in every conformance stage.
    """
    count = PROBED[job.spec.task]
    x = as_input(job.tensor("slice_x", "x.npy")[:count], job.device)
    attacked = Attacked(
        job, x, optional(job, "slice_y", "y.npy"), optional(job, "goal", "goal.npy")
    )
    found = dict.fromkeys(probe_names.ATTACK, "")
    rows = torch.arange(len(x))
    for name, check in CHECKS.items():
        found[name] = check(attacked, rows)
        if found[name] and name in (probe_names.FORM, probe_names.UNCHANGED):
            break  # the others would report it again
    save_findings(job, found)


def optional(job: Job, name: str, file: str) -> Tensor | None:
    """Return labels or goals of the attacked inputs, or ``None`` where they are withheld."""
    if name not in job.inputs or job.options.no_model_access:
        return None
    return job.tensor(name, file)[: PROBED[job.spec.task]].to(job.device)


@dataclass
class Call:
    """One call of the hook: copies that it was given, and what it returned."""

    given: dict[str, Tensor]
    result: object


@dataclass
class Attacked:
    """Attack under test with inputs, labels and goals for it.

    Attributes:
        job: job of the stage.
        x: inputs ``[N, …]``, of which the hook gets copies.
        y: their labels, or ``None``.
        goal: labels to reach, or ``None``.
        held: everything that calls were given or returned, so that no memory is used twice.
    """

    job: Job
    x: Tensor
    y: Tensor | None
    goal: Tensor | None
    held: list[Call] = field(default_factory=list)

    def call(self, rows: Tensor) -> Call:
        """Call the hook on some rows; the same numbers are drawn for a row each time."""
        job, budget = self.job, self.job.options.budget
        pairs = {"x": self.x, "y": self.y, "goal": self.goal}
        given = {name: one[rows] for name, one in pairs.items() if one is not None}
        model = granted_model(job, rows)
        job.called = "attack"
        torch.manual_seed(job.ctx.seed("attack"))
        x, y, goal = given["x"], given.get("y"), given.get("goal")
        result: object
        if job.options.hook == "trigger":
            result = job.attack.trigger(x, budget, job.ctx)
        else:
            # as if all inputs were one batch, of which these rows were handed over
            with job.ctx.batch(Batch(rows, 0, len(self.x), rows)):
                result = job.attack.perturb(cast(Model, model), x, y, goal, budget, job.ctx)
        self.held.append(Call(given, result))
        return self.held[-1]

    def result(self, rows: Tensor) -> Tensor:
        """Return a copy of the hook's result for some rows."""
        return cast(Tensor, self.call(rows).result).detach().clone()

    def originals(self, rows: Tensor) -> dict[str, Tensor]:
        """Return what the hook is given for some rows."""
        pairs = {"x": self.x, "y": self.y, "goal": self.goal}
        return {name: one[rows] for name, one in pairs.items() if one is not None}


def check_form(attacked: Attacked, rows: Tensor) -> str:
    """Check that the result is one tensor of the inputs' shape."""
    return wrong_form(attacked.call(rows).result, attacked.x[rows])


def check_type(attacked: Attacked, rows: Tensor) -> str:
    """Check that the result is float32."""
    kind = attacked.result(rows).dtype
    name = str(kind).removeprefix("torch.")
    wrong = f"the attacked inputs are {name}, expected float32; return x_adv.float()"
    return "" if kind == torch.float32 else wrong


def check_unchanged(attacked: Attacked, rows: Tensor) -> str:
    """Check that the hook does not write into inputs, labels or goals."""
    given, originals = attacked.call(rows).given, attacked.originals(rows)
    for name, original in originals.items():
        if not torch.equal(given[name].detach(), original):
            return f"the hook changes {name} in place; work on a copy: {name}.clone()"
    return ""


def check_memory(attacked: Attacked, rows: Tensor) -> str:
    """Check that no result shares memory with what the hook was given, or with another result."""
    attacked.call(rows[:3])
    attacked.call(rows.flip(0))
    seen = set[int]()
    for call in attacked.held:
        out = storage(cast(Tensor, call.result))
        if out in {storage(one) for one in call.given.values()}:
            return "the result is the input or a view of it; return a new tensor: x.clone()"
        if out in seen:
            return (
                "results of all batches lie in one buffer, so that the next overwrites the last; "
                "return a new tensor: out.clone()"
            )
        seen.add(out)
    return ""


def check_batch(attacked: Attacked, rows: Tensor) -> str:
    """Check that the result for an input depends neither on the order nor on the others.

    Parts of the inputs are given to a second attack, the last part first: one that remembers its
    first batch differs there.
    """
    whole = attacked.result(rows)
    if differs(whole, attacked.result(rows.flip(0)).flip(0), attacked.x[rows]):
        return "a result depends on the order of its batch" + INDEPENDENT
    del attacked.job.loaded["attack"]
    for part in reversed(torch.split(rows, 2)):
        found = attacked.result(part)
        if found.shape == whole[part].shape and differs(whole[part], found, attacked.x[part]):
            return (
                "a result depends on the other inputs of its batch, or of an earlier one"
                + INDEPENDENT
            )
    return ""


INDEPENDENT = (
    "; treat every row alike, draw by ctx.draw, or say batch_dependent: true in the manifest"
)


def check_one_row(attacked: Attacked, rows: Tensor) -> str:
    """Check the form of the result for a batch of one row."""
    try:
        out = attacked.call(rows[:1]).result
    except torch.OutOfMemoryError:
        raise
    except REFUSALS as error:
        line = (str(error).strip().splitlines() or [""])[0][:160]
        return (
            f"a batch of 1 row ends in {type(error).__name__}: {line}; the hook must take any "
            "number of rows"
        )
    return wrong_form(out, attacked.x[rows[:1]])


CHECKS: dict[str, Callable[[Attacked, Tensor], str]] = {
    probe_names.FORM: check_form,
    probe_names.UNCHANGED: check_unchanged,
    probe_names.FLOAT32: check_type,
    probe_names.OWN_MEMORY: check_memory,
    probe_names.BATCH: check_batch,
    probe_names.ONE_ROW: check_one_row,
}
"""Name → its check, in order."""


def wrong_form(out: object, x: Tensor) -> str:
    """Return what is wrong with the form of a result for some inputs; an empty text if nothing."""
    if not isinstance(out, Tensor):
        return f"the result is a {type(out).__name__}; return one Tensor, the attacked inputs"
    if out.shape == x.shape:
        return ""
    return (
        f"{len(x)} inputs give shape {list(out.shape)}, expected {list(x.shape)}; keep the first "
        "dimension, also for one input"
    )


def differs(first: Tensor, second: Tensor, x: Tensor) -> bool:
    """Return whether some row of two results differs in more values than rounding explains."""
    size = (first - x).abs().amax().clamp_min(1e-9)
    share = ((first - second).abs() > 1e-2 * size).flatten(1).float().mean(dim=1)
    return bool((share > MOST_DIFFERENT).any())


# -- the model that the attack holds ------------------------------------------------------------


def granted_model(job: Job, rows: Tensor) -> object:
    """Return a model as the threat model grants it, of the reference victim; ``None`` for none."""
    if job.options.no_model_access or "weights" not in job.inputs:
        return None
    network = job.trained()
    guarded = Copied(job.guard(network))
    if job.options.budget.queries is not None:
        return QueriedModel(guarded.eval(), job.spec, len(rows), job.options.budget.queries)
    return job.live(network, guarded, job.modules["attack"].needs)


class Copied(nn.Module):
    """Network that gets and gives copies, so that its mistakes are not put down to the attack.

    Args:
        network: the network inside.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return a copy of the network's answer to a copy of the inputs."""
        result: Tensor = self.network(x.clone()).float().clone()
        return result


class QueriedModel:
    """Model that answers queries in this process, as an oracle does in its own.

    Args:
        network: network that answers, in eval mode.
        spec: description of the data set.
        examples: rows of the batch.
        queries: queries that each example has.
    """

    def __init__(self, network: nn.Module, spec: Spec, examples: int, queries: int) -> None:
        self.spec, self._network = spec, network
        self._left = torch.full((examples,), queries)

    def predict(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return outputs, at the cost of one query a row.

        Raises:
            QueryRefused: a row has no query left; none was counted.
        """
        asked = torch.arange(len(self._left)) if rows is None else rows.cpu()
        counts = torch.bincount(asked, minlength=len(self._left))
        if bool((counts > self._left).any()):
            raise QueryRefused("a row of this batch has no query left; see model.left()")
        self._left -= counts
        with torch.no_grad():
            result: Tensor = self._network(x)
        return result

    def left(self) -> Tensor | None:
        """Return the queries left per example of the batch."""
        return self._left.clone()
