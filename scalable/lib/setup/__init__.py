"""What depends on the host: settings, checks, set-up, data folder."""
