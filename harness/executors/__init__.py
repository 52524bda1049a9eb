"""Executors, which run stages: one protocol, several places."""
