import io

from rich.console import Console

from fofa.search.outcome import Verdict
from fofa.search.problem import Problem, Target
from fofa.search.report import print_outcome, print_verdicts
from fofa.search.solve import solve


def text_of(print_to) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    print_to(console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_number_says_how_it_was_obtained(make_lut, make_accuracy) -> None:
    lut = make_lut(method="published", device="note10", width_mult=1.2)
    problem = Problem(
        accuracy=make_accuracy(), targets=(Target(name="n.json", lut=lut, limit_ms=12.0),)
    )
    outcome = solve(problem)
    text = text_of(lambda console: print_outcome(outcome, console))
    for expected in (
        outcome.results[0].architecture,
        "published",
        "measured",
        "error unknown",
        "12 ms",
        "Note: The published note10 table is of width 1.2",
        "exact search of 486 architectures",
    ):
        assert expected in text


def test_verdicts() -> None:
    verdict = Verdict(
        architecture="22222@128",
        lut="a.json",
        predicted_ms=2.0,
        measured_ms=2.5,
        error_percent=-20.0,
        noise_percent=0.5,
        limit_ms=2.2,
        holds=False,
        warnings=("unstable: reasons",),
    )
    text = text_of(lambda console: print_verdicts([verdict], console))
    for expected in ("2.000 ms", "2.500 ms ± 0.5%", "-20.0%", "over the limit", "unstable"):
        assert expected in text
    assert text_of(lambda console: print_verdicts([], console)) == ""
