#!/usr/bin/env python3
"""The dashboard: counts, the newest jobs and retry, as a page, as JSON, and in a shell."""

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

from scalable.lib.ingest.cgi import in_cgi, serve_cgi
from scalable.lib.ingest.wsgi import lazy_application
from scalable.lib.logs import configure_logging


def build():
    """The dashboard of this installation, from the settings as they are now."""
    from scalable.lib.installation import Installation
    from scalable.lib.setup.config import load_config

    configure_logging("INFO")  # until the settings say otherwise, which they may fail to
    installation = Installation(load_config(os.environ))
    configure_logging(installation.config.log_level)
    return installation.create_dashboard()


application = lazy_application(build)


def main(arguments):
    """The same in a shell; see --help."""
    from scalable.lib.dashboard.shell_command import parse_dashboard_options, run_dashboard_command
    from scalable.lib.installation import Installation
    from scalable.lib.setup.config import load_config

    options = parse_dashboard_options(arguments)
    installation = Installation(load_config(os.environ))
    config = installation.config
    configure_logging(config.log_level)
    return run_dashboard_command(
        options,
        installation.queue(),
        config.monitor_limit,
        installation.data_folder.notify_pool,
        installation.webhook_admin(),
    )


if __name__ == "__main__":
    if in_cgi():
        serve_cgi(application)
    else:
        from scalable.lib.setup.shell import run

        run(main)
