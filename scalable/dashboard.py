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
        sys.modules["scalable"] = type(sys)("scalable")
        sys.modules["scalable"].__path__ = [__file__.rpartition("/")[0] or "."]
    from scalable.lib.start import start

    start(__name__, __file__)
# --- end of the start block ---
import os

from scalable.config import load_config
from scalable.lib.logs import configure_logging
from scalable.lib.web.cgi import in_cgi, serve_cgi
from scalable.lib.web.lazy import LazyApplication


def build():
    """The dashboard of this installation, from the settings as they are now."""
    from scalable.lib.web.dashboard_app import create_dashboard_app

    configure_logging("INFO")  # until the settings say otherwise, which they may fail to
    config = load_config(os.environ)
    configure_logging(config.log_level)
    installation = config.installation()
    folder = installation.data_folder
    return create_dashboard_app(
        installation.queue, folder.secret, folder.login_attempts, config.dashboard_settings(), folder.poke
    )


application = LazyApplication(build)


def main(arguments):
    """The same in a shell; see --help."""
    from scalable.lib.host.dashboard_command import parse_dashboard_options, run_dashboard_command

    options = parse_dashboard_options(arguments)
    config = load_config(os.environ)
    configure_logging(config.log_level)
    installation = config.installation()
    queue = installation.queue()
    return run_dashboard_command(
        options, queue, config.monitor_limit, installation.data_folder.poke, config.webhook_state(queue)
    )


if __name__ == "__main__":
    if in_cgi():
        serve_cgi(application)
    else:
        from scalable.lib.host.shell import run

        run(main)
