"""The one HTTP client: every wait has a deadline, and what was certainly not sent is told apart."""
