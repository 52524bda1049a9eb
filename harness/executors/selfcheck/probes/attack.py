"""Attack of the self-check: it runs the probe that its parameter names."""

from __future__ import annotations

import inspect
import json
import runpy
from pathlib import Path

from harness.runtime.contracts import Budget, Context, Data, Model


class Probe:
    """Attack that calls a function of another file of this folder, such as ``endings.fine``.

    The function gets those of ``ctx``, ``train`` and ``model`` that it names, and its own
    parameters. Its return value is written to ``report.json`` in the state folder.
    """

    def __init__(self, probe: str, **params: object) -> None:
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
