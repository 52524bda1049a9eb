"""What each stage kind does with module code. Judges nothing; checks the form of what came back."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.runtime.contracts import ContractError, Data, Edits, Keep, OutputError, as_input
from harness.runtime.model import LiveModel, freeze
from harness.runtime.tasks import TASKS
from harness.runtime.worker import arrays
from harness.runtime.worker.job import Job
from harness.runtime.worker.oracle import Oracle, OracleModel, listening

PROBED = 32
"""Inputs on which a finished network is probed."""


@contextmanager
def hook_time(job: Job, role: str) -> Iterator[None]:
    """Add the block's time to the hook's own, so that the harness's share can be told.

    Args:
        job: the stage's.
        role: of the module whose hook is called; it answers for what the hook returns.
    """
    job.called = role
    begun = time.perf_counter()
    try:
        yield
    finally:
        job.hook_seconds += time.perf_counter() - begun


def train(job: Job) -> None:
    """``public`` and ``train``: ``Defense.fit`` or the victim's recipe."""
    network, victim = job.start(), job.module("victim")
    train_set, val = job.data("train"), job.data("val")
    fit = job.hook("defense", "fit")
    torch.manual_seed(job.ctx.seed("fit"))
    with hook_time(job, "defense" if fit else "victim"), unchanged(train_set):
        if fit:
            fit(victim, network, train_set, val, job.adversary(), job.ctx)
        else:
            victim.fit(network, train_set, val, job.loss(), job.ctx, None)
    arrays.save_weights(job.out / "network.safetensors", network)
    probe(job, network, val)


def import_(job: Job) -> None:
    """Existing weights, in the victim's own form."""
    network = job.build()
    (path,) = job.inputs["file"].iterdir()
    with hook_time(job, "victim"):
        state = job.module("victim").import_weights(path)
    if job.options.get("start"):  # a new head comes later: what stands there now has no part in it
        head = job.module("victim").head + "."
        own = network.state_dict().items()
        state = {name: value for name, value in own if name.startswith(head)} | {
            name: value for name, value in state.items() if not name.startswith(head)
        }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # names, shapes
        raise ContractError(f"import_weights() does not fit build(): {error}") from error
    arrays.save_weights(job.out / "network.safetensors", network)


def deliver(job: Job) -> None:
    """The attacker's teacher: ``deliver`` on the public network with a fresh head."""
    network = job.start()
    torch.manual_seed(job.ctx.seed("deliver"))
    train_set = job.data("train")
    with hook_time(job, "attack"), unchanged(train_set):
        delivered = job.module("attack").deliver(
            job.module("victim"), network, train_set, job.data("val"), job.budget, job.ctx
        )
    if not isinstance(delivered, nn.Module):
        raise OutputError(f"deliver() returned {type(delivered).__name__}, expected nn.Module")
    expected = {name: value.shape for name, value in job.build().state_dict().items()}
    if {name: value.shape for name, value in delivered.state_dict().items()} != expected:
        raise OutputError("deliver() returned a network whose tensors differ from build()'s")
    arrays.save_weights(job.out / "network.safetensors", delivered)


def poison(job: Job) -> None:
    """Proposed edits; the harness counts and applies them."""
    train_set = job.data("train")
    torch.manual_seed(job.ctx.seed("poison"))
    with hook_time(job, "attack"), unchanged(train_set):
        edits = job.module("attack").poison(
            train_set, job.data("val"), job.granted(), job.budget, job.ctx
        )
    ids, x, y = checked_edits(edits, train_set)
    arrays.save_array(job.out / "edits" / "ids.npy", ids)
    if x is not None:
        arrays.save_array(job.out / "edits" / "x.npy", x)
    if y is not None:
        arrays.save_array(job.out / "edits" / "y.npy", y)


def checked_edits(edits: object, train_set: Data) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The form of ``Edits``: types, shapes, finite; the judge says whether they are allowed."""
    if not isinstance(edits, Edits):
        raise OutputError(f"poison() returned {type(edits).__name__}, expected contracts.Edits")
    ids = expect(edits.ids, "Edits.ids", (len(edits.ids),), (torch.int64,))
    x = y = None
    if edits.x is not None:
        shape = (len(ids), *train_set.raw.shape[1:])
        x = expect(edits.x, "Edits.x", shape, (torch.float32,))
    if edits.y is not None:
        kinds = (torch.int64, torch.uint8)
        y = expect(edits.y, "Edits.y", (len(ids), *train_set.y.shape[1:]), kinds)
    return ids, x, y


def sanitize(job: Job) -> None:
    """What a sanitizer keeps of the training set."""
    train_set = job.data("train")
    torch.manual_seed(job.ctx.seed("sanitize"))
    network = job.start()
    with hook_time(job, "defense"), unchanged(train_set):
        keep = job.module("defense").sanitize(job.module("victim"), network, train_set, job.ctx)
    if not isinstance(keep, Keep):
        raise OutputError(f"sanitize() returned {type(keep).__name__}, expected contracts.Keep")
    mask = expect(keep.mask, "Keep.mask", (len(train_set),), (torch.bool,))
    if not bool(mask.any()):
        raise OutputError("sanitize() kept no example; nothing can be trained")
    arrays.save_array(job.out / "keep" / "mask.npy", mask)
    if keep.y is not None:
        y = expect(keep.y, "Keep.y", tuple(train_set.y.shape), (train_set.y.dtype,))
        arrays.save_array(job.out / "keep" / "y.npy", y)


def repair(job: Job) -> None:
    """Repair of a trained network with a few clean examples."""
    network, clean = job.trained(), job.data("clean")
    torch.manual_seed(job.ctx.seed("repair"))
    with hook_time(job, "defense"), unchanged(clean):
        repaired = job.module("defense").repair(job.module("victim"), network, clean, job.ctx)
    network = network if repaired is None else repaired
    arrays.save_weights(job.out / "network.safetensors", network)
    probe(job, network, clean)


@contextmanager
def unchanged(data: Data) -> Iterator[None]:
    """Refuse a hook that changes a set in place: the next module would see another one."""

    def mark() -> list[int]:
        return [zlib.crc32(t.cpu().contiguous().numpy().data) for t in (data.raw, data.y, data.ids)]

    before = mark()
    yield
    if mark() != before:
        raise ContractError("the hook changed the data it was given in place")


def probe(job: Job, network: nn.Module, data: Data) -> None:
    """Outputs of the finished network in the process that made it.

    A conformance check compares them with the same network rebuilt from its file.
    """
    guarded = freeze(job.guard(network))
    torch.manual_seed(job.ctx.seed("probe"))
    x = as_input(data.raw[:PROBED], job.device)
    with torch.no_grad():
        arrays.save_array(job.out / "probe" / "outputs.npy", guarded(x).float())


def attack_model(job: Job) -> LiveModel | OracleModel | None:
    """The model that the threat model grants: the victim, another network, an oracle, or none."""
    access, needs = job.options["access"], job.modules["attack"]["needs"]
    if access == "oracle":
        return OracleModel(job.inputs["socket"], job.spec, job.device)
    if access == "none":
        return None
    network = job.trained()
    return job.live(network, job.guard(network) if access == "victim" else network, needs)


def learn(job: Job) -> None:
    """What an attack learns before it sees the test inputs; its state folder is kept."""
    model = attack_model(job)
    torch.manual_seed(job.ctx.seed("learn"))
    with hook_time(job, "attack"):
        job.module("attack").learn(model, job.data("train"), job.data("val"), job.budget, job.ctx)
    note_passes(job, model)


def attack(job: Job) -> None:
    """``perturb`` or ``trigger``, batch by batch; every output checked, none judged."""
    raw, module = job.tensor("slice_x", "x.npy"), job.module("attack")
    no_access = job.options["no_model_access"]
    model = None if no_access else attack_model(job)
    y = None if "slice_y" not in job.inputs else job.tensor("slice_y", "y.npy").to(job.device)
    goal = None if "goal" not in job.inputs else job.tensor("goal", "goal.npy").to(job.device)
    found, outputs, goals = [], [], []
    torch.manual_seed(job.ctx.seed("attack"))
    for rows in batches(len(raw), job.options["batch"]):
        x = as_input(raw[rows], job.device)
        if isinstance(model, OracleModel):
            model.rows = rows
        batch_goal = None if goal is None else goal[rows]
        if job.options.get("least_likely") and isinstance(model, LiveModel):
            batch_goal = model.predict(x.clone()).argmin(dim=1)
            goals.append(batch_goal.cpu())
        given, shown = x.clone(), None if y is None or no_access else y[rows].clone()
        with hook_time(job, "attack"):
            if job.options["hook"] == "trigger":
                out = module.trigger(given, job.budget, job.ctx)
            else:
                with job.ctx.within("batch", int(rows[0])):
                    out = module.perturb(model, given, shown, batch_goal, job.budget, job.ctx)
        if not torch.equal(given, x) or (
            shown is not None and y is not None and not torch.equal(shown, y[rows])
        ):
            raise ContractError(f"{job.options['hook']}() changed its inputs in place")
        found.append(expect(out, f"{job.options['hook']}()", tuple(x.shape), (torch.float32,)))
        if isinstance(model, LiveModel) and job.options["access"] == "victim":
            with torch.no_grad():
                outputs.append(TASKS[job.spec.task].store(model.predict(out.detach())).cpu())
    arrays.save_array(job.out / "attacked" / "x.npy", torch.cat(found))
    if outputs:
        arrays.save_array(job.out / "shown" / "outputs.npy", torch.cat(outputs))
    if goals:
        arrays.save_array(job.out / "goal" / "goal.npy", torch.cat(goals))
    note_passes(job, model)


def predict(job: Job) -> None:
    """The defended network's outputs on inputs that come without labels.

    ``eight_bit``: on inputs as a file of 8 bits a value would keep them.
    """
    network = job.trained()
    guarded = freeze(job.guard(network))
    raw, task = job.tensor("x", "x.npy"), TASKS[job.spec.task]
    torch.manual_seed(job.ctx.seed("predict"))
    outputs = []
    for rows in batches(len(raw), job.options["batch"]):
        x = as_input(raw[rows], job.device)
        if job.options.get("eight_bit"):
            x = (x * 255).round() / 255
        with torch.no_grad(), hook_time(job, "defense" if "defense" in job.modules else "victim"):
            out = guarded(x)
        shapes = task.shapes(x, job.spec)
        wanted = next((one for one in shapes if one == getattr(out, "shape", None)), shapes[0])
        expect(out, "the network's output", wanted, None, finite=False)
        outputs.append(task.store(out).cpu())
    arrays.save_array(job.out / "outputs" / "outputs.npy", torch.cat(outputs))


def oracle(job: Job) -> None:
    """Serve queries until stopped, then write the counts."""
    network = job.trained()
    guarded = freeze(job.guard(network))
    examples = len(job.tensor("slice_x", "x.npy"))
    torch.manual_seed(job.ctx.seed("oracle"))

    def answer(x: Tensor) -> Tensor:
        with torch.no_grad():
            result: Tensor = guarded(x.to(job.device)).float()
        return result

    server = Oracle(
        answer, examples, job.budget.queries, job.budget.answers or "scores", job.spec.shape
    )
    server.serve(listening(job.inputs["socket"], job.listener))
    arrays.save_array(job.out / "counts.npy", server.counts)
    job.passes = {"forward": int(server.counts.sum()), "backward": 0, "refused": server.refused}


def inspect(job: Job) -> None:
    """Import every module of the job and check its hooks; part of conformance only."""
    for role in job.modules:
        job.module(role)


def gradients(job: Job) -> None:
    """Share of inputs whose loss gradient is exactly zero; part of conformance only."""
    network = job.trained()
    live = job.live(network, job.guard(network), ["loss"])
    x = as_input(job.tensor("slice_x", "x.npy")[:PROBED], job.device).requires_grad_(True)
    y = job.tensor("slice_y", "y.npy")[:PROBED].to(job.device)
    (gradient,) = torch.autograd.grad(live.loss(x, y).sum(), x)
    if not bool(torch.isfinite(gradient).all()):
        raise OutputError("the loss's gradient at the input is not finite")
    zero = (gradient.flatten(1) == 0).all(dim=1).float().mean()
    arrays.save_array(job.out / "zero" / "share.npy", zero.reshape(1))


def device(job: Job) -> None:
    """Whether the device can be used: one product on it."""
    ones = torch.ones(64, 64, device=job.device)
    if float((ones @ ones).sum()) != 64**3:
        raise OutputError(f"{job.device} multiplies wrongly")


def batches(examples: int, size: int) -> Iterator[Tensor]:
    """Row numbers, batch by batch, in order."""
    for start in range(0, examples, size):
        yield torch.arange(start, min(start + size, examples))


def note_passes(job: Job, model: LiveModel | OracleModel | None) -> None:
    """Keep the passes for the receipt."""
    if isinstance(model, LiveModel):
        job.passes = {"forward": model.passes.forward, "backward": model.passes.backward}


def expect(
    value: Any,  # noqa: ANN401
    what: str,
    shape: tuple[int, ...],
    dtypes: tuple[torch.dtype, ...] | None,
    *,
    finite: bool = True,
) -> Tensor:
    """Check type, shape, dtype and finiteness of what a hook returned; give it back on the CPU.

    Raises:
        OutputError: naming what was expected and what came.
    """
    if not isinstance(value, Tensor):
        raise OutputError(f"{what}: expected a Tensor, got {type(value).__name__}")
    if tuple(value.shape) != tuple(shape):
        raise OutputError(f"{what}: expected shape {list(shape)}, got {list(value.shape)}")
    if dtypes and value.dtype not in dtypes:
        names = " or ".join(str(d).removeprefix("torch.") for d in dtypes)
        raise OutputError(
            f"{what}: expected {names}, got {str(value.dtype).removeprefix('torch.')}"
        )
    if finite and value.is_floating_point() and not bool(torch.isfinite(value).all()):
        bad = int((~torch.isfinite(value)).flatten(1).any(dim=1).sum())
        raise OutputError(f"{what}: NaN or infinity in {bad} of {len(value)} rows")
    return value.detach().cpu()


STAGES: dict[str, Callable[[Job], None]] = {
    "public": train,
    "train": train,
    "import": import_,
    "deliver": deliver,
    "poison": poison,
    "sanitize": sanitize,
    "repair": repair,
    "learn": learn,
    "attack": attack,
    "predict": predict,
    "oracle": oracle,
    "inspect": inspect,
    "gradients": gradients,
    "device": device,
}
"""THE table of stages that run module code."""
