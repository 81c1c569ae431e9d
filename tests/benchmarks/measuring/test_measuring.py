"""The evidence of docs/measuring.md can be made again, and shows what the page says."""

import re
from pathlib import Path

import pytest

from benchmarks.measuring import HEADER, simulated, tables
from fofa.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


def first_number(text):
    return float(re.search(r"[0-9.]+", text)[0])


@pytest.fixture(scope="module")
def simulated_findings():
    return {finding.fault: finding for finding in simulated.findings()}


def test_every_simulated_fault_is_larger_than_what_fofa_leaves(simulated_findings):
    drift, outliers, launch = simulated_findings.values()
    for finding in (drift, outliers):
        assert first_number(finding.with_fault) > 10 * first_number(finding.without)
    assert first_number(launch.with_fault) < 0.1 * first_number(launch.without)


def test_rows_fit_the_header(simulated_findings):
    columns = HEADER.splitlines()[0].count("|")
    assert all(finding.row().count("|") == columns for finding in simulated_findings.values())


def test_the_committed_table_shows_the_faults_of_reading():
    calibration, drift, small_first, large_first = tables.findings(ROOT / "luts" / "epyc.json")
    assert first_number(calibration.with_fault) > first_number(calibration.without)
    assert first_number(drift.with_fault) > first_number(drift.without)
    assert small_first.with_fault.startswith("4 of 4 limits broken")
    assert large_first.with_fault.startswith("0 of 4 limits broken")
    assert small_first.without.startswith("0 of 4 limits broken")


def test_a_table_without_samples_is_refused():
    with pytest.raises(UserError, match="has no raw samples"):
        tables.findings(ROOT / "luts" / "a100.json")
