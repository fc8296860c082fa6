"""Make this machine ready for the tests: `python3 tests/install.py`, run by `make test`. Standard library only.

Two kinds of components: packages of this Debian that start no service, and programs of other Debian releases that are
unpacked into `.cache/servers/<name>/root` and never installed. Only what is missing is fetched. What cannot be fetched
is named with the command that does it; the exit code is then 0 at a desk, and 1 where the variable CI is set.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from support.places import private_command, private_root

ATTEMPTS = 3
APT_TIMEOUT_SECONDS = 600
PARALLEL_DOWNLOADS = 2
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NETWORK_OPTIONS = ("-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=30", "-o", "APT::Update::Error-Mode=any")


@dataclass(frozen=True)
class SystemPackage:
    """A Debian package, and a file pattern that tells whether what we need of it is there, however it got there."""

    name: str
    purpose: str
    pattern: str

    def is_there(self) -> bool:
        """True when a file matches the pattern."""
        return any(Path("/").glob(self.pattern.lstrip("/")))

    def command(self) -> str:
        """What a person types to install it."""
        return f"sudo apt-get install --no-install-recommends {self.name}"


@dataclass(frozen=True)
class PrivateProgram:
    """A program of another Debian release; `version` is how its package version starts, an epoch not counted.

    `also` are packages that nothing depends on, unpacked beside it.
    """

    name: str
    purpose: str
    release: str
    package: str
    version: str
    also: tuple[str, ...] = ()

    def is_there(self) -> bool:
        """True when it was unpacked completely."""
        return private_root(self.name).is_dir()

    def command(self) -> str:
        """What a person types to fetch it."""
        return f"python3 tests/install.py --only {self.name}"


class CannotInstall(RuntimeError):
    """A component could not be made ready; the message says why in one line."""


# Server packages without "-core" would start a service; the core ones hold the same programs and start nothing.
SYSTEM_PACKAGES = (
    SystemPackage("apache2-bin", "the tests of CGI, on an Apache of their own", "/usr/sbin/apache2"),
    SystemPackage("apache2-suexec-pristine", "scripts run as their owner, as hosts do it", "/usr/lib/apache2/suexec"),
    SystemPackage("libapache2-mod-passenger", "the scripts under Passenger", "/usr/lib/apache2/*/mod_passenger.so"),
    SystemPackage("mariadb-server-core", "the tests on MariaDB, the machine's own release", "/usr/sbin/mariadbd"),
    SystemPackage("mariadb-client-core", "looking into a test database by hand", "/usr/bin/mariadb"),
    SystemPackage("galera-4", "a MariaDB cluster of three nodes", "/usr/lib/galera/libgalera_smm.so"),
    SystemPackage("php-cli", "the tests of a bot run by php", "/usr/bin/php"),
    SystemPackage("php-cgi", "the tests of a bot run by php-cgi", "/usr/bin/php-cgi"),
    SystemPackage("python3", "the scripts under Apache, run by the machine's own Python", "/usr/bin/python3"),
    SystemPackage("curl", "the commands of the README", "/usr/bin/curl"),
    SystemPackage("unzip", "unpacking the release as an owner does", "/usr/bin/unzip"),
    SystemPackage("busybox", "the process reaper of a worker in the smallest shell there is", "/*bin/busybox"),
    SystemPackage("openssl", "an untrusted certificate, for the tests of TLS", "/usr/bin/openssl"),
    SystemPackage("chromium", "the tests of the dashboard in a browser", "/usr/bin/chromium"),
    SystemPackage("fonts-dejavu-core", "letters in that browser", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
    SystemPackage("libfaketime", "a worker whose clock is wrong", "/usr/lib/*/faketime/libfaketime.so.1"),
    SystemPackage("wrk", "the benchmark of the pool's own server", "/usr/bin/wrk"),
    SystemPackage("php-mysql", "the example bot's own database", "/usr/lib/php/*/pdo_mysql.so"),
)
PRIVATE_PROGRAMS = (
    PrivateProgram("mysql-9.7", "the tests on MySQL", "sid", "mysql-server-core", "9.7."),
    PrivateProgram("mariadb-10.5", "the tests without SKIP LOCKED", "bullseye", "mariadb-server-core-10.5", "10.5."),
    PrivateProgram("mariadb-11.8", "the tests on a current MariaDB", "trixie", "mariadb-server-core", "11.8."),
    PrivateProgram("python-3.14", "the tests on the newest Python", "sid", "python3.14", "3.14."),
    # Their packages would start a service, which the unpacked programs do not.
    PrivateProgram("php-fpm-8.4", "the tests of a host's PHP-FPM", "trixie", "php8.4-fpm", "8.4."),
    PrivateProgram(
        "php-fpm-pdo",
        "the tests of the doors in PHP",
        "trixie",
        "php8.4-fpm",
        "8.4.",
        ("php8.4-mysql", "php8.4-sqlite3"),
    ),
    PrivateProgram("php-fpm-mysql", "the benchmark of the webhook", "trixie", "php8.4-fpm", "8.4.", ("php8.4-mysql",)),
    PrivateProgram("nginx-1.26", "nginx in front of the pool's own server", "trixie", "nginx", "1.26."),
    PrivateProgram("php-cgi-7.4", "the tests of a bot run by an old php-cgi", "bullseye", "php7.4-cgi", "7.4."),
)
COMPONENTS: tuple[SystemPackage | PrivateProgram, ...] = (*SYSTEM_PACKAGES, *PRIVATE_PROGRAMS)


def main(arguments: Sequence[str]) -> int:
    """Install what is missing. Returns 0 when all is there or this is a desk, 1 when something is missing in CI."""
    options = _parse(arguments)
    wanted = [component for component in COMPONENTS if not options.only or component.name in options.only]
    if options.list:
        for component in wanted:
            print(f"{component.name:20} {_state(component):28} {component.purpose}")
        return 0
    missing = [component for component in wanted if not component.is_there()]
    if not missing:
        print(f"ready for the tests: {len(wanted)} of {len(wanted)} components are there")
        return 0
    reasons = _install_packages([c for c in missing if isinstance(c, SystemPackage)])
    reasons.update(_install_programs([c for c in missing if isinstance(c, PrivateProgram)]))
    for component in missing:
        if component.name in reasons:
            print(f"missing: {component.name}, for {component.purpose}: {reasons[component.name]}")
            print(f"    install it with: {component.command()}")
    return 1 if reasons and os.environ.get("CI") else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/install.py", description="Make this machine ready for the tests.")
    names = [component.name for component in COMPONENTS]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"only these: {', '.join(names)}")
    parser.add_argument("--list", action="store_true", help="show what is there and what is missing; change nothing")
    return parser.parse_args(arguments)


def _state(component: SystemPackage | PrivateProgram) -> str:
    if not component.is_there():
        return "missing"
    if isinstance(component, SystemPackage):
        return "there"
    return f"there, {(private_root(component.name) / 'VERSION').read_text().strip()}"


# --- packages of this machine ---


def _install_packages(packages: Sequence[SystemPackage]) -> dict[str, str]:
    """Install with apt-get; returns the reason by name for each package that is still missing."""
    if not packages:
        return {}
    try:
        prefix = _root_prefix()
        apt_get = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", *NETWORK_OPTIONS]
        install = [*apt_get, "install", "-y", "--no-install-recommends", *(package.name for package in packages)]
        _with_retries(lambda: _checked([*apt_get, "update"]))
        _with_retries(lambda: _checked(install))
    except CannotInstall as reason:
        return {package.name: str(reason) for package in packages}
    print(f"installed: {' '.join(package.name for package in packages)}")
    return {p.name: f"installed, but {p.pattern} is not there" for p in packages if not p.is_there()}


def _root_prefix() -> tuple[str, ...]:
    """What has to come before a command so that root runs it. Raises CannotInstall when there is no way."""
    if shutil.which("apt-get") is None:
        raise CannotInstall("this system has no apt-get")
    if os.geteuid() == 0:
        return ()
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ("sudo", "-n")
    raise CannotInstall("needs root, and sudo asks for a password or is not there")


# --- programs of other Debian releases ---


def _install_programs(programs: Sequence[PrivateProgram]) -> dict[str, str]:
    """Fetch and unpack, two at a time; returns the reason by name for each program that is still missing."""
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        reasons = pool.map(_install_program_or_reason, programs)
        return {program.name: reason for program, reason in zip(programs, reasons) if reason is not None}


def _install_program_or_reason(program: PrivateProgram) -> str | None:
    started = time.monotonic()
    folder = private_root(program.name).parent
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / "lock").open("w") as lock:  # another run may be at it; it is done when we get the lock
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.is_there():
                _install_program(program, folder)
    except (CannotInstall, OSError) as reason:
        return str(reason)
    print(f"fetched: {program.name}, {_state(program)}, {time.monotonic() - started:.0f} seconds", flush=True)
    return None


def _install_program(program: PrivateProgram, folder: Path) -> None:
    """Unpack into `root.part` and rename it last: an interrupted run leaves no `root`, and is repeated."""
    version = _with_retries(lambda: _download(program, folder))
    part = folder / "root.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for archive in sorted((folder / "archives").glob("*.deb")):
        _checked(["dpkg-deb", "--extract", str(archive), str(part)])
    if program.package.startswith("python"):
        _wrap_python(part, f"usr/bin/{program.package}")
    (part / "VERSION").write_text(f"{program.package} {version}\n")
    part.rename(folder / "root")
    for leftover in ("archives", "lists", "state"):
        shutil.rmtree(folder / leftover, ignore_errors=True)


def _download(program: PrivateProgram, folder: Path) -> str:
    """Bring the package and all it depends on into `archives`; returns its version."""
    options = _private_apt_options(program, folder)
    _checked(["apt-get", *options, "update"])
    version = _candidate(program, options)
    _checked(["apt-get", *options, "-y", "--download-only", "install", program.package, *program.also])
    return version


def _wrap_python(root: Path, program: str) -> None:
    """Put a script in the place of the Python program that runs it with the loader and libraries of `root`.

    `--argv0` makes Python take the script for itself: it finds its library beside it and starts children by it.
    """
    real = f"{program}.real"
    (root / program).rename(root / real)
    command = private_command(root, real, ("--argv0", "$0"))
    words = " ".join(f'"{word}"' for word in command).replace(str(root), "$root")
    (root / program).write_text(f'#!/bin/sh\nroot=$(readlink -f "$0")\nroot=${{root%/usr/bin/*}}\nexec {words} "$@"\n')
    (root / program).chmod(0o755)


def _private_apt_options(program: PrivateProgram, folder: Path) -> list[str]:
    """Options that keep apt-get inside `folder`: its own source, lists, archives, and a status in which nothing is
    installed, so that the whole closure is downloaded, the C library included."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise CannotInstall("this system has no apt-get and dpkg-deb")
    if not KEYRING.exists():
        raise CannotInstall(f"{KEYRING} is not there: install the package debian-archive-keyring")
    for place in ("lists/partial", "archives/partial", "state"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    source = folder / "state" / "sources.list"
    source.write_text(f"deb [signed-by={KEYRING}] {_mirror()} {program.release} main\n")
    (folder / "state" / "status").write_text("")
    settings = {
        "Dir::Etc::sourcelist": source,
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": folder / "state",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "state" / "status",
        "Dir::Cache": folder / "state",
        "Dir::Cache::archives": folder / "archives",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # the download user of the system may not enter this folder
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Languages": "none",
    }
    return ["-q", *NETWORK_OPTIONS, *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]


def _mirror() -> str:
    """Where this machine gets its own Debian release from; apt reads its source files of both forms for us."""
    release_file = Path("/etc/os-release").read_text()
    codename = re.search(r"^VERSION_CODENAME=\"?(\w+)", release_file, re.MULTILINE)
    if not re.search(r"^ID=\"?debian\b", release_file, re.MULTILINE):
        raise CannotInstall("only a Debian machine has a mirror of other Debian releases in its apt sources")
    suites = {codename.group(1) if codename else "sid", "stable", "oldstable", "testing", "unstable", "sid"}
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    for line in _checked(command).splitlines():
        release, component, uri = line.split(" ", 2)
        if release in suites and component == "main":
            return uri
    raise CannotInstall(f"no apt source of this machine offers main of any of {', '.join(sorted(suites))}")


def _candidate(program: PrivateProgram, options: Sequence[str]) -> str:
    """The version the release offers; another one than expected is named and used all the same."""
    shown = subprocess.run(
        ["apt-cache", *options, "show", "--no-all-versions", program.package], capture_output=True, text=True
    )
    version = re.search(r"^Version: (?:\d+:)?(\S+)", shown.stdout, re.MULTILINE)
    if version is None:
        stem = re.sub(r"[-\d.]+$", "", program.package)
        others = " ".join(sorted(_checked(["apt-cache", *options, "pkgnames", stem]).split()))
        raise CannotInstall(f"{program.release} has no {program.package}; it has: {others or 'nothing like it'}")
    found = version.group(1)
    if not found.startswith(program.version):
        print(f"note: {program.name}: {program.release} now has {program.package} {found}, which is used in its place")
    return found


# --- running commands ---


def _with_retries(action: Callable[[], str]) -> str:
    """What `action` returns, called again after a pause when it fails: mirrors are busy, rolling releases move."""
    for attempt in range(1, ATTEMPTS):
        try:
            return action()
        except CannotInstall:
            time.sleep(2 * attempt)
    return action()


def _checked(command: Sequence[str]) -> str:
    """What the command prints. Raises CannotInstall with the last error line, or when it takes too long."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=APT_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"{command[0]} took more than {APT_TIMEOUT_SECONDS} seconds") from error
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("E:", "dpkg"))]
        short = shlex.join(command) if len(command) < 6 else f"{command[0]} {command[-1]}"
        raise CannotInstall(f"{short}: exit {done.returncode}: {lines[-1] if lines else done.stderr.strip()[-200:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
