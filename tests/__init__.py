"""The tests; run them from the repository's root with `python -m pytest`."""
