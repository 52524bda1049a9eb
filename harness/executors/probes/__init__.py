"""What the self-check runs as module code, inside a stage; see ``harness/executors/rig.py``."""
