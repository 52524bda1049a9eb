"""Data sets with one label per pixel."""
