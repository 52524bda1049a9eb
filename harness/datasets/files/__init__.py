"""Files of a data source: folders, archives and the formats that are no pictures."""
