"""The module of the self-check: does what its ``probe`` parameter names and reports what it saw."""

from __future__ import annotations

import inspect
import json
import runpy
from pathlib import Path
from typing import Any

from harness.runtime.contracts import Budget, Context, Data, Model


class Probe:
    """Calls one function of a file beside this one: ``Probe("endings.fine")``.

    The function takes what it names of ``ctx``, ``train`` and ``model``, and its own parameters;
    what it returns is written to ``report.json`` in the stage's state.
    """

    def __init__(self, probe: str, **params: Any) -> None:  # noqa: ANN401
        self.probe, self.params = probe, params

    def learn(
        self, model: Model | None, train: Data, val: Data, budget: Budget, ctx: Context
    ) -> None:
        """Run the probe."""
        file, _, name = self.probe.partition(".")
        function = runpy.run_path(str(Path(__file__).with_name(f"{file}.py")))[name]
        granted = {"ctx": ctx, "train": train, "model": model} | self.params
        wanted = inspect.signature(function).parameters.keys() & granted
        report = function(**{name: granted[name] for name in wanted})
        if report is not None:
            (ctx.state / "report.json").write_text(json.dumps(report), encoding="utf-8")
