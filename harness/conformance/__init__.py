"""Whether a module folder keeps its contract."""
