"""Receipts: how a stage ended, what it cost and which files it left (``receipt.json``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from harness.common.status import By, Status

RECEIPT = "receipt.json"
RECEIPT_SCHEMA = "receipt/1"


@dataclass(frozen=True, slots=True)
class ReceiptDraft:
    """Receipt of a stage that has ended, before the store has seen its files.

    Attributes:
        kind: kind of the stage.
        status: status that the stage ended in.
        reason: one sentence, unless the status is ``ok``.
        by: party that a failure is attributed to, or ``None``.
        seconds: wall time.
        hook_seconds: the hook's own part of it.
        peak_memory: bytes of private memory, the largest sample.
        device_memory: peak bytes on the GPU, or ``None`` on the CPU.
        passes: number of examples by direction, ``forward`` and ``backward``.
        exit_code: exit code of the stage's process, or ``None`` where it had none.
        modules: role → reference of the module.
        run: name of the run that executed the stage.
        image: digest of the container image, or ``None`` outside containers.
        refused_queries: number of queries that the oracle refused, or ``None`` without an oracle.
        health: figures on the gradients that a white-box attack asked for, by name; else empty.
    """

    kind: str
    status: Status
    reason: str = ""
    by: By | None = None
    seconds: float = 0.0
    hook_seconds: float = 0.0
    peak_memory: int = 0
    device_memory: int | None = None
    passes: Mapping[str, int] = field(default_factory=dict)
    exit_code: int | None = None
    modules: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    image: str | None = None
    refused_queries: int | None = None
    health: Mapping[str, float] = field(default_factory=dict)

    def complete(self, key: str, files: Mapping[str, str]) -> Receipt:
        """Return the receipt of an entry that holds these files."""
        known = {one.name: getattr(self, one.name) for one in fields(ReceiptDraft)}
        return Receipt(**known, key=key, files=files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(ReceiptDraft):
    """Receipt of an entry of the store.

    Attributes:
        key: key of the stage.
        files: relative name → SHA-256 of every file that the stage left.
        removed: parts of the entry that were removed since.
    """

    key: str
    files: Mapping[str, str]
    removed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the content of ``receipt.json``; some keys are optional."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        refused, image = content.pop("refused_queries"), content.pop("image")
        content |= {"schema": RECEIPT_SCHEMA, "removed": list(self.removed)}
        content |= {} if image is None else {"image": image}
        if not self.health:
            del content["health"]
        return content | ({} if refused is None else {"oracle": {"refused": refused}})

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt:
        """Read a receipt. Only its form is checked, not its values: the harness wrote it.

        Raises:
            ValueError: the text is not a receipt of this schema.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.pop("schema", None) != RECEIPT_SCHEMA:
            raise ValueError(f"not a {RECEIPT_SCHEMA}")
        oracle = content.pop("oracle", None)
        try:
            content["removed"] = tuple(content["removed"])
            return cls(**content, refused_queries=oracle and oracle["refused"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a {RECEIPT_SCHEMA}: {error}") from error
