"""A comparison as people and machines read it: Markdown, JUnit XML, GitHub annotations."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from bench.gate.compare import LimitComparison, Status
from bench.reports.formats import escape_markdown
from fofa.plain_text import one_line

MARKS = {Status.HELD: "✅", Status.REGRESSED: "❌", Status.INCOMPARABLE: "⚠️"}
MAX_ANNOTATIONS = 10
"""GitHub shows no more than ten errors of a step."""


def verdict(comparisons: Sequence[LimitComparison]) -> str:
    """One line: how many limits held, regressed and were not compared."""
    counts = Counter(comparison.status for comparison in comparisons)
    parts = [f"{counts[status]} {status.value}" for status in Status if counts[status]]
    better = sum(comparison.improved for comparison in comparisons)
    improved = f" ({better} improved: update the baseline to keep it)" if better else ""
    return f"{len(comparisons)} limits: {', '.join(parts)}{improved}"


def allowances(comparisons: Sequence[LimitComparison]) -> str | None:
    """By how much the latencies of each device might rise; None if nothing was compared."""
    devices: dict[str, list[str]] = {}
    for comparison in comparisons:
        if comparison.allowed_percent is not None:
            devices.setdefault(f"+{comparison.allowed_percent:.1f}%", []).append(comparison.device)
    parts = [
        f"{allowed} on {', '.join(dict.fromkeys(names))}" for allowed, names in devices.items()
    ]
    return one_line(f"allowed latency: {'; '.join(parts)}") if parts else None


def complaints(comparisons: Sequence[LimitComparison]) -> list[str]:
    """One line for each cause, regressions first; what many limits or supernets share, once."""
    lines = [
        f"{comparison.status.value}: {comparison.place}: {reason}"
        for comparison in comparisons
        if comparison.status is Status.REGRESSED
        for reason in comparison.reasons
    ]
    causes: dict[str, list[LimitComparison]] = {}
    for comparison in comparisons:
        if comparison.status is Status.INCOMPARABLE:
            for reason in comparison.reasons:
                causes.setdefault(reason, []).append(comparison)
    lines += [
        f"{Status.INCOMPARABLE.value}: {_places(members)}: {reason}"
        for reason, members in causes.items()
    ]
    return list(dict.fromkeys(map(one_line, lines)))


def _places(comparisons: Sequence[LimitComparison]) -> str:
    """Devices and supernets of several limits, counted where there are several."""
    devices = list(dict.fromkeys(comparison.device for comparison in comparisons))
    supernets = list(dict.fromkeys((one.recipe, one.seed, one.budget_hours) for one in comparisons))
    recipe, seed, _ = supernets[0]
    one = f"{recipe} seed {seed}" if len(supernets) == 1 else f"{len(supernets)} supernets"
    return f"{', '.join(devices)}, {one}"


def markdown_summary(comparisons: Sequence[LimitComparison]) -> str:
    """For a pull request: the verdict, what is wrong, and a table of every limit."""
    lines = ["### Accuracy at latency limits", "", f"**{verdict(comparisons)}**", ""]
    allowed = allowances(comparisons)
    said = [*([allowed] if allowed else []), *complaints(comparisons)]
    lines += [f"- {escape_markdown(line)}" for line in said]
    lines += [
        "",
        "| | Device | Supernet | Limit | Baseline | Now |",
        "| :-- | :-- | :-- | --: | --: | --: |",
    ]
    for comparison in comparisons:
        cells = [
            MARKS[comparison.status],
            escape_markdown(comparison.device),
            escape_markdown(f"{comparison.recipe}, seed {comparison.seed}"),
            f"{comparison.old.limit_ms:g} ms",
            _numbers(comparison.old.top1, comparison.old.architecture, comparison.old.latency_ms),
            _numbers(comparison.new_top1, comparison.new_architecture, comparison.new_latency_ms),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _numbers(top1: float | None, architecture: str | None, latency_ms: float | None) -> str:
    if top1 is None or latency_ms is None:
        return "–"
    return f"{top1:.2f}<br><sub>{architecture}, {latency_ms:.4g} ms</sub>"


def junit_xml(comparisons: Sequence[LimitComparison]) -> str:
    """A suite per device, a case per supernet and limit; not compared is an error."""
    root = ElementTree.Element("testsuites", {"name": "fofa-bench", **_counts(comparisons)})
    ordered = sorted(comparisons, key=lambda comparison: comparison.device)
    for device, members in groupby(ordered, key=lambda comparison: comparison.device):
        cases = list(members)
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": one_line(device), **_counts(cases)}
        )
        for comparison in cases:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=one_line(f"{device}.{comparison.recipe}-seed{comparison.seed}"),
                name=f"{comparison.old.limit_ms:g} ms",
            )
            tag = {Status.REGRESSED: "failure", Status.INCOMPARABLE: "error"}.get(comparison.status)
            if tag is not None:
                reasons = [one_line(reason) for reason in comparison.reasons]
                fault = ElementTree.SubElement(case, tag, message="; ".join(reasons))
                fault.text = "\n".join(reasons)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(comparisons: Sequence[LimitComparison]) -> dict[str, str]:
    counts = Counter(comparison.status for comparison in comparisons)
    return {
        "tests": str(len(comparisons)),
        "failures": str(counts[Status.REGRESSED]),
        "errors": str(counts[Status.INCOMPARABLE]),
    }


def github_annotations(comparisons: Sequence[LimitComparison]) -> list[str]:
    """Lines that GitHub Actions turns into annotations: errors, and warnings where not compared."""
    lines = []
    for line in complaints(comparisons)[:MAX_ANNOTATIONS]:
        level = "error" if line.startswith(Status.REGRESSED.value) else "warning"
        lines.append(f"::{level} title=fofa-bench::{_escape_message(line)}")
    return lines


def _escape_message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
