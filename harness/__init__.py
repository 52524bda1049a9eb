"""Gauntlet: every attack against every defence on every victim, scored by the harness alone."""

__version__ = "0.1.0"
