"""Artefacts on disk: the store, its mirror, and the folder of a run."""
