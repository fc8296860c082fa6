"""Bounded chaos on real parts: `make stress`."""
