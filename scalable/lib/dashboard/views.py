"""What GET shows: the overview, the list of jobs, one job; each as a page, and the overview also for machines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional
from urllib.parse import urlencode

from bottle import HTTPResponse, request

from scalable.lib.dashboard.access import Role
from scalable.lib.dashboard.charts import SPANS, Point, is_empty, read_points
from scalable.lib.dashboard.masking import mask_job
from scalable.lib.dashboard.overview import (
    Overview,
    as_json,
    health_json,
    job_as_json,
    no_counts,
    public_json,
    read_overview,
    read_public,
)
from scalable.lib.dashboard.pages import MAX_PAYLOAD_CHARACTERS, pretty_payload
from scalable.lib.dashboard.prometheus import CONTENT_TYPE, as_metrics, public_metrics
from scalable.lib.dashboard.request import DashboardRequest
from scalable.lib.errors import JobNotFound, SchemaMissing
from scalable.lib.ingest.after_response import do_after_response
from scalable.lib.queue import history
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import STATUSES
from scalable.lib.queue.views.browse import Browse
from scalable.lib.queue.views.health import Thresholds, check_health, no_tables
from scalable.lib.queue.views.minutes import Minutes, percentile
from scalable.lib.queue.views.search import Filter, Found, Search, read_filter
from scalable.lib.telegram.lanes import KNOWN_TYPES

# Of the newest jobs, on the overview; the list of jobs and the JSON have as many as the setting says.
NEWEST_ON_PAGE = 10
FORMATS = ("json", "prometheus", "health")
_COLOUR_OF = {
    history.DONE: "done",
    history.RUNNING: "processing",
    history.FAILED: "failed",
    history.RETRIED: "pending",
    history.RELEASED: "expired",
    history.DIED: "failed",
}
_SERIES = {
    "jobs": (
        ("in", "series_in", lambda point: point.came),
        ("done", "series_done", lambda point: point.done),
        ("failed", "series_failed", lambda point: point.failed),
        ("retried", "series_retried", lambda point: point.retried),
    ),
    "times": (
        ("wait", "series_wait", lambda point: point.wait_median),
        ("wait_95", "series_wait_95", lambda point: point.wait_95),
        ("run", "series_run", lambda point: point.run_median),
        ("run_95", "series_run_95", lambda point: point.run_95),
    ),
}


class Views:
    """The pages of one visit. Raises DatabaseUnavailable."""

    def __init__(self, visit: DashboardRequest, queue: DatabaseQueue) -> None:
        self._visit = visit
        self._queue = queue

    def overview(self) -> HTTPResponse:
        """The first page, or what a program asked for instead."""
        visit = self._visit
        if visit.format == "health":
            return self._health()
        if visit.visitor.role is Role.STRANGER:
            return self._for_strangers()
        if visit.format == "json":
            return visit.json(200, as_json(self._seen(read_overview(self._queue, visit.settings.limit))))
        if visit.format == "prometheus":
            return visit.text(200, as_metrics(read_overview(self._queue, 0)), CONTENT_TYPE)
        return self._page()

    def _page(self) -> HTTPResponse:
        visit, span = self._visit, _span()
        part = str(request.query.part) if request.query.part in ("live", "charts") else ""
        page = visit.page("/" if span == "hour" else f"/?span={span}", part, visit.notice)
        if part == "charts":
            return visit.html(200, "charts_only.tpl", page, **_charts(page.t, span, self._points(span)))
        overview = read_overview(self._queue, min(NEWEST_ON_PAGE, visit.settings.limit))
        self._ask_telegram_after_response(overview)
        values = {} if part else _charts(page.t, span, self._points(span))
        return visit.html(
            200,
            "overview.tpl",
            page,
            overview=overview,
            reasons=overview.reasons,
            percentile=percentile,
            webhook=overview.webhook,
            **values,
        )

    def _ask_telegram_after_response(self, overview: Overview) -> None:
        """Once a minute, when the page is on its way; the next look at it shows the answer."""
        make_api, secret = self._visit.settings.make_api, self._visit.settings.webhook_secret
        if make_api is None or not overview.needs_webhook:
            return
        from scalable.lib.pool.webhook_admin import WebhookAdmin  # here, because it loads HTTP and TLS

        refresh = WebhookAdmin(self._queue, make_api, secret).refresh_if_old
        do_after_response(self._visit.environ, refresh, in_thread=True)

    def _points(self, span: str) -> list[Point]:
        try:
            return read_points(Minutes(self._queue.database, self._queue.table), span)
        except SchemaMissing:
            return []

    def _for_strangers(self) -> HTTPResponse:
        visit = self._visit
        try:
            counts, _, reasons = read_public(self._queue)
        except SchemaMissing:
            counts, reasons = no_counts(), (no_tables(),)
        if visit.format == "json":
            return visit.json(200, public_json(counts, reasons))
        if visit.format == "prometheus":
            return visit.text(200, public_metrics(counts, reasons), CONTENT_TYPE)
        asks = visit.keys is not None and visit.keys.asks
        part = "live" if request.query.part == "live" else ""
        page = visit.page("/", part, visit.notice)
        return visit.html(200, "stranger.tpl", page, counts=counts, reasons=reasons, asks=asks)

    def _health(self) -> HTTPResponse:
        thresholds = _thresholds()
        if thresholds is None:
            return self._visit.refuse(400, "bad_thresholds")
        reasons = check_health(self._queue, thresholds)
        return self._visit.json(503 if reasons else 200, health_json(reasons))

    def jobs(self) -> HTTPResponse:
        """The list, by what the query asks for."""
        visit, query = self._visit, filter_query()
        wanted = visible_filter(visit, query)
        before = read_id(request.query.before)
        found = self._find(wanted, before)
        if visit.format == "json":
            jobs = [job_as_json(mask_job(job) if visit.is_masked else job) for job in (*found.exact, *found.jobs)]
            return visit.json(200, {"jobs": jobs, "next_before": found.next_before, "complete": found.full})
        asked = {name: value for name, value in query.items() if value}
        here = "/jobs" + (f"?{urlencode(asked)}" if asked else "")
        page = visit.page(here, "live" if request.query.part == "live" else "", visit.notice)
        return visit.html(
            200,
            "jobs.tpl",
            page,
            wanted=wanted,
            text=query["q"],
            found=found,
            before=before,
            statuses=STATUSES,
            types=KNOWN_TYPES,
            query=asked,
            live=before is None and not wanted.in_a_row,
        )

    def _find(self, wanted: Filter, before: Optional[int]) -> Found:
        try:
            search = Search(self._queue.database, self._queue.table)
            if self._visit.is_masked and wanted.number is not None:
                return Found((), exact=search.find(wanted, 1).exact)
            return search.find(wanted, self._visit.settings.limit, before)
        except SchemaMissing:
            return Found(())

    def job(self, job_id: int) -> HTTPResponse:
        """One job, with everything about it."""
        visit = self._visit
        try:
            detail = Browse(self._queue.database, self._queue.table).job(job_id)
        except (JobNotFound, SchemaMissing):
            return visit.refuse(404, "no_job", id=str(job_id))
        payload, length, is_json = pretty_payload(detail.payload, visit.is_masked)
        page = visit.page(f"/job/{job_id}", "live" if request.query.part == "live" else "", visit.notice)
        waits = any(past.outcome in (history.RETRIED, history.DIED) for past in detail.past[-1:])
        return visit.html(
            200,
            "job.tpl",
            page,
            detail=detail,
            payload=payload,
            payload_length=length,
            is_json=is_json,
            shown_characters=MAX_PAYLOAD_CHARACTERS,
            colour_of=_COLOUR_OF,
            waits=waits,
        )

    def payload(self, job_id: int) -> HTTPResponse:
        """The update as it came, as a file and never as a page."""
        visit = self._visit
        if visit.visitor.role is not Role.OWNER or visit.is_masked:
            return visit.refuse(403, "hidden_here")
        try:
            text = self._queue.payload(job_id)
        except (JobNotFound, SchemaMissing):
            return visit.refuse(404, "no_job", id=str(job_id))
        name = f'attachment; filename="job-{job_id}.json"'
        return visit.text(200, text, "application/json; charset=utf-8", Content_Disposition=name)

    def _seen(self, overview: Overview) -> Overview:
        """The overview as this visitor may see it."""
        if not self._visit.is_masked:
            return overview
        return replace(overview, jobs=tuple(mask_job(job) for job in overview.jobs))


def _charts(t: Any, span: str, points: list[Point]) -> dict[str, Any]:
    charts = [("jobs", t("chart_jobs"), _SERIES["jobs"]), ("times", t("chart_times"), _SERIES["times"])]
    empty = is_empty(points)
    return {"charts": [] if empty else charts, "points": points, "span": span, "spans": SPANS, "no_points": empty}


def _span() -> str:
    return str(request.query.span) if request.query.span in SPANS else "hour"


def _thresholds() -> Optional[Thresholds]:
    """As the query says: `waiting` and `silent` in seconds; None when one is no such number."""
    usual = Thresholds()
    waiting = _seconds(request.query.get("waiting"), usual.waiting_seconds)
    silent = _seconds(request.query.get("silent"), usual.silent_seconds)
    return None if waiting is None or silent is None else Thresholds(waiting, silent)


def _seconds(text: Optional[str], usual: float) -> Optional[float]:
    if text is None:
        return usual
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 7 else None


def filter_query(form: Any = None) -> dict[str, str]:
    """What was asked for in the query, or in a form that repeats it; cut to what anything of the kind may be long."""
    source = request.query if form is None else form
    return {name: str(getattr(source, name))[:200] for name in ("status", "type", "lane", "q")}


def visible_filter(visit: DashboardRequest, query: dict[str, str]) -> Filter:
    """The Filter of these texts, without what would tell a visitor something that is hidden from them."""
    status = query["status"] if query["status"] in STATUSES else ""
    wanted = read_filter(status, query["type"], query["lane"], query["q"])
    if not visit.is_masked:
        return wanted
    return Filter(wanted.status, wanted.update_type, number=wanted.number)


def read_id(text: str) -> Optional[int]:
    """The id of a job; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
