"""Names of the figures on the health of a network's gradients; without torch.

The signs behind them are those of Athalye, Carlini and Wagner, *Obfuscated Gradients Give a False
Sense of Security* (ICML 2018). A figure is absent where nothing was there to measure it on.
"""

from __future__ import annotations

FIGURES = "figures.json"
"""File of the stage ``probe`` with name → number."""

EXAMPLES = "probe_examples"
SPREAD = "probe_logit_spread"
ZERO_START = "probe_start_zero_gradients"
ZERO_END = "probe_end_zero_gradients"
ZERO_LOSS_START = "probe_start_zero_loss_gradients"
ZERO_LOSS_END = "probe_end_zero_loss_gradients"
PROBE_SATURATED = "probe_saturated_loss"
LOSS_ROSE = "probe_loss_rose"
GAIN = "probe_gradient_gain"
AGREEMENT = "probe_gradient_agreement"
UNLIMITED = "unlimited_success"
LOSS_COSINE = "probe_loss_cosine"

PROBE = (
    *(EXAMPLES, SPREAD, ZERO_START, ZERO_END, ZERO_LOSS_START, ZERO_LOSS_END),
    *(PROBE_SATURATED, LOSS_ROSE, GAIN, AGREEMENT, UNLIMITED, LOSS_COSINE),
)
"""Closed list of the figures of ``probe``, which runs our own search on a defended network."""

ATTACK_ZERO_START = "start_zero_gradients"
ATTACK_ZERO_END = "end_zero_gradients"
SATURATED = "saturated_loss"
BACKWARD = "backward_passes"
ATTACK_GAIN = "gradient_gain"
ATTACK_AGREEMENT = "gradient_agreement"

ATTACK = (
    *(BACKWARD, ATTACK_ZERO_START, ATTACK_ZERO_END),
    *(SATURATED, ATTACK_GAIN, ATTACK_AGREEMENT),
)
"""Closed list of the figures that a broker takes from an attack's own backward passes."""
