"""One file a verb of the command line; ``harness.cli`` only parses arguments."""
