"""Checks of a manifest's key ``smoothing``: noise under which a defence's network votes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from harness.config.file_model import Problem
from harness.config.manifest_parts import Param
from harness.config.strict_yaml import nearest, quote

TASKS = ("classification",)
THREAT_MODELS = ("evasion", "evasion-transfer")
"""Where networks may vote: a query would need as many passes as a vote has draws."""


def smoothing_problems(
    name: str | None,
    params: Mapping[str, Param],
    tasks: Collection[str],
    threat_models: Collection[str],
    *,
    random: bool,
) -> Iterator[Problem]:
    """Check that the parameter is a positive number, and that votes are counted where it plays.

    Args:
        name: the manifest's ``smoothing``, or ``None``.
        params: its parameters.
        tasks: tasks of the module.
        threat_models: its threat models.
        random: whether it says that it draws.
    """
    if name is None:
        return
    if name not in params:
        what = f"there is no parameter {quote(name)}"
        yield Problem(("smoothing",), what, nearest(name, params))
    elif params[name].type != "float" or not (params[name].min or 0) > 0:
        what = f"{quote(name)} is no standard deviation"
        yield Problem(("smoothing",), what, f"give params.{name} type: float and a min above 0")
    if random:
        what = "the harness draws the noise; a network that draws, too, could not be checked"
        yield Problem(("random",), what, "remove it")
    for key, found, known in (
        ("tasks", tasks, TASKS),
        ("threat_models", threat_models, THREAT_MODELS),
    ):
        if other := [one for one in found if one not in known]:
            what = f"smoothing is not supported in {other[0]}"
            yield Problem((key,), what, f"choose of {', '.join(known)}")
