"""What is shown: the frame, ranked tables and the site."""
