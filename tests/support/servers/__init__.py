"""Real servers and installations, started and stopped by the tests themselves."""
