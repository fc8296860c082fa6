#!/usr/bin/env python3
"""The check of this installation, its first set-up (init), and how to remove it (uninstall)."""

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


def main(arguments):
    """Check the installation, prepare it (init), or tell how to remove it (uninstall); 0, or 2 for an error."""
    from scalable.lib.setup.checks import run_check_command
    from scalable.lib.setup.init import run_init, run_uninstall

    commands = {"init": run_init, "uninstall": run_uninstall}
    if arguments and arguments[0] in commands:
        return commands[arguments[0]](arguments[1:], os.environ)
    return run_check_command(arguments, os.environ)


if __name__ == "__main__":
    from scalable.lib.setup.shell import run

    run(main)
