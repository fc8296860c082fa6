"""What the buttons do, by POST: each checks its form, asks when it destroys, calls one verb, says what it did.

Every action is logged with the address it came from.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Optional
from urllib.parse import urlencode

from bottle import HTTPResponse

from scalable.lib.dashboard.access import address_of
from scalable.lib.dashboard.request import DashboardRequest
from scalable.lib.dashboard.views import filter_query, read_id, visible_filter
from scalable.lib.errors import JobNotFound, WrongState
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import EXPIRED, FAILED
from scalable.lib.queue.requeue import read_position

log = logging.getLogger(__name__)
# A request goes through jobs for so long; then the page says how far it is, and goes on.
STEP_SECONDS = 1.0
# The pages a form may lead back to; never another site.
_BACK = re.compile(r"/(?:jobs|job/[0-9]{1,18})?(?:\?[A-Za-z0-9_=&%.+:-]{0,600})?", re.ASCII)


class Actions:
    """The button of one request. `on_enqueued` is called when jobs have become due."""

    def __init__(self, request: DashboardRequest, queue: DatabaseQueue, on_enqueued: Callable[[], None]) -> None:
        self._request = request
        self._form = request.form
        self._queue = queue
        self._on_enqueued = on_enqueued
        self._address = address_of(request.environ)

    def act(self) -> HTTPResponse:
        """Do what the form asks for; the form token was checked.

        Raises HTTPResponse, the page with the question, and DatabaseUnavailable.
        """
        name, _, target = str(self._form.action).partition(":")
        job_id = read_id(target or str(self._form.id))
        if name in ("retry", "run-now", "skip", "delete") and job_id is not None:
            return self._change_job(name, job_id)
        if name == "retry-matching" and target in (FAILED, EXPIRED):
            return self._retry_matching(target)
        if name == "pause":
            return self._pause()
        if name == "resume":
            return self._resume()
        if name in ("webhook-check", "webhook-set", "webhook-back") and self._request.settings.make_api is not None:
            from scalable.lib.dashboard.webhook_actions import WebhookActions  # here, because it loads HTTP and TLS

            return WebhookActions(self._request, self._queue, self._request.settings.make_api).act(name)
        return self._request.refuse(400, "unknown_action")

    def _change_job(self, name: str, job_id: int) -> HTTPResponse:
        verbs: dict[str, tuple[Callable[[int], Optional[bool]], str]] = {
            "retry": (self._queue.requeue, "job retried by hand"),
            "run-now": (self._queue.run_now, "job made due by hand"),
            "skip": (self._queue.skip, "job skipped by hand"),
            "delete": (self._queue.delete, "job deleted by hand"),
        }
        verb, what = verbs[name]
        if name in ("skip", "delete"):
            self._ask(f"sure_{name}", id=str(job_id))
        key = name.replace("-", "_")
        try:
            comes_late = verb(job_id)
        except JobNotFound:
            return self._request.refuse(404, "no_job", id=str(job_id))
        except WrongState as error:
            state = self._request.language.text(error.status)
            return self._request.refuse(409, f"cannot_{key}", id=str(job_id), state=state)
        self._on_enqueued()
        log.info(event(what, id=job_id, address=self._address))
        did = "retry_late" if comes_late else key
        return self._redirect(did, job_id, "/jobs" if name == "delete" else self._back())

    def _pause(self) -> HTTPResponse:
        self._ask("sure_pause")
        self._queue.pause(self._address)
        log.warning(event("queue paused by hand", address=self._address))
        return self._redirect("pause", 0, self._back())

    def _resume(self) -> HTTPResponse:
        self._queue.resume()
        self._on_enqueued()
        log.warning(event("queue resumed by hand", address=self._address))
        return self._redirect("resume", 0, self._back())

    def _retry_matching(self, state: str) -> HTTPResponse:
        self._ask("sure_retry", state=self._request.language.text(state))
        query = {**filter_query(self._form), "status": state}
        after, until_id = read_position(str(self._form.after)), read_id(str(self._form.until))
        if until_id is None:
            after, until_id = None, self._queue.newest_id()
        batch = self._queue.requeue_all(visible_filter(self._request, query), after, until_id, STEP_SECONDS)
        requeued, looked_at = batch.requeued + self._so_far("requeued"), batch.looked_at + self._so_far("looked_at")
        overtaken = batch.overtaken + self._so_far("overtaken")
        total = read_id(str(self._form.total)) or self._left(state) + looked_at
        self._on_enqueued()
        if batch.after is None:
            log.info(event("jobs retried by hand", state=state, count=requeued, address=self._address))
            return self._redirect("retry_all", requeued, self._back(), late=overtaken)
        so_far = {"requeued": requeued, "overtaken": overtaken, "looked_at": looked_at, "total": total}
        fields = {**query, "back": str(self._form.back), "after": batch.after, "until": until_id, **so_far}
        action = f"retry-matching:{state}"
        return self._request.html(200, "progress.tpl", self._request.page(), fields=fields, action=action, **so_far)

    def _so_far(self, what: str) -> int:
        """A figure of the requests before this one."""
        return read_id(str(self._form.get(what, ""))) or 0

    def _left(self, state: str) -> int:
        """Jobs that are still in the state, as far as they are counted: for a bar, not for a sentence."""
        return self._queue.jobs.count(state, self._queue.notes.read()).number

    def _ask(self, question: str, **values: object) -> None:
        """Raises HTTPResponse, a page that asks, unless the form says that this was answered."""
        if self._form.sure == "yes":
            return
        page = self._request.page(self._back())
        given = {**filter_query(self._form), "id": str(self._form.id)[:20], "back": str(self._form.back)[:700]}
        raise self._request.html(
            200,
            "confirm.tpl",
            page,
            question=page.t(question, **values),
            fields={name: value for name, value in given.items() if value},
            action=str(self._form.action),
            destroys=question == "sure_delete",
        )

    def _back(self) -> str:
        back = str(self._form.back)
        return back if _BACK.fullmatch(back) else "/"

    def _redirect(self, did: str, number: int, place: str, late: int = 0) -> HTTPResponse:
        query = {"did": did, "n": number, **({"late": late} if late else {})}
        return self._request.redirect(f"{place}{'&' if '?' in place else '?'}{urlencode(query)}")
