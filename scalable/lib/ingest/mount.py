"""The web scripts side by side under one prefix, as a web server would show the folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scalable.lib.ingest.error_boundary import Wsgi
from scalable.lib.ingest.responses import refused


def mount(scripts: Mapping[str, Wsgi], prefix: str = "") -> Wsgi:
    """A WSGI application that answers `{prefix}/{name}` with the script of that name, and 404 elsewhere.

    SCRIPT_NAME and PATH_INFO are moved as PEP 3333 asks, so that links are right wherever the site is mounted.
    """
    places = {f"{prefix}/{name}": application for name, application in scripts.items()}

    def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        for place, application in places.items():
            if path == place or path.startswith(place + "/"):
                environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + place
                environ["PATH_INFO"] = path[len(place) :]
                return application(environ, start_response)
        return refused(404, "nothing here; there is " + " and ".join(places))(environ, start_response)

    return site
