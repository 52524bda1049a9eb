"""Gauntlet: every attack against every defence on every victim, judged by nobody's own code."""

__version__ = "0.1.0"
