"""What a search found, as a table and as a picture."""

import io
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image
from rich.console import Console

from fofa.errors import UserError
from fofa.search.problem import Problem, Target
from fofa.search.report import plot_front, print_outcome
from fofa.search.solve import solve


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
