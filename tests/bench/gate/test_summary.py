"""The gate's outputs: Markdown, JUnit XML and annotations."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree

import pytest

from bench.gate.baseline import LimitRecord
from bench.gate.compare import LimitComparison, Status
from bench.gate.summary import (
    complaints,
    github_annotations,
    junit_xml,
    markdown_summary,
    verdict,
)

OLD = LimitRecord(limit_ms=15, architecture="22222@160", top1=70, latency_ms=14.5)


def comparison(status: Status, *reasons: str, device: str = "note10") -> LimitComparison:
    held = status is Status.HELD
    return LimitComparison(
        device=device,
        recipe="fofa-n3",
        seed=0,
        old=OLD,
        status=status,
        reasons=reasons,
        new_top1=71.0 if held else None,
        new_architecture="22223@160" if held else None,
        new_latency_ms=14.6 if held else None,
        improved=held,
    )


@pytest.fixture
def comparisons() -> list[LimitComparison]:
    return [
        comparison(Status.HELD),
        comparison(Status.INCOMPARABLE, "unstable | <b>", device="a100"),
        comparison(Status.INCOMPARABLE, "unstable | <b>", device="a100"),
        comparison(Status.REGRESSED, "was 70.00, is 69.00; 5% & <more>"),
    ]


def test_the_verdict_counts(comparisons: list[LimitComparison]) -> None:
    assert verdict(comparisons) == (
        "4 limits: 1 held, 1 regressed, 2 not compared (1 improved: update the baseline to keep it)"
    )


def test_complaints_are_said_once_regressions_first(comparisons: list[LimitComparison]) -> None:
    assert complaints(comparisons) == [
        "regressed: note10, fofa-n3 seed 0, 15 ms: was 70.00, is 69.00; 5% & <more>",
        "not compared: a100, fofa-n3 seed 0: unstable | <b>",
    ]


def test_a_cause_that_many_share_is_one_line() -> None:
    cause = "luts/epyc.json: unstable measurement"
    many = [
        dataclasses.replace(comparison(Status.INCOMPARABLE, cause, device=device), seed=seed)
        for device in ("epyc7763", "cpu")
        for seed in range(4)
        for _ in range(4)
    ]
    assert complaints(many) == [f"not compared: epyc7763, cpu, 4 supernets: {cause}"]
    other = comparison(Status.INCOMPARABLE, "no accuracy table of fofa-n3 seed 0")
    assert complaints([*many, other])[1:] == [
        "not compared: note10, fofa-n3 seed 0: no accuracy table of fofa-n3 seed 0"
    ]


def test_markdown_has_a_full_line_for_each_limit(comparisons: list[LimitComparison]) -> None:
    lines = [line for line in markdown_summary(comparisons).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(comparisons)
    assert {line.count("|") for line in lines} == {7}
    assert "<b>" not in markdown_summary(comparisons)


def test_junit_is_valid_and_tells_failures_from_errors(comparisons: list[LimitComparison]) -> None:
    root = ElementTree.fromstring(junit_xml(comparisons))
    assert root.attrib == {"name": "fofa-bench", "tests": "4", "failures": "1", "errors": "2"}
    assert [suite.get("name") for suite in root] == ["a100", "note10"]
    (failure,) = root.iter("failure")
    assert "was 70.00, is 69.00; 5% & <more>" in (failure.text or "")
    assert len(list(root.iter("testcase"))) == 4


def test_annotations_are_escaped_and_few(comparisons: list[LimitComparison]) -> None:
    lines = github_annotations(comparisons)
    assert lines[0].startswith("::error title=fofa-bench::regressed: note10")
    assert "5%25 & <more>" in lines[0]
    assert lines[1].startswith("::warning ")
    many = [comparison(Status.REGRESSED, f"reason {number}") for number in range(30)]
    assert len(github_annotations(many)) == 10
