"""What every package needs: errors, files, digests, text and the terminal."""
