"""What stands in for the other side, and does exactly what a test says."""
