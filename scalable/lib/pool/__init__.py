"""What keeps workers alive: supervisor, cron, drains, wake-up, maintenance, alerts."""
