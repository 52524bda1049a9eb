"""Packages that an image has for modules, beyond those of its base."""

from __future__ import annotations

import os
import sys

PACKAGES_VARIABLE = "GAUNTLET_PACKAGES"
"""Variable with their folders, joined by colons."""


def add_packages() -> None:
    """Make them importable, after everything of the base.

    Only a process that loads a module does: those packages are module code.
    """
    for folder in os.environ.pop(PACKAGES_VARIABLE, "").split(":"):
        if os.path.isdir(folder):
            sys.path.append(folder)
            os.environ["PYTHONPATH"] = f"{os.environ.get('PYTHONPATH', '')}:{folder}"
