#!/usr/bin/env python3
"""One worker: claims updates and runs the bot on each. From cron: worker.py --drain --max-seconds 50.

Fetched from a web server with ?token=... it starts such a drain, and answers with what that did.
"""

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
from scalable.lib.logs import configure_logging, quieter


def build():
    """The tick of this installation, from the settings as they are now."""
    from scalable.lib.installation import Installation
    from scalable.lib.setup.config import load_config

    configure_logging("INFO")  # until the settings say otherwise, which they may fail to
    installation = Installation(load_config(os.environ))
    configure_logging(installation.config.log_level)
    return installation.create_tick()


application = lazy_application(build)


def main(arguments):
    """Work until told to stop, or until a limit of the command line is reached; see --help."""
    from scalable.lib.installation import Installation
    from scalable.lib.log_file import bounded_log
    from scalable.lib.setup.config import load_config
    from scalable.lib.pool.worker_command import parse_worker_options, run_worker_command
    from scalable.lib.runners.bot_environment import take_out_ours
    from scalable.lib.runners.process_reaper import ProcessReaper

    options = parse_worker_options(arguments)
    installation = Installation(load_config(dict(os.environ)))
    take_out_ours(os.environ, installation.config.bot.variables)  # a bot that is a function runs in this process
    level, before_line = installation.config.log_level, bounded_log(*installation.config.log_bounds)
    configure_logging(quieter(level) if options.drain else level, before_line=before_line)
    before_line()  # what is started from here gets the private file, whether there is a line or not
    reaper = ProcessReaper(options.lifeline)
    runner = installation.create_runner(reaper)
    parts = installation.pool_parts()
    if options.pool_pid is None:
        parts.hold.holds()  # so that the page tells why nothing is run; with a pool, that does it
    return run_worker_command(options, parts, runner, reaper, installation.start_drain())


if __name__ == "__main__":
    if in_cgi():
        serve_cgi(application)
    else:
        from scalable.lib.setup.shell import run

        run(main)
