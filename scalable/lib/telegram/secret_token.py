"""Whether a request comes from Telegram: it brings the secret that was given to setWebhook.

Source: Bot API, setWebhook, `secret_token`.
"""

from __future__ import annotations

try:
    from _operator import _compare_digest  # what hmac.compare_digest is, without the OpenSSL that hmac loads
except ImportError:
    from hmac import compare_digest as _compare_digest

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
SECRET_VARIABLE = "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"


def is_telegram(secret_token: str, secret: str) -> bool:
    """True when the `secret_token` of the request is `secret`, compared in constant time, or when `secret` is empty."""
    return not secret or _compare_digest(secret_token.encode("utf-8", "surrogateescape"), secret.encode())
