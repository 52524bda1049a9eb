"""Conformance: the tests that every module folder must pass."""
