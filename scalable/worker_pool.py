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
        sys.modules["scalable"] = type(sys)("scalable")
        sys.modules["scalable"].__path__ = [__file__.rpartition("/")[0] or "."]
    from scalable.lib.start import start

    start(__name__, __file__)
# --- end of the start block ---
import os

from scalable.config import load_config
from scalable.lib.logs import configure_logging, quieter


def main(arguments):
    """Run the pool until it is told to stop, or look at the one that runs; see --help."""
    from scalable.lib.worker.pool_command import parse_pool_options, run_pool, take_lock
    from scalable.lib.worker.pool_control import control_pool

    options = parse_pool_options(arguments)
    config = load_config(os.environ)
    configure_logging(quieter(config.log_level) if options.cron else config.log_level)
    installation = config.installation()
    queue, folder = installation.queue(), installation.data_folder
    if options.status or options.health or options.stop:
        return control_pool(options, folder.pool_lock, queue, config.bot.timeout_seconds)
    if options.cron:
        from scalable.lib.worker.cron import run_cron

        parts = config.worker_parts(queue)
        return run_cron(parts, config.worker_pool_size, options.max_seconds, folder.pool_lock, folder.open_pokes)
    config.check_bot(os.environ)
    if not take_lock(folder.pool_lock, options.ensure):
        return 0
    return run_pool(
        queue,
        size=config.worker_pool_size,
        worker_script=str(config.scalable_folder / "worker.py"),
        bot_timeout_seconds=config.bot.timeout_seconds,
        server=web_server(config, installation, options.serve),
        gateway=config.open_gateway(installation),
        has_password=bool(config.monitor_token),
        housekeeping=config.housekeeping(queue),
        pokes=folder.open_pokes(),
        sleep_seconds=config.worker_sleep_seconds,
        check=lambda: load_config(os.environ).check_bot(os.environ),
        alert=config.alert(queue),
    )


def web_server(config, installation, listen):
    """Webhook and dashboard beside the pool, when they were asked for."""
    if not listen:
        return None
    from scalable.lib.web.express import Express
    from scalable.lib.web.server import WebServer

    webhook, poke = "/scalable/webhook_queue.py", installation.data_folder.poke
    express = Express(webhook, installation.queue, config.webhook_secret, config.queue_order, poke)
    return WebServer(config.create_site(installation, prefix="/scalable"), listen, express)


if __name__ == "__main__":
    from scalable.lib.host.shell import run

    run(main)
