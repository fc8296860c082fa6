"""What runs a job. The only place that starts processes."""
