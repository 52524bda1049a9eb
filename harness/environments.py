"""What has to be installed where a stage runs: the base, and what its modules bring of their own.

Pure data: nothing here talks to an engine; ``harness.images`` builds what is described here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """One environment; equal ones are one image.

    Attributes:
        device: ``cpu`` or ``cuda``: the target of ``docker/base/Dockerfile``.
        pins: ``name==version`` of every module's ``requirements.txt``, sorted, each once.
        dockerfile: the folder of the one module that brings a ``Dockerfile``, or ``None``.
    """

    device: str = "cpu"
    pins: tuple[str, ...] = ()
    dockerfile: Path | None = None
