"""Self-check: tests of all promises that executors make."""
