"""What the buttons do, by POST: each checks its form, asks when it destroys, calls one verb, says what it did.

Every action is logged with the address it came from.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any, Optional
from urllib.parse import urlencode

from bottle import HTTPResponse, request

from scalable.lib.dashboard.access import address_of
from scalable.lib.dashboard.request import DashboardRequest
from scalable.lib.dashboard.views import filter_query, read_id, visible_filter
from scalable.lib.errors import JobNotFound, WrongState
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import EXPIRED, FAILED
from scalable.lib.queue.operator_actions import read_position
from scalable.lib.queue.views.search import Filter

log = logging.getLogger(__name__)
# A request goes through that many jobs at a time, for so long; then the page says how far it is, and goes on.
STEP, STEP_SECONDS = 500, 1.0
# The pages a form may lead back to; never another site.
_BACK = re.compile(r"/(?:jobs|job/[0-9]{1,18})?(?:\?[A-Za-z0-9_=&%.+:-]{0,600})?", re.ASCII)


class Actions:
    """The buttons of one visit. `announce` is called when jobs have become due. Raises DatabaseUnavailable."""

    def __init__(self, visit: DashboardRequest, queue: DatabaseQueue, on_enqueued: Callable[[], None]) -> None:
        self._visit = visit
        self._queue = queue
        self._on_enqueued = on_enqueued
        self._address = address_of(visit.environ)
        self._form = request.forms

    def act(self) -> HTTPResponse:
        """Do what the form asks for; the form token was checked."""
        name, _, target = str(self._form.action).partition(":")
        job_id = read_id(target or str(self._form.id))
        if name in ("retry", "run-now", "skip", "delete") and job_id is not None:
            return self._to_job(name, job_id)
        if name == "retry-matching" and target in (FAILED, EXPIRED):
            return self._retry_matching(target)
        if name == "pause":
            return self._ask("sure_pause") or self._pause()
        if name == "resume":
            return self._resume()
        if name in ("webhook-check", "webhook-set", "webhook-back") and self._visit.settings.make_api is not None:
            from scalable.lib.dashboard.webhook_actions import WebhookActions  # here, because it loads HTTP and TLS

            return WebhookActions(self._visit, self._queue, self._visit.settings.make_api).act(name)
        return self._visit.refuse(400, "unknown_action")

    def _to_job(self, name: str, job_id: int) -> HTTPResponse:
        verbs = {
            "retry": (self._queue.requeue, "job retried by hand", ""),
            "run-now": (self._queue.run_now, "job made due by hand", ""),
            "skip": (self._queue.skip, "job skipped by hand", "sure_skip"),
            "delete": (self._queue.delete, "job deleted by hand", "sure_delete"),
        }
        verb, what, question = verbs[name]
        asked = self._ask(question, id=str(job_id)) if question else None
        if asked is not None:
            return asked
        try:
            verb(job_id)
        except JobNotFound:
            return self._visit.refuse(404, "no_job", id=str(job_id))
        except WrongState as error:
            state = self._visit.language.text(error.status)
            return self._visit.refuse(409, f"cannot_{name.replace('-', '_')}", id=str(job_id), state=state)
        self._on_enqueued()
        log.info(event(what, id=job_id, address=self._address))
        return self._back(name.replace("-", "_"), job_id, "/jobs" if name == "delete" else "")

    def _pause(self) -> HTTPResponse:
        self._queue.pause(self._address)
        log.warning(event("queue paused by hand", address=self._address))
        return self._back("pause")

    def _resume(self) -> HTTPResponse:
        self._queue.resume()
        self._on_enqueued()
        log.warning(event("queue resumed by hand", address=self._address))
        return self._back("resume")

    def _retry_matching(self, state: str) -> HTTPResponse:
        query = {**filter_query(self._form), "status": state}
        asked = self._ask("sure_retry", state=self._visit.language.text(state))
        if asked is not None:
            return asked
        after, until_id = read_position(str(self._form.after)), read_id(str(self._form.until))
        if until_id is None:
            after, until_id = None, self._queue.newest_id()
        requeued, looked_at, position = self._steps(visible_filter(self._visit, query), after, until_id)
        requeued += read_id(str(self._form.requeued)) or 0
        looked_at += read_id(str(self._form.looked_at)) or 0
        total = read_id(str(self._form.total)) or self._left(state) + looked_at
        self._on_enqueued()
        if position is None:
            log.info(event("jobs retried by hand", state=state, count=requeued, address=self._address))
            return self._back("retry_all", requeued)
        fields = {
            **query,
            "back": str(self._form.back),
            "after": position,
            "until": until_id,
            "requeued": requeued,
            "looked_at": looked_at,
            "total": total,
        }
        return self._visit.html(
            200,
            "progress.tpl",
            self._visit.page(),
            fields=fields,
            action=f"retry-matching:{state}",
            requeued=requeued,
            looked_at=looked_at,
            total=total,
        )

    def _left(self, state: str) -> int:
        """Jobs that are still in the state, as far as they are counted: for a bar, not for a sentence."""
        return self._queue.jobs.count(state, self._queue.notes.read()).number

    def _steps(self, wanted: Filter, after: Any, until_id: int) -> tuple[int, int, Any]:
        """Jobs that will run again, jobs looked at, and where to go on; some steps, for as long as a page may take."""
        requeued, looked_at, ends = 0, 0, time.monotonic() + STEP_SECONDS
        while True:
            batch = self._queue.requeue_matching(wanted, STEP, after, until_id)
            requeued, looked_at, after = requeued + batch.requeued, looked_at + batch.looked_at, batch.after
            if after is None or time.monotonic() > ends:
                return requeued, looked_at, after

    def _ask(self, question: str, **values: object) -> Optional[HTTPResponse]:
        """A page that asks, unless the form says that this was answered."""
        if self._form.sure == "yes":
            return None
        page = self._visit.page(self._place())
        fields = {name: value for name, value in self._kept().items() if value}
        return self._visit.html(
            200,
            "confirm.tpl",
            page,
            question=page.t(question, **values),
            fields=fields,
            action=str(self._form.action),
            destroys=question == "sure_delete",
        )

    def _kept(self) -> dict[str, str]:
        return {**filter_query(self._form), "id": str(self._form.id)[:20], "back": str(self._form.back)[:700]}

    def _place(self) -> str:
        back = str(self._form.back)
        return back if _BACK.fullmatch(back) else "/"

    def _back(self, did: str, number: int = 0, place: str = "") -> HTTPResponse:
        place = place or self._place()
        return self._visit.redirect(f"{place}{'&' if '?' in place else '?'}{urlencode({'did': did, 'n': number})}")
