"""What would run: cells, stages and their keys, before anything starts."""
