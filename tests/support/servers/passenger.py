"""Phusion Passenger inside the private Apache: the application of a panel's "Setup Python App", served at one address.

Asks its maker for nothing and tells it nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.servers.apache import MODULES_FOLDER, WEB_USER
from tests.support.servers.site import wait_until

MODULE = MODULES_FOLDER / "mod_passenger.so"
LOCATIONS = Path("/usr/lib/ruby/vendor_ruby/phusion_passenger/locations.ini")
CONFIGURATION = """\
LoadModule passenger_module {module}
PassengerRoot {locations}
PassengerDefaultRuby /usr/bin/ruby
PassengerDisableSecurityUpdateCheck on
PassengerDisableAnonymousTelemetry on
PassengerInstanceRegistryDir "{registry}"
PassengerMaxPoolSize 4
PassengerUserSwitching off
PassengerDefaultUser {user}
Alias "{base_uri}" "{public}{slash}"
<Directory "{public}">
    Require all granted
</Directory>
<Location "{base_uri}">
    PassengerBaseURI {base_uri}
    PassengerAppRoot "{plugin}"
    PassengerAppType wsgi
    PassengerStartupFile {startup_file}
    PassengerPython {python}
</Location>
"""


def passenger_available() -> str | None:
    """None when it is there, otherwise the reason in one line."""
    missing = [str(path) for path in (MODULE, LOCATIONS) if not path.exists()]
    return f"Passenger: {', '.join(missing)} not installed: python3 tests/install.py" if missing else None


class Passenger:
    """What of an installation's Apache is Passenger's. `folder` is its own, and `plugin` the folder `scalable/`."""

    def __init__(
        self,
        folder: Path,
        plugin: Path,
        python: str,
        base_uri: str = "/scalable",
        startup_file: str = "passenger_wsgi.py",
    ) -> None:
        self._registry = folder / "registry"
        public = folder / "public"
        for made in (folder, self._registry, public):
            made.mkdir(mode=0o755)
        if os.geteuid() == 0:
            shutil.chown(self._registry, WEB_USER, WEB_USER)
        self.configuration = CONFIGURATION.format(
            module=MODULE,
            locations=LOCATIONS,
            registry=self._registry,
            user=WEB_USER,
            public=public,
            plugin=plugin,
            python=python,
            base_uri=base_uri,
            startup_file=startup_file,
            slash="/" if base_uri == "/" else "",
        )

    def wait_for_end(self) -> None:
        """Return once its own processes have tidied up after Apache's end."""
        wait_until(lambda: not list(self._registry.iterdir()), lambda: list(self._registry.iterdir()))
