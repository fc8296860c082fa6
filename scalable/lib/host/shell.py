"""Running an entry script's `main` in a shell: readable messages, and the exit codes of errors.ExitCode."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from scalable.lib.errors import ExitCode, ScalableError
from scalable.lib.host.packages import missing_package


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """End the process with what `main(arguments)` returns; a foreseen error becomes its message and exit code."""
    try:
        sys.exit(main(sys.argv[1:]))
    except ScalableError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        print(f"error: {missing_package(error)}", file=sys.stderr)
        sys.exit(ExitCode.BAD_CONFIGURATION)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
