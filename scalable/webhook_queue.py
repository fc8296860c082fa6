#!/usr/bin/env python3
"""The webhook: point Telegram here. Enqueues each update and answers; the workers do the rest."""

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

from scalable.lib.ingest.cgi import end_cgi_response, in_cgi, serve_cgi
from scalable.lib.ingest.wsgi import lazy_application
from scalable.lib.logs import configure_logging


def build(end_response=lambda: None):
    """The webhook of this installation; `end_response` is called before a drain is started."""
    from scalable.lib.ingest.fast_cgi.cached_settings import fingerprint
    from scalable.lib.installation import open_installation

    configure_logging("INFO")  # until the settings say otherwise, which they may fail to
    seen = fingerprint(__file__.rpartition("/")[0], os.environ)  # before they are read, so that a change is noticed
    installation = open_installation(os.environ)
    configure_logging(installation.config.log_level)

    def on_enqueued():
        installation.data_folder.notify_pool()
        if __name__ == "__main__":  # CGI: the process of the next request may insert directly
            installation.cache_settings(seen)

    return installation.create_webhook(on_enqueued, installation.start_drain(end_response))


application = lazy_application(build)


def main(arguments):
    """Set, show or delete the webhook, or fetch updates without one; see --help."""
    from scalable.lib.dashboard.webhook_command import parse_webhook_options, run_webhook_command
    from scalable.lib.installation import open_installation
    from scalable.lib.log_file import bounded_log

    options, installation = parse_webhook_options(arguments), open_installation(os.environ)
    config = installation.config
    configure_logging(config.log_level, before_line=bounded_log(*config.log_bounds))  # `poll` runs for weeks
    return run_webhook_command(options, installation.queue(), installation.webhook_admin(), installation.poller)


if __name__ == "__main__":
    if in_cgi():
        serve_cgi(lazy_application(lambda: build(end_cgi_response)))
    else:
        from scalable.lib.setup.shell import run

        run(main)
