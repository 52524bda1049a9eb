"""Modules of this checkout, constructed in the test's own process."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from harness.common.keys import ROOT
from harness.config.catalog import FOLDERS
from harness.config.manifest_file import load_manifest
from harness.runtime.contracts import Loss, Spec
from harness.runtime.model import LiveModel
from harness.runtime.tasks import loss_for
from harness.runtime.worker import loader
from harness.runtime.worker.context import StageContext


def module(kind: str, name: str, variant: str | None = None, **params: Any) -> Any:
    """``attacks/NAME`` and the like, as the worker constructs it."""
    folder = ROOT / FOLDERS[kind] / name
    manifest = load_manifest(folder)
    return loader.construct(
        folder, manifest.entry, kind, list(manifest.hooks), manifest.resolve(variant, params)
    )


def part(kind: str, name: str, file: str) -> ModuleType:
    """A file of a module, beside the one of its class."""
    return importlib.import_module(f"{type(module(kind, name)).__module__}.{file}")


def context(folder: Path, spec: Spec, seed: int = 0) -> StageContext:
    """A stage's context; everything in one folder."""
    return StageContext(
        device=torch.device("cpu"), spec=spec, seed_root=[seed], deadline=1e9, scratch=folder,
        state=folder, checkpoint=folder, curves=folder / "curves.jsonl",
    )  # fmt: skip


def live(network: nn.Module, spec: Spec, loss: Loss | None = None) -> LiveModel:
    """A network as an attack holds it, with all that it may need, and its training loss."""
    needs, loss = ["loss", "gradients"], loss or loss_for(spec)
    return LiveModel(network, network, None, spec, lambda: network, loss, needs)
