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


def build(end_answer=lambda: None):
    """The webhook of this installation, from the settings as they are now; `end_answer` comes before a kick."""
    from scalable.lib.web.lean_note import fingerprint
    from scalable.lib.web.webhook_app import create_webhook_app

    configure_logging("INFO")  # until the settings say otherwise, which they may fail to
    seen = fingerprint(__file__.rpartition("/")[0], os.environ)  # before they are read, so that a change is noticed
    config = load_config(os.environ)
    configure_logging(config.log_level)
    installation = config.installation()

    def announce():
        installation.data_folder.poke()
        if __name__ == "__main__":  # a process for this one request: the next one may be quicker
            config.leave_lean_note(installation, seen)

    return create_webhook_app(
        installation.queue, config.webhook_secret, config.queue_order, announce, config.kick(installation, end_answer)
    )


application = LazyApplication(build)


def main(arguments):
    """Set, show or take away the webhook, or fetch updates without one; see --help."""
    from scalable.lib.host.webhook_command import parse_webhook_options, run_webhook_command

    options, config = parse_webhook_options(arguments), load_config(os.environ)
    configure_logging(config.log_level)
    queue = config.installation().queue()
    return run_webhook_command(options, queue, config.webhook_state(queue), config.poller)


if __name__ == "__main__":
    if in_cgi():
        from scalable.lib.web.after_answer import end_cgi_answer

        serve_cgi(LazyApplication(lambda: build(end_cgi_answer)))
    else:
        from scalable.lib.host.shell import run

        run(main)
