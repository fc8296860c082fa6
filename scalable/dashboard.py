#!/usr/bin/env python3
"""The dashboard: counts, the newest jobs and retry, as a page, as JSON, and in a shell."""
# --- start block, the same in every entry script: finds the package `scalable` wherever this folder was put ---
import os
import sys

if not __name__.startswith("scalable."):
    if sys.version_info < (3, 9):
        line = "Scalable mode needs Python 3.9 or newer; this is %d.%d\n" % sys.version_info[:2]
        if "GATEWAY_INTERFACE" in os.environ:
            sys.stdout.write("Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\n" + line)
        sys.stderr.write("%s: %s" % (sys.executable, line))
        sys.exit(2)
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or os.curdir) != os.path.realpath(here)]
    if os.path.isdir(os.path.join(here, "vendor")):
        sys.path.insert(0, os.path.join(here, "vendor"))
    if "scalable" not in sys.modules:
        from importlib.util import module_from_spec, spec_from_file_location
        spec = spec_from_file_location("scalable", os.path.join(here, "__init__.py"), submodule_search_locations=[here])
        sys.modules["scalable"] = module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(sys.modules["scalable"])  # type: ignore[union-attr]
# --- end of the start block ---
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
