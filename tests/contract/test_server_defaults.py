"""Servers whose defaults bend statements: how large a join may be, how many rows are given, how the binary log is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.verdict import State
from scalable.lib.setup.server_check import check_server
from scalable.lib.telegram.update import Update
from tests.support.need import need
from tests.support.servers.database_servers import DatabaseServer, available, start_server

JOBS = 2000
STATEMENT_BINLOG = ("--log-bin", "--server-id=1", "--binlog-format=STATEMENT")
READ_ONLY = {"mariadb-10.11": "tx_read_only", "mysql-9.7": "transaction_read_only"}


@pytest.fixture(scope="module", params=["mariadb-10.11", "mysql-9.7"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A server of its own, because its defaults are changed."""
    need(available(request.param))
    server = start_server(request.param, tmp_path_factory.mktemp("server"), extra_args=STATEMENT_BINLOG)
    yield server
    server.stop()


def as_admin(server: DatabaseServer, *statements: str) -> None:
    with server.connect(as_admin=True) as admin, admin.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def queue_on(server: DatabaseServer, user: str) -> DatabaseQueue:
    address = MySqlAddress("localhost", 3306, server.socket, server.create_database(), user, server.password)
    return DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())


@pytest.fixture
def granted(server: DatabaseServer) -> str:
    """A user that may choose the format of its own part of the binary log."""
    right = "BINLOG ADMIN" if "mariadb" in server.name else "SESSION_VARIABLES_ADMIN"
    as_admin(
        server,
        f"CREATE USER IF NOT EXISTS 'granted'@'%' IDENTIFIED BY '{server.password}'",
        "GRANT ALL ON `bot\\_%`.* TO 'granted'@'%'",
        f"GRANT {right} ON *.* TO 'granted'@'%'",
    )
    return "granted"


@pytest.mark.parametrize(
    ("name", "value", "usual"),
    [
        ("max_join_size", "1000", "18446744073709551615"),
        ("sql_select_limit", "1", "18446744073709551615"),
        ("sql_safe_updates", "1", "0"),
        ("read only", "1", "0"),
    ],
)
def test_a_full_lane_drains_whatever_the_servers_defaults_are(
    server: DatabaseServer, granted: str, name: str, value: str, usual: str
) -> None:
    """F26: max_join_size, and three more defaults that bend statements; the rows are written, although F25."""
    variable = READ_ONLY[server.name] if name == "read only" else name
    queue = queue_on(server, granted)
    as_admin(server, f"SET GLOBAL {variable} = {value}")
    try:
        queue.ensure_schema()
        for first in range(0, JOBS, 25):
            queue.enqueue_many([Update("{}", first + number, "message", "chat:1") for number in range(25)])
        direct = queue.prepared_insert()
        assert direct is not None
        direct.store(Update("{}", JOBS, "message", "chat:1"))
        for _ in range(60):
            [job] = queue.claim("worker", 45)
            queue.complete(job.lease)

        assert queue.counts().done == 60
        assert queue.requeue_failed().requeued == 0
        assert queue.prune(done_seconds=0, failed_seconds=0) >= 0
        assert len(queue.newest(5)) == 5
        queue.close()
    finally:
        as_admin(server, f"SET GLOBAL {variable} = {usual}")


def test_a_binary_log_of_statements_is_told_in_one_line_with_the_remedy(server: DatabaseServer) -> None:
    """F25: by check, pool and webhook."""
    queue = queue_on(server, server.user)

    with pytest.raises(DatabaseUnavailable, match="binlog_format = ROW") as caught:
        queue.ensure_schema()

    assert "\n" not in str(caught.value)
    with pytest.raises(DatabaseUnavailable, match="binlog_format = ROW"):
        queue.enqueue(Update("{}", 1, "message"))
    assert queue.counts().total == 0  # reading goes on
    [finding] = [found for found in check_server(queue.database, 1) if found.subject == "writing"]
    assert "binlog_format = ROW" in str(finding)
    queue.close()


def test_it_is_the_verdict_too_before_the_first_update_and_after(server: DatabaseServer) -> None:
    """F25: it was called a missing worker, and, where the host changed it one day, nothing at all."""
    queue = queue_on(server, server.user)
    as_admin(server, "SET GLOBAL binlog_format = ROW")
    try:
        queue.ensure_schema()
        queue.enqueue(Update("{}", 1, "message"))
        queue.complete(queue.claim("worker", 45)[0].lease)
        queue.close()
        assert "writing" not in [reason.code for reason in check_health(queue).reasons]
    finally:
        queue.close()
        as_admin(server, "SET GLOBAL binlog_format = STATEMENT")

    for installed in (queue, queue_on(server, server.user)):
        verdict = check_health(installed)
        installed.close()
        assert verdict.state is State.DOWN
        assert ["binlog_format = ROW" in reason.text for reason in verdict.reasons] == [True]


def test_a_user_who_may_ask_for_rows_is_told_nothing(server: DatabaseServer, granted: str) -> None:
    """F25: of the kind, where it works."""
    queue = queue_on(server, granted)
    queue.ensure_schema()

    assert "writing" not in [reason.code for reason in check_health(queue).reasons]
    queue.close()


@pytest.mark.parametrize("format_name", ["ROW", "MIXED"])
def test_other_binary_logs_need_nothing(server: DatabaseServer, format_name: str) -> None:
    """F25: the other ways round."""
    as_admin(server, f"SET GLOBAL binlog_format = {format_name}")
    try:
        queue = queue_on(server, server.user)
        queue.ensure_schema()
        assert queue.enqueue(Update("{}", 1, "message")).job_id == 1
        queue.close()
    finally:
        as_admin(server, "SET GLOBAL binlog_format = STATEMENT")
