"""Try every promise that an executor makes."""
