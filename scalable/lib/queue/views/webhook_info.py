"""What Telegram last reported of the webhook, kept as a note for all processes. Makes no request itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any, Optional

from scalable.lib.causes import HIDDEN
from scalable.lib.queue.notes import WEBHOOK, WEBHOOK_BEFORE, Note

MAX_TEXT_CHARACTERS = 600
# Behind an address, which has no space in it.
_WITH_CERTIFICATE = " with a certificate"
# The shortest time between two calls; less than the minute of a pool, which would miss every second one by a moment.
WEBHOOK_PAUSE_SECONDS = 55.0
# In the address of every webhook of this project, the door in PHP among them.
_WEBHOOK_SCRIPTS = ("/webhook_queue.py", "/webhook_queue.php")
# A number outside of its bounds is none: who answers at BOT_API_URL need not be Telegram. The last second of the year
# 9999 is the last that a date can be; a Bot API server of one's own allows 100,000 connections.
_TIME, _COUNT, _CONNECTIONS = (0, 253_402_300_799), (0, 2**31 - 1), (1, 100_000)
_BOUNDS = {
    "pending": _COUNT,
    "max_connections": _CONNECTIONS,
    "last_error_at": _TIME,
    "seen_at": _TIME,
    "url_since": _TIME,
}
# What Telegram had on its way to the address before arrives within this time.
ON_ITS_WAY_SECONDS = 120.0


def is_webhook(url: str) -> bool:
    """Whether the address is that of our script, as far as its name tells."""
    path = url.partition("?")[0]
    return any(script in path for script in _WEBHOOK_SCRIPTS)


@dataclass(frozen=True)
class WebhookInfo:
    """Times in seconds since 1970, as Telegram gives them; `seen_at` None: never asked with success.

    `url` empty: there is no webhook. `pending`: updates that wait at Telegram. `trouble`: why the last question brought
    no answer, empty when it did. `before`: where the webhook pointed before it was set from here, empty when unknown;
    `before_had_certificate`: it had one of its own there.
    `allowed_updates`: the types Telegram brings, empty for its usual ones. `has_certificate`: it has one of its own.
    `url_since`: when `url` was first seen. `is_fed`: updates have come since then, although it is not our script: by
    another way, or by an address that leads to it. `was_here`: our script has ever been seen as the address.
    `is_refused`: the trouble is a token or an address in the settings, not the network.
    """

    url: str = ""
    pending: int = 0
    last_error_at: Optional[int] = None
    last_error: str = ""
    max_connections: Optional[int] = None
    seen_at: Optional[int] = None
    trouble: str = ""
    before: str = ""
    allowed_updates: tuple[str, ...] = ()
    has_certificate: bool = False
    before_had_certificate: bool = False
    url_since: Optional[int] = None
    is_fed: bool = False
    was_here: bool = False
    is_refused: bool = False

    @property
    def leads_here(self) -> bool:
        """Whether the address is that of our script, as far as its name tells."""
        return is_webhook(self.url)

    @property
    def host(self) -> str:
        """The host of the address; paths and queries are passwords here and there."""
        return self.url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]

    def for_readers(self) -> WebhookInfo:
        """What others than the owner may know of it: the host, the numbers and the times; and that there is more."""
        scheme = "https" if self.url.startswith("https://") else "http"
        return WebhookInfo(
            f"{scheme}://{self.host}/{HIDDEN}" if self.url else "",
            self.pending,
            self.last_error_at,
            HIDDEN if self.last_error else "",
            self.max_connections,
            self.seen_at,
            HIDDEN if self.trouble else "",
        )

    @property
    def seen(self) -> Optional[datetime]:
        """When Telegram said this, UTC."""
        return None if self.seen_at is None else datetime.fromtimestamp(self.seen_at, timezone.utc)

    @property
    def error_time(self) -> Optional[datetime]:
        """When Telegram last failed to deliver, UTC."""
        return None if self.last_error_at is None else datetime.fromtimestamp(self.last_error_at, timezone.utc)

    def failed_within(self, seconds: float) -> bool:
        """Whether Telegram had failed to deliver so shortly before it was asked."""
        if self.seen_at is None or self.last_error_at is None:
            return False
        return self.seen_at - self.last_error_at <= seconds

    def in_trouble(self, why: str, is_refused: bool = False) -> WebhookInfo:
        """The same as last seen; asking again brought no answer."""
        return replace(self, trouble=why[:MAX_TEXT_CHARACTERS], is_refused=is_refused)

    def after(self, last: WebhookInfo, newest_age_seconds: Optional[float]) -> WebhookInfo:
        """The same with what can only be told beside the answer before; `newest_age_seconds`: of the newest job."""
        now, was_here = self.seen_at or 0, last.was_here or last.leads_here or self.leads_here
        if last.url != self.url or last.url_since is None:
            return replace(self, url_since=now, was_here=was_here)
        since = last.url_since
        came = newest_age_seconds is not None and newest_age_seconds < now - since - ON_ITS_WAY_SECONDS
        return replace(self, url_since=since, is_fed=last.is_fed or came, was_here=was_here)

    def age_seconds(self, notes: dict[str, Note]) -> Optional[float]:
        """How long ago Telegram said this, by the clocks of the asker and the database; None when it never did."""
        note = notes.get(WEBHOOK)
        if note is None or self.seen_at is None:
            return None
        return note.age_seconds + (max(0.0, note.at.timestamp() - self.seen_at) if self.trouble else 0.0)

    def to_text(self) -> str:
        """For the note."""
        return json.dumps({name: value for name, value in asdict(self).items() if not name.startswith("before")})


def before_text(info: WebhookInfo) -> str:
    """For the note of where the webhook pointed before."""
    return info.url + (_WITH_CERTIFICATE if info.has_certificate else "")


def read_webhook(notes: dict[str, Note]) -> Optional[WebhookInfo]:
    """From the notes; None when Telegram was not asked yet."""
    note, before = notes.get(WEBHOOK), notes.get(WEBHOOK_BEFORE)
    if note is None:
        return None
    try:
        value: Any = json.loads(note.text)
        value["allowed_updates"] = tuple(value.get("allowed_updates", ()))
        value.update({name: _number(value[name], bounds) for name, bounds in _BOUNDS.items() if name in value})
        value["pending"] = value.get("pending") or 0
        url, _, rest = (before.text if before else "").partition(_WITH_CERTIFICATE)
        had_certificate = before is not None and before.text != url + rest
        return WebhookInfo(**value, before=url, before_had_certificate=had_certificate)
    except (ValueError, TypeError, AttributeError):
        return None


def from_telegram(info: Any, now: int) -> WebhookInfo:
    """What `getWebhookInfo` answered (Bot API, object WebhookInfo) at that time; what is missing stays empty."""
    told = info if isinstance(info, dict) else {}

    return WebhookInfo(
        str(told.get("url", ""))[:MAX_TEXT_CHARACTERS],
        _number(told.get("pending_update_count"), _COUNT) or 0,
        _number(told.get("last_error_date"), _TIME) or None,
        str(told.get("last_error_message", ""))[:MAX_TEXT_CHARACTERS],
        _number(told.get("max_connections"), _CONNECTIONS),
        now,
        allowed_updates=_names(told.get("allowed_updates")),
        has_certificate=told.get("has_custom_certificate") is True,
    )


def _number(value: Any, bounds: tuple[int, int]) -> Optional[int]:
    """None for what is no whole number within the bounds."""
    least, most = bounds
    return value if type(value) is int and least <= value <= most else None


def _names(listed: Any) -> tuple[str, ...]:
    """Names of update types; Telegram has about thirty of them."""
    return tuple(str(name)[:64] for name in listed[:50]) if isinstance(listed, list) else ()
