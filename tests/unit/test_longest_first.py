"""The order of the files of tests: the longest first, and every one that is named exists."""

from __future__ import annotations

from tests.support.longest_first import SECONDS, seconds_of
from tests.support.places import REPOSITORY


def test_every_file_that_is_named_exists():
    assert [name for name in SECONDS if not (REPOSITORY / name).is_file()] == []


def test_a_test_is_as_long_as_its_file_and_one_without_a_number_is_short():
    longest = max(SECONDS, key=lambda name: SECONDS[name])

    assert seconds_of(f"{longest}::TestOne::test_two[3::4]") == SECONDS[longest] > 10
    assert seconds_of("tests/unit/test_longest_first.py::test_one") == 0
