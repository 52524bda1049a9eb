"""Processes that run hooks: the worker, its supervisor or fork server, and their protocols."""
