"""Tools that build the release; not part of it."""
