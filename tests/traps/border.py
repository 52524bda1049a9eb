"""Table of the traps at the border between attack and network.

Guards and victims play against an honest attack, attacks against an honest guard. The figures of
the honest cell of their matrix are what none of them may better.
"""

from __future__ import annotations

from tests.traps.border_attacks import ATTACKS, QUERIES
from tests.traps.border_guards import GUARDS, VICTIMS

TABLES = {"guards": GUARDS, "victims": VICTIMS, "attacks": ATTACKS, "queries": QUERIES}
"""Matrix → its traps."""

ORACLE_GUARDS = ("face-0", "face-1", "face-2", "looks", "buffers", "own-outcome", "patches-broker")
"""Guards that play against an honest query attack too."""

CONTAINED = {
    "guards": ("patches-gradients", "patches-engine", "face-0", "face-1", "looks",
               "writes", "buffers", "own-outcome", "dies", "hangs", "kills-the-broker",
               "asks-the-broker-to-stop", "floods"),
    "victims": ("victim-buffers", "victim-writes"),
    "attacks": ("buffered", "sets-attributes", "shows-others", "graphs", "many-rows", "blind",
                "hangs-up", "forks", "looks", "sends-nan"),
    "queries": ("pools", "far"),
    "oracles": ("face-0", "looks"),
}  # fmt: skip
"""Matrix → traps that are tried in containers too: one of each kind, as they take longer there. The
others end before an executor has a part in it."""
