"""Rules about several settings at once. Reads neither file nor environment: it is given texts and values."""

from __future__ import annotations

from collections.abc import Mapping

from scalable.lib.runners.choose import mismatch, without_password
from scalable.lib.setup.settings import Reading

# What strangers may try as often as they like, or nearly so.
PASSWORDS = ("BOT_MONITOR_TOKEN", "BOT_MONITOR_READ_TOKEN", "BOT_TICK_TOKEN", "BOT_WEBHOOK_SECRET")
MIN_PASSWORD = 16
DATABASE_NAMES = ("BOT_DB_HOST", "BOT_DB_NAME", "BOT_DB_USER", "BOT_DB_PASS")


def disagreements(readings: Mapping[str, Reading], given: Mapping[str, str]) -> list[str]:
    """A line for each rule that is broken. `given`: texts by name, `readings`: those settings that are right alone."""
    return [*_missing_database_settings(given), *_bot_mismatch(readings), *_same_passwords(readings)]


def doubtful_settings(readings: Mapping[str, Reading]) -> list[str]:
    """A line for each setting that is right, and does not do what its owner may think; all of them were readable."""
    return [*_idle_settings(readings), *_weak_passwords(readings)]


def _idle_settings(readings: Mapping[str, Reading]) -> list[str]:
    """Those that have no effect without another one."""
    if readings["BOT_ALERT_CHAT_ID"].value and not readings["BOT_TOKEN"].value:
        return ["BOT_ALERT_CHAT_ID is set, but BOT_TOKEN is not: nobody will be told when something goes wrong"]
    return []


def _weak_passwords(readings: Mapping[str, Reading]) -> list[str]:
    """Passwords of ours that are short enough to be guessed. The database's is its server's matter."""
    return [
        f"{name} has {len(reading.text)} characters, and can be guessed: give it {MIN_PASSWORD} or more; "
        "python3 -c 'import secrets; print(secrets.token_urlsafe(24))' invents one"
        for name, reading in readings.items()
        if name in PASSWORDS and 0 < len(reading.text) < MIN_PASSWORD
    ]


def _missing_database_settings(given: Mapping[str, str]) -> list[str]:
    set_names = [name for name in DATABASE_NAMES if given.get(name, "").strip()]
    if not set_names:
        return []
    missing = [name for name in DATABASE_NAMES[:3] if name not in set_names]
    if "BOT_DB_PASS" not in given:
        missing.append("BOT_DB_PASS")
    why = f"{', '.join(set_names)} is set, and a MySQL or MariaDB queue needs all four BOT_DB_* settings"
    hint = {"BOT_DB_PASS": " (write BOT_DB_PASS= if there is no password)"}
    return [f"{name} is missing: {why}{hint.get(name, '')}" for name in missing]


def _bot_mismatch(readings: Mapping[str, Reading]) -> list[str]:
    if not {"BOT_LEGACY_PATH", "BOT_LEGACY_MODE"} <= readings.keys():
        return []
    path, mode = readings["BOT_LEGACY_PATH"].value, readings["BOT_LEGACY_MODE"].value
    expected, shown = mismatch(path, mode), without_password(path)
    if expected is None:
        return []
    return [f"BOT_LEGACY_MODE={mode} does not go with BOT_LEGACY_PATH={shown!r}: expected {expected}"]


def _same_passwords(readings: Mapping[str, Reading]) -> list[str]:
    names = ("BOT_MONITOR_TOKEN", "BOT_MONITOR_READ_TOKEN")
    given = [readings[name].text for name in names if name in readings]
    if len(given) == 2 and given[0] and given[0] == given[1]:
        return ["BOT_MONITOR_READ_TOKEN=(hidden): expected another password than BOT_MONITOR_TOKEN"]
    return []
