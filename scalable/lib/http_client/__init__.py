"""The only HTTP client: every wait has a deadline, and an error distinguishes requests that may have been sent."""
