"""What claims and finishes jobs."""
