"""Pictures and class maps of a data source, from bytes to arrays."""
