"""Promises of every executor, by theme. The docstring of a check is the promise."""
