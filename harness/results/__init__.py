"""Results: records of cells, and the scores in them."""
