"""A private Apache for the tests: Debian's httpd and modules, with a configuration, port and logs of its own.

Shows a site the way a shared host does: .htaccess files count, CGI scripts run as the unprivileged web user with a
short environment. Knows nothing about what the site is.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .children import Child, DidNotStart, accepts_connections, free_port, wait_until_ready

PROGRAM = Path("/usr/sbin/apache2")
MODULES_FOLDER = Path("/usr/lib/apache2/modules")
PHP_CGI = Path("/usr/bin/php-cgi")
WEB_USER = "www-data"
# The customer of a host whose scripts run by suexec; it refuses users and groups below 100, and files elsewhere than
# below its document root (suexec -V).
CUSTOMER, CUSTOMERS = "nobody", "nogroup"
SUEXEC, SUEXEC_ROOT = Path("/usr/lib/apache2/suexec"), Path("/var/www")
SUEXEC_LOG = Path("/var/log/apache2/suexec.log")
SHORT_PATH = "/usr/local/bin:/usr/bin:/bin"
# What the C library says when Passenger 6.0 frees something twice while it starts: one start in several hundred.
PASSENGER_CRASHED = "double free or corruption"
MOST_STARTS = 3

# mod_cgid is made for threaded servers, mod_cgi for forking ones (Apache's manual, mod_cgid).
MPM_OF_CGI_MODULE = {"cgid": "mpm_event", "cgi": "mpm_prefork"}
MODULES = ("authn_core", "authz_core", "mime", "dir", "env", "setenvif", "alias", "actions", "headers", "rewrite")

CONFIGURATION = """\
ServerRoot "{folder}"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile "{folder}/apache.pid"
DefaultRuntimeDir "{folder}"
{modules}
{user}
{script_socket}
ErrorLog "{folder}/error.log"
LogLevel info
CustomLog "{folder}/access.log" "%h %t \\"%r\\" %>s %b %D"
TypesConfig {mime_types}
Timeout 60
KeepAlive On
DocumentRoot "{site}"
DirectoryIndex index.html index.php
{pass_environment}
{suexec}
<Directory "/">
    AllowOverride None
    Require all denied
</Directory>
<Directory "{site}">
    Options +FollowSymLinks +ExecCGI
    AllowOverride {allow_override}
    Require all granted
</Directory>
<FilesMatch "^\\.ht">
    Require all denied
</FilesMatch>
{php}
{extra_config}
"""
PHP_CONFIGURATION = """\
ScriptAlias /private-php-cgi/ "{folder}/php-cgi/"
<Directory "{folder}/php-cgi">
    Options +FollowSymLinks +ExecCGI
    Require all granted
</Directory>
Action application/x-httpd-php /private-php-cgi/php-cgi
AddHandler application/x-httpd-php .php
"""


@dataclass(frozen=True)
class Apache:
    """Where one running Apache is reached and where it writes."""

    url: str
    error_log: Path
    access_log: Path
    process: Child = field(repr=False)
    socket_folder: Path = field(repr=False)

    def stop(self) -> None:
        """End Apache and every process of its group, CGI scripts included; logs stay. Safe to repeat."""
        self.process.close()
        shutil.rmtree(self.socket_folder, ignore_errors=True)


def apache_available(*, with_php: bool = False) -> str | None:
    """None when Apache (and php-cgi, when asked for) can be started here, otherwise the reason in one line."""
    wanted = [PROGRAM, MODULES_FOLDER / "mod_cgid.so", *([PHP_CGI] if with_php else [])]
    missing = [str(path) for path in wanted if not path.exists()]
    return f"Apache: {', '.join(missing)} not installed: python3 tests/install.py" if missing else None


def suexec_available() -> str | None:
    """None when scripts can be run by suexec here, otherwise the reason in one line."""
    if os.geteuid() != 0:
        return "suexec: Apache has to be started by root for it"
    return None if SUEXEC.exists() else f"suexec: {SUEXEC} not installed: python3 tests/install.py"


@contextmanager
def customers_folder() -> Iterator[Path]:
    """A folder where suexec runs scripts; removed at the end."""
    SUEXEC_ROOT.mkdir(exist_ok=True)
    SUEXEC_LOG.parent.mkdir(exist_ok=True)  # without a log suexec runs nothing
    folder = Path(tempfile.mkdtemp(prefix="scalable-test-", dir=SUEXEC_ROOT))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def start_apache(
    folder: Path,
    *,
    site: Path,
    environment: Mapping[str, str] | None = None,
    cgi_module: str = "cgid",
    allow_override: str = "All",
    extra_config: str = "",
    handler_php: str | None = None,
    suexec: bool = False,
) -> Apache:
    """A running Apache that shows `site` on a free port of 127.0.0.1; the caller stops it.

    folder takes configuration and logs; environment is handed to CGI scripts (PassEnv), nothing else of ours is;
    cgi_module is "cgid" (threads) or "cgi" (forks); extra_config comes last; handler_php "cgi" runs .php by php-cgi.
    Started by root it serves as www-data and gives `site` to that user, as on a shared host; never one inside a git
    checkout. With `suexec` the site belongs to CUSTOMER, who runs its scripts; see customers_folder. Raises ValueError
    for these mistakes, DidNotStart with the end of the log.
    """
    if cgi_module not in MPM_OF_CGI_MODULE or handler_php not in (None, "cgi"):
        raise ValueError(f"{cgi_module=} {handler_php=}: expected cgid or cgi, and None or cgi")
    folder.mkdir(parents=True, exist_ok=True)
    folder, site, variables = folder.resolve(), site.resolve(), dict(environment or {})
    if os.geteuid() == 0:
        _give_to(site, *((CUSTOMER, CUSTOMERS) if suexec else (WEB_USER, WEB_USER)))
        _let_others_pass(folder)
    socket_folder, port = _socket_folder(), free_port()
    configuration = CONFIGURATION.format(
        folder=folder,
        port=port,
        site=site,
        modules=_load_modules((MPM_OF_CGI_MODULE[cgi_module], *MODULES, cgi_module, *(["suexec"] if suexec else []))),
        suexec=f"SuexecUserGroup {CUSTOMER} {CUSTOMERS}" if suexec else "",
        script_socket=f'ScriptSock "{socket_folder}/cgid"' if cgi_module == "cgid" else "",
        pass_environment="\n".join(f"PassEnv {name}" for name in variables),
        allow_override=allow_override,
        php=_php_configuration(folder) if handler_php else "",
        extra_config=extra_config,
        **_of_this_machine(),
    )
    (folder / "apache.conf").write_text(configuration)
    variables = {"PATH": SHORT_PATH, "LANG": "C", **variables}
    return _run(folder, variables, port, socket_folder, with_cgid=cgi_module == "cgid")


def _socket_folder() -> Path:
    """A short folder that the web user may pass through: a socket path has 107 characters at most (unix(7))."""
    folder = Path(tempfile.mkdtemp(prefix="apache-"))
    folder.chmod(0o711)
    return folder


def _of_this_machine() -> dict[str, str]:
    return {
        "user": f"User {WEB_USER}\nGroup {WEB_USER}" if os.geteuid() == 0 else "",
        "mime_types": "/etc/mime.types" if Path("/etc/mime.types").exists() else "/dev/null",
    }


def _run(folder: Path, environment: dict[str, str], port: int, socket_folder: Path, *, with_cgid: bool) -> Apache:
    log = folder / "error.log"
    command = [str(PROGRAM), "-f", str(folder / "apache.conf"), "-DFOREGROUND"]
    # TERM and not KILL: only the parent gets the signal, and it has to end its own children.
    child = Child(command, log=log, environment=environment, death_signal="TERM")
    apache = Apache(f"http://127.0.0.1:{port}", log, folder / "access.log", child, socket_folder)

    def is_ready() -> bool:
        return (
            accepts_connections(port)
            and (not with_cgid or scripts_can_be_run(socket_folder))
            and catches(child.pid, signal.SIGTERM)
        )

    try:
        for starts_left in range(MOST_STARTS - 1, -1, -1):
            child.start()
            try:
                wait_until_ready(child, is_ready, what="Apache", log=log)
                return apache
            except DidNotStart as error:
                if PASSENGER_CRASHED not in str(error) or not starts_left:
                    raise
        raise AssertionError("unreachable")
    except BaseException:
        apache.stop()
        raise


def scripts_can_be_run(socket_folder: Path) -> bool:
    """Whether the web user may reach mod_cgid's process by now.

    Its socket belongs to root until it listens, and only then to the web user; a script asked for in between is
    answered 503 at once ("Permission denied" in the log).
    """
    wanted = pwd.getpwnam(WEB_USER).pw_uid if os.geteuid() == 0 else os.geteuid()
    sockets = list(socket_folder.glob("cgid*"))
    return bool(sockets) and all(socket.stat().st_uid == wanted for socket in sockets)


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for this signal by now (proc(5), SigCgt of its status).

    Apache listens, and has started mod_cgid's process, before it takes SIGTERM: one that comes in between ends the
    parent alone and leaves mod_cgid's process behind for good.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return False
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & 1 << number - 1)


def _load_modules(names: tuple[str, ...]) -> str:
    """LoadModule lines; a module that is compiled in has no file and needs none."""
    files = [(name, MODULES_FOLDER / f"mod_{name}.so") for name in names]
    return "\n".join(f"LoadModule {name}_module {file}" for name, file in files if file.exists())


def _php_configuration(folder: Path) -> str:
    scripts = folder / "php-cgi"
    scripts.mkdir(exist_ok=True)
    link = scripts / "php-cgi"
    if not link.is_symlink():
        link.symlink_to(PHP_CGI)
    return PHP_CONFIGURATION.format(folder=folder)


def _give_to(site: Path, user: str, group: str) -> None:
    """Make this user the owner of the site, modes untouched, and let it pass through the folders above."""
    if any((parent / ".git").exists() for parent in (site, *site.parents)):
        raise ValueError(f"{site}: inside a git checkout; copy the site into a temporary folder first")
    for path in (site, *site.rglob("*")):
        if not path.is_symlink():
            shutil.chown(path, user, group)
    _let_others_pass(site.parent)


def _let_others_pass(folder: Path) -> None:
    """Add the x bit for others to a folder and those above it, where root owns them (pytest makes its own 0700)."""
    for path in (folder, *folder.parents):
        state = path.stat()
        if state.st_uid == 0 and not state.st_mode & 0o001:
            path.chmod(state.st_mode & 0o7777 | 0o011)
