"""The dashboard's pages as HTML. access.py decides who may see them, actions.py what a button does."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Optional
from urllib.parse import quote, urlencode

from bottle import SimpleTemplate, html_escape

from scalable import __version__
from scalable.lib.dashboard.access import PROGRAM, Visitor
from scalable.lib.dashboard.language import NAMES, Language
from scalable.lib.dashboard.masking import mask_job, mask_lane, mask_update
from scalable.lib.dashboard.overview import iso
from scalable.lib.dashboard.readable import error_in_a_line, indented_json, kind_of_error, visible
from scalable.lib.queue.job import JobSummary
from scalable.lib.queue.views.browse import Count
from scalable.lib.queue.views.search import WARNED
from scalable.lib.queue.views.verdict import Reason, State

_TEMPLATES = Path(__file__).parent / "templates"
# Of one update; the whole is offered as a file.
MAX_PAYLOAD_CHARACTERS = 100_000
ERROR_CHARACTERS = 120
# What every template may call to show text from outside; `t` and the numbers of jobs are harmless.
_HELPERS = {
    "visible": visible,
    "kind_of_error": kind_of_error,
    "error_in_a_line": partial(error_in_a_line, max_characters=ERROR_CHARACTERS),
}


@dataclass(frozen=True)
class Page:
    """What the templates may ask for: the visitor, the language, and from where links start.

    `base` is the script's own path, quoted; `here` the page's own address below it, for forms that come back. `part`:
    `live` or `charts` when only what changes is asked for. `form_token` is empty where nothing can be changed.
    """

    language: Language
    visitor: Visitor
    base: str
    masked: bool
    here: str = "/"
    part: str = ""
    form_token: str = field(default="", repr=False)
    notice: str = ""
    queue_order: str = ""
    has_bot_token: bool = False
    version: str = __version__
    languages: dict[str, str] = field(default_factory=lambda: NAMES)

    @property
    def layout(self) -> str:
        """What goes around the page."""
        return "bare.tpl" if self.part else "layout.tpl"

    @property
    def is_owner(self) -> bool:
        """Whether there are buttons."""
        return self.visitor.is_owner

    @property
    def can_leave(self) -> bool:
        """Whether there is a session to end."""
        return not self.visitor.is_stranger and self.visitor.session != PROGRAM

    def t(self, key: str, **values: object) -> str:
        """A text."""
        return self.language.text(key, **values)

    def n(self, number: float, digits: int = 0) -> str:
        """A number."""
        return self.language.number(number, digits)

    def seconds(self, seconds: Optional[float]) -> str:
        """A duration."""
        return self.language.seconds(seconds)

    def time(self, time: Optional[datetime], is_exact: bool = False) -> str:
        """HTML of a moment in UTC; the script says how long ago that is or, `is_exact`, when in the browser's zone."""
        if time is None:
            return "–"
        exact = " data-exact" if is_exact else ""
        return f'<time datetime="{iso(time)}"{exact}>{time:%Y-%m-%d %H:%M:%S} UTC</time>'

    def link(self, path: str, **query: object) -> str:
        """The address of a page, without empty parts of the query."""
        given = {name: value for name, value in query.items() if value not in (None, "")}
        return f"{self.base}{path}" + (f"?{urlencode(given)}" if given else "")

    def static(self, name: str) -> str:
        """The address of a file; another one for every version, so that browsers may keep it."""
        return f"{self.base}/static/{name}?v={self.version}"

    def count(self, count: Count) -> str:
        """HTML of a number that says when it is not exact."""
        if count.is_bound:
            return str(html_escape(self.t("more_than", number=count.number)))
        if count.at is None:
            return self.n(count.number)
        return f"{self.n(count.number)} <small>{html_escape(self.t('counted'))} {self.time(count.at)}</small>"

    def reason(self, reason: Reason) -> str:
        """What is wrong, and what to do."""
        values = {name: self._told(name, value) for name, value in reason.values.items()}
        key, plain = f"reason_{reason.code}", f"plain_{reason.code}"
        return visible(self.t(plain if reason.is_plain and self.language.has(plain) else key, **values))

    def _told(self, name: str, value: object) -> object:
        if name == "seconds":
            return self.seconds(float(str(value)))
        if name == "job":
            return str(value)
        if isinstance(value, datetime):
            return f"{value:%Y-%m-%d %H:%M} UTC"
        return "–" if value is None else value

    def state_of(self, job: JobSummary) -> str:
        """The name of a job's state: that of its row, or WARNED."""
        return WARNED if job.warned else job.status

    def state(self, state: State) -> str:
        """The word of a verdict."""
        return self.t(f"state_{state.value}")

    def job(self, job: JobSummary) -> JobSummary:
        """The job as this visitor may see it."""
        return mask_job(job) if self.masked else job

    def lane(self, lane: str) -> str:
        """A lane as this visitor may see it."""
        return visible(str(mask_lane(lane) if self.masked else lane))

    def webhook_url(self, url: str) -> str:
        """Where Telegram goes; only the owner sees a query, which may be a password."""
        return visible(url if self.is_owner else url.partition("?")[0])

    def memory(self, kilobytes: Optional[int]) -> str:
        """Megabytes."""
        return "–" if kilobytes is None else f"{self.n(kilobytes / 1024)} MB"


def script_path(script_name: str) -> str:
    """The script's own path as it stands in addresses; what a folder is called may need quoting."""
    return quote("/" + script_name.strip("/")) if script_name.strip("/") else ""


def pretty_payload(payload: str, masked: bool) -> tuple[str, int, bool]:
    """(the update to read, its whole length, whether it is JSON). Masked, only JSON is shown or measured."""
    text = indented_json(payload, mask_update) if masked else indented_json(payload)
    if text is None:
        return ("", 0, False) if masked else (visible(payload[:MAX_PAYLOAD_CHARACTERS]), len(payload), False)
    return visible(text[:MAX_PAYLOAD_CHARACTERS]), len(text), True


def render(template: str, page: Page, **values: Any) -> str:
    """One of the files in `templates/`, everything in it escaped."""
    html: str = _template(template).render(page=page, t=page.t, **_HELPERS, **values)
    return html


@cache
def _template(name: str) -> SimpleTemplate:
    return SimpleTemplate(name=name, lookup=[str(_TEMPLATES)])
