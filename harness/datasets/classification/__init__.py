"""Data sets with one label per image."""
