"""Which packages are used, and what the checks say when this Python has a newer one that is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.setup.finding import Finding, Verdict
from scalable.lib.setup.packages import PACKAGES, check_packages, find_packages


def install(folder: Path, name: str, version: str) -> None:
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    """Every package, version 2.0."""
    for name in PACKAGES.values():
        install(tmp_path / "vendor", name, "2.0")
    return tmp_path / "vendor"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return tmp_path / "site-packages"


def check(vendor: Path, host: Path) -> list[Finding]:
    return check_packages(find_packages(vendor, [str(vendor), str(host)]))


def test_all_vendored_and_nothing_else_there_is_one_line_with_the_versions(vendor: Path, host: Path) -> None:
    [finding] = check(vendor, host)

    assert finding.verdict is Verdict.OK
    assert finding.seen == ", ".join(f"{name} 2.0" for name in PACKAGES.values())


@pytest.mark.parametrize("version", ["2.0.1", "2.1", "10.0", "2.0.post1"])
def test_a_newer_one_of_this_python_is_used_by_nobody_and_told_with_both_ways_out(
    vendor: Path, host: Path, version: str
) -> None:
    install(host, "python-dotenv", version)

    ok, warning = check(vendor, host)

    assert f"python-dotenv 2.0 (this Python has {version})" in ok.seen
    assert warning.verdict is Verdict.WARNING
    assert f"the newer {version}, which may repair something" in warning.seen
    assert "take the newest release of Scalable mode" in warning.seen
    assert "rm -r scalable/vendor/dotenv* scalable/vendor/python_dotenv*" in warning.seen


@pytest.mark.parametrize("version", ["1.9", "2.0", "3.0a1", "2.1.dev5"])
def test_an_older_one_and_one_that_is_not_finished_are_no_reason_to_warn(
    vendor: Path, host: Path, version: str
) -> None:
    install(host, "waitress", version)

    assert [finding.verdict for finding in check(vendor, host)] == [Verdict.OK]


def test_one_that_is_only_this_pythons_own_is_used_and_named_so(vendor: Path, host: Path) -> None:
    (vendor / "bottle-2.0.dist-info" / "METADATA").unlink()
    (vendor / "bottle-2.0.dist-info").rmdir()
    install(host, "bottle", "0.13")

    [finding] = check(vendor, host)

    assert finding.seen.startswith("bottle 0.13 (this Python's own), PyMySQL 2.0,")


def test_one_that_is_nowhere_is_an_error_that_says_what_to_do(tmp_path: Path, host: Path) -> None:
    install(host, "bottle", "0.13")

    findings = check(tmp_path / "none", host)

    assert {finding.verdict for finding in findings} == {Verdict.ERROR}
    assert [finding.seen.partition(" ")[0] for finding in findings] == [*PACKAGES.values()][1:]
    assert "upload the folder scalable/vendor of the release" in findings[0].seen
