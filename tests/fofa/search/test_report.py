"""What a search found, as a table and as a picture."""

import io
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from fofa.errors import UserError
from fofa.search.problem import Problem, Target
from fofa.search.report import plot_front, print_outcome
from fofa.search.solve import solve

SNAPSHOTS = Path(__file__).parent / "snapshots"
ELASTIC = "3x4+5x6-7x3+3x3-5x4+5x4+5x4-3x6+3x6-7x6+7x6@160"


def shown(outcome, width: int) -> str:
    """What is printed on a terminal of that width, the time of searching as if it were 12.3 ms."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False)
    print_outcome(replace(outcome, seconds=0.0123), console)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


@pytest.fixture
def outcome(make_lut, make_accuracy):
    target = Target(name="a.json", lut=make_lut(), limit_ms=12.0)
    return solve(Problem(accuracy=make_accuracy(), targets=(target,)), pareto=True)


def test_every_number_says_how_it_was_obtained(make_lut, make_accuracy) -> None:
    lut = make_lut(method="published", device="note10", width_mult=1.2)
    problem = Problem(
        accuracy=make_accuracy(), targets=(Target(name="n.json", lut=lut, limit_ms=12.0),)
    )
    outcome = solve(problem)
    printed = io.StringIO()
    print_outcome(outcome, Console(file=printed, width=120, highlight=False))
    for expected in (
        outcome.results[0].architecture,
        "published",
        "measured",
        "error unknown",
        "12 ms",
        "Note: The published note10 table is of width 1.2",
        "exact search of 486 architectures",
    ):
        assert expected in printed.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_is_shown_is_what_was_looked_at(outcome, width: int) -> None:
    """After a change that is meant: look at the new text, then put it in the place of the old."""
    elsewhere = replace(outcome.results[0], timed_as="44444@192", margin="95", max_macs=3e8)
    few = replace(outcome, results=(*outcome.results, elsewhere), pareto=outcome.pareto[:3])
    assert shown(few, width) == (SNAPSHOTS / f"{width}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [*range(40, 140, 7)])
def test_nothing_is_cut_at_any_width(outcome, width: int) -> None:
    elastic = replace(outcome.results[0], architecture=ELASTIC, timed_as=ELASTIC)
    text = shown(replace(outcome, results=(*outcome.results, elastic)), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = set(text.split())
    for row in (*outcome.results, *outcome.pareto):
        for word in (row.architecture, f"{row.latency_ms:.3f}", f"{row.top1:.2f}%", "latency"):
            assert word in words
    assert ELASTIC in "".join(text.split())


def test_pictures(outcome, tmp_path) -> None:
    plot_front(outcome, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        assert image.size[0] > 500
        assert len(image.convert("RGB").getcolors(100_000)) > 10
    plot_front(outcome, tmp_path / "front.svg")
    text = ElementTree.parse(tmp_path / "front.svg").getroot()
    assert text.tag.endswith("svg")


def test_a_front_by_multiply_adds(make_accuracy, tmp_path) -> None:
    outcome = solve(Problem(accuracy=make_accuracy(), max_macs=2e8), pareto=True)
    plot_front(outcome, tmp_path / "macs.png")
    assert (tmp_path / "macs.png").stat().st_size > 1000


def test_other_endings_and_folders_that_cannot_be(outcome, tmp_path) -> None:
    with pytest.raises(UserError, match=r"ending in \.png"):
        plot_front(outcome, tmp_path / "front.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        plot_front(outcome, tmp_path / "file" / "front.png")
