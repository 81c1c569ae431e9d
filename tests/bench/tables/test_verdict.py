"""What is said to have won: the leader, the lead over the next, and whether it is certain."""

from __future__ import annotations

from collections.abc import Sequence

from bench.tables.model import Behind, Cell, Column
from bench.tables.verdict import column_verdict, lead, limits_verdict

METHODS = ("OFA", "CompOFA", "fOFA (n=3)")


def behind(points: float, *, best: bool = False) -> Cell:
    """A cell that is `points` from the best of its column, half a point more or less."""
    off = 0.5 if points else 0.0
    found = Behind(points=points, low=points - off, high=points + off)
    return Cell(value=70 + points, best=best, alike=not best and points == 0, behind=found)


def verdict(*columns: Sequence[Cell], titles: Sequence[str] = ("15 ms", "20 ms", "25 ms")) -> str:
    shown = [Column(title=t, group="Toaster", limit_ms=1) for t in titles[: len(columns)]]
    rows = [list(cells) for cells in zip(*columns, strict=True)]
    (sentence,) = limits_verdict(shown, METHODS, rows)
    return sentence


def test_a_lead_is_over_the_next_and_its_interval_is_turned_round() -> None:
    found = lead("15 ms", METHODS, [behind(-3), behind(0, best=True), behind(-1)])
    assert found is not None
    assert (found.method, found.over, found.certain) == ("CompOFA", "fOFA (n=3)", True)
    assert (found.points, found.low, found.high) == (1, 0.5, 1.5)
    assert lead("15 ms", METHODS, [behind(0), Cell(note="none"), Cell(note="none")]) is None


def test_one_winner_everywhere() -> None:
    narrow, clear = (
        [behind(-1), behind(-4), behind(0)],
        [behind(-2), behind(-3), behind(0, best=True)],
    )
    assert verdict(narrow, clear) == (
        "Toaster: fOFA (n=3) is first at every limit, by 1.00 [0.50, 1.50] to 2.00 [1.50, 2.50] "
        "points over the next; beyond the error at 20 ms."
    )
    assert verdict(narrow, narrow).endswith("; no lead is beyond the error.")
    assert verdict(clear, clear).endswith("; every lead is beyond the error.")


def test_several_winners_and_limits_without_any() -> None:
    one, other = [behind(0), behind(-1), behind(-2)], [behind(-1), behind(0), behind(-2)]
    nothing = [Cell(note="none"), behind(0), Cell(note="none")]
    assert verdict(one, one, other) == (
        "Toaster: OFA is first at 15 and 20 ms, by 1.00 [0.50, 1.50]; CompOFA at 25 ms, by 1.00 "
        "[0.50, 1.50] points over the next; no lead is beyond the error."
    )
    assert verdict(one, nothing) == (
        "Toaster: OFA is first at 15 ms, by 1.00 [0.50, 1.50] points over the next; at 20 ms there "
        "is nothing to compare; that is within the error."
    )
    assert "nothing won" in verdict(nothing)


def test_a_column() -> None:
    assert column_verdict(
        "Mean top-1", METHODS, [behind(0, best=True), behind(-2), behind(-3)]
    ) == (
        "Mean top-1: OFA is first, by 2.00 [1.50, 2.50] points over CompOFA; that is beyond the "
        "error."
    )
    assert "nothing won" in column_verdict("Mean top-1", METHODS, [Cell(), Cell(), Cell()])
