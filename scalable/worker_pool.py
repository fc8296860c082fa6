#!/usr/bin/env python3
"""The supervisor: keeps BOT_WORKER_POOL_SIZE workers running; --serve also serves webhook and dashboard."""

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

from scalable.lib.log_file import bounded_log
from scalable.lib.logs import configure_logging, quieter


def open_installation():
    """This installation, from the settings as they are now."""
    from scalable.lib.installation import Installation
    from scalable.lib.setup.config import load_config

    return Installation(load_config(dict(os.environ)))


def main(arguments):
    """Run the pool until it is told to stop, or look at the one that runs; see --help."""
    from scalable.lib.pool.command import parse_pool_options, run_pool
    from scalable.lib.pool.control import control_pool
    from scalable.lib.pool.pool_lock import PoolLock

    options, installation = parse_pool_options(arguments), open_installation()
    config, folder = installation.config, installation.data_folder
    before_line = bounded_log(*config.log_bounds)
    configure_logging(quieter(config.log_level) if options.cron else config.log_level, before_line=before_line)
    queue = installation.queue()
    if options.status or options.health or options.stop:
        return control_pool(options, folder.pool_lock, folder.finishing_lock, queue, config.bot.timeout_seconds)
    before_line()  # what is started from here gets the private file, whether there is a line or not
    installation.tell_what_is_left_behind()
    installation.tell_who_reads_the_settings()
    if options.cron:
        from scalable.lib.pool.cron import run_cron
        from scalable.lib.runners.bot_environment import take_out_ours

        take_out_ours(os.environ, config.bot.variables)  # a bot that is a function runs in this process
        return run_cron(installation.pool_parts(installation.leader_checks()), options.max_seconds, folder.pool_lock)
    installation.check_bot(may_be_held=True)
    if not PoolLock(folder.pool_lock).take(options.ensure):
        return 0
    invented = installation.invented_token() if options.serve else None
    return run_pool(
        installation.pool_parts(installation.leader_checks()),
        server=installation.web_server(options.serve) if options.serve else None,
        gateways=installation.open_gateways(),
        invented=invented,
        check=lambda: open_installation().check_bot(),
    )


if __name__ == "__main__":
    from scalable.lib.setup.shell import run

    run(main)
