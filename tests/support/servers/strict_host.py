"""An installation on a strict host, to be made ill: Apache runs its scripts and PHP by suexec, as the customer.

What the checks say is asked for in each way an owner has: in a shell, on the dashboard's page, by doctor.php there and
in a shell. Its passwords are in SECRETS, and no answer may hold one.
"""

from __future__ import annotations

import html
import http.client
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

from tests.support.generators.visitor import Visitor
from tests.support.places import REPOSITORY
from tests.support.servers.apache import CUSTOMER, CUSTOMERS, SHORT_PATH, Apache, start_apache
from tests.support.servers.children import tail
from tests.support.servers.site import SYSTEM_PYTHON, Answer, copy_plugin, request

PASSWORD, WEBHOOK_SECRET = "hush-owner", "hush-telegram"
SECRETS = (PASSWORD, WEBHOOK_SECRET, "not-a-secret")
NO_ANSWER = 0
PHP_WRAPPER = "#!/bin/sh\nexec /usr/bin/php-cgi\n"
# As hosts with suexec run PHP: by a script of the customer's own.
PHP_BY_SUEXEC = """\
AddHandler customers-php .php
Action customers-php /php-wrapper/php.cgi
<Directory "{site}/php-wrapper">
    Options +ExecCGI
    SetHandler cgi-script
</Directory>
"""


class Patient:
    """The installation in `home`, which suexec allows; `settings` are of its settings file. Close it at the end."""

    def __init__(self, home: Path, bot: Path = REPOSITORY / "examples" / "bot.php", **settings: str) -> None:
        self.site = home / "site"
        self.site.mkdir(mode=0o755)
        self.home = home
        shutil.copy(bot, self.site / f"bot{bot.suffix}")
        self.plugin = copy_plugin(self.site)
        self.data = self.plugin / ".htdata"
        wrapper = self.site / "php-wrapper" / "php.cgi"
        wrapper.parent.mkdir(mode=0o755)
        wrapper.write_text(PHP_WRAPPER)
        wrapper.chmod(0o755)
        self.settings = {
            "BOT_LEGACY_PATH": f"../bot{bot.suffix}",
            "BOT_MONITOR_TOKEN": PASSWORD,
            "BOT_WEBHOOK_SECRET": WEBHOOK_SECRET,
            **settings,
        }
        self.write_settings()
        self.apache = self._start("")
        self.owner: Visitor | None = None

    def write_settings(self, **changes: str) -> None:
        """Change the settings file; an empty value takes a setting away."""
        self.settings = {name: value for name, value in {**self.settings, **changes}.items() if value}
        path = self.plugin / ".htenv"
        path.write_text("".join(f"{name}='{value}'\n" for name, value in self.settings.items()))
        path.chmod(0o600)
        shutil.chown(path, CUSTOMER, CUSTOMERS)

    def restart_apache(self, extra_config: str) -> None:
        """The same web server with more in its configuration."""
        self.apache.stop()
        self.apache = self._start(extra_config)

    def _start(self, extra_config: str) -> Apache:
        return start_apache(
            self.home / "apache",
            site=self.site,
            suexec=True,
            extra_config=PHP_BY_SUEXEC.format(site=self.site) + extra_config,
        )

    @property
    def url(self) -> str:
        """The address of the folder."""
        return f"{self.apache.url}/scalable"

    def deliver(self) -> int:
        """The status that one update is answered with, or NO_ANSWER. That of a script that does not start may be cut
        off: Apache then closes a connection whose body was not read.
        """
        connection = http.client.HTTPConnection(self.apache.url.removeprefix("http://"), timeout=60)
        headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": WEBHOOK_SECRET}
        connection.request("POST", "/scalable/webhook_queue.py", b'{"update_id": 1}', headers)
        try:
            return connection.getresponse().status
        except (http.client.RemoteDisconnected, ConnectionResetError):
            return NO_ANSWER
        finally:
            connection.close()

    def log_in(self) -> None:
        """Be the owner in a browser."""
        self.owner = Visitor(f"{self.url}/dashboard.py").log_in(PASSWORD)

    def as_customer(self, command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the customer's shell."""
        customer = ["setpriv", f"--reuid={CUSTOMER}", f"--regid={CUSTOMERS}", "--clear-groups", "--"]
        variables = {"PATH": SHORT_PATH, "HOME": str(self.site), **environment}
        return subprocess.run(
            [*customer, *command],
            capture_output=True,
            text=True,
            timeout=120,
            env=variables,
            cwd=self.site,
            check=False,
        )

    def ask(self, way: str) -> str:
        """What the checks say when asked in one of WAYS."""
        said = WAYS[way](self)
        for secret in SECRETS:
            assert secret not in said, f"{way} shows a secret"
        return said

    def in_shell(self, **environment: str) -> str:
        """`config.py`, with more in the shell's environment."""
        command = [SYSTEM_PYTHON, str(self.plugin / "config.py"), "--url", self.url]
        done = self.as_customer(command, **environment)
        assert done.returncode in (0, 2, 4), (done, tail(self.apache.error_log))
        return done.stdout + done.stderr

    def on_page(self) -> str:
        """The page of the dashboard, of which only what is to be copied is looked at."""
        if self.owner is None:
            self.log_in()
        assert self.owner is not None
        return copied(self.owner.get("/doctor"), self.apache)

    def by_php(self) -> str:
        """doctor.php in a browser."""
        answer = request(
            f"{self.url}/doctor.php",
            urlencode({"token": PASSWORD}).encode(),
            Content_Type="application/x-www-form-urlencoded",
        )
        return copied(answer, self.apache)

    def by_php_in_shell(self) -> str:
        """doctor.php in a shell."""
        done = self.as_customer(["php", str(self.plugin / "doctor.php")])
        assert done.returncode in (0, 2), done
        return done.stdout + done.stderr

    def close(self) -> None:
        """End the web server."""
        self.apache.stop()


WAYS: Mapping[str, Callable[[Patient], str]] = {
    "config.py": Patient.in_shell,
    "page": Patient.on_page,
    "doctor.php": Patient.by_php,
    "php doctor.php": Patient.by_php_in_shell,
}


def copied(answer: Answer, apache: Apache) -> str:
    """What a page offers to copy."""
    text = answer.body.decode()
    found = re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)
    assert answer.status == 200, (answer.status, text[:2000], tail(apache.error_log))
    assert found, text
    return html.unescape(str(found[0]))


def line_with(said: str, *parts: str) -> str:
    """The line of the checks that holds all of these."""
    found = [line for line in said.splitlines() if all(part in line for part in parts)]
    assert found, f"no line with {parts} in:\n{said}"
    return found[0]


def command_in(line: str) -> list[str]:
    """The command that a line tells to run, after the last `or: ` or `; `."""
    return ["sh", "-c", re.split(r"(?:or: |; )", line)[-1]]


def is_root() -> str | None:
    """None when this may mount and change users, otherwise the reason in one line."""
    return None if os.geteuid() == 0 else "this needs root: it mounts a disk and runs scripts as another user"
