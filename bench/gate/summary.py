"""A comparison as people and machines read it: Markdown, JUnit XML, GitHub annotations."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from bench.gate.compare import Outcome, Status
from bench.reports.formats.markdown import escape

MARKS = {Status.HELD: "✅", Status.REGRESSED: "❌", Status.INCOMPARABLE: "⚠️"}
MAX_ANNOTATIONS = 10
"""GitHub shows no more than ten errors of a step."""


def verdict(outcomes: Sequence[Outcome]) -> str:
    """One line: how many limits held, regressed and were not compared."""
    counts = Counter(outcome.status for outcome in outcomes)
    parts = [f"{counts[status]} {status.value}" for status in Status if counts[status]]
    better = sum(outcome.improved for outcome in outcomes)
    improved = f" ({better} improved: update the baseline to keep it)" if better else ""
    return f"{len(outcomes)} limits: {', '.join(parts)}{improved}"


def complaints(outcomes: Sequence[Outcome]) -> list[str]:
    """Every reason with its place, regressions first; a reason that many limits share, once."""
    lines = [
        f"{outcome.status.value}: {outcome.place}: {reason}"
        for outcome in outcomes
        if outcome.status is Status.REGRESSED
        for reason in outcome.reasons
    ]
    for outcome in outcomes:
        if outcome.status is Status.INCOMPARABLE:
            place = f"{outcome.device}, {outcome.recipe} seed {outcome.seed}"
            lines += [f"{outcome.status.value}: {place}: {reason}" for reason in outcome.reasons]
    return list(dict.fromkeys(lines))


def markdown_summary(outcomes: Sequence[Outcome]) -> str:
    """For a pull request: the verdict, what is wrong, and a table of every limit."""
    lines = ["### Accuracy at latency limits", "", f"**{verdict(outcomes)}**", ""]
    lines += [f"- {escape(line)}" for line in complaints(outcomes)]
    lines += [
        "",
        "| | Device | Supernet | Limit | Baseline | Now |",
        "| :-- | :-- | :-- | --: | --: | --: |",
    ]
    for outcome in outcomes:
        cells = [
            MARKS[outcome.status],
            escape(outcome.device),
            escape(f"{outcome.recipe}, seed {outcome.seed}"),
            f"{outcome.old.limit_ms:g} ms",
            _numbers(outcome.old.top1, outcome.old.architecture, outcome.old.latency_ms),
            _numbers(outcome.new_top1, outcome.new_architecture, outcome.new_latency_ms),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _numbers(top1: float | None, architecture: str | None, latency_ms: float | None) -> str:
    if top1 is None or latency_ms is None:
        return "–"
    return f"{top1:.2f}<br><sub>{architecture}, {latency_ms:.4g} ms</sub>"


def junit_xml(outcomes: Sequence[Outcome]) -> str:
    """A suite per device, a case per supernet and limit; not compared is an error."""
    root = ElementTree.Element("testsuites", {"name": "fofa-bench", **_counts(outcomes)})
    ordered = sorted(outcomes, key=lambda outcome: outcome.device)
    for device, members in groupby(ordered, key=lambda outcome: outcome.device):
        cases = list(members)
        suite = ElementTree.SubElement(root, "testsuite", {"name": device, **_counts(cases)})
        for outcome in cases:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=f"{device}.{outcome.recipe}-seed{outcome.seed}",
                name=f"{outcome.old.limit_ms:g} ms",
            )
            tag = {Status.REGRESSED: "failure", Status.INCOMPARABLE: "error"}.get(outcome.status)
            if tag is not None:
                fault = ElementTree.SubElement(case, tag, message="; ".join(outcome.reasons))
                fault.text = "\n".join(outcome.reasons)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(outcomes: Sequence[Outcome]) -> dict[str, str]:
    counts = Counter(outcome.status for outcome in outcomes)
    return {
        "tests": str(len(outcomes)),
        "failures": str(counts[Status.REGRESSED]),
        "errors": str(counts[Status.INCOMPARABLE]),
    }


def github_annotations(outcomes: Sequence[Outcome]) -> list[str]:
    """Lines that GitHub Actions turns into annotations: errors, and warnings where not compared."""
    lines = []
    for line in complaints(outcomes)[:MAX_ANNOTATIONS]:
        level = "error" if line.startswith(Status.REGRESSED.value) else "warning"
        lines.append(f"::{level} title=fofa-bench::{_escape_message(line)}")
    return lines


def _escape_message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
