"""Check of a victim's existing weights: each that is in the data folder fits its network."""

from __future__ import annotations

from collections.abc import Iterator

from harness.common.errors import UserError
from harness.conformance.runner import CheckResult, SmokeRunner
from harness.conformance.smoke import choose_budget, list_settings, make_matrix, smoke_form
from harness.planning.graph import Input
from harness.planning.options import ImportOptions
from harness.planning.recipe import THREADS, ModuleRef, StageRecipe
from harness.planning.weights import find, weights_recipe


def check_weights(runner: SmokeRunner) -> Iterator[CheckResult]:
    """Check that all weights of a victim that are here can be read, and fit what ``build`` returns.

    Args:
        runner: has run the module's smoke matrices; weights have the form of their variant's.
    """
    module = runner.module
    settings = list_settings(module)
    for name, weights in module.manifest.weights.items() if settings else ():
        check, recipe = f"imports weights {name}", weights_recipe(module, name)
        try:
            find(recipe, runner.workspace.data)
        except UserError as error:
            yield CheckResult(check, True, f"{error.what}; {error.fix}", tried=False)
            continue
        threat, task = settings[0]
        budget = choose_budget(module, threat)
        runner.run(make_matrix(module, threat, task, weights.variant, budget))
        stages = runner.plan.graph.stages.values()
        data = next((stage for stage in stages if stage.kind == "data"), None)
        if data is None:  # its manifest rules out the inputs, which is said elsewhere
            continue
        file = runner.plan.graph.add("weights", {}, recipe)
        ref = ModuleRef(module.ref, module.digest, module.manifest.resolve(weights.variant))
        inputs = {"file": Input(file, "file"), "spec": Input(data.key, "")}
        options = ImportOptions(start=weights.start)
        made = StageRecipe({"victim": ref}, 0, THREADS, {}, options)
        _, failure = runner.run_stage("import", inputs, made)
        form = smoke_form(module, task, weights.variant)
        asked = f"; built for {form.size} pictures and {form.outputs} classes"
        yield CheckResult(check, not failure, failure + asked if failure else "")
