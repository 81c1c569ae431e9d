"""Command lines of the bench. The console scripts begin here: see `fofa.commands.start`."""

from fofa.commands import GOES_ON
from fofa.commands.start import start


def fofa_bench() -> None:
    """The program `fofa-bench`."""
    start("fofa-bench", "bench.commands.bench")


def fofa_reproduce() -> None:
    """The program `fofa-reproduce`."""
    start("fofa-reproduce", "bench.commands.reproduce", GOES_ON)
