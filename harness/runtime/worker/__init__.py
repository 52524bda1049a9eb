"""What runs a hook: the worker process, its supervisor and their protocol."""
