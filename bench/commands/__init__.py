"""Command lines of the bench. The console scripts begin here: see `fofa.commands.start`."""

from profilers.commands import GOES_ON, Program

fofa_bench = Program(
    "fofa-bench",
    "bench.commands.bench",
    "Make the paper's tables and figures, or check results against a baseline.",
)
fofa_reproduce = Program(
    "fofa-reproduce",
    "bench.commands.reproduce",
    "Train and evaluate every recipe, and write the report.",
    GOES_ON,
)
