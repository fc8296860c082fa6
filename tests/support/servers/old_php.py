"""php-cgi of an old PHP, as many shared hosts still have it, unpacked from another Debian release."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.support.places import private_command, private_root

NAME = "php-cgi-7.4"
PROGRAM = "usr/bin/php-cgi7.4"
EXTENSIONS = ("json.so", "posix.so")


def old_php_cgi_available() -> str | None:
    """None when it is there, otherwise the reason in one line."""
    if private_root(NAME).is_dir():
        return None
    return f"PHP 7.4: {NAME} is not there: python3 tests/install.py --only {NAME}"


def old_php_cgi(folder: Path) -> str:
    """The path of a program in `folder` that is this php-cgi, with opcache and the extensions a bot needs."""
    root = private_root(NAME)
    extensions = next(iter(root.glob("usr/lib/php/2*")))
    options = ["-n", "-d", f"extension_dir={extensions}", "-d", "zend_extension=opcache.so"]
    options += [word for name in EXTENSIONS for word in ("-d", f"extension={name}")]
    program = folder / "php-cgi"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([*private_command(root, PROGRAM), *options])} "$@"\n')
    program.chmod(0o755)
    return str(program)
