"""The web scripts side by side under one prefix, as a web server would show the folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Optional

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.web.answers import refused
from scalable.lib.web.dashboard_app import create_dashboard_app
from scalable.lib.web.guard import Wsgi
from scalable.lib.web.visit import DashboardSettings
from scalable.lib.web.webhook_app import create_webhook_app


def create_scripts(
    open_queue: Callable[[], DatabaseQueue],
    read_secret: Callable[[], bytes],
    *,
    webhook_secret: str,
    queue_order: str,
    dashboard: DashboardSettings,
    attempts_file: Path,
    announce: Callable[[], None],
    kick: Optional[Callable[[], None]],
    tick: Wsgi,
) -> dict[str, Wsgi]:
    """Webhook, dashboard and tick by the names their scripts have."""
    return {
        "webhook_queue.py": create_webhook_app(open_queue, webhook_secret, queue_order, announce, kick),
        "worker.py": tick,
        "dashboard.py": create_dashboard_app(open_queue, read_secret, attempts_file, dashboard, announce),
    }


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
