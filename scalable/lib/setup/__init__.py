"""What knows hosts: settings, checks, set-up, data folder."""
