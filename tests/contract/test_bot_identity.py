"""One table, one bot: what is refused, what warns, and what goes on unchanged, on every database."""

from __future__ import annotations

import threading

import pytest

from scalable.lib.errors import ConfigurationError
from scalable.lib.queue.bot_identity import BotIdentity, confirm_bot, replace_bot
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress
from scalable.lib.queue.retry_policy import RetryPolicy

A = BotIdentity("111", "/home/a/scalable", "web1")
B = BotIdentity("222", "/home/b/scalable", "web1")
UNKNOWN = BotIdentity("", "/home/a/scalable", "web1")


def test_another_bot_is_refused_and_both_are_named(queue: DatabaseQueue) -> None:
    """F31: on every database."""
    assert confirm_bot(queue.table, A) is None

    with pytest.raises(ConfigurationError) as refused:
        confirm_bot(queue.table, B)

    message = str(refused.value)
    assert "bot 111 (/home/a/scalable on web1)" in message
    assert "bot 222 (/home/b/scalable on web1)" in message
    assert "'bot_jobs'" in message
    assert "BOT_QUEUE_TABLE" in message
    assert "config.py --replace-bot" in message
    assert len(refused.value.problems) == 1
    assert confirm_bot(queue.table, A) is None


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(BotIdentity("111", "/home/a/scalable", "web2"), id="a second machine"),
        pytest.param(BotIdentity("111", "/srv/bot/scalable", "web7"), id="a second machine, another folder"),
        pytest.param(BotIdentity("111", "/home/a/public_html/scalable", "web1"), id="a folder that moved"),
        pytest.param(A, id="a token that was renewed"),
        pytest.param(UNKNOWN, id="a process that does not know the token"),
    ],
)
def test_the_same_bot_goes_on_unchanged(queue: DatabaseQueue, later: BotIdentity) -> None:
    confirm_bot(queue.table, A)

    assert confirm_bot(queue.table, later) is None
    assert confirm_bot(queue.table, A) is None


def test_a_copied_folder_with_another_token_on_another_host_is_refused(queue: DatabaseQueue) -> None:
    """F31: in containers all folders have the same name."""
    confirm_bot(queue.table, A)

    with pytest.raises(ConfigurationError, match="bot 222"):
        confirm_bot(queue.table, BotIdentity("222", A.folder, "web2"))


def test_a_bot_that_its_owner_put_in_the_place_of_another_takes_the_table(queue: DatabaseQueue) -> None:
    """The token was changed in the settings of the installation that has the table."""
    confirm_bot(queue.table, A)
    instead = BotIdentity("222", A.folder, A.host)

    said = confirm_bot(queue.table, instead)

    assert said is not None
    assert "was for bot 111 and is for bot 222 now" in said
    assert confirm_bot(queue.table, instead) is None
    with pytest.raises(ConfigurationError, match=r"bot 111 .*web2"):
        confirm_bot(queue.table, BotIdentity("111", A.folder, "web2"))


def test_who_is_asked_to_replace_the_bot_does(queue: DatabaseQueue) -> None:
    confirm_bot(queue.table, A)

    replace_bot(queue.table, B)

    assert confirm_bot(queue.table, B) is None
    with pytest.raises(ConfigurationError):
        confirm_bot(queue.table, A)


class TestWithoutToken:
    def test_another_folder_warns_and_is_not_refused(self, queue: DatabaseQueue) -> None:
        confirm_bot(queue.table, UNKNOWN)

        said = confirm_bot(queue.table, BotIdentity("", "/home/b/scalable", "web1"))

        assert said is not None
        assert "the bot of /home/a/scalable on web1" in said
        assert "the bot of /home/b/scalable on web1" in said
        assert "BOT_TOKEN" in said

    def test_a_folder_that_moved_warns_once(self, queue: DatabaseQueue) -> None:
        confirm_bot(queue.table, UNKNOWN)
        moved = BotIdentity("", "/srv/scalable", "web1")

        assert confirm_bot(queue.table, moved) is not None
        assert confirm_bot(queue.table, moved) is None

    def test_the_same_folder_on_another_machine_says_nothing(self, queue: DatabaseQueue) -> None:
        confirm_bot(queue.table, UNKNOWN)

        assert confirm_bot(queue.table, BotIdentity("", UNKNOWN.folder, "web2")) is None

    def test_a_token_that_becomes_known_is_noted(self, queue: DatabaseQueue) -> None:
        confirm_bot(queue.table, UNKNOWN)

        assert confirm_bot(queue.table, A) is None

        with pytest.raises(ConfigurationError, match="bot 111"):
            confirm_bot(queue.table, B)

    def test_a_known_bot_is_not_forgotten_for_one_without_a_token(self, queue: DatabaseQueue) -> None:
        confirm_bot(queue.table, A)

        assert confirm_bot(queue.table, BotIdentity("", "/home/b/scalable", "web1")) is not None

        with pytest.raises(ConfigurationError, match="bot 111"):
            confirm_bot(queue.table, B)


def test_a_table_of_an_earlier_version_becomes_this_bots(queue: DatabaseQueue) -> None:
    """It has no such note, or one that somebody wrote by hand."""
    for stored in ("", "[]", '{"number": 5}', "x" * 100):
        queue.database.run(lambda session: session.execute("DELETE FROM bot_jobs_meta WHERE name = 'bot'"))
        insert = "INSERT INTO bot_jobs_meta (name, value) VALUES ('bot', :value)"
        queue.table.change(insert, value=stored)

        assert confirm_bot(queue.table, A) is None

        with pytest.raises(ConfigurationError, match="bot 111"):
            confirm_bot(queue.table, B)


def test_tables_that_are_missing_are_made(address: DatabaseAddress) -> None:
    queue = DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())

    assert confirm_bot(queue.table, A) is None

    assert queue.counts().total == 0
    queue.close()


def test_of_two_different_bots_that_start_at_once_one_is_refused(queue: DatabaseQueue) -> None:
    """F31: of the kind, both at once."""
    barrier = threading.Barrier(2)
    refused: list[str] = []

    def start(mine: BotIdentity) -> None:
        barrier.wait(60)
        try:
            confirm_bot(queue.table, mine)
        except ConfigurationError as error:
            refused.append(str(error))
        finally:
            queue.close()

    threads = [threading.Thread(target=start, args=(mine,)) for mine in (A, B)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(refused) == 1
