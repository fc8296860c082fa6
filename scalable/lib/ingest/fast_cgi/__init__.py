"""The CGI way in that must not import much: hand over to a pool, or insert directly."""
