"""The named promises of every executor, by theme."""
