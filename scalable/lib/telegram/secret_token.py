"""Whether a request comes from Telegram: it brings the secret that was given to setWebhook.

Source: Bot API, setWebhook, `secret_token`.
"""

from __future__ import annotations

try:
    from _operator import _compare_digest  # what hmac.compare_digest is, without the OpenSSL that hmac loads
except ImportError:
    from hmac import compare_digest as _compare_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
SECRET_VARIABLE = "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"


def is_telegram(environ: Mapping[str, str], secret: str) -> bool:
    """True when the variables of the request hold `secret`, compared in constant time, or when it is empty."""
    given = environ.get(SECRET_VARIABLE, "")
    return not secret or _compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())
