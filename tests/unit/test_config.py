"""load_config: the settings of one installation, all problems at once, and no secret in anything a person sees."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalable.lib.errors import ConfigurationError
from scalable.lib.queue.dialects.address import MySqlAddress, SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.setup.checks import run_check_command
from scalable.lib.setup.config import load_config
from scalable.lib.setup.settings_table import SETTINGS
from tests.support.generators.fuzz_counts import fuzzed

MYSQL = {"BOT_DB_HOST": "db.example.com", "BOT_DB_NAME": "bot", "BOT_DB_USER": "me", "BOT_DB_PASS": "hush-database"}
SECRETS = {
    "BOT_DB_PASS": "hush-database",
    "BOT_WEBHOOK_SECRET": "hush-webhook",
    "BOT_MONITOR_TOKEN": "hush-monitor",
    "BOT_TOKEN": "123456:hush-bot",
    "BOT_MONITOR_READ_TOKEN": "hush-reader",
    "BOT_TICK_TOKEN": "hush-tick",
}


def problems(environment: dict[str, str], folder: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_config(environment, folder)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def test_without_any_setting_the_documented_defaults_are_used(tmp_path: Path):
    config = load_config({}, tmp_path)

    assert config.database == SqliteAddress(tmp_path / ".htdata" / ".ht-queue.sqlite3")
    assert config.bot.target == str(tmp_path.parent / "bot.php")
    assert (config.bot.chosen_mode, config.bot.is_decided_by_source, config.bot.timeout_seconds) == ("auto", True, 60.0)
    assert (config.bot_token, config.bot_api_url) == ("", "https://api.telegram.org")
    assert config.retry_policy == RetryPolicy(max_attempts=6, base_seconds=5, max_seconds=300)
    assert (config.queue_table, config.worker_pool_size, config.worker_sleep_seconds) == ("bot_jobs", 4, 1.0)
    assert (config.monitor_limit, config.monitor_token, config.webhook_secret) == (100, "", "")
    assert (config.log_level, config.warnings) == ("INFO", ())
    assert config.queue_order == "telegram"
    assert {reading.source for reading in config.readings} == {"default"}


def test_the_environment_wins_over_the_settings_file(tmp_path: Path):
    (tmp_path / ".htenv").write_text("BOT_WORKER_POOL_SIZE=7\nBOT_MONITOR_LIMIT=9\n")

    config = load_config({"BOT_WORKER_POOL_SIZE": "8"}, tmp_path)

    assert (config.worker_pool_size, config.monitor_limit) == (8, 9)


def test_paths_are_relative_to_the_plugin_and_absolute_ones_stay(tmp_path: Path):
    config = load_config({"BOT_LEGACY_PATH": "../up/./bot.py", "BOT_DATA_DIR": "/elsewhere/data"}, tmp_path)

    assert config.bot.target == str(tmp_path.parent / "up" / "bot.py")
    assert config.data_dir == Path("/elsewhere/data")


@pytest.mark.parametrize(
    ("path", "mode", "target", "chosen"),
    [
        ("../bot.php", "auto", "{up}/bot.php", "auto"),
        ("../bot.php", "fastcgi", "{up}/bot.php", "fastcgi"),
        ("../bot.py:handle", "auto", "{up}/bot.py:handle", "python"),
        ("https://example.com/bot.php?a=b", "auto", "https://example.com/bot.php?a=b", "http"),
        ("HTTP://127.0.0.1:81/x", "HTTP", "HTTP://127.0.0.1:81/x", "http"),
    ],
)
def test_the_bot_is_a_file_a_function_or_an_address(tmp_path: Path, path: str, mode: str, target: str, chosen: str):
    config = load_config({"BOT_LEGACY_PATH": path, "BOT_LEGACY_MODE": mode}, tmp_path)

    assert config.bot.target == target.format(up=tmp_path.parent)
    assert config.bot.chosen_mode == chosen


@pytest.mark.parametrize(
    ("path", "mode", "expected"),
    [
        ("../bot.php", "http", "an address such as https://example.com/bot.php"),
        ("../bot.py", "python", "a file and a function such as ../bot.py:handle"),
        ("https://me:hush@example.com/bot.php", "fastcgi", "a file such as ../bot.php"),
        ("../bot.py:handle", "cli", "a file such as ../bot.php"),
    ],
)
def test_a_mode_that_does_not_go_with_the_bot_is_told_with_what_would(
    tmp_path: Path, path: str, mode: str, expected: str
):
    (line,) = problems({"BOT_LEGACY_PATH": path, "BOT_LEGACY_MODE": mode}, tmp_path)

    assert line.startswith(f"BOT_LEGACY_MODE={mode} does not go with BOT_LEGACY_PATH=")
    assert line.endswith(f": expected {expected}")
    assert "hush" not in line


def test_a_password_in_the_address_of_the_bot_is_seen_by_nobody(tmp_path: Path, capsys):
    environment = {"BOT_LEGACY_PATH": "https://me:hush-bot@example.com/bot.php"}
    config = load_config(environment, tmp_path)

    run_check_command([], environment, tmp_path)

    assert config.bot.target == "https://me:hush-bot@example.com/bot.php"
    seen = capsys.readouterr()
    assert "https://…@example.com/bot.php" in seen.out
    assert "hush" not in seen.out + seen.err + repr(config)


def test_every_wrong_value_and_every_missing_one_is_told_at_once(tmp_path: Path):
    (tmp_path / ".htenv").write_text("BOT_MONITOR_LIMIT=0\nBOT_WEBHOOK_SECRET='hush hush'\n")

    found = problems({"BOT_WORKER_POOL_SIZE": "four", "BOT_DB_NAME": "bot", "BOT_LOG_LEVEL": "LOUD"}, tmp_path)

    assert len(found) == 7
    assert "BOT_WORKER_POOL_SIZE='four' (environment): expected a whole number from 1 to 64" in found
    assert "BOT_MONITOR_LIMIT='0' (file): expected a whole number from 1 to 1000" in found
    assert "BOT_WEBHOOK_SECRET=(hidden) (file): expected up to 256 of A-Z a-z 0-9 _ -" in found
    assert "BOT_LOG_LEVEL='LOUD' (environment): expected one of DEBUG, INFO, WARNING, ERROR" in found
    assert [line.split()[0] for line in found if "is missing" in line] == ["BOT_DB_HOST", "BOT_DB_USER", "BOT_DB_PASS"]


@pytest.mark.parametrize(
    ("given_settings", "missing"),
    [
        ({"BOT_DB_HOST": "db"}, ["BOT_DB_NAME", "BOT_DB_USER", "BOT_DB_PASS"]),
        ({"BOT_DB_PASS": "x"}, ["BOT_DB_HOST", "BOT_DB_NAME", "BOT_DB_USER"]),
        ({"BOT_DB_HOST": "db", "BOT_DB_NAME": "bot", "BOT_DB_USER": "me"}, ["BOT_DB_PASS"]),
        ({**MYSQL, "BOT_DB_NAME": ""}, ["BOT_DB_NAME"]),
        ({**MYSQL, "BOT_DB_USER": "  "}, ["BOT_DB_USER"]),
        ({**MYSQL, "BOT_DB_HOST": ""}, ["BOT_DB_HOST"]),
    ],
)
def test_a_half_set_database_names_exactly_what_is_missing(tmp_path: Path, given_settings, missing: list[str]):
    found = problems(given_settings, tmp_path)

    assert [line.partition(" is missing: ")[0] for line in found] == missing
    assert "hush" not in "".join(found)


def test_the_database_may_be_set_half_in_the_file_and_half_in_the_environment(tmp_path: Path):
    (tmp_path / ".htenv").write_text("BOT_DB_HOST=[::1]:3307\nBOT_DB_NAME=bot\nBOT_DB_PASS='p#w d'\n")

    config = load_config({"BOT_DB_USER": "me"}, tmp_path)

    assert config.database == MySqlAddress("::1", 3307, None, "bot", "me", "p#w d")


def test_a_setting_that_the_environment_empties_is_missing_although_the_file_has_it(tmp_path: Path):
    (tmp_path / ".htenv").write_text("".join(f"{name}={value}\n" for name, value in MYSQL.items()))

    found = problems({"BOT_DB_HOST": ""}, tmp_path)

    assert [line.partition(" is missing: ")[0] for line in found] == ["BOT_DB_HOST"]


def test_an_empty_password_is_allowed_when_it_is_written(tmp_path: Path):
    config = load_config({**MYSQL, "BOT_DB_PASS": ""}, tmp_path)

    assert config.database == MySqlAddress("db.example.com", 3306, None, "bot", "me", "")


def test_an_empty_password_alone_does_not_ask_for_mysql(tmp_path: Path):
    assert isinstance(load_config({"BOT_DB_PASS": "", "BOT_DB_HOST": ""}, tmp_path).database, SqliteAddress)


def test_a_named_settings_file_is_read_instead_of_the_default_one(tmp_path: Path):
    (tmp_path / ".htenv").write_text("BOT_MONITOR_LIMIT=1\n")
    (tmp_path / "other").write_text("BOT_MONITOR_LIMIT=2\n")

    config = load_config({"BOT_CONFIG": "other"}, tmp_path)

    assert (config.monitor_limit, config.settings_file) == (2, tmp_path / "other")


def test_a_named_settings_file_that_is_missing_is_a_problem(tmp_path: Path):
    assert problems({"BOT_CONFIG": "gone"}, tmp_path) == [
        f"BOT_CONFIG='gone' (environment): expected a settings file, but there is none at {str(tmp_path / 'gone')!r}"
    ]


def test_a_settings_file_that_may_not_even_be_looked_for_is_a_problem_with_its_name(tmp_path: Path):
    """As when it lies in a folder that this process may not enter."""
    found = problems({"BOT_CONFIG": "x" * 5000}, tmp_path)

    assert len(found) == 1
    assert found[0].startswith(f"{tmp_path / ('x' * 5000)}: the settings file cannot be read")


def test_a_broken_settings_file_is_a_problem_even_when_the_environment_sets_everything(tmp_path: Path):
    (tmp_path / ".htenv").write_text("not a setting\n")

    assert problems(MYSQL, tmp_path) == [f"{tmp_path / '.htenv'}, line 1: expected NAME=value"]


def test_an_unknown_name_is_a_warning_with_a_hint_and_no_problem(tmp_path: Path):
    config = load_config({"BOT_WORKER_POOLSIZE": "8"}, tmp_path)

    assert config.warnings == (
        "BOT_WORKER_POOLSIZE (environment) is not a setting of Scalable mode; did you mean BOT_WORKER_POOL_SIZE?",
    )


def test_a_config_shows_no_secret(tmp_path: Path):
    config = load_config({**MYSQL, **SECRETS}, tmp_path)

    for shown in (repr(config), str(config), repr(config.readings), f"{config.database}", repr(config.warnings)):
        assert "hush" not in shown
    assert config.monitor_token == "hush-monitor"  # it is there, only not shown


def test_a_wrong_secret_is_not_repeated_in_the_complaint(tmp_path: Path):
    secrets = {name: f"hush\n{value}" for name, value in SECRETS.items()}

    found = problems({**MYSQL, **secrets}, tmp_path)

    assert len(found) == len(secrets)
    assert "hush" not in "".join(found)


def test_no_default_is_a_credential_and_every_secret_has_an_empty_one():
    secret = {setting.name: setting.default for setting in SETTINGS if setting.secret}

    assert secret == dict.fromkeys(SECRETS, "")


def test_every_setting_says_what_it_is_and_has_a_default_that_its_own_converter_takes():
    for setting in SETTINGS:
        setting.convert(setting.default)
        assert setting.help.endswith("."), setting.name


anything = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="0123456789.-+e:/[]", max_size=12),
    st.sampled_from(["", " ", "\x00", "."]),
)
names = st.sampled_from([setting.name for setting in SETTINGS] + ["BOT_OTHER", "PATH"])


@fuzzed(300)
@given(environment=st.dictionaries(names, anything, max_size=8), file=st.one_of(st.none(), st.text(max_size=80)))
@example(environment={"BOT_CONFIG": "\x00"}, file=None)
@example(environment={"BOT_CONFIG": "two\nlines"}, file=None)
@example(environment={"BOT_CONFIG": "x" * 300}, file=None)
@example(environment={"BOT_DB_HOST": "\ud800"}, file="BOT_DB_NAME=x")
def test_whatever_is_set_either_loads_or_is_a_configuration_error(environment: dict[str, str], file):
    with tempfile.TemporaryDirectory() as folder:
        if file is not None:
            (Path(folder) / ".htenv").write_bytes(file.encode("utf-8", "surrogatepass"))
        found = outcome(environment, Path(folder))

    assert all(problem and "\n" not in problem for problem in found)


def outcome(environment: dict[str, str], folder: Path) -> tuple[str, ...]:
    try:
        load_config(environment, folder)
    except ConfigurationError as error:
        return error.problems or ("",)
    return ()


def test_a_chat_for_alerts_without_a_token_is_a_warning_that_names_both(tmp_path: Path):
    config = load_config({"BOT_ALERT_CHAT_ID": "42"}, tmp_path)

    assert config.warnings == (
        "BOT_ALERT_CHAT_ID is set, but BOT_TOKEN is not: nobody will be told when something goes wrong",
    )


@pytest.mark.parametrize(
    "name", ["BOT_MONITOR_TOKEN", "BOT_MONITOR_READ_TOKEN", "BOT_TICK_TOKEN", "BOT_WEBHOOK_SECRET"]
)
def test_a_password_that_can_be_guessed_is_a_warning_with_its_name_and_not_itself(tmp_path: Path, name: str):
    [line] = load_config({name: "fifteen-letters"}, tmp_path).warnings

    assert line.startswith(f"{name} has 15 characters, and can be guessed: give it 16 or more")
    assert "fifteen" not in line
    assert load_config({name: "sixteen-letters-"}, tmp_path).warnings == ()
    assert load_config({name: ""}, tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("value", "names"),
    [("*", ("*",)), ("", ("*",)), ("A", ("A",)), ("A, b_2 *", ("A", "b_2", "*"))],
)
def test_variables_of_the_bot_are_names_or_all(tmp_path: Path, value: str, names: tuple[str, ...]):
    assert load_config({"BOT_LEGACY_ENV": value}, tmp_path).bot.variables == names


@pytest.mark.parametrize("value", ["A=b", "2A", "A;B", "A B*", "é"])
def test_other_variables_are_refused(tmp_path: Path, value: str):
    with pytest.raises(ConfigurationError, match=r"BOT_LEGACY_ENV='.*'.*expected `\*` or names of variables"):
        load_config({"BOT_LEGACY_ENV": value}, tmp_path)


@pytest.mark.parametrize("value", ["my chat", "12 34", "@a", "https://t.me/x"])
def test_a_chat_for_alerts_that_is_none_is_refused(tmp_path: Path, value: str):
    with pytest.raises(ConfigurationError, match=r"BOT_ALERT_CHAT_ID='.*'.*expected a chat's number or @channel"):
        load_config({"BOT_ALERT_CHAT_ID": value}, tmp_path)
