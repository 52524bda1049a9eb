"""The form of a trap at the border between attack and network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.traps.trap import FREE

DIFFERENT, LOST = "different_under_attack", "lost_gradients"
HANG = {"limits": {"minutes": 0.1, "memory_gb": 4}}
VIOLATION, MODULE = "contract_violation", "module_error"
TEN_GIGABYTES = (
    "__import__('harness.runtime.worker.tensor_files', fromlist=['HEAD']).HEAD.pack(0, 0, 2, 0) "
    "+ (10 << 30).to_bytes(8, 'little') + (10).to_bytes(8, 'little')"
)
"""Expression for the description of a tensor that no file holds."""


@dataclass(frozen=True)
class BorderTrap:
    """One module at the border.

    Attributes:
        tries: what it tries.
        body: statements of its hook.
        status: status of its cell.
        words: text of the record's reason.
        equal: whether figures, sizes of changes and outcomes must be the honest ones.
        flags: flags that the record must carry; no other is allowed.
        local: false where it cannot be tried without a container.
        fields: more of its manifest.
    """

    tries: str
    body: str
    status: str = "ok"
    words: str = ""
    equal: bool = False
    flags: frozenset[str] = frozenset()
    local: bool = True
    fields: dict[str, Any] | None = None
    why: str = FREE
