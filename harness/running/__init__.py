"""What runs now: ready stages, jobs, host stages and the records of finished cells."""
