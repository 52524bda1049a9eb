"""Environment of a stage: the base image's packages, and what its modules add to them.

Pure data, without any engine: ``harness.executors.images`` builds what is described here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness.common.errors import UserError, UserErrors
from harness.common.keys import ROOT, RUNTIME_PINS, digest, environment_digest, file_digest
from harness.config.catalog import Catalog, Module
from harness.config.dockerfile import MAX_BYTES, Instruction, parse
from harness.config.module_files import module_files, open_plain

DOCKERFILE = ROOT / "docker" / "base" / "Dockerfile"
LAYOUT = "/opt"
"""Part of the key of each image but the base's: raise it when layers are made in another way."""


@dataclass(frozen=True)
class Environment:
    """Environment of stages; equal ones are one image.

    Attributes:
        device: ``cpu`` or ``cuda``: the target of ``docker/base/Dockerfile``.
        pins: ``name==version`` (with its hashes) of every module's ``requirements.txt``, sorted.
        module: the one module that brings a ``Dockerfile``, or ``None``.
    """

    device: str = "cpu"
    pins: tuple[str, ...] = ()
    module: Module | None = field(default=None, hash=False)

    @functools.cached_property
    def key(self) -> str:
        """Digest of what goes into the image, not of a build of it.

        Builds of equal files share results, so that results can be reproduced anywhere.
        """
        own = None if self.module is None else self.module.digest
        files = [file_digest(DOCKERFILE), file_digest(RUNTIME_PINS)]
        layout = (LAYOUT,) if self.pins or self.module else ()
        return digest([*files, self.device, self.pins, own, *layout])

    @property
    def base(self) -> Environment:
        """The base image below this one; itself if it is the base."""
        return Environment(self.device)

    def __str__(self) -> str:
        own = () if self.module is None else (f"the Dockerfile of {self.module.ref}",)
        return " + ".join((f"base {self.device}", *own, *(pin.split(" ")[0] for pin in self.pins)))


@dataclass
class Environments:
    """Environment of each stage of a plan.

    Args:
        catalog: the modules.
        executor: ``local`` has one environment for all, that of ``requirements/runtime.txt``.
        device: ``cpu`` or ``cuda``.
    """

    catalog: Catalog
    executor: str = "local"
    device: str = "cpu"
    _found: dict[tuple[str, ...], Environment] = field(default_factory=dict)

    def of(self, refs: Iterable[str]) -> Environment | None:
        """Return the environment of a stage with these modules; ``None`` where it is no image."""
        if self.executor == "local":
            return None
        names = tuple(sorted(set(refs)))
        if names not in self._found:
            by_ref = {module.ref: module for module in self.catalog.modules.values()}
            self._found[names] = environment_of([by_ref[ref] for ref in names], self.device)
        return self._found[names]

    def key(self, refs: Iterable[str]) -> str:
        """Return the digest of the environment that enters a stage's key."""
        environment = self.of(refs)
        return environment_digest() if environment is None else environment.key


def environment_of(modules: Iterable[Module], device: str = "cpu") -> Environment:
    """Return the environment of a stage with these modules, which must not conflict."""
    pins: set[str] = set()
    special = None
    for module in modules:
        pins.update(requirements(module.folder).values())
        special = module if dockerfile(module.folder) else special
    return Environment(device, tuple(sorted(pins)), special)


def find_conflict(modules: Iterable[Module]) -> str | None:
    """Return why these modules cannot run in one environment, as a sentence, or ``None``."""
    return next(find_conflicts(modules), None)


def find_conflicts(modules: Iterable[Module]) -> Iterator[str]:
    """Yield every reason why these modules cannot run in one environment, as a sentence."""
    wanted = {name: ("the base image", pin) for name, pin in base_pins().items()}
    special: Module | None = None
    for module in modules:
        for name, pin in requirements(module.folder).items():
            owner, other = wanted.setdefault(name, (module.ref, pin))
            if other.split(" ")[0] != pin.split(" ")[0]:
                yield f"{module.ref} needs {pin.split(' ')[0]}, {owner} {other.split(' ')[0]}"
        if dockerfile(module.folder):
            if special is not None and special.ref != module.ref:
                yield f"{special.ref} and {module.ref} both bring a Dockerfile"
            special = module


def versions() -> dict[str, str]:
    """Return the versions of Python and torch in the images, as their files name them."""
    return {"python": python_version(), "torch": base_pins()["torch"].partition("==")[2]}


def python_version() -> str:
    """Return the version of Python in the base image, ``3.11``."""
    found = re.search(r"^FROM python:(\d+\.\d+)", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    assert found is not None, "docker/base/Dockerfile starts from no python image"
    return found[1]


@functools.cache
def base_pins() -> dict[str, str]:
    """Return the packages of the base image: name → ``name==version``."""
    python = {"python_full_version": f"{python_version()}.0", "python_version": python_version()}
    pins: dict[str, str] = {}
    for _, requirement in read_pins(RUNTIME_PINS):
        if requirement.marker is None or requirement.marker.evaluate(python):
            name = canonicalize_name(requirement.name)
            pins[name] = f"{name}{requirement.specifier}"
    return pins


@functools.cache
def requirements(folder: Path) -> dict[str, str]:
    """Read a module's own requirements: name → ``name==version`` and its hashes.

    Raises:
        UserErrors: lines that are no exact pins.
    """
    path = folder / "requirements.txt"
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    errors, fix = [], "write {}==VERSION, or let gauntlet requirements write all pins"
    for (number, hashes), requirement in read_pins(path):
        exact = [one for one in requirement.specifier if one.operator == "=="]
        name = canonicalize_name(requirement.name)
        if len(requirement.specifier) != 1 or not exact or "*" in exact[0].version:
            what = f"{requirement} is no exact version"
            errors.append(UserError(f"{path}:{number}", what, fix.format(name)))
        elif requirement.url or requirement.extras or requirement.marker:
            what = f"{requirement} is more than a name and a version"
            errors.append(UserError(f"{path}:{number}", what, fix.format(name)))
        else:
            found[name] = " ".join((f"{name}=={exact[0].version}", *hashes))
    if errors:
        raise UserErrors(errors)
    return found


def read_pins(path: Path) -> Iterator[tuple[tuple[int, list[str]], Requirement]]:
    """Yield every requirement of a file, with its line and its hashes.

    Raises:
        UserError: a line that is no requirement.
    """
    with open_plain(path.parent, Path(path.name)) as file:
        text = file.read().decode("utf-8").replace("\\\n", "\\ ")  # keeps lines countable
    number = 1
    for line in text.split("\n"):
        first, number = number, number + 1 + line.count("\\ ")
        words = line.partition("#")[0].replace("\\ ", " ").split()
        hashes = [word for word in words if word.startswith("--hash=")]
        rest = " ".join(word for word in words if not word.startswith("--hash="))
        if not rest:
            continue
        try:
            yield (first, hashes), Requirement(rest)
        except InvalidRequirement as error:
            what = f"cannot read {rest!r}"
            raise UserError(f"{path}:{first}", what, "write name==version, one a line") from error


@functools.cache
def dockerfile(folder: Path) -> tuple[Instruction, ...] | None:
    """Read a module's own Dockerfile; ``None`` where it has none.

    Raises:
        UserError: an instruction that is not allowed; ``harness.config.dockerfile`` lists them.
        UserErrors: links and other things in the folder that are no plain files.
    """
    names = {str(path.relative_to(folder)) for path in module_files(folder)}
    if "Dockerfile" not in names:
        return None
    with open_plain(folder, Path("Dockerfile")) as file:
        return parse(file.read(MAX_BYTES + 1), str(folder / "Dockerfile"), names)


def problems(module: Module) -> list[UserError]:
    """Return what is wrong with a module's requirements and Dockerfile."""
    found: list[UserError] = []
    for read in (requirements, dockerfile):
        try:
            read(module.folder)
        except UserErrors as errors:
            found += errors.errors
        except UserError as error:
            found.append(error)
    if not found:
        fix = "take the base's version, or leave it out"
        found += [UserError(module.ref, reason, fix) for reason in find_conflicts([module])]
    return found


def ignored_locally(module: Module) -> str | None:
    """Return which files of a module a run without containers ignores, as a sentence, or none.

    Such a run has the packages of this installation, whatever a module asks for.
    """
    pins = [pin.split(" ")[0] for pin in requirements(module.folder).values()]
    rest = [f"{len(pins) - 2} more"] if len(pins) > 3 else []
    shown = ", ".join([*(pins[:2] if rest else pins), *rest])
    files = [f"requirements.txt ({shown})"] if pins else []
    files += ["Dockerfile"] if dockerfile(module.folder) else []
    if not files:
        return None
    return f"{module.ref}: a local run ignores its {' and its '.join(files)}"
