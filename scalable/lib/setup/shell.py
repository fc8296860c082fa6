"""Runs an entry script's `main` in a shell: readable messages, and the exit codes of errors.ExitCode."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from scalable.lib.errors import ExitCode, ScalableError
from scalable.lib.log_file import bounded_log
from scalable.lib.setup.packages import missing_package
from scalable.lib.setup.plain_stream import print_plainly
from scalable.lib.web_refusal import refuse, waits_for_requests


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """End the process with what `main(arguments)` returns; a ScalableError becomes its message and exit code.

    A web server that starts the script as a program of FastCGI is refused: it would not stop starting workers.
    """
    if waits_for_requests():
        refuse()
    open_standard_streams()
    keep_short = bounded_log()
    print_plainly()
    try:
        sys.exit(main(sys.argv[1:]))
    except ScalableError as error:
        keep_short()  # a line of cron that ends with the same error each minute writes into a file, too
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        keep_short()
        print(f"error: {missing_package(error)}", file=sys.stderr)
        sys.exit(ExitCode.BAD_CONFIGURATION)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # standard output was closed, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)


def open_standard_streams() -> None:
    """Open the null device as every standard stream that is closed.

    Else the next file that is opened, such as the database, would get its number, and what is printed would go there.
    """
    for descriptor, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
