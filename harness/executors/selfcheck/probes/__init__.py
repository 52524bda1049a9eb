"""Module code that the self-check runs inside a stage; see ``selfcheck.probe_jobs``."""
