"""ProgressBar: one line on a terminal, nothing anywhere else."""

from __future__ import annotations

import io

from scalable.lib.worker.progress_bar import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_how_many_of_the_pending_updates_have_been_run():
    terminal = Terminal()
    bar = ProgressBar(4, terminal)

    bar.show(1)
    bar.show(4)
    bar.end()

    half_way, whole = terminal.getvalue().split("\r")[1:]
    assert half_way == "[#######.......................] 1/4 updates"
    assert whole == "[##############################] 4/4 updates\n"


def test_updates_that_arrive_meanwhile_do_not_run_over_the_end():
    terminal = Terminal()

    ProgressBar(2, terminal).show(3)

    assert terminal.getvalue().endswith("] 3/3 updates")


def test_cron_gets_no_mail_and_an_empty_queue_no_bar():
    file, terminal = io.StringIO(), Terminal()
    for bar in (ProgressBar(4, file), ProgressBar(0, terminal)):
        bar.show(1)
        bar.end()

    assert file.getvalue() == terminal.getvalue() == ""
