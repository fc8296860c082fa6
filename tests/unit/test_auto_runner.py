"""The runner that looks at the bot's source: which one it uses, and when it looks again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.errors import BotUnsuitable
from scalable.lib.runners.auto_runner import AutoRunner
from scalable.lib.runners.php.bot_source import BotSource
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.runners.runner import Runner

POLLS, READS = "<?php getUpdates();", "<?php file_get_contents('php://input');"


class NamedRunner(Runner):
    def __init__(self, name: str) -> None:
        self.name = name
        self.is_closed = False

    def check(self) -> str:
        return self.name

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:  # noqa: ARG002
        return RunResult(End.EXITED, 0.0, exit_code=0, output=self.name)

    def close(self) -> None:
        self.is_closed = True


class Bot:
    """A bot that is run by its first reading sign, and not at all while it polls."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "bot.php"
        self.built: list[NamedRunner] = []
        self.runner = AutoRunner(self.file, self._decide, self._build)

    def _decide(self, source: BotSource) -> str:
        if source.signs.polls is not None:
            raise BotUnsuitable("it polls")
        return "stdin" if source.signs.stdin else "body"

    def _build(self, way: str) -> Runner:
        self.built.append(NamedRunner(way))
        return self.built[-1]

    def ran_by(self) -> str:
        return self.runner.run("{}").output


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    return Bot(tmp_path)


def test_one_runner_is_made_and_kept_while_the_source_stays(bot: Bot) -> None:
    bot.file.write_text(READS)

    assert [bot.runner.check(), bot.ran_by(), bot.ran_by()] == ["body"] * 3
    assert len(bot.built) == 1


def test_a_change_that_asks_for_the_same_way_keeps_the_runner(bot: Bot) -> None:
    bot.file.write_text(READS)
    bot.ran_by()
    bot.file.write_text(READS + " // longer")

    assert bot.ran_by() == "body"
    assert len(bot.built) == 1


def test_a_change_that_asks_for_another_way_closes_the_old_runner(bot: Bot) -> None:
    bot.file.write_text(READS)
    bot.ran_by()
    bot.file.write_text("<?php fgets(STDIN);")

    assert bot.ran_by() == "stdin"
    assert [runner.is_closed for runner in bot.built] == [True, False]


def test_a_source_that_becomes_unsuitable_is_not_run_until_it_changes_again(bot: Bot) -> None:
    bot.file.write_text(READS)
    bot.ran_by()
    bot.file.write_text(POLLS)

    for _ in range(2):
        with pytest.raises(BotUnsuitable, match="it polls"):
            bot.ran_by()
    assert bot.built[0].is_closed

    bot.file.write_text(READS)
    assert bot.ran_by() == "body"


def test_before_the_first_look_there_is_nothing_to_close(bot: Bot) -> None:
    bot.runner.rest()
    bot.runner.close()

    assert bot.runner.retire_reason is None
    assert bot.runner.runs_side_by_side
