"""Lists of a data source: tables of labelled pictures, and comparisons."""
