"""One module for each command; ``harness.cli`` parses the arguments."""
