"""Where stages run: one protocol, several places."""
