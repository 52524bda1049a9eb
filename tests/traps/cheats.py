"""The table of cheats: every dishonest defence, and the defences without their trick."""

from __future__ import annotations

from tests.traps.cheat import Cheat
from tests.traps.cheats_faces import ANSWERS
from tests.traps.cheats_gradients import GRADIENTS
from tests.traps.cheats_machinery import MACHINERY
from tests.traps.cheats_networks import NETWORKS, WITHOUT

CHEATS: dict[str, Cheat] = {**GRADIENTS, **ANSWERS, **NETWORKS, **MACHINERY}

__all__ = ["CHEATS", "WITHOUT"]
