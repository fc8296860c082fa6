"""The only place that speaks HTTP to others: every wait has a deadline, and a failure says what may have been sent."""
