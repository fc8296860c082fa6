"""What an update is."""
