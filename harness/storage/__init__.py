"""Where artefacts lie: the store, its mirror, and the folder of a run."""
