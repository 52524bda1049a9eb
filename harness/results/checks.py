"""Results of ``gauntlet check``: one file a module, and what records say of them.

A result counts for the module as it is now: of the same digest, checked by the same harness.
Otherwise the module is unchecked, as it is where a file is missing or broken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.common.files import write_json
from harness.common.keys import conformance_digest

State = Literal["passed", "failed", "unchecked"]


class Strict(BaseModel):
    """Base of what files of results hold: frozen, without unknown fields or conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RecordedCheck(Strict):
    """Whether a module passed ``gauntlet check``, as a record says it.

    Attributes:
        state: whether it passed; ``unchecked`` where no result of this module is known.
        executor: where the checks ran.
        failures: names of the checks that failed.
        untried: names of those that the checkout could not try.
    """

    state: State
    executor: Literal["local", "docker"] | None = None
    failures: list[str] = Field(default_factory=list)
    untried: list[str] = Field(default_factory=list)


UNCHECKED = RecordedCheck(state="unchecked")


class ModuleCheck(Strict):
    """Result of ``gauntlet check FOLDER``, as its file holds it.

    Attributes:
        module: reference of the module, such as ``attacks/pgd``.
        digest: digest of its folder.
        harness: digest of the code that decides a check.
        executor: where the checks ran.
        checks: number of checks.
        failures: names of those that failed.
        untried: names of those that this checkout could not try.
        finished: ISO time.
    """

    schema_: Literal["check/1"] = Field(alias="schema", default="check/1")
    module: str
    digest: str
    harness: str
    executor: Literal["local", "docker"]
    checks: int
    failures: list[str]
    untried: list[str]
    finished: str


class Checks:
    """Folder of results of ``gauntlet check``.

    Args:
        folder: has one file for each digest of a module; it may be missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, str], RecordedCheck] = {}

    def write(self, check: ModuleCheck) -> None:
        """Write a result; it replaces an earlier one of the same module."""
        self._known.clear()
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path(check.digest), check.model_dump(by_alias=True))

    def of(self, module: str, digest: str) -> RecordedCheck:
        """Return whether a module of this digest passed."""
        if (module, digest) not in self._known:
            self._known[module, digest] = self._read(module, digest)
        return self._known[module, digest]

    def of_all(self, modules: Mapping[str, str]) -> dict[str, RecordedCheck]:
        """Return module → whether it passed.

        Args:
            modules: module → digest of its folder.
        """
        return {module: self.of(module, digest) for module, digest in modules.items()}

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"

    def _read(self, module: str, digest: str) -> RecordedCheck:
        try:
            text = self._path(digest).read_text(encoding="utf-8")
            check = ModuleCheck.model_validate(json.loads(text))
        except (OSError, ValueError, RecursionError):  # a broken file proves nothing
            return UNCHECKED
        wanted = (module, digest, conformance_digest())
        if (check.module, check.digest, check.harness) != wanted:
            return UNCHECKED
        state: State = "failed" if check.failures else "passed"
        return RecordedCheck(
            state=state,
            executor=check.executor,
            failures=check.failures,
            untried=check.untried,
        )
