"""Data sets of compared items."""
