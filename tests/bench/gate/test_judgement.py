"""The gate on random changes, against its rule written out plainly a second time.

Every table here stays comparable with its baseline, so that each example gets past "not compared":
accuracies change for each architecture, latencies for each block, tolerances and the tables' own
errors are drawn.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from in_process import run_here

from bench.commands.bench import main
from bench.gate.compare import EPSILON, ERROR_GROWTH
from fofa.accuracy import AccuracyTable
from fofa.latency import Lut
from fofa.search.pairing import pair

SIZES = {"resolutions": (128,)}
FEW, MANY = 25, 1000
EXAMPLES = [
    pytest.param(FEW, id="few"),
    pytest.param(MANY, id="many", marks=(pytest.mark.slow, pytest.mark.timeout(3600))),
]
LIMITS = st.lists(st.sampled_from((3.0, 4.0, 5.0, 7.0, 9.0)), min_size=1, max_size=3, unique=True)


@pytest.fixture(scope="module")
def gated(
    make_lut: Callable[..., Lut],
    make_accuracy: Callable[..., AccuracyTable],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("gated")
    make_accuracy("fofa-n3", resolutions=(32,)).write(folder / "accuracy" / "fofa-n3.json")
    make_lut("epyc7763", **SIZES).write(folder / "luts" / "epyc.json")
    return folder


def judged(
    old: list[dict], accuracy: AccuracyTable, lut: Lut, points: float, allowance: float
) -> list[bool]:
    """Whether each limit of a baseline holds, by looking at every architecture."""
    rows = pair(lut, accuracy)
    now = {
        architecture.name: (top1, latency)
        for architecture, top1, latency in zip(
            rows.architectures, rows.top1, rows.latency_ms, strict=True
        )
    }
    held = []
    for limit in old:
        reach = limit["limit_ms"] * (1 + allowance / 100)
        best = max((t for t, latency in now.values() if latency <= reach), default=-1.0)
        top1, latency = now[limit["architecture"]]
        lost = max(limit["top1"] - best, limit["top1"] - top1)
        rise = latency - limit["latency_ms"] * (1 + allowance / 100)
        # What lies on the line itself is judged by the last digit of a sum.
        assume(abs(lost - points) > 1e-6)
        assume(abs(rise) > 1e-6)
        assume(all(abs(latency - reach) > 1e-6 for _, latency in now.values()))
        held.append(lost <= points + EPSILON and rise <= EPSILON)
    return held


@pytest.mark.parametrize("examples", EXAMPLES)
def test_it_judges_as_its_rule_says(gated: Path, examples: int, tmp_path: Path) -> None:
    accuracy = AccuracyTable.read(gated / "accuracy" / "fofa-n3.json")
    lut = Lut.read(gated / "luts" / "epyc.json")
    verdicts: set[int] = set()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        errors = [data.draw(st.floats(0.1, 6)), data.draw(st.floats(0.1, 6))]
        points, percent = data.draw(st.floats(0, 2)), data.draw(st.floats(0, 8))
        assume(errors[1] <= max(percent, ERROR_GROWTH * max(errors[0], 0.5)) - 1e-6)
        with_errors = [claiming(lut, error) for error in errors]
        with_errors[0].write(tmp_path / "luts" / "epyc.json")
        accuracy.write(tmp_path / "accuracy" / "fofa-n3.json")
        limits = ",".join(f"{limit:.3f}" for limit in data.draw(LIMITS))
        words = ("--luts-dir", "luts", "--accuracy-dir", "accuracy")
        made = run_here(
            *(main, "fofa-bench", *words, "--update-baseline", "baseline.json"),
            *("--constraints", limits, "--accuracy-tolerance", points),
            *("--latency-tolerance", percent),
            cwd=tmp_path,
        )
        assert made.returncode == 0, made.stderr
        noise = random.Random(data.draw(st.integers(0, 2**32)))
        points_moved, factor = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 0.08))
        changed = [
            row.model_copy(
                update={"top1": min(100.0, row.top1 + noise.uniform(-points_moved, points_moved))}
            )
            for row in accuracy.architectures
        ]
        new_accuracy = accuracy.model_copy(update={"architectures": changed})
        entries = [
            entry.model_copy(
                update={"latency_ms": entry.latency_ms * noise.uniform(1 - factor, 1 + factor)}
            )
            for entry in with_errors[1].entries
        ]
        new_lut = with_errors[1].model_copy(update={"entries": entries})
        new_lut.write(tmp_path / "luts" / "epyc.json")
        new_accuracy.write(tmp_path / "accuracy" / "fofa-n3.json")
        old = json.loads((tmp_path / "baseline.json").read_text())["results"][0]
        stated = [old["lut_error_percent"], new_lut.error_percent or 0.0]
        allowance = max(percent, stated[0] + min(stated))
        held = judged(old["limits"], new_accuracy, new_lut, points, allowance)
        done = run_here(
            *(main, "fofa-bench", *words, "--check", "baseline.json"),
            cwd=tmp_path,
            GITHUB_ACTIONS="",
        )
        assert done.returncode == (0 if all(held) else 1), done.stdout
        regressed = [line for line in done.stdout.splitlines() if line.startswith("regressed:")]
        assert bool(regressed) == (not all(held))
        verdicts.add(done.returncode)

    check()
    assert verdicts == {0, 1} or (examples == FEW and verdicts), "examples of one kind only"


def claiming(lut: Lut, percent: float) -> Lut:
    """The table with another error of its own."""
    assert lut.validation is not None
    known = lut.validation.model_copy(update={"mape_percent": percent})
    return lut.model_copy(update={"validation": known})
