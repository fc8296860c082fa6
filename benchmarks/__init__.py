"""Benchmarks of the queue on a real server: `python -m benchmarks`. See README.md of this folder."""
