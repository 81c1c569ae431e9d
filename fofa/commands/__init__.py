"""The command lines. Each module holds one command and no logic of its own.

The console scripts begin here, where nothing is imported yet: see `fofa.commands.start`.
"""

from fofa.commands.start import Program

GOES_ON = "the same command goes on where it was"

all_programs = Program(
    "fofa",
    "fofa.commands.umbrella",
    "All programs under one name, and those that take several of them in one go.",
)
fofa_train = Program(
    "fofa-train", "fofa.commands.train", "Train a supernet, or go on with a run that was stopped."
)
fofa_eval = Program(
    "fofa-eval", "fofa.commands.evaluate", "Measure the accuracy of every subnet.", GOES_ON
)
fofa_search = Program(
    "fofa-search", "fofa.commands.search", "Find the most accurate network within a budget."
)
fofa_export = Program(
    "fofa-export", "fofa.commands.export", "Write a network to a file that runs anywhere, checked."
)
fofa_finetune = Program(
    "fofa-finetune", "fofa.commands.finetune", "Train the chosen network a little more.", GOES_ON
)
fofa_import = Program(
    "fofa-import", "fofa.commands.import_checkpoint", "Turn published weights into a run."
)
fofa_predictor = Program(
    "fofa-predictor", "fofa.commands.predictor", "Predict accuracy in the elastic space."
)
