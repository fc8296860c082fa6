"""What speaks HTTP: WSGI applications and the ways to serve them."""
