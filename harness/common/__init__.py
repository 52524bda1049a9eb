"""Basic tools of every package: errors, files, digests, text and the terminal."""
