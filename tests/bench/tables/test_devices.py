"""Devices and their limits: parsing, defaults, and matched limits as shares of the space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.tables.collect import LutSource
from bench.tables.devices import (
    MATCHED_SHARES,
    NOTE10_SPACE_SIZE,
    NOTE10_WITHIN,
    WantedLimits,
    limits_for,
    matched_limits,
    parse_limits,
)
from fofa.errors import UserError
from fofa.latency import Lut
from fofa.space import SearchSpace

LATENCIES = st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=300)


def source_of(lut: Lut) -> LutSource:
    return LutSource(Path("device.json"), lut)


@given(LATENCIES)
def test_matched_limits_let_at_least_their_share_through(latencies: list[float]) -> None:
    limits = matched_limits(latencies)
    assert list(limits) == sorted(set(limits))
    assert 1 <= len(limits) <= 4
    values = np.array(latencies)
    for share in MATCHED_SHARES:
        fitting = min(limit for limit in limits if np.mean(values <= limit) >= share)
        below = values[values <= fitting / 1.0021]
        assert len(below) / len(values) < share or fitting == limits[0]


@given(st.floats(1e-3, 1e3), LATENCIES)
def test_matched_limits_scale_with_the_device(factor: float, latencies: list[float]) -> None:
    slow = matched_limits([factor * value for value in latencies])
    fast = matched_limits(latencies)
    assert slow[-1] == pytest.approx(factor * fast[-1], rel=2.1e-3)


def test_shares_are_those_of_the_note10_table() -> None:
    lut = Lut.read(Path(__file__).parents[3] / "luts/note10.json")
    latencies = lut.latencies_ms(SearchSpace(resolutions=(160, 176, 192, 208, 224)).architectures())
    assert len(latencies) == NOTE10_SPACE_SIZE
    assert tuple(int(np.sum(latencies <= limit)) for limit in (15, 20, 25, 30)) == NOTE10_WITHIN


@pytest.mark.parametrize(
    "text", ["", "fast", "15,,20", "15;20", "-1", "0", "nan", "inf", "1e999", "1_5", "１５"]
)
def test_wrong_constraints_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected paper, matched, or limits"):
        parse_limits(text)


@given(st.text(max_size=20))
def test_any_text_is_limits_or_refused(text: str) -> None:
    try:
        found = parse_limits(text)
    except UserError:
        return
    assert all(0 < value < 1e9 for value in found.values_ms)


def test_lists_are_sorted_and_freed_of_doubles() -> None:
    assert parse_limits("20, 15,20").values_ms == (15.0, 20.0)
    assert parse_limits(None) == WantedLimits(None)


@pytest.mark.parametrize(
    ("device", "method", "matches", "expected"),
    [
        ("note10", "published", None, "paper"),
        ("epyc7763", "measured", True, "paper"),
        ("epyc7763", "measured", False, "matched"),
        ("a100", "estimated", None, "matched"),
        ("cpu", "measured", None, "matched"),
    ],
)
def test_the_papers_limits_are_kept_for_its_own_hardware(
    make_lut: Callable[..., Lut],
    device: str,
    method: str,
    matches: bool | None,
    expected: str,
) -> None:
    source = source_of(make_lut(device, method=method, matches=matches))
    assert limits_for(source, [1.0, 2.0, 3.0, 4.0], WantedLimits()).origin == expected


def test_paper_limits_asked_for_elsewhere_become_matched(make_lut: Callable[..., Lut]) -> None:
    latencies = [1.0, 2.0, 3.0, 4.0]
    epyc = limits_for(source_of(make_lut("epyc7763")), latencies, WantedLimits("paper"))
    assert (epyc.origin, epyc.values_ms) == ("paper", (22, 25, 28, 31))
    cpu = source_of(make_lut("cpu"))
    assert limits_for(cpu, latencies, WantedLimits("paper")).origin == "matched"
    given_ones = limits_for(cpu, latencies, WantedLimits("given", (7.0,)))
    assert given_ones.values_ms == (7.0,)
