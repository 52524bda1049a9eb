"""The form of a trap: one hostile module, and how it must end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FREE = "local isolates nothing"


@dataclass(frozen=True)
class Trap:
    """One hostile module.

    Attributes:
        tries: what it tries.
        code: its file.
        docker: the status that it must end in within a container.
        local: the same without a container; ``None`` where it cannot be tried.
        why: why it cannot be tried without a container.
        words: text of the record's reason.
        fields: more of its manifest.
    """

    tries: str
    code: str
    docker: str
    local: str | None = None
    why: str = FREE
    words: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
