"""Every command of the documents, typed in its order: README by somebody new with a fresh clone, the pages by an owner.

The one list of commands that are not typed here is NOT_TYPED, each with what runs it instead. One of make stands for
the same with variables behind it, too.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.setup.settings_table import SETTINGS
from tests.support.fakes.bot_api import FakeBotApi
from tests.support.generators.newcomer import Newcomer
from tests.support.judges.documents import DOCUMENTS, ENGLISH, PAGES, READMES, Block, blocks, name_of
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.apache import apache_available
from tests.support.servers.cron import LINES, line_with
from tests.support.servers.site import request, wait_until

MESSAGE = json.loads((REPOSITORY / "examples" / "updates" / "message-start.json").read_text())
FAILING = json.loads((REPOSITORY / "examples" / "updates" / "message-fail.json").read_text())
SUITE = "is this very run, or a part of it: .ci/run"
CLUSTER = "needs three machines and root; on one machine, by another command: tests/integration/test_galera.py"
LONG = "takes too long here; its short form: tests/stress/test_stress.py"
NOT_TYPED = {
    "CONTRIBUTING.md": {"make test": SUITE, "make test-quick": SUITE, "make lint": SUITE},
    "docs/growing.md": {
        "sudo apt-get install mariadb-server galera-4 rsync": CLUSTER,
        "sudo systemctl stop mariadb": CLUSTER,
        "sudo galera_new_cluster": CLUSTER,
        "sudo systemctl restart mariadb": CLUSTER,
        "sudo mariadb -e \"SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'\"": CLUSTER,
    },
    "docs/stress.md": {"make stress": LONG},
}


def to_type(document: Path) -> list[tuple[Block, str]]:
    """The commands of a document, in their order, but those of the list and settings."""
    left_out = NOT_TYPED.get(name_of(document), {})
    return [
        (block, command) for block in blocks(document) if block.language == "sh" and not block.is_settings
        for command in block.commands if without_variables(command) not in left_out
    ]  # fmt: skip


def without_variables(command: str) -> str:
    """`make x` for `make x SEED=1`."""
    return re.sub(r"^(make \S+)( [A-Z]+=\S+)+$", r"\1", command)


TO_WALK = [page for page in (*PAGES, REPOSITORY / "CONTRIBUTING.md") if to_type(page)]


@pytest.fixture
def newcomer() -> Iterator[Newcomer]:
    need(apache_available(with_php=True))
    need(None if shutil.which("unzip") else "unzip is not installed: python3 tests/install.py")
    folder = Path(tempfile.mkdtemp(prefix="newcomer-"))
    folder.chmod(0o711)
    with FakeBotApi() as telegram:
        somebody = Newcomer(folder, telegram)
        try:
            yield somebody
        finally:
            somebody.close()
            shutil.rmtree(folder)


def walk(
    newcomer: Newcomer,
    document: Path,
    before: Mapping[str, Callable[[], object]],
    after: Mapping[str, Callable[[], object]],
) -> dict[str, str]:
    """What each command printed. `before` and `after`: what happens then, by a part of the command."""
    printed = {}
    for block, command in to_type(document):
        for part in (each for each in before if each in command):
            before[part]()
        for name in re.findall(r"curl --config ~/(\S+)", command):
            newcomer.write(name, text_before(document, block))
        newcomer.let_a_minute_pass()
        done = newcomer.type(command)
        assert done.returncode == 0, f"{block.place}: {command}: {done.returncode}\n{done.stdout}{done.stderr}"
        printed[command] = done.stdout
        for part in (each for each in after if each in command):
            after[part]()
    return printed


def text_before(document: Path, block: Block) -> str:
    """The block of text right above: what has to be in the file that the command names."""
    every = blocks(document)
    above = every[every.index(block) - 1]
    assert above.language == "text", block.place
    return above.text


@pytest.mark.timeout(600)
def test_readme_from_top_to_bottom_by_somebody_with_a_fresh_clone(newcomer: Newcomer) -> None:
    newcomer.clone()
    page = f"http://127.0.0.1:{newcomer.port}/scalable/dashboard.py?format=json&token="
    password = newcomer.project / ".cache" / "run" / ".ht-monitor-token"
    [line] = [command for block in blocks(ENGLISH) if block.language == "crontab" for command in block.commands]

    def both_jobs_are_seen() -> None:
        wait_until(lambda: counts()["done"] == 1 and counts()["pending"] == 1, counts)

    def counts() -> Any:
        return request(page + password.read_text().strip()).json()["counts"]

    def the_zip_is_uploaded() -> None:
        [release] = (newcomer.project / "dist").glob("*.zip")
        newcomer.upload(release)

    def cron_and_token_are_set() -> None:
        newcomer.cron_line = line.removeprefix("* * * * * ")
        newcomer.use_token()

    def a_message_is_answered() -> None:
        assert newcomer.send(MESSAGE).json() == {"ok": True, "queued_job_id": 1}
        wait_until(lambda: newcomer.counts()["done"] == 1, newcomer.counts)
        assert "sendmessage" in newcomer.telegram.methods()

    printed = walk(
        newcomer,
        ENGLISH,
        {
            "make dist": newcomer.press_ctrl_c,
            "unzip": the_zip_is_uploaded,
            "webhook_queue.py set": cron_and_token_are_set,
        },
        {
            "message-fail.json": both_jobs_are_seen,
            "webhook_queue.py set": a_message_is_answered,
        },
    )

    assert [json.loads(text)["queued_job_id"] for command, text in printed.items() if "curl" in command] == [1, 2]
    check = "python3 scalable/config.py --url https://example.com/scalable"
    assert printed[check].rstrip().endswith("Everything needed is in place.")
    assert newcomer.telegram.webhook_url == "https://example.com/scalable/webhook_queue.py"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", TO_WALK, ids=name_of)
def test_commands_of_a_page_work_as_written(newcomer: Newcomer, page: Path) -> None:
    PREPARED.get(name_of(page), an_owner)(newcomer)

    walk(
        newcomer,
        page,
        {
            "webhook_queue.py set": newcomer.use_token,
            "run-now": lambda: newcomer.run("python3 scalable/worker.py --drain"),  # it fails, and will be tried again
        },
        {},
    )

    newcomer.press_ctrl_c()


def an_owner(newcomer: Newcomer) -> None:
    """Who installed it as README says, and set the webhook."""
    newcomer.take_release()
    for command in ("unzip -q *.zip", "python3 scalable/config.py init"):
        assert newcomer.run(command).returncode == 0
    newcomer.use_token()
    ours = "https://example.com/scalable/webhook_queue.py"
    newcomer.telegram.webhook_url = "https://example.com/bot.php"
    assert newcomer.run(f"python3 scalable/webhook_queue.py set {ours}").returncode == 0


def an_owner_with_a_pool(newcomer: Newcomer) -> None:
    """Whose set-up is at its end: an update has come."""
    an_owner(newcomer)
    newcomer.send(MESSAGE)
    newcomer.cron_line = line_with("--ensure")


def an_owner_with_jobs(newcomer: Newcomer) -> None:
    """Job 17 failed, 18 waits, and what fails once more waits for an hour."""
    an_owner(newcomer)
    newcomer.write_settings(BOT_JOB_RETRY_BASE="3600", BOT_JOB_RETRY_MAX="3600")
    for number in range(1, 18):
        newcomer.send({**(FAILING if number == 17 else MESSAGE), "update_id": number})
    for command in ("worker.py --drain", "dashboard.py skip 17"):
        assert newcomer.run(f"python3 scalable/{command}").returncode == 0
    assert newcomer.counts()["failed"] == 1
    newcomer.send({**MESSAGE, "update_id": 18})


PREPARED: dict[str, Callable[[Newcomer], None]] = {
    "docs/hosting.md": Newcomer.take_release,
    "docs/dashboard.md": an_owner_with_jobs,
    "docs/operations.md": an_owner_with_a_pool,
    "docs/growing.md": an_owner_with_a_pool,
    "CONTRIBUTING.md": Newcomer.clone,
}


def test_what_is_not_typed_is_in_the_documents_and_run_by_something_that_is_there() -> None:
    there = {name_of(document) for document in DOCUMENTS}
    for document, commands in NOT_TYPED.items():
        for command, instead in commands.items():
            runs_it = REPOSITORY / instead.split(": ")[-1]
            if document in there:
                assert command in [each for block in blocks(REPOSITORY / document) for each in block.commands], command
                assert runs_it.exists(), instead


def test_every_shell_command_of_the_documents_is_typed_or_listed() -> None:
    """Given the walks above: README (in two languages the same), the pages and CONTRIBUTING."""
    walked = {*map(name_of, TO_WALK), *map(name_of, READMES)}

    assert {name_of(document) for document in DOCUMENTS if to_type(document)} <= walked


def test_every_crontab_line_is_one_that_is_run_as_cron_runs_it() -> None:
    shown = {
        command.removeprefix("* * * * * ") for document in DOCUMENTS for block in blocks(document)
        if block.language == "crontab" for command in block.commands
    }  # fmt: skip

    assert shown == set(LINES)


def test_settings_that_are_shown_alone_are_ones_the_program_takes() -> None:
    shown = [
        command.split("=", 1) for document in DOCUMENTS for block in blocks(document)
        if block.language == "sh" and block.is_settings for command in block.commands
    ]  # fmt: skip
    known = {setting.name: setting for setting in SETTINGS}

    assert shown
    for name, value in shown:
        known[name].convert(value)
