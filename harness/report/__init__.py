"""Reports: the frame, ranked tables and the site."""
