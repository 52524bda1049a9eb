"""Stages that change a training set: attacks poison it, defences sanitize it."""

from __future__ import annotations

from typing import cast

import torch

from harness.runtime.contracts import Model
from harness.runtime.worker import arrays
from harness.runtime.worker.hook_calls import check_edits, check_keep, hook_time, unchanged
from harness.runtime.worker.job import Job
from harness.runtime.worker.overlay_files import save_overlay


def poison(job: Job) -> None:
    """Save the edits that an attack proposes; the harness counts and applies them."""
    train_set, val = job.data("train"), job.data("val")
    torch.manual_seed(job.ctx.seed("poison"))
    with hook_time(job, "attack"), unchanged(train_set, val):
        proposed = job.attack.poison(train_set, val, known_model(job), job.options.budget, job.ctx)
    edits = check_edits(proposed, train_set)
    arrays.save_array(job.out / "edits" / "ids.npy", edits.ids)
    if edits.x is not None:
        arrays.save_array(job.out / "edits" / "x.npy", edits.x)
    if edits.y is not None:
        arrays.save_array(job.out / "edits" / "y.npy", edits.y)
    save_overlay(job.out / "edits", edits.overlay)


def known_model(job: Job) -> Model | None:
    """Return the clean victim or surrogate that a benchmark's ``knowledge`` grants, or ``None``."""
    if "knowledge" not in job.inputs:
        return None
    network = job.trained("knowledge")
    # the victim's training may start from existing weights, and so may the attacker's own
    model = job.live(network, network, job.modules["attack"].needs, job.start)
    return cast(Model, model)


def sanitize(job: Job) -> None:
    """Save which examples of the training set a defence keeps."""
    train_set = job.data("train")
    torch.manual_seed(job.ctx.seed("sanitize"))
    network = job.start()
    with hook_time(job, "defense"), unchanged(train_set):
        answer = job.defense.sanitize(job.victim, network, train_set, job.ctx)
    keep = check_keep(answer, train_set)
    arrays.save_array(job.out / "keep" / "mask.npy", keep.mask)
    if keep.y is not None:
        arrays.save_array(job.out / "keep" / "y.npy", keep.y)
