"""What GET shows: the overview, the list of jobs, one job; as pages, and the first two for programs.

Each view is given the request and the queue, and raises DatabaseUnavailable.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional
from urllib.parse import urlencode

from bottle import HTTPResponse

from scalable.lib.dashboard.charts import SPANS, is_empty, read_points
from scalable.lib.dashboard.masking import mask_detail, mask_worker
from scalable.lib.dashboard.overview import (
    Overview,
    as_json,
    as_seen,
    health_json,
    jobs_json,
    public_json,
    read_overview,
    read_public,
)
from scalable.lib.dashboard.pages import MAX_PAYLOAD_CHARACTERS, Page, pretty_payload
from scalable.lib.dashboard.prometheus import CONTENT_TYPE, as_metrics, public_metrics
from scalable.lib.dashboard.request import DashboardRequest
from scalable.lib.errors import JobNotFound, SchemaMissing
from scalable.lib.ingest.after_response import do_after_response
from scalable.lib.queue import history
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import STATUSES
from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.minutes import percentile
from scalable.lib.queue.views.search import BUDGET_SECONDS, FIRST_BUDGET_SECONDS, WARNED, Filter, Found, read_filter
from scalable.lib.queue.views.verdict_seen import verdict_seen
from scalable.lib.queue.views.vitals import Thresholds
from scalable.lib.telegram.lanes import KNOWN_TYPES

# Of the newest jobs, on the overview; the list of jobs and the JSON have as many as the setting says.
NEWEST_ON_PAGE = 10
_COLOUR_OF = {
    history.DONE: "done",
    history.RUNNING: "processing",
    history.FAILED: "failed",
    history.RETRIED: "pending",
    history.RELEASED: "expired",
    history.OUTAGE: "expired",
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


def show_overview(request: DashboardRequest, queue: DatabaseQueue) -> HTTPResponse:
    """The first page, or what a program asked for instead."""
    if request.format == "health":
        return _show_health(request, queue)
    if request.visitor.is_stranger:
        return _show_public(request, queue)
    if request.format == "json":
        overview = read_overview(queue, request.settings.limit)
        return request.json(200, as_json(_as_seen(request, overview)))
    if request.format == "prometheus":
        return request.text(200, as_metrics(read_overview(queue, 0)), CONTENT_TYPE)
    span = str(request.query.span) if request.query.span in SPANS else "hour"
    page = request.live_page("/" if span == "hour" else f"/?span={span}", ("live", "charts"))
    if page.part == "charts":
        return request.html(200, "charts_only.tpl", page, **_charts(page, queue, span))
    overview = _as_seen(request, read_overview(queue, min(NEWEST_ON_PAGE, request.settings.limit)))
    _ask_telegram_after_response(request, queue, overview)
    charts = {} if page.part else _charts(page, queue, span)
    return request.html(200, "overview.tpl", page, overview=overview, percentile=percentile, **charts)


def _as_seen(request: DashboardRequest, overview: Overview) -> Overview:
    """As this visitor may see it."""
    is_owner, vitals = request.visitor.is_owner, overview.vitals
    if not is_owner:
        vitals = replace(vitals, workers=tuple(map(mask_worker, vitals.workers)))
    return as_seen(replace(overview, jobs=request.masked(overview.jobs), vitals=vitals), is_owner, request.is_masked)


def _show_health(request: DashboardRequest, queue: DatabaseQueue) -> HTTPResponse:
    usual = Thresholds()
    waiting = _seconds(request.query.get("waiting"), usual.waiting_seconds)
    silent = _seconds(request.query.get("silent"), usual.silent_seconds)
    if waiting is None or silent is None:
        return request.refuse(400, "bad_thresholds")
    # What the bot said is not in it: programs that watch keep their answers, and send them on.
    verdict = verdict_seen(check_health(queue, Thresholds(waiting, silent)), request.visitor.is_owner, is_masked=True)
    return request.json(200 if verdict.is_well else 503, health_json(verdict))


def _seconds(text: Optional[str], usual: float) -> Optional[float]:
    if text is None:
        return usual
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 7 else None


def _show_public(request: DashboardRequest, queue: DatabaseQueue) -> HTTPResponse:
    overview = read_public(queue)
    if request.format == "json":
        return request.json(200, public_json(overview))
    if request.format == "prometheus":
        return request.text(200, public_metrics(overview), CONTENT_TYPE)
    asks = request.settings.has_password
    return request.html(200, "stranger.tpl", request.live_page("/"), overview=overview, asks=asks)


def _charts(page: Page, queue: DatabaseQueue, span: str) -> dict[str, Any]:
    try:
        points = read_points(queue.minutes, span)
    except SchemaMissing:
        points = []
    charts = [(name, page.t(f"chart_{name}"), series) for name, series in _SERIES.items()]
    empty = is_empty(points)
    return {"charts": [] if empty else charts, "points": points, "span": span, "spans": SPANS, "no_points": empty}


def _ask_telegram_after_response(request: DashboardRequest, queue: DatabaseQueue, overview: Overview) -> None:
    """Once a minute, when the page has been sent; the next page shows the answer."""
    make_api, secret = request.settings.make_api, request.settings.webhook_secret
    if make_api is None or not overview.needs_webhook:
        return
    from scalable.lib.pool.webhook_admin import WebhookAdmin  # here, because it loads HTTP and TLS

    refresh = WebhookAdmin(queue, make_api, secret).refresh_if_old
    do_after_response(request.environ, refresh, in_thread=True)


def show_jobs(request: DashboardRequest, queue: DatabaseQueue) -> HTTPResponse:
    """The list of jobs, by what the query asks for."""
    query = filter_query(request.query)
    wanted = visible_filter(request, query)
    before = read_id(request.query.before)
    found = _find(request, queue, wanted, before)
    if request.format == "json":
        return request.json(200, jobs_json(request.masked((*found.exact, *found.jobs)), found))
    asked = {name: value for name, value in query.items() if value}
    return request.html(
        200,
        "jobs.tpl",
        request.live_page("/jobs" + (f"?{urlencode(asked)}" if asked else "")),
        wanted=wanted,
        text=query["q"],
        found=found,
        before=before,
        statuses=(*STATUSES, WARNED),
        state=WARNED if wanted.warned else wanted.status,
        types=KNOWN_TYPES,
        query=asked,
        live=before is None and not wanted.in_a_row,
    )


def _find(request: DashboardRequest, queue: DatabaseQueue, wanted: Filter, before: Optional[int]) -> Found:
    try:
        search = queue.search
        if request.is_masked and wanted.number is not None:
            # Not one step more: how long a search through the updates takes would tell what is in them.
            return Found((), exact=search.exact(wanted))
        opens_page = request.format != "json" and before is None  # the page then looks further by itself
        budget_seconds = FIRST_BUDGET_SECONDS if opens_page else BUDGET_SECONDS
        return search.find(wanted, request.settings.limit, before, budget_seconds)
    except SchemaMissing:
        return Found(())


def show_job(request: DashboardRequest, queue: DatabaseQueue, job_id: int) -> HTTPResponse:
    """One job, with everything about it."""
    try:
        detail = queue.jobs.detail(job_id)
    except (JobNotFound, SchemaMissing):
        return request.refuse(404, "no_job", id=str(job_id))
    payload, length, is_json = pretty_payload(detail.payload, request.is_masked)
    return request.html(
        200,
        "job.tpl",
        request.live_page(f"/job/{job_id}"),
        detail=mask_detail(detail) if request.is_masked else detail,
        payload=payload,
        payload_length=length,
        is_json=is_json,
        shown_characters=MAX_PAYLOAD_CHARACTERS,
        colour_of=_COLOUR_OF,
        waits=any(entry.outcome in (history.RETRIED, history.DIED) for entry in detail.history[-1:]),
    )


def show_payload(request: DashboardRequest, queue: DatabaseQueue, job_id: int) -> HTTPResponse:
    """The update as it came, as a file and never as a page."""
    if not request.visitor.is_owner or request.is_masked:
        return request.refuse(403, "hidden_here")
    try:
        payload = queue.payload(job_id)
    except (JobNotFound, SchemaMissing):
        return request.refuse(404, "no_job", id=str(job_id))
    return request.text(200, payload, "application/json; charset=utf-8", f"job-{job_id}.json")


def filter_query(source: Any) -> dict[str, str]:
    """What a query, or a form that repeats it, says about which jobs are meant; cut to a length no real value has."""
    return {name: str(getattr(source, name))[:200] for name in ("status", "type", "lane", "q")}


def visible_filter(request: DashboardRequest, query: dict[str, str]) -> Filter:
    """The Filter of these texts, without what would tell a visitor something that is hidden from them."""
    status = query["status"] if query["status"] in (*STATUSES, WARNED) else ""
    wanted = read_filter(status, query["type"], query["lane"], query["q"])
    if not request.is_masked:
        return wanted
    known_type = wanted.update_type if wanted.update_type in KNOWN_TYPES else None
    return Filter(wanted.status, known_type, number=wanted.number, warned=wanted.warned)


def read_id(text: str) -> Optional[int]:
    """The id of a job; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
