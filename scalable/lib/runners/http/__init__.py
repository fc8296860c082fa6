"""Bots that have an address of their own."""
