"""The release: the same bytes each time, nothing in it that is not ours to give, and it works as it is unpacked."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_python_versions import cgi
from tests.support.generators.newcomer import LEFT_BEHIND
from tests.support.need import need, old_python
from tests.support.places import REPOSITORY
from tests.support.servers.apache import SHORT_PATH, apache_available
from tests.support.servers.release import WHEELS, as_owner, bare_python, build_release, unpack
from tests.support.servers.site import Site

BOT = REPOSITORY / "examples" / "bot.py"
UPDATE = (REPOSITORY / "examples" / "updates" / "message-start.json").read_bytes()
SCRIPTS = {"config.py", "dashboard.py", "passenger_wsgi.py", "webhook_queue.py", "worker.py", "worker_pool.py"}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_release(tmp_path_factory.mktemp("release") / "dist")


@pytest.fixture(scope="module")
def hosting() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="hosting-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def home(hosting: Path) -> Path:
    """The web folder of a user without rights, with a bot in it."""
    folder = Path(tempfile.mkdtemp(dir=hosting)) / "public_html"
    folder.mkdir()
    folder.parent.chmod(0o711)
    shutil.copy(BOT, folder / "bot.py")
    return folder


def test_the_same_commit_gives_the_same_bytes_whoever_builds_it_and_where(release: Path, tmp_path: Path) -> None:
    again = build_release(tmp_path / "again", TZ="Asia/Jakarta", LANG="C", PYTHONHASHSEED="7", HOME=str(tmp_path))

    assert again.read_bytes() == release.read_bytes()
    noted = again.with_name(again.name + ".sha256").read_text()
    assert noted == f"{hashlib.sha256(release.read_bytes()).hexdigest()}  {release.name}\n"


def test_another_time_of_the_commit_gives_another_time_of_every_file(release: Path, tmp_path: Path) -> None:
    """Else Python might run the compiled file of the release before."""
    later = build_release(tmp_path / "later", SOURCE_DATE_EPOCH="1900000000")

    with zipfile.ZipFile(later) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2030, 3, 17, 17, 46, 40)}
    assert later.read_bytes() != release.read_bytes()


def test_everything_has_the_mode_a_host_with_suexec_wants(release: Path) -> None:
    with zipfile.ZipFile(release) as archive:
        modes = {entry.filename: stat.filemode(entry.external_attr >> 16) for entry in archive.infolist()}

    assert {name for name, mode in modes.items() if mode == "-rwxr-xr-x"} == {f"scalable/{name}" for name in SCRIPTS}
    assert {mode for name, mode in modes.items() if name.endswith("/")} == {"drwxr-xr-x"}
    assert set(modes.values()) == {"-rwxr-xr-x", "-rw-r--r--", "drwxr-xr-x"}
    assert all(name.startswith("scalable/") for name in modes)


def test_no_text_of_ours_has_other_line_ends_or_a_byte_order_mark(release: Path) -> None:
    with zipfile.ZipFile(release) as archive:
        texts = {name: archive.read(name) for name in archive.namelist()}

    assert len(texts) > 200
    assert [name for name, text in texts.items() if b"\r" in text or text.startswith(b"\xef\xbb\xbf")] == []


def test_nothing_is_in_it_that_git_does_not_know(tmp_path: Path) -> None:
    """Given settings, data and a note that the builder left in the folder."""
    project = tmp_path / "project"
    shutil.copytree(REPOSITORY, project, ignore=LEFT_BEHIND)
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    for command in (["init", "-q"], ["add", "--all"], [*identity, "commit", "-q", "-m", "All of it"]):
        subprocess.run(["git", "-C", str(project), *command], check=True, timeout=60)
    for name in (".htenv", ".htenv.old", "notes.txt", "lib/mine.py"):
        (project / "scalable" / name).write_text("secret\n")

    subprocess.run(
        [sys.executable, str(project / "tools" / "dist.py"), "--wheels", str(WHEELS)],
        check=True,
        timeout=120,
        capture_output=True,
    )

    [built] = (project / "dist").glob("*.zip")
    with zipfile.ZipFile(built) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert b"secret\n" not in contents
    assert (REPOSITORY / "scalable" / "config.py").read_bytes() in contents


def test_the_list_of_hashes_names_every_file_and_each_is_right(release: Path) -> None:
    with zipfile.ZipFile(release) as archive:
        listed = dict(
            reversed(line.split("  ", 1)) for line in archive.read("scalable/SHA256SUMS").decode().splitlines()
        )
        names = [name for name in archive.namelist() if not name.endswith(("/", "SHA256SUMS"))]
        found = {name.partition("/")[2]: hashlib.sha256(archive.read(name)).hexdigest() for name in names}

    assert listed == found


def test_every_package_is_there_pure_python_with_its_description_and_licence(release: Path) -> None:
    with zipfile.ZipFile(release) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    vendored = [name.removeprefix("scalable/vendor/") for name in names if name.startswith("scalable/vendor/")]
    pinned = re.findall(r"^([\w-]+)==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)

    for name, version in pinned:
        about = f"{name.lower().replace('-', '_')}-{version}.dist-info/"
        assert f"{about}METADATA" in vendored
        assert [each for each in vendored if each.startswith(about) and "LICENSE" in each], about
    code = [name for name in vendored if ".dist-info/" not in name]
    assert [name for name in code if not name.endswith((".py", ".typed"))] == []
    assert len({name.partition("/")[0] for name in vendored if ".dist-info/" in name}) == len(pinned)


def test_documents_in_it_link_only_to_what_is_in_it(release: Path) -> None:
    with zipfile.ZipFile(release) as archive:
        names = {name.removeprefix("scalable/") for name in archive.namelist()}
        documents = [name for name in names if re.match(r"(docs/)?[^/]+\.md$", name)]
        texts = {name: archive.read(f"scalable/{name}").decode() for name in documents}

    targets = {
        posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        for name, text in texts.items() for target in re.findall(r"\]\((?!https:)([^)#]+)", text)
    }  # fmt: skip
    assert {"README.md", "README.id.md", "CHANGELOG.md", "docs/operations.md", "docs/settings.md"} <= set(texts)
    assert "docs/hosting.md" in targets
    assert targets <= names


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], ids=["022", "002", "077"])
def test_unpacked_nobody_but_the_owner_may_write_in_it(release: Path, home: Path, umask: int) -> None:
    plugin = unpack(release, home, umask)

    others = [path for path in plugin.rglob("*") if path.stat().st_mode & 0o022]
    assert others == []
    assert plugin.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize("version", ["3.9", "3.11", "3.13"])
def test_an_update_goes_the_whole_way_with_a_python_that_has_no_packages(
    release: Path, home: Path, hosting: Path, version: str
) -> None:
    python = bare_python(version, hosting / "pythons")
    plugin = unpack(release, home)
    environment = {
        "PATH": SHORT_PATH,
        "HOME": str(home.parent),
        "BOT_LEGACY_PATH": "../bot.py",
        "LD_LIBRARY_PATH": str(Path(python).parents[1] / "lib"),
    }

    def run(script: str, *arguments: str, body: bytes = b"", **variables: str) -> str:
        finished = subprocess.run(
            as_owner([python, str(plugin / script), *arguments]),
            input=body,
            capture_output=True,
            timeout=120,
            cwd="/",
            env={**environment, **variables},
            check=False,
        )
        assert finished.returncode == 0, finished
        return finished.stdout.decode()

    said = run("config.py")
    answer = run("webhook_queue.py", body=UPDATE, **cgi(UPDATE))
    run("worker.py", "--drain")
    page = run("dashboard.py", **{**cgi(b""), "REQUEST_METHOD": "GET"})
    (job,) = json.loads(run("dashboard.py", "--json"))["jobs"]

    assert "ok       packages: bottle 0.13.4, PyMySQL 1.2.4, APScheduler 3.11.3, tzlocal 5.3.1, " in said
    assert re.search(r"^ok       files: \d+, all as released$", said, re.MULTILINE)
    assert answer.startswith("Status: 200 OK")
    assert page.startswith("Status: 200 OK")
    assert (job["status"], job["error_message"]) == ("done", "reply not sent: BOT_TOKEN is not set")


@pytest.mark.parametrize("version", ["2.7", "3.6"])
def test_an_older_python_says_one_line(release: Path, home: Path, version: str) -> None:
    plugin = unpack(release, home)

    for script in sorted(SCRIPTS - ({"config.py"} if version == "2.7" else set())):
        finished = subprocess.run(
            [old_python(version), str(plugin / script)],
            input=b"{}",
            capture_output=True,
            timeout=60,
            env={"PATH": SHORT_PATH, **cgi(b"{}")},
            check=False,
        )
        head, _, body = finished.stdout.decode().replace("\r\n", "\n").partition("\n\n")
        assert (finished.returncode, head.partition("\n")[0]) == (2, "Status: 500 Internal Server Error")
        assert re.fullmatch(r"Scalable mode needs Python 3\.9 or newer; this is \S+\n", body)
        assert "Traceback" not in finished.stderr.decode()


def test_in_apache_webhook_worker_and_dashboard_work_as_they_were_unpacked(release: Path, hosting: Path) -> None:
    need(apache_available())
    folder = Path(tempfile.mkdtemp(dir=hosting))
    folder.chmod(0o711)
    settings = {"BOT_WORKER_SLEEP": "0.1", "BOT_WEBHOOK_SECRET": "hush"}
    site = Site(folder, BOT, settings, plugin=lambda root: unpack(release, root))
    try:
        prepared = site.run("config.py", "init")
        answer = site.send(UPDATE, X_Telegram_Bot_Api_Secret_Token="hush")
        drained = site.run("worker.py", "--drain")

        assert prepared.returncode == 0, prepared
        assert "all as released" in prepared.stdout
        assert (answer.status, answer.json()["ok"]) == (200, True)
        assert (drained.returncode, drained.stdout) == (0, "")
        assert site.counts()["done"] == 1
        assert [run["update_id"] for run in site.runs()] == [json.loads(UPDATE)["update_id"]]
    finally:
        site.stop()
