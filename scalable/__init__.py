"""Scalable mode: a durable queue and a pool of workers between Telegram and an existing bot."""

__version__ = "1.0.0"
