"""The table of settings: name, converter, default, help. settings.py reads by it, config.py makes the Config of it."""

from __future__ import annotations

from scalable.lib.logs import LEVELS
from scalable.lib.queue.dialects.address import parse_host
from scalable.lib.runners.choose import MODES, without_password
from scalable.lib.setup.settings import Setting, auto_or, matching, one_of, seconds, text, whole_number
from scalable.lib.telegram.lanes import ORDERS

SETTINGS = (
    Setting(
        "BOT_CONFIG", text, ".htenv", "The settings file, relative to `scalable/`. Read from the environment only."
    ),
    Setting(
        "BOT_DB_HOST",
        lambda value: parse_host(value) if value else None,
        "",
        "MySQL or MariaDB server: `localhost`, `host`, `host:port` or `/path/to.sock`. "
        "With no BOT_DB_* at all the queue is an SQLite file in the data folder.",
    ),
    Setting("BOT_DB_NAME", text, "", "Name of the database."),
    Setting("BOT_DB_USER", text, "", "User of the database."),
    Setting("BOT_DB_PASS", text, "", "Password of that user; write `BOT_DB_PASS=` when there is none.", secret=True),
    Setting(
        "BOT_DB_SERVER_USER",
        matching(r"([A-Za-z_][A-Za-z0-9_.-]{0,63}|[0-9]{1,10})?", "the name or the number of a user"),
        "",
        "The user of this machine who runs the database server, or a proxy to it, when the check says that it is not "
        "`mysql`, root or your own.",
    ),
    Setting(
        "BOT_QUEUE_TABLE",
        matching(r"[A-Za-z0-9_]{1,48}", "1 to 48 of A-Z a-z 0-9 _"),
        "bot_jobs",
        "Name of the queue's table; its companions start with the same name.",
    ),
    Setting(
        "BOT_QUEUE_ORDER",
        one_of(*ORDERS),
        "telegram",
        "What runs one after the other: `telegram`, the updates that Telegram itself sends one after the other; "
        "`chat`, everything of a chat; `none`, nothing.",
    ),
    Setting(
        "BOT_DATA_DIR",
        text,
        ".htdata",
        "Folder for the embedded database and the locks, relative to `scalable/`; private to its owner.",
    ),
    Setting(
        "BOT_LEGACY_PATH",
        text,
        "../bot.php",
        "The bot, relative to `scalable/`: a `.php` or `.py` file, an executable, a Python function such as "
        "`../bot.py:handle`, or an address such as `https://example.com/bot.php`.",
        show=without_password,
    ),
    Setting(
        "BOT_LEGACY_MODE",
        one_of(*MODES),
        "auto",
        "How the bot is run: `cli`, the update on standard input; `fastcgi` or `cgi`, a PHP bot as the web server "
        "would run it; `http`, posted to the address; `python`, the function called. `auto`: `http` for an "
        "address, `python` for a function, what its source asks for with a PHP file, else `cli`.",
    ),
    Setting(
        "BOT_LEGACY_TIMEOUT", seconds(0.1, 3600), "60", "Seconds the bot may take for one update before it is stopped."
    ),
    Setting(
        "BOT_LEGACY_BACKGROUND_SECONDS",
        seconds(0.1, 86400),
        "300",
        "Seconds after its start until which a PHP bot may work on that has given its whole answer.",
    ),
    Setting(
        "BOT_LEGACY_STRICT",
        one_of("0", "1"),
        "0",
        "`1`: an update whose run wrote a warning, to standard error or to PHP's log, has failed and is tried again. "
        "`0`: it is done, and counted as done with warnings.",
    ),
    Setting(
        "BOT_LEGACY_ENV",
        matching(r"(\*|[A-Za-z_]\w*)([ ,]+(\*|[A-Za-z_]\w*))*", "`*` or names of variables, with spaces between them"),
        "*",
        "Which variables of the environment the bot gets besides `PATH`, `HOME`, `LANG`, `TZ` and `BOT_*`: names, or "
        "`*`, all. The passwords of Scalable mode only by name. In the modes `cgi` and `fastcgi` `*` adds none.",
    ),
    Setting(
        "BOT_PHP_BINARY",
        text,
        "",
        "The PHP program: `php` for mode `cli`, `php-cgi` for `cgi` and `fastcgi`. Empty: searched for where "
        "hosts keep it.",
    ),
    Setting(
        "BOT_FASTCGI_SOCKET",
        text,
        "",
        "For `fastcgi`: the host's PHP-FPM, `/path/to.sock` or `host:port`. Empty: every slot of a worker keeps "
        "a php-cgi of its own.",
    ),
    Setting(
        "BOT_TOKEN",
        matching(r"([0-9]+:[A-Za-z0-9_-]+)?", "the token from @BotFather: digits, a colon, a key"),
        "",
        "The bot's token, to send what the bot answers in its HTTP response, and to show and set the webhook on "
        "the dashboard. Empty: neither is done.",
        secret=True,
    ),
    Setting(
        "BOT_API_URL",
        matching(r"https?://[^\s/?#@]+(/[\w.~/-]*)?", "an address such as https://api.telegram.org"),
        "https://api.telegram.org",
        "The Bot API server.",
    ),
    Setting(
        "BOT_REPLY_ANY",
        one_of("0", "1"),
        "0",
        "Of what a program prints, or a function returns as text: `0`, only an answer in the update's own chat is "
        "sent; `1`, every method call, so never for a bot that prints what people write.",
    ),
    Setting(
        "BOT_ALERT_CHAT_ID",
        matching(r"(-?[0-9]{1,20}|@[A-Za-z0-9_]{4,40})?", "a chat's number or @channel"),
        "",
        "Where the bot itself writes when something goes wrong, and when it is right again; needs BOT_TOKEN.",
    ),
    Setting("BOT_WORKER_POOL_SIZE", whole_number(1, 64), "4", "Worker processes that run at the same time."),
    Setting(
        "BOT_WORKER_SLOTS",
        auto_or(whole_number(1, 64)),
        "auto",
        "Updates that each of them runs at the same time. `auto`: one, and up to 8 while the bot takes long and more "
        "updates wait. A number: up to so many.",
    ),
    Setting("BOT_WORKER_SLEEP", seconds(0.05, 60), "1", "Seconds an idle worker waits before it looks for work again."),
    Setting(
        "BOT_WORKER_KICK",
        one_of("0", "1"),
        "0",
        "`1`: the webhook itself starts a worker for some seconds when none is at work, for a host without cron.",
    ),
    Setting(
        "BOT_TICK_TOKEN",
        matching(r"[A-Za-z0-9_-]{0,256}", "up to 256 of A-Z a-z 0-9 _ -"),
        "",
        "Password of the address `worker.py`, for a cron that can only fetch a URL. Empty: the address is closed.",
        secret=True,
    ),
    Setting("BOT_JOB_MAX_ATTEMPTS", whole_number(1, 100), "6", "How often an update is tried before it is failed."),
    Setting(
        "BOT_JOB_RETRY_BASE",
        whole_number(1, 86400),
        "5",
        "Seconds before the second attempt; the wait doubles with every further one.",
    ),
    Setting("BOT_JOB_RETRY_MAX", whole_number(1, 86400), "300", "The longest wait between two attempts, in seconds."),
    Setting(
        "BOT_BREAKER",
        one_of("0", "1"),
        "1",
        "`1`: while all runs fail alike, because the bot's side is down, updates wait and use up no attempts. `0`: "
        "each is tried BOT_JOB_MAX_ATTEMPTS times all the same.",
    ),
    Setting(
        "BOT_KEEP_DONE_HOURS",
        whole_number(1, 87600),
        "72",
        "Hours after which done and expired updates are deleted from the queue.",
    ),
    Setting("BOT_KEEP_FAILED_DAYS", whole_number(1, 3650), "30", "Days after which failed updates are deleted."),
    Setting(
        "BOT_WEBHOOK_SECRET",
        matching(r"[A-Za-z0-9_-]{0,256}", "up to 256 of A-Z a-z 0-9 _ -"),
        "",
        "The `secret_token` you gave to setWebhook; requests without it are refused.",
        secret=True,
    ),
    Setting(
        "BOT_MONITOR_TOKEN",
        text,
        "",
        "Password of the dashboard, 16 characters or more. Empty: everybody sees the counts only; with `--serve` the "
        "pool invents one.",
        secret=True,
    ),
    Setting(
        "BOT_MONITOR_READ_TOKEN",
        text,
        "",
        "A second password, for people who may look but not change anything.",
        secret=True,
    ),
    Setting(
        "BOT_MONITOR_MASK",
        one_of("reader", "everyone", "nobody"),
        "reader",
        "Who sees names, texts and ids of people masked: `reader`, those who came with BOT_MONITOR_READ_TOKEN; "
        "`everyone`; `nobody`.",
    ),
    Setting("BOT_MONITOR_LIMIT", whole_number(1, 1000), "100", "How many of the newest jobs the dashboard lists."),
    Setting("BOT_LOG_LEVEL", one_of(*LEVELS), "INFO", "DEBUG, INFO, WARNING or ERROR."),
    Setting(
        "BOT_LOG_MAX_MB",
        whole_number(1, 10_000),
        "10",
        "Megabytes after which a file that the log is written into, such as cron's, is put aside.",
    ),
    Setting("BOT_LOG_FILES", whole_number(0, 100), "3", "How many of those that were put aside are kept."),
)
