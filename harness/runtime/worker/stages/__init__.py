"""What each kind of stage does with module code; it checks the form of outputs and judges none."""

from __future__ import annotations

from collections.abc import Callable

from harness.runtime.worker.job import Job
from harness.runtime.worker.stages.attack_checks import probe_attack
from harness.runtime.worker.stages.attacks import attack, learn
from harness.runtime.worker.stages.checks import applies, device, gradients, inspect
from harness.runtime.worker.stages.inference import predict
from harness.runtime.worker.stages.maps import maps
from harness.runtime.worker.stages.network import network
from harness.runtime.worker.stages.network_checks import probe_network
from harness.runtime.worker.stages.probe import probe
from harness.runtime.worker.stages.training import deliver, import_weights, repair, train
from harness.runtime.worker.stages.training_data import poison, sanitize
from harness.runtime.worker.stages.votes import votes

STAGES: dict[str, Callable[[Job], None]] = {
    "public": train,
    "train": train,
    "import": import_weights,
    "deliver": deliver,
    "poison": poison,
    "sanitize": sanitize,
    "repair": repair,
    "learn": learn,
    "attack": attack,
    "predict": predict,
    "votes": votes,
    "maps": maps,
    "probe": probe,
    "network": network,
    "inspect": inspect,
    "gradients": gradients,
    "applies": applies,
    "probe_network": probe_network,
    "probe_attack": probe_attack,
    "device": device,
}
"""Kind of stage → function that runs it; all stages that run module code."""
