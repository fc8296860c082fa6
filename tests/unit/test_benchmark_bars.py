"""The charts of the documents are read from the report: nothing is lost, and nothing is of another run."""

from __future__ import annotations

import re
from html import unescape

import pytest

from benchmarks.bars import Bar, bars
from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import Spread, table
from tests.support.places import REPOSITORY

REPORT = (
    "# Results\n\n## Drain: a title\n\n"
    + table(
        ["queue", "jobs/s (rounds)", "goal"],
        [["ours, `cli`", Spread(2242.4, 1950, 2534.9).text(0), "**MISSED**"], ["bare", "3.5", ""]],
    )
    + "\n\n## Webhook: a title\n\n"
    + table(
        ["webhook", "connections", "figure", "peer", "ratio", "goal"],
        [
            ["CGI", "1", "26.2 ms", "php-cgi", "0.50 (0.40–1.00)", "≤ 0.8: met"],
            ["own", "8", "1,245 /s", "PHP-FPM", "2.00 (1.00–4.00)", "≥ 1.5: met"],
        ],
    )
    + "\n\nTook 3 s."
)


def test_a_table_is_read_back_as_it_was_written() -> None:
    assert bars(REPORT, "Drain", "jobs/s (rounds)") == [
        Bar("ours, cli", 2242, 1950, 2535),
        Bar("bare", 3.5, 3.5, 3.5),
    ]


def test_beside_a_peer_less_time_and_more_requests_are_both_a_longer_bar() -> None:
    assert bars(REPORT, "Webhook", "ratio") == [
        Bar("CGI, 1 connection,\nagainst php-cgi", 2.0, 1.0, 2.5, 1.25),
        Bar("own, 8 connections,\nagainst PHP-FPM", 2.0, 1.0, 4.0, 1.5),
    ]


@pytest.mark.parametrize(("part", "column"), [("Drain", "ratio"), ("Nothing", "ratio")])
def test_a_missing_column_or_section_is_named(part: str, column: str) -> None:
    with pytest.raises(BenchmarkFailed, match=f"'{column}' under '{part}'"):
        bars(REPORT, part, column)


@pytest.mark.parametrize(
    ("chart", "part", "column"),
    [
        ("drain", "Drain", "jobs/s (rounds)"),
        ("bots", "Bots", "updates/s (rounds)"),
        ("growth", "Growth", "ratio of medians (rounds)"),
        ("webhook", "Webhook", "ratio"),
    ],
)
def test_the_pictures_in_the_documents_are_those_of_the_report(chart: str, part: str, column: str) -> None:
    report = (REPOSITORY / "benchmarks" / "RESULTS.md").read_text()
    picture = (REPOSITORY / "docs" / f"bench-{chart}.svg").read_text()
    texts = {unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)}

    for bar in bars(report, part, column):
        assert bar.text in texts
        assert {line.strip() for line in bar.name.split("\n")} <= {text.strip() for text in texts}
