#!/usr/bin/env python3
"""The whole plugin as one WSGI application, for Passenger and any other WSGI server."""

# --- start block, the same in every entry script: finds the package `scalable` wherever this folder was put ---
import sys

if not __name__.startswith("scalable."):
    if sys.version_info < (3, 9):
        import os

        line = "Scalable mode needs Python 3.9 or newer; this is %d.%d\n" % sys.version_info[:2]
        if "GATEWAY_INTERFACE" in os.environ:
            sys.stdout.write("Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\n" + line)
        sys.stderr.write("%s: %s" % (sys.executable, line))
        sys.exit(2)
    if "scalable" not in sys.modules:
        import posix

        sys.modules["scalable"] = type(sys)("scalable")
        sys.modules["scalable"].__path__ = [__file__.rpartition("/")[0] or "."]
        # Before the first import, which compiles a file: what is made from now on is for this user alone.
        sys.modules["scalable"].__dict__["inherited_umask"] = posix.umask(0o077)
    from scalable.lib.start import start

    start(__name__, __file__)
# --- end of the start block ---
import os

from scalable.lib.ingest.wsgi import lazy_application
from scalable.lib.logs import configure_logging


def build():
    """The web scripts of this installation in one application."""
    from scalable.lib.installation import open_installation

    configure_logging("INFO")  # until the settings say otherwise, which they may fail to
    installation = open_installation(os.environ)
    configure_logging(installation.config.log_level)
    return installation.create_site()


application = lazy_application(build)
