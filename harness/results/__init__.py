"""What was found: records, and the scores in them."""
