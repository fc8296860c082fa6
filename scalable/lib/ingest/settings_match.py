"""Which application answers a request that was handed over: one of this pool, if the CGI process has its settings.

The gateway must not be a way around a setting: neither one of the web server's environment that the pool was not
started with, nor one that was written into the settings file after the pool had read it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from scalable.lib.errors import ConfigurationError
from scalable.lib.ingest.wsgi import Wsgi
from scalable.lib.logs import OncePer, event

log = logging.getLogger(__name__)
# Environments remembered; usually there is one.
MAX_KNOWN = 16
REMINDER_SECONDS = 600.0


@dataclass(frozen=True)
class _Compared:
    """A settings file as it was when it was compared, and the result."""

    file: Path
    stamp: object
    same: bool


class SettingsMatch:
    """Chooses the application for the variables of a request; None when the CGI process has to do it itself.

    `read_site` gives the settings file of an environment and a folder `scalable/`, and all that the web scripts depend
    on; `own` is the latter of this process; `scripts` makes the applications by the names of their scripts, at the
    first request. Safe to share between threads.
    """

    def __init__(
        self,
        read_site: Callable[[Mapping[str, str], Path], tuple[Path, object]],
        own: object,
        scripts: Callable[[], Mapping[str, Wsgi]],
    ) -> None:
        self._read_site = read_site
        self._own = own
        self._scripts = scripts
        self._known: dict[object, _Compared] = {}
        self._remind = OncePer(REMINDER_SECONDS)

    def __call__(self, variables: Mapping[str, str]) -> Optional[Wsgi]:
        if not self.are_same(variables):
            return None
        return self._scripts().get(_text(variables.get("SCALABLE_SCRIPT", "")))

    def are_same(self, variables: Mapping[str, str]) -> bool:
        """Whether the process that sends these variables of a request has the settings of this one."""
        folder = _text(variables.get("SCALABLE_FOLDER", ""))
        environment = {name: _text(value) for name, value in variables.items() if name.startswith("BOT_")}
        key = (folder, *sorted(environment.items()))
        known = self._known.get(key)
        if known is None or known.stamp != _stamp(known.file):
            try:
                known = self._compare(environment, Path(folder))
            except ConfigurationError:  # the CGI process reports the same error to its visitor and its log
                return False
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[key] = known
            if not known.same and self._remind():
                cause = "the web server's settings are not those this pool was started with"
                log.warning(event("request not taken over", cause=cause, remedy="start the pool again"))
        return known.same

    def _compare(self, environment: dict[str, str], folder: Path) -> _Compared:
        file, _ = self._read_site(environment, folder)
        stamp = _stamp(file)  # before it is read again, so that a later change is a later stamp
        return _Compared(file, stamp, self._read_site(environment, folder)[1] == self._own)


def _stamp(file: Path) -> object:
    try:
        state = os.stat(file)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino


def _text(value: str) -> str:
    """A variable as this system reads it: WSGI gives its bytes decoded as Latin-1."""
    return os.fsdecode(value.encode("latin-1"))
