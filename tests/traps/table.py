"""Table of the traps in evasion matrices: what each tries, and how it must end."""

from __future__ import annotations

from tests.support.module_sources import PERTURB
from tests.traps.greedy import FORGED_ARRAYS, GREEDY
from tests.traps.spies import SPIES
from tests.traps.statements import FORGE, LIMITS, MODULES, STATEMENTS
from tests.traps.trap import Trap

PLAIN_TRAPS = {
    **{
        name: Trap(name, PERTURB.format(body), status, status, words=words or "",
                   fields={"limits": LIMITS[name]} if name in LIMITS else {})
        for name, (body, status, words) in STATEMENTS.items()
    },
    **{
        name: Trap(name, code, status, status, words=words, fields=fields)
        for name, (code, fields, status, words) in MODULES.items()
    },
    **{
        name: Trap(tries, PERTURB.format(FORGE.format(body, 0)), "contract_violation",
                   "contract_violation", words=words)
        for name, (tries, body, words) in FORGED_ARRAYS.items()
    },
    **{
        name: Trap(tries, PERTURB.format(body), status, words=words,
                   # a busy machine takes seconds to fill the memory
             fields={"limits": {"minutes": 0.5 if status == "out_of_memory" else 0.1,
                                "memory_gb": 1}})
        for name, (tries, body, status, words) in GREEDY.items()
    },
    "replaces": Trap("puts a link in place of its output folder",
                     PERTURB.format(STATEMENTS["replaces"][0]), "contract_violation",
                     "contract_violation"),
}  # fmt: skip
"""Every trap of the white-box matrix, but for the spies."""

TRAPS: dict[str, Trap] = PLAIN_TRAPS | SPIES
"""Every trap of the white-box matrix."""
